"""Anchors in git: the heads in commit messages are found for the file that they are about, and for no other."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb.upkeep.anchors import in_commits
from ifpdb.upkeep.chain import verify

Git = Callable[..., str]
Make = Callable[..., ifp.Version]


@pytest.fixture
def git(folder: Path) -> Git:
    """Git in a new repository, which is the current folder."""

    def call(*words: str) -> str:
        settings = ("-c", "user.name=ada", "-c", "user.email=ada@example.com")
        done = subprocess.run(["git", *settings, *words], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    call("init", "-b", "main")
    return call


def commit(git: Git, *heads: str, words: str = "retrain") -> str:
    """Commit the registry with a trailer for its heads; the commit's short name."""
    git("add", "ifp.db")
    trailers = "".join(f"Ifp-Heads: {head}\n" for head in heads)
    git("commit", "--allow-empty", "-m", f"{words}\n\n{trailers}")
    return git("log", "-1", "--format=%H")[:10]


def head_of(registry: ifp.Registry) -> str:
    return registry.events()[-1].id


def test_a_head_is_found_with_the_commit_that_first_noted_it(git: Git, make: Make, registry: ifp.Registry) -> None:
    make("a")
    first = head_of(registry)
    one = commit(git, first)
    make("b")
    other = commit(git, first, head_of(registry))
    found = in_commits(registry.path)
    assert found == {first: f"in commit {one}", head_of(registry): f"in commit {other}"}
    assert verify(registry, anchors=found).ok


def test_a_head_that_is_noted_with_the_path_of_another_registry_is_none_of_its_own(
    git: Git, make: Make, registry: ifp.Registry
) -> None:
    make("a")
    commit(git, f"{head_of(registry)} (ifp.db)", f"sha256:{'0' * 64} (eu/ifp.db)")
    assert list(in_commits(registry.path)) == [head_of(registry)]


def test_a_log_that_lost_its_newest_event_is_told_with_the_commit(
    git: Git, make: Make, registry: ifp.Registry, folder: Path
) -> None:
    make("a")
    commit(git, head_of(registry))
    kept = registry.path.read_bytes()
    make("b")
    lost = head_of(registry)
    name = commit(git, lost)
    registry.close()
    registry.path.write_bytes(kept)
    found = verify(registry, anchors=in_commits(registry.path))
    assert [(kind, event) for kind, event, _ in found.problems] == [("anchor", lost)]
    assert f"in commit {name}" in found.problems[0][2]


def test_both_sides_of_a_merge_that_kept_only_ours_are_looked_at(git: Git, make: Make, registry: ifp.Registry) -> None:
    make("a")
    commit(git, head_of(registry))
    git("checkout", "-b", "side")
    make("b")
    theirs = head_of(registry)
    name = commit(git, theirs)
    git("checkout", "main")
    make("c")
    commit(git, head_of(registry))
    git("merge", "-s", "ours", "-m", "careless", "side")
    found = verify(registry, anchors=in_commits(registry.path))
    assert [(kind, event) for kind, event, _ in found.problems] == [("anchor", theirs)]
    assert name in found.problems[0][2]


def test_what_another_branch_noted_is_no_anchor_here(git: Git, make: Make, registry: ifp.Registry) -> None:
    make("a")
    commit(git, head_of(registry))
    git("checkout", "-b", "side")
    make("b")
    commit(git, head_of(registry))
    git("checkout", "main")
    assert in_commits(registry.path).keys() == {head_of(registry)}


def test_a_commit_that_is_about_another_file_is_passed_over(git: Git, make: Make, registry: ifp.Registry, folder: Path) -> None:
    make("a")
    (folder / "other.db").write_text("x")
    git("add", "other.db")
    git("commit", "-m", f"another registry\n\nIfp-Heads: {head_of(registry)}")
    assert in_commits(registry.path) == {}


def test_words_that_are_no_trailer_are_no_anchor(git: Git, make: Make, registry: ifp.Registry) -> None:
    make("a")
    name = commit(git, words=f"Ifp-Heads: sha256:{'0' * 64}\n\nmore")
    assert in_commits(registry.path) == {head_of(registry): f"in commit {name}"}


def test_a_commit_that_notes_nothing_is_looked_at_itself(git: Git, make: Make, registry: ifp.Registry, folder: Path) -> None:
    make("a")
    commit(git)
    make("b")
    lost, name = head_of(registry), commit(git)
    git("revert", "--no-edit", "HEAD")
    found = verify(registry, anchors=in_commits(registry.path))
    assert [(kind, event) for kind, event, _ in found.problems] == [("anchor", lost)]
    assert f"in commit {name}" in found.problems[0][2]


def test_a_revision_that_is_no_registry_has_no_heads(git: Git, folder: Path) -> None:
    (folder / "ifp.db").write_text("version https://git-lfs.github.com/spec/v1")
    commit(git)
    assert in_commits(folder / "ifp.db") == {}


def test_outside_of_git_there_is_none(make: Make, registry: ifp.Registry) -> None:
    make("a")
    assert in_commits(registry.path) == {}
