"""What git can bring back: every place where it keeps a revision, and a refusal where it can't say."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb.errors import Refused
from ifpdb.store.foreign import opened
from ifpdb.store.revisions import History

Git = Callable[..., str]
Mark = Callable[[str], None]


@pytest.fixture
def git(folder: Path) -> Git:
    """Runs git here; the folder is a repository."""

    def run(*arguments: str, cwd: Path = folder) -> str:
        done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    run("init", "-q", "-b", "main")
    run("config", "user.name", "ada")
    run("config", "user.email", "ada@example.org")
    return run


@pytest.fixture
def mark(registry: ifp.Registry) -> Mark:
    """Leaves a mark in the registry, which says later which revisions were found."""

    def leave(name: str) -> None:
        with registry.writing() as (tx, _):
            tx.execute("INSERT INTO model (name) VALUES (?)", (name,))

    return leave


def found(path: Path) -> set[frozenset[str]]:
    """The marks in each revision."""
    marks = set()
    for revision in History(path).revisions(set()):
        with opened(revision.data) as connection:
            marks.add(frozenset(name for (name,) in connection.execute("SELECT name FROM model")))
    return marks


def commit(git: Git, message: str = "x") -> None:
    git("add", "--all", "*.db")
    git("commit", "-q", "-m", message)


def test_outside_of_git_there_is_nothing(registry: ifp.Registry) -> None:
    history = History(registry.path)
    assert (list(history.revisions(set())), list(history.siblings())) == ([], [])


def test_a_repository_without_a_commit_has_its_index(git: Git, mark: Mark, registry: ifp.Registry) -> None:
    assert found(registry.path) == set()
    mark("staged")
    git("add", "ifp.db")
    mark("later")
    assert found(registry.path) == {frozenset({"staged"})}


def test_every_commit_counts_once_and_known_ones_not_again(git: Git, mark: Mark, registry: ifp.Registry) -> None:
    for name in ("a", "b", "c"):
        mark(name)
        commit(git)
    git("commit", "-q", "--allow-empty", "-m", "nothing new")
    assert found(registry.path) == {frozenset("a"), frozenset("ab"), frozenset("abc")}
    looked = set[str]()
    assert {revision.id for revision in History(registry.path).revisions(looked)} == looked
    mark("d")
    git("add", "ifp.db")
    (only,) = History(registry.path).revisions(looked)
    assert only.path == "ifp.db"


PLACES: dict[str, list[list[str]]] = {
    "a branch": [["checkout", "-qb", "side"], ["commit", "-qam", "x"], ["checkout", "-q", "main"]],
    "a tag of a deleted branch": [
        *(["checkout", "-qb", "side"], ["commit", "-qam", "x"], ["tag", "-am", "x", "t"], ["checkout", "-q", "main"]),
        *(["branch", "-qD", "side"], ["reflog", "expire", "--expire=now", "--all"]),
    ],
    "a stash": [["stash"]],
    "the stash before the newest": [
        ["stash"],
        ["checkout", "-q", "--detach"],
        ["update-index", "--refresh"],
        ["stash", "list"],
    ],
    "a reflog": [["commit", "-qam", "x"], ["reset", "-q", "--hard", "HEAD~1"]],
    "an amended commit": [["commit", "-qam", "x"], ["commit", "-q", "--amend", "-m", "y"], ["reset", "-q", "--hard", "HEAD~1"]],
    "a merge that didn't take it": [
        *(["checkout", "-qb", "side"], ["commit", "-qam", "x"], ["checkout", "-q", "main"]),
        *(["merge", "-q", "-s", "ours", "-m", "m", "side"], ["branch", "-qD", "side"]),
        ["reflog", "expire", "--expire=now", "--all"],
    ],
    "a tag on the bytes themselves": [["add", "ifp.db"], ["tag", "bytes", ":ifp.db"], ["reset", "-q", "--hard"]],
    "another worktree's detached head": [
        *(["commit", "-qam", "x"], ["worktree", "add", "-q", "--detach", "../wt"], ["reset", "-q", "--hard", "HEAD~1"]),
        ["reflog", "expire", "--expire=now", "HEAD", "main"],
    ],
    "the index": [["add", "ifp.db"], ["show", ":ifp.db"]],
    "a commit that a graft hides": [
        *(["commit", "-qam", "x"], ["commit", "-q", "--allow-empty", "-m", "y"], ["replace", "--graft", "HEAD"]),
        *(["reflog", "expire", "--expire=now", "--all"],),
    ],
}


@pytest.mark.parametrize("place", PLACES)
def test_a_revision_is_found_in(git: Git, mark: Mark, registry: ifp.Registry, place: str) -> None:
    mark("first")
    commit(git)
    mark("second")
    for command in PLACES[place]:
        if command[0] == "show":
            shutil.copyfile(registry.path, "kept.bin")
            continue
        git(*command)
    assert frozenset({"first", "second"}) in found(registry.path)


def test_what_a_remote_branch_has_counts(
    git: Git, mark: Mark, registry: ifp.Registry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mark("first")
    commit(git)
    other = tmp_path_factory.mktemp("other")
    git("clone", "-q", str(registry.path.parent), str(other))
    with ifp.open(other / "ifp.db") as theirs, theirs.writing() as (tx, _):
        tx.execute("INSERT INTO model (name) VALUES ('theirs')")
    git("-c", "user.name=g", "-c", "user.email=g", "commit", "-qam", "x", cwd=other)
    git("fetch", "-q", str(other), "main:refs/remotes/origin/main")
    assert frozenset({"first", "theirs"}) in found(registry.path)


def test_a_merge_in_progress_counts(git: Git, mark: Mark, registry: ifp.Registry) -> None:
    mark("base")
    commit(git)
    git("checkout", "-qb", "side")
    mark("side")
    commit(git)
    git("checkout", "-q", "main")
    mark("main")
    commit(git)
    subprocess.run(["git", "merge", "side"], capture_output=True)
    git("branch", "-qD", "side")
    git("reflog", "expire", "--expire=now", "--all")
    assert Path(".git/MERGE_HEAD").exists()
    git("update-index", "--force-remove", "ifp.db")
    assert frozenset({"base", "side"}) in found(registry.path)


@pytest.mark.parametrize(("before", "after"), [("old.db", "ifp.db"), ("sub/ifp.db", "ifp.db"), ("we[i]rd*.db", "ifp.db")])
def test_a_registry_that_was_moved_is_found_where_it_was(
    git: Git, mark: Mark, registry: ifp.Registry, before: str, after: str
) -> None:
    mark("first")
    Path(before).parent.mkdir(exist_ok=True)
    shutil.copyfile(registry.path, before)
    git("add", before)
    git("commit", "-qm", "x")
    git("rm", "-q", before)
    mark("second")
    commit(git)
    assert found(registry.path) == {frozenset({"first"}), frozenset({"first", "second"})}


def test_a_name_with_stars_is_no_pattern(git: Git, folder: Path) -> None:
    for name in ("a*[b]", "aXb"):
        with ifp.init(folder / name):
            pass
    with ifp.open(folder / "aXb") as other, other.writing() as (tx, _):
        tx.execute("INSERT INTO model (name) VALUES ('other')")
    git("add", "--all")
    git("commit", "-qm", "x")
    assert found(folder / "a*[b]") == {frozenset()}


def test_equal_bytes_under_another_name_do_not_hide_it(git: Git, mark: Mark, registry: ifp.Registry) -> None:
    mark("first")
    shutil.copyfile(registry.path, "a-copy")
    git("add", "a-copy", "ifp.db")
    assert found(registry.path) == {frozenset({"first"})}
    git("commit", "-qm", "x")
    git("rm", "-q", "--cached", "a-copy", "ifp.db")
    git("commit", "-qm", "y")
    assert found(registry.path) == {frozenset({"first"})}


def test_what_is_no_registry_is_passed_over(git: Git, registry: ifp.Registry, folder: Path) -> None:
    (folder / "empty.db").touch()
    (folder / "text.db").write_text("hello")
    (folder / "large.db").write_bytes(os.urandom(3 << 20))
    sqlite3.connect(folder / "other.db").execute("CREATE TABLE t (x)").connection.close()
    commit(git)
    assert [revision.path for revision in History(registry.path).revisions(set())] == ["ifp.db"]


def test_a_registry_in_lfs_is_refused(git: Git, registry: ifp.Registry, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/ifp.db").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    git("add", "--all")
    with pytest.raises(Refused, match="Git LFS"):
        list(History(registry.path).revisions(set()))


def cloned(git: Git, source: Path, dest: Path, *options: str) -> Path:
    git("clone", "-q", *options, f"file://{source}", str(dest / "clone"))
    return dest / "clone" / "ifp.db"


@pytest.mark.parametrize(("option", "why"), [("--depth=1", "shallow clone"), ("--filter=blob:none", "partial clone")])
def test_a_clone_without_its_whole_history_is_refused(
    git: Git, mark: Mark, registry: ifp.Registry, option: str, why: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name in ("a", "b"):
        mark(name)
        commit(git)
    git("config", "uploadpack.allowFilter", "true")
    place = cloned(git, registry.path.parent, tmp_path_factory.mktemp("other"), option)
    with pytest.raises(Refused, match=why):
        History(place)


def test_a_lost_object_is_refused(git: Git, mark: Mark, registry: ifp.Registry) -> None:
    for name in ("a", "b"):
        mark(name)
        commit(git)
    id = git("rev-parse", "HEAD~1:ifp.db")
    Path(".git/objects", id[:2], id[2:]).unlink()
    with pytest.raises(Refused, match="git"):
        list(History(registry.path).revisions(set()))


def test_a_lost_commit_is_refused(git: Git, mark: Mark, registry: ifp.Registry) -> None:
    for name in ("a", "b"):
        mark(name)
        commit(git)
    id = git("rev-parse", "HEAD~1")
    Path(".git/objects", id[:2], id[2:]).unlink()
    with pytest.raises(Refused, match="git rev-list fails"):
        list(History(registry.path).revisions(set()))


def test_without_git_a_repository_is_refused(git: Git, registry: ifp.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Refused, match="git can't be run"):
        History(registry.path)


def test_a_repository_that_git_does_not_read_is_refused(git: Git, registry: ifp.Registry) -> None:
    Path(".git/HEAD").write_text("garbage")
    with pytest.raises(Refused, match="git rev-parse fails"):
        History(registry.path)


def test_another_repository_in_the_environment_is_refused(registry: ifp.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/somewhere/.git")
    with pytest.raises(Refused, match="GIT_DIR"):
        History(registry.path)


def test_the_same_file_in_other_worktrees_is_told(
    git: Git, mark: Mark, registry: ifp.Registry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mark("a")
    commit(git)
    other = tmp_path_factory.mktemp("trees") / "wt"
    git("worktree", "add", "-q", "--detach", str(other))
    assert list(History(registry.path).siblings()) == [other / "ifp.db"]
    assert list(History(other / "ifp.db").siblings()) == [registry.path]
    shutil.rmtree(other)
    assert list(History(registry.path).siblings()) == []
    assert found(registry.path) == {frozenset({"a"})}
