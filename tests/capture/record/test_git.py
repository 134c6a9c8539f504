"""Git's state is noted where there is a checkout; where git can't answer, that is what is noted."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from ifpdb.capture.record import git as module
from ifpdb.capture.record.git import GitState, git_state
from ifpdb.records import Code


def git(folder: Path, *arguments: str) -> None:
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, env=os.environ | who)


@pytest.fixture
def checkout(folder: Path) -> Path:
    git(folder, "init", "-b", "main")
    (folder / "train.py").write_text("x = 1\n")
    (folder / "ifp.db").write_bytes(b"1")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "one")
    return folder


def test_outside_git_nothing_is_said_of_git(folder: Path) -> None:
    assert git_state(folder) == GitState(Code())


def test_before_the_first_commit_there_is_a_branch_alone(folder: Path) -> None:
    git(folder, "init", "-b", "main")
    found = git_state(folder)
    assert (found.code, found.not_seen) == (Code(), None)
    assert found.details is not None and found.details["branch"] == "main"


def test_the_commit_and_the_difference_are_noted(checkout: Path) -> None:
    clean = git_state(checkout)
    assert clean.code.commit is not None
    assert len(clean.code.commit) == 40
    assert (clean.code.dirty, clean.code.diff) == (False, None)
    assert clean.details == {"branch": "main", "remote": None, "changed": []}

    (checkout / "ifp.db").write_bytes(b"2")
    (checkout / "untracked").touch()
    assert git_state(checkout) == clean

    (checkout / "train.py").write_text("x = 2\n")
    dirty = git_state(checkout)
    assert (dirty.code.commit, dirty.code.dirty) == (clean.code.commit, True)
    assert dirty.code.diff is not None
    assert dirty.details is not None and dirty.details["changed"] == ["train.py"]
    (checkout / "train.py").write_text("x = 3\n")
    assert git_state(checkout).code.diff not in (dirty.code.diff, None)


@pytest.mark.parametrize(
    "setting",
    [
        "diff.noprefix=true",
        "diff.mnemonicPrefix=true",
        "diff.context=1",
        "core.abbrev=20",
        "diff.relative=true",
        "diff.orderFile=o",
    ],
)
def test_the_difference_is_the_same_whatever_the_users_settings(checkout: Path, setting: str) -> None:
    (checkout / "b.py").write_text("\n" * 20)
    (checkout / "o").write_text("train.py\nb.py\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "two")
    (checkout / "b.py").write_text("\n" * 10 + "x" + "\n" * 10)
    (checkout / "train.py").write_text("x = 2\n")
    before = git_state(checkout).code
    git(checkout, "config", *setting.split("="))
    assert git_state(checkout).code == before
    assert before.diff is not None


def test_a_damaged_checkout_is_not_taken_for_none(checkout: Path) -> None:
    (checkout / ".git" / "HEAD").write_text("junk\n")
    assert git_state(checkout) == GitState(Code(), not_seen="git: takes the .git there for no repository")


def test_files_with_odd_names_moved_and_removed_are_listed(checkout: Path) -> None:
    (checkout / "new line\nä.py").write_text("long enough to be known again when it is moved\n" * 5)
    (checkout / "gone.py").touch()
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "two")
    git(checkout, "mv", "new line\nä.py", "b b.py")
    (checkout / "gone.py").unlink()
    found = git_state(checkout).details
    assert found is not None and found["changed"] == ["b b.py", "gone.py"]


def test_a_subfolder_that_is_the_project_has_its_own_changes_only(checkout: Path) -> None:
    (checkout / "sub").mkdir()
    (checkout / "train.py").write_text("x = 2\n")
    assert git_state(checkout / "sub").code.dirty is False


def test_a_detached_head_has_a_commit(checkout: Path) -> None:
    git(checkout, "checkout", "--detach")
    found = git_state(checkout)
    assert found.details is not None
    assert (found.code.dirty, found.details["branch"]) == (False, "(detached)")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ada:pw@host/x.git", "https://<redacted>@host/x.git"),
        ("https://ghp_" + "a1" * 18 + "@github.com/team/x", "https://<redacted>@github.com/team/x"),
        ("git@github.com:team/x.git", "git@github.com:team/x.git"),
        ("ada@host:team/x.git", "host:team/x.git"),
        ("ada@host:/home/ada/x.git", "host:~/x.git"),
        ("/home/ada/repositories/x.git/", "x.git"),
        ("file:///srv/ada/x.git", "x.git"),
        ("../ada/x", "x"),
        ("C:\\Users\\ada\\x", "x"),
    ],
)
def test_the_remote_is_named_without_user_and_password(checkout: Path, url: str, shown: str) -> None:
    git(checkout, "remote", "add", "origin", url)
    found = git_state(checkout).details
    assert found is not None and found["remote"] == shown


def test_another_repository_in_the_environment_is_not_asked(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert git_state(checkout).code.commit is not None


def test_without_git_that_is_said(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert git_state(checkout) == GitState(Code(), not_seen="git: FileNotFoundError")


def test_a_git_that_fails_is_said_to_fail(checkout: Path) -> None:
    (checkout / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (checkout / ".git" / "index").write_bytes(b"not an index")
    assert git_state(checkout) == GitState(Code(), not_seen="git: exit 128")


@pytest.mark.parametrize("command", ["exec sleep 60", "sleep 60"])
def test_a_git_that_hangs_is_not_waited_for(checkout: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    (checkout / "bin").mkdir()
    hanging = checkout / "bin" / "git"
    hanging.write_text(f"#!/bin/sh\n{command}\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", str(hanging.parent), prepend=os.pathsep)
    monkeypatch.setattr(module, "TIMEOUT", 0.05)
    start = time.monotonic()
    assert git_state(checkout) == GitState(Code(), not_seen="git: TimeoutExpired")
    assert time.monotonic() - start < 30


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can give a folder to someone else")
def test_a_checkout_of_someone_else_is_not_looked_into(checkout: Path) -> None:
    for path in (checkout, checkout / ".git"):
        os.chown(path, 12345, 12345)
    assert git_state(checkout) == GitState(Code(), not_seen="git: refused by safe.directory")


def test_a_worktree_has_its_own_branch_and_changes(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    there = tmp_path_factory.mktemp("elsewhere") / "tree"
    git(checkout, "worktree", "add", "-b", "try", str(there))
    (there / "train.py").write_text("x = 2\n")
    found = git_state(there)
    assert found.details is not None
    assert (found.code.dirty, found.details["branch"], found.details["changed"]) == (True, "try", ["train.py"])
    assert git_state(checkout).code == Code(commit=found.code.commit, dirty=False)


def test_a_submodule_that_changed_is_a_change(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("elsewhere")
    git(other, "init", "-b", "main")
    (other / "lib.py").touch()
    git(other, "add", ".")
    git(other, "commit", "-m", "lib")
    git(checkout, "-c", "protocol.file.allow=always", "submodule", "add", str(other), "lib")
    git(checkout, "commit", "-m", "with lib")
    assert git_state(checkout).code.dirty is False
    (checkout / "lib" / "lib.py").write_text("x = 1\n")
    found = git_state(checkout)
    assert found.details is not None and (found.code.dirty, found.details["changed"]) == (True, ["lib"])
    inside = git_state(checkout / "lib")
    assert inside.details is not None and inside.details["changed"] == ["lib.py"]


def test_no_more_files_are_listed_than_a_screenful(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CHANGED", 2)
    for name in "abc":
        (checkout / name).touch()
    git(checkout, "add", ".")
    found = git_state(checkout).details
    assert found is not None and found["changed"] == ["a", "b", "and 1 more"]
