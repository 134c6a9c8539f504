"""More than one place: clones, shallow and partial ones, worktrees, submodules, a server that knows nothing of ifpdb."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from person import Person, apart, begin, set_up

from ifpdb.gitlink import driver, lost, setup


@pytest.fixture
def ada(tmp_path: Path, home: Path) -> Person:
    return begin(tmp_path)


@pytest.fixture
def up(ada: Person) -> Path:
    """A bare repository that ada pushes to."""
    place = ada.folder.with_name("up.git")
    ada.git("clone", "--quiet", "--bare", str(ada.folder), str(place))
    ada.git("remote", "add", "origin", f"file://{place}")
    ada.git("push", "--quiet", "--set-upstream", "origin", "main")
    place_config(place)
    return place


def place_config(bare: Path) -> None:
    """A server that gives parts of what it has, as forges do."""
    for name in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        subprocess.run(["git", "-C", str(bare), "config", name, "true"], check=True)


def from_up(ada: Person, up: Path, name: str, *arguments: str, installed: bool = True) -> Person:
    bob = Person(name, ada.folder.with_name(name), ada.folder.with_name(name) / "ifp.db")
    ada.git("clone", "--quiet", *arguments, f"file://{up}", str(bob.folder))
    if installed:
        set_up(bob)
    return bob


# -- push and pull


@pytest.mark.parametrize("how", ["--no-rebase", "--rebase"])
@pytest.mark.parametrize("first", ["ada", "bob"])
def test_two_clones_end_equal_whoever_pushes_first(ada: Person, up: Path, how: str, first: str) -> None:
    bob = from_up(ada, up, "bob")
    for person in (ada, bob):
        person.git("config", "--unset", "core.hooksPath")
    ours, theirs = ada.save("two"), bob.save("three")
    one, other = (ada, bob) if first == "ada" else (bob, ada)
    one.git("push", "--quiet")
    assert "rejected" in other.git("push", code=1)
    other.git("pull", "--quiet", "--no-edit", how)
    other.git("push", "--quiet")
    one.git("pull", "--quiet", "--ff-only")
    assert ada.digest() == bob.digest() == ada.united(ours, "origin/main")
    assert ada.weights() == {"one", "two", "three"}
    assert ada.problems() == bob.problems() == []
    assert ada.status() == bob.status() == []
    assert theirs


def test_clones_that_each_merge_the_other_are_equal_and_then_one(ada: Person, up: Path) -> None:
    """Both pull from each other before either pushes: two merge commits of the same."""
    bob = from_up(ada, up, "bob")
    ada.save("two")
    bob.save("three")
    for one, other in ((ada, bob), (bob, ada)):
        one.git("fetch", "--quiet", f"file://{other.folder}", "main:other")
    for one in (ada, bob):
        one.git("merge", "--quiet", "--no-edit", "other")
    assert ada.digest() == bob.digest()
    ada.git("push", "--quiet")
    bob.git("pull", "--quiet", "--no-rebase", "--no-edit")
    assert ada.digest() == bob.digest()
    assert bob.problems() == []


def test_three_people_in_any_order_agree(ada: Person, up: Path) -> None:
    bob, eve = from_up(ada, up, "bob"), from_up(ada, up, "eve")
    for person, weights in ((ada, "two"), (bob, "three"), (eve, "four")):
        person.save(weights)
    for person in (eve, ada, bob):
        person.git("pull", "--quiet", "--no-rebase", "--no-edit")
        person.git("push", "--quiet")
    for person in (eve, ada):
        person.git("pull", "--quiet", "--ff-only")
    assert ada.digest() == bob.digest() == eve.digest()
    assert eve.weights() == {"one", "two", "three", "four"}
    assert eve.problems() == []


def test_a_clone_without_the_driver_keeps_its_own_and_resolves(ada: Person, up: Path) -> None:
    bob = from_up(ada, up, "bob", installed=False)
    ada.save("two")
    ada.git("push", "--quiet")
    ours = bob.save("three")
    assert "CONFLICT" in bob.git("pull", "--no-rebase", "--no-edit", code=1)
    assert bob.db.read_bytes() == bob.bytes_at(ours)
    driver.resolve(bob.db)
    bob.git("commit", "--quiet", "--no-edit")
    assert bob.digest() == bob.united(ours, "origin/main")
    assert bob.problems() == []


def test_a_colleague_who_takes_one_side_loses_the_other_until_it_is_recovered(ada: Person, up: Path) -> None:
    bob = from_up(ada, up, "bob", installed=False)
    two = ada.save("two")
    ada.git("push", "--quiet")
    bob.save("three")
    bob.git("pull", "--quiet", "--no-rebase", code=1)
    bob.git("checkout", "--ours", "ifp.db")
    bob.commit("mine is fine")
    bob.git("push", "--quiet")
    ada.git("pull", "--quiet", "--ff-only")
    assert ada.weights() == {"one", "three"}
    assert ada.problems() == ["anchor"]
    assert list(lost.recover(ada.db)) == [two]
    assert ada.weights() == {"one", "two", "three"}
    assert ada.problems() == []


# -- not all of the history


def test_a_shallow_clone_merges_what_it_fetches(ada: Person, up: Path) -> None:
    for weights in ("two", "three"):
        ada.save(weights)
    ada.git("push", "--quiet")
    bob = from_up(ada, up, "bob", "--depth", "1")
    assert bob.git("rev-parse", "--is-shallow-repository") == "true"
    assert bob.problems() == []
    ours = bob.save("four")
    ada.save("five")
    ada.git("push", "--quiet")
    bob.git("pull", "--quiet", "--no-rebase", "--no-edit")
    assert bob.digest() == bob.united(ours, "origin/main")
    assert (bob.problems(), bob.status()) == ([], [])
    bob.git("push", "--quiet")


def test_shallow_histories_that_don_t_meet_are_united_all_the_same(ada: Person, up: Path) -> None:
    """Git knows no common past of them; the two logs do."""
    bob = from_up(ada, up, "bob", "--depth", "1")
    ours = bob.save("two")
    ada.save("three")
    ada.save("four")
    ada.git("push", "--quiet")
    bob.git("fetch", "--quiet", "--depth", "1")
    bob.git("merge", "--quiet", "--no-edit", "--allow-unrelated-histories", "origin/main")
    assert bob.digest() == bob.united(ours, "origin/main")
    assert (bob.problems(), bob.status()) == ([], [])


def test_a_partial_clone_merges_and_finds_what_is_lost(ada: Person, up: Path) -> None:
    ada.save("two")
    ada.git("push", "--quiet")
    bob = from_up(ada, up, "bob", "--filter=blob:none")
    assert bob.git("rev-list", "--objects", "--all", "--missing=print").count("?") > 0
    ours = bob.save("three")
    ada.save("four")
    ada.git("push", "--quiet")
    bob.git("pull", "--quiet", "--no-rebase", "--no-edit")
    assert bob.digest() == bob.united(ours, "origin/main")
    assert (bob.problems(), bob.status()) == ([], [])
    bob.git("restore", "--source", "HEAD~2", "ifp.db")
    bob.commit("back")
    assert "anchor" in bob.problems()
    lost.recover(bob.db)
    assert bob.digest() == bob.united(ours, "origin/main")


def test_a_partial_clone_that_is_offline_verifies_what_it_has(ada: Person, up: Path) -> None:
    """Revisions that aren't here can't be looked at; those that are still count."""
    ada.save("two")
    ada.git("push", "--quiet")
    bob = from_up(ada, up, "bob", "--filter=blob:none")
    up.rename(up.with_name("gone.git"))
    assert bob.problems() == []
    bob.save("three")
    bob.git("revert", "--no-edit", "HEAD")
    assert bob.problems() == ["anchor"]


# -- other work trees


def with_topic(ada: Person) -> Person:
    """A second worktree of the same clone, where topic is checked out."""
    place = ada.folder.with_name("second")
    ada.git("worktree", "add", "--quiet", str(place), "topic")
    return Person("ada", place, place / "ifp.db")


@pytest.mark.parametrize("operation", [["merge", "--no-edit"], ["rebase"]], ids=lambda words: words[0])
def test_a_second_worktree_merges_too(ada: Person, operation: list[str]) -> None:
    both = apart(ada)
    second = with_topic(ada)
    second.git(*operation, "--quiet", "main")
    assert second.digest() == second.united(*both)
    assert (second.problems(), second.status()) == ([], [])
    assert ada.weights() == {"one", "three"}


def test_what_a_second_worktree_lost_is_brought_back_there(ada: Person) -> None:
    apart(ada)
    second = with_topic(ada)
    second.git("revert", "--no-edit", "HEAD")
    assert (second.problems(), ada.problems()) == (["anchor"], [])
    lost.recover(second.db)
    assert (second.problems(), second.weights()) == ([], {"one", "two"})


def test_a_conflict_in_a_worktree_is_resolved_there(ada: Person) -> None:
    both = apart(ada)
    ada.git("config", "--remove-section", "merge.ifp")
    second = with_topic(ada)
    second.git("merge", "--quiet", "main", code=1)
    driver.resolve(second.db)
    second.git("commit", "--quiet", "--no-edit")
    assert second.digest() == second.united(*both)
    assert (second.problems(), second.status(), ada.status()) == ([], [], [])


@pytest.mark.parametrize("inside", [True, False], ids=["in it", "from the outer one"])
def test_a_submodule_merges_as_any_checkout(ada: Person, up: Path, tmp_path: Path, inside: bool) -> None:
    whole = Person("ada", tmp_path / "whole", tmp_path / "whole" / "models" / "ifp.db")
    whole.folder.mkdir()
    whole.git("init", "--quiet", "--initial-branch", "main")
    whole.git("submodule", "--quiet", "add", f"file://{up}", "models")
    whole.git("commit", "--quiet", "-m", "models")
    models = replace(whole, folder=whole.folder / "models")
    set_up(models)
    ours = models.save("two")
    ada.save("three")
    ada.git("push", "--quiet")
    if inside:
        models.git("pull", "--quiet", "--no-rebase", "--no-edit")
    else:
        whole.git("submodule", "--quiet", "update", "--remote", "--merge")
    assert models.digest() == models.united(ours, "origin/main")
    assert (models.problems(), models.status()) == ([], [])
    assert whole.git("status", "--porcelain") == "M models"


# -- a server


def test_a_merge_on_a_server_reports_a_conflict_rather_than_a_file(ada: Person, up: Path) -> None:
    ours, theirs = apart(ada)
    ada.git("push", "--quiet", "origin", "main", "topic")
    server = Person("forge", up, up / "ifp.db")
    said = server.git("merge-tree", "--write-tree", "--messages", "main", "topic", code=1)
    assert "CONFLICT" in said and "ifp.db" in said
    tree = said.splitlines()[0]
    assert server.at(f"{tree}:ifp.db") == server.at("main:ifp.db")
    assert ours and theirs


def test_a_server_that_knows_ifpdb_merges(ada: Person, up: Path) -> None:
    both = apart(ada)
    ada.git("push", "--quiet", "origin", "main", "topic")
    server = Person("forge", up, up / "ifp.db")
    server.git("config", "merge.ifp.driver", ada.git("config", "merge.ifp.driver"))
    (up / "info" / "attributes").write_text("ifp.db merge=ifp\n")
    tree = server.git("merge-tree", "--write-tree", "main", "topic").splitlines()[0]
    ada.git("fetch", "--quiet", "origin")
    commit = server.git("commit-tree", tree, "-p", "main", "-p", "topic", "-m", "merged by the server")
    server.git("update-ref", "refs/heads/main", commit)
    ada.git("pull", "--quiet", "--ff-only")
    assert ada.digest() == ada.united(*both)
    assert (ada.problems(), ada.status()) == ([], [])
    assert not list(up.glob("ifp-*")) and not list(up.glob(".merge*"))


# -- blobs through Git LFS


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
def test_blobs_in_lfs_come_with_a_merge(ada: Person, up: Path) -> None:
    ada.git("lfs", "install", "--skip-repo")
    setup.install(ada.db, "lfs")
    ada.register("two")
    ada.commit("through LFS")
    ada.git("push", "--quiet")
    bob = from_up(ada, up, "bob")
    ours, _ = bob.save("three"), ada.save("four")
    ada.git("push", "--quiet")
    bob.git("pull", "--quiet", "--no-rebase", "--no-edit")
    assert bob.digest() == bob.united(ours, "origin/main")
    with bob.open(readonly=True) as registry:
        assert {registry.resolve(f"fraud@{one.digest}").digest for one in registry.model("fraud").versions()}
    assert bob.problems() == []
    pointers = ada.git("lfs", "ls-files", "--name-only").splitlines()
    assert pointers and all("/sha256/" in name for name in pointers)
    assert os.path.exists(bob.folder / pointers[0])
