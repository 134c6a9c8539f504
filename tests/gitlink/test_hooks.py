"""The hooks, called by real git: what must not be committed is refused, and a commit's message notes the heads."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb.errors import IntegrityError
from ifpdb.gitlink import setup
from ifpdb.gitlink.hooks import check_staged
from ifpdb.store.repository import Repository
from ifpdb.upkeep import anchors

Git = Callable[..., str]
Make = Callable[..., ifp.Version]
OLD = "Ifp-Heads: sha256:" + "0" * 64


def run_git(*arguments: str, editor: str = "true", fails: bool = False, **environment: str) -> str:
    """What git says, on both streams. `editor` is a shell command that is given the message's file."""
    done = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, env={**os.environ, "GIT_EDITOR": editor, **environment}
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def git(make: Make, registry: ifp.Registry, folder: Path) -> Git:
    """Runs git here: a checkout that `ifp git install` has set up, with one version in its first commit."""
    run_git("init", "-q", "-b", "main")
    run_git("config", "user.name", "ada")
    run_git("config", "user.email", "ada@example.org")
    setup.install(registry.path)
    make("first")
    run_git("add", "ifp.db", ".gitattributes", ".gitignore")
    run_git("commit", "-qm", "first")
    return run_git


def noted(revision: str = "HEAD") -> list[str]:
    return run_git("log", "-1", "--format=%(trailers:key=Ifp-Heads,valueonly)", revision).split()


def stage(make: Make, weights: str) -> None:
    make(weights)
    run_git("add", "ifp.db")


def heads(registry: ifp.Registry) -> list[str]:
    with registry.reading() as tx:
        return [head for (head,) in tx.execute("SELECT id FROM head ORDER BY id")]


# -- the message


def test_a_commit_notes_the_heads_as_an_anchor(git: Git, registry: ifp.Registry) -> None:
    assert noted() == heads(registry)
    assert list(anchors.in_commits(registry.path)) == heads(registry)


MESSAGES: dict[str, tuple[list[str], str, str]] = {
    "one line": (["-m", "a"], "true", "a\n\nIfp-Heads: H\n"),
    "signed off": (["-s", "-m", "a"], "true", "a\n\nSigned-off-by: ada <ada@example.org>\nIfp-Heads: H\n"),
    "fixup": (["--fixup", "HEAD"], "true", "fixup! first\n\nIfp-Heads: H\n"),
    "a ruler in the body": (["-m", "a\n\nb\n---\nc"], "true", "a\n\nb\n---\nc\n\nIfp-Heads: H\n"),
    "a hash in the body": (["-m", "a\n\n#1 is done\n\nb"], "true", "a\n\n#1 is done\n\nb\n\nIfp-Heads: H\n"),
    "an older note": (["-m", f"a\n\n{OLD}\n{OLD} (x.db)"], "true", "a\n\nIfp-Heads: H\n"),
    "an older note among others": (["-m", f"a\n\n{OLD}\nCo-authored-by: b <b@c>"], "true",
                                   "a\n\nCo-authored-by: b <b@c>\nIfp-Heads: H\n"),
    "written in an editor": ([], "sed -i 1ia", "a\n\nIfp-Heads: H\n"),
    "with the diff below": (["-v"], "sed -i 1ia", "a\n\nIfp-Heads: H\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", MESSAGES)
def test_the_note_is_the_last_trailer_of_a_message(git: Git, make: Make, registry: ifp.Registry, case: str) -> None:
    arguments, editor, told = MESSAGES[case]
    stage(make, "second")
    git("commit", "-q", *arguments, editor=editor)
    (head,) = heads(registry)
    assert git("log", "-1", "--format=%B") == told.replace("H\n", f"{head}\n") + "\n"
    assert noted() == [head]


def test_another_comment_character_is_known(git: Git, make: Make, registry: ifp.Registry) -> None:
    git("config", "core.commentChar", ";")
    stage(make, "second")
    git("commit", "-q", editor="sed -i '1ia\\n\\n#1'")
    assert git("log", "-1", "--format=%B") == f"a\n\n#1\n\nIfp-Heads: {heads(registry)[0]}\n\n"


@pytest.mark.parametrize("arguments", [[], ["-v"]])
def test_an_empty_message_still_calls_the_commit_off(git: Git, make: Make, arguments: list[str]) -> None:
    stage(make, "second")
    assert "empty commit message" in git("commit", *arguments, fails=True)


def test_a_template_that_was_left_as_it_is_still_calls_the_commit_off(git: Git, make: Make, folder: Path) -> None:
    (folder / "template").write_text("# what and why\nWhy:\n")
    git("config", "commit.template", "template")
    stage(make, "second")
    assert "did not edit the message" in git("commit", fails=True)
    git("commit", "-q", editor="sed -i s/Why:/because/")
    assert len(noted()) == 1


def test_several_heads_stand_in_one_note(git: Git, registry: ifp.Registry, make: Make) -> None:
    stage(make, "second")
    registry.close()
    body = sqlite3.connect(registry.path)
    body.execute("INSERT INTO head SELECT 'sha256:' || lower(hex(id)) FROM event WHERE key = 1 ON CONFLICT DO NOTHING")
    body.commit()
    body.close()
    git("commit", "-qam", "two heads")
    assert noted() == heads(registry)
    assert len(noted()) == 2


def test_a_commit_of_something_else_notes_nothing(git: Git, folder: Path, make: Make) -> None:
    (folder / "notes").write_text("x")
    git("add", "notes")
    git("commit", "-qm", "notes")
    assert noted() == []
    stage(make, "second")
    (folder / "notes").write_text("y")
    git("commit", "-qm", "only the notes", "notes")  # from an index of its own, which git names in GIT_INDEX_FILE
    assert noted() == []


def test_magit_s_literal_pathspecs_change_nothing(git: Git, make: Make, registry: ifp.Registry) -> None:
    stage(make, "second")
    git("--literal-pathspecs", "commit", "-qm", "second")
    assert noted() == heads(registry)


def test_an_amended_commit_has_one_note(git: Git, make: Make, registry: ifp.Registry, folder: Path) -> None:
    before = git("log", "-1", "--format=%B")
    (folder / "notes").write_text("x")
    git("add", "notes")
    git("commit", "-q", "--amend", "--no-edit")
    assert git("log", "-1", "--format=%B") == before
    stage(make, "second")
    git("commit", "-q", "--amend", "--no-edit")
    assert git("log", "-1", "--format=%B") == f"first\n\nIfp-Heads: {heads(registry)[0]}\n\n"


def test_what_is_replayed_keeps_its_note(git: Git, make: Make, registry: ifp.Registry, folder: Path) -> None:
    git("branch", "side")
    for text in ("second", "third"):
        stage(make, text)
        git("commit", "-qm", text)
    wanted = [noted(revision) for revision in ("HEAD~1", "HEAD")]
    registry.close()
    git("checkout", "-q", "side")
    (folder / "notes").write_text("x")
    git("add", "notes")
    git("commit", "-qm", "notes")
    git("rebase", "-q", "side", "main")
    assert [noted(revision) for revision in ("HEAD~1", "HEAD")] == wanted
    git("checkout", "-q", "side")
    git("cherry-pick", "main~1")
    assert noted() == wanted[0]


def test_a_merge_notes_the_heads_that_it_brings(git: Git, make: Make, registry: ifp.Registry, folder: Path) -> None:
    git("checkout", "-qb", "side")
    stage(make, "second")
    git("commit", "-qm", "second")
    brought = noted()
    registry.close()
    git("checkout", "-q", "main")
    git("merge", "-q", "--no-ff", "--no-edit", "side")
    assert git("log", "-1", "--format=%B") == f"Merge branch 'side'\n\nIfp-Heads: {brought[0]}\n\n"


def test_two_registries_in_one_commit_are_noted_by_path(git: Git, make: Make, registry: ifp.Registry, folder: Path) -> None:
    (folder / "eu").mkdir()
    with ifp.init(folder / "eu" / "ifp.db") as other:
        other.register("churn", "model.bin", partial=True)
        wanted = {f"{heads(other)[0]} (eu/ifp.db)"}
    setup.install(folder / "eu" / "ifp.db")
    make("second")
    git("add", "ifp.db", "eu")
    git("commit", "-qm", "both")
    wanted.add(f"{heads(registry)[0]} (ifp.db)")
    assert set(git("log", "-1", "--format=%(trailers:key=Ifp-Heads,valueonly)").strip().splitlines()) == wanted


# -- the bytes


def torn_index(before: bytes, after: bytes) -> bytes:
    """What is left when every page of a write came to the disk but those of one index."""
    with sqlite3.connect(":memory:") as connection:
        connection.deserialize(after)
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'version_stage'").fetchone()
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    torn = bytearray(after)
    torn[(page - 1) * size : page * size] = before[(page - 1) * size : page * size]
    with sqlite3.connect(":memory:") as connection:
        connection.deserialize(bytes(torn))
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)], "the quick check would do"
    return bytes(torn)


def with_lost_head(data: bytes) -> bytes:
    with sqlite3.connect(":memory:") as connection:
        connection.deserialize(data)
        connection.execute("UPDATE head SET id = 'sha256:' || hex(zeroblob(32))")
        connection.commit()
        return connection.serialize()


def without_head(data: bytes) -> bytes:
    with sqlite3.connect(":memory:") as connection:
        connection.deserialize(data)
        connection.execute("DELETE FROM head")
        connection.commit()
        return connection.serialize()


BAD: dict[str, tuple[Callable[[bytes, bytes], bytes], str]] = {
    "empty": (lambda a, b: b"", "is empty"),
    "an LFS pointer": (lambda a, b: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer.*renormalize"),
    "conflict marks": (lambda a, b: b"<<<<<<< HEAD\n" + b, "conflict marks.*checkout --ours"),
    "something else": (lambda a, b: b"x" * 5000, "not a registry.*gitattributes"),
    "in WAL mode": (lambda a, b: b[:18] + b"\2\2" + b[20:], "WAL mode.*doctor --fix"),
    "cut short": (lambda a, b: b[:-4096], "bytes where .* belong"),
    "a page overwritten": (lambda a, b: b[:8192] + b"\xff" * 4096 + b[12288:], "fsck, then git add"),
    "an index that lacks a row": (torn_index, "(missing from|wrong # of entries in) index.*fsck, then git add"),
    "a head that is no event": (lambda a, b: with_lost_head(b), "is no event of its log"),
    "no head": (lambda a, b: without_head(b), "events but no head"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_broken_registry_is_refused_with_the_way_to_mend_it(git: Git, make: Make, registry: ifp.Registry, case: str) -> None:
    broken, said = BAD[case]
    before = registry.path.read_bytes()
    make("second")
    registry.close()
    after = registry.path.read_bytes()
    registry.path.write_bytes(broken(before, after))
    git("add", "ifp.db")
    for restored in (False, True):  # what counts is what is staged
        if restored:
            registry.path.write_bytes(after)
        with pytest.raises(IntegrityError, match=f"^ifp.db (?s:.*){said}"):
            check_staged(Repository(Path()))
    git("add", "ifp.db")
    assert [found.path for found in check_staged(Repository(Path()))] == ["ifp.db"]


def test_git_commits_nothing_that_is_refused(git: Git, registry: ifp.Registry, folder: Path) -> None:
    tip = git("rev-parse", "HEAD")
    registry.close()
    registry.path.write_bytes(b"x" * 5000)
    (folder / "notes").write_text("x")
    git("add", "ifp.db", "notes")
    assert "ifp.db can't be committed: as it is staged, it is not a registry" in git("commit", "-m", "broken", fails=True)
    assert git("rev-parse", "HEAD") == tip
    git("commit", "-qm", "only the notes", "notes")


def test_a_merge_does_not_bring_a_broken_registry(git: Git, registry: ifp.Registry, folder: Path) -> None:
    git("checkout", "-qb", "side")
    registry.close()
    registry.path.write_bytes(b"x" * 5000)
    git("commit", "-qanm", "past the hooks")
    git("checkout", "-q", "main")
    assert "is not a registry" in git("merge", "--no-ff", "--no-edit", "side", fails=True)


def test_bytes_staged_in_the_middle_of_a_write_are_refused_until_it_is_rolled_back(
    git: Git, make: Make, registry: ifp.Registry, script: Callable[..., object]
) -> None:
    make("second")
    registry.close()
    kill = f"""
import os, sqlite3
c = sqlite3.connect({str(registry.path)!r}, isolation_level=None)
c.execute("PRAGMA cache_size = 1")
c.execute("BEGIN IMMEDIATE")
c.executemany("INSERT INTO code (digest, body) VALUES (randomblob(32), ?)", [('["' + "x" * 3000 + '"]',)] * 50)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", kill])
    git("add", "ifp.db")
    said = git("commit", "-m", "torn", fails=True)
    mend = re.search(r"run (ifp --db ifp.db verify), which", said)
    assert mend and "ifp.db-journal is there" in said
    script(*mend[1].split()[1:])
    assert not Path(f"{registry.path}-journal").exists()
    git("commit", "-m", "the index is still torn", fails=True)
    git("add", "ifp.db")
    git("commit", "-qm", "whole")
    assert noted() == heads(registry)


def test_a_registry_may_be_removed_or_moved(git: Git, registry: ifp.Registry) -> None:
    registry.close()
    git("mv", "ifp.db", "old.db")
    git("commit", "-qm", "moved out of the attribute's sight")
    assert noted() == []
    git("rm", "-q", "old.db")
    git("commit", "-qm", "removed")


def test_another_database_is_none_of_our_business(git: Git, folder: Path) -> None:
    (folder / "other.db").write_bytes(b"x")
    git("add", "other.db")
    git("commit", "-qm", "another")


def test_a_file_that_has_been_written_since_it_was_staged_is_read_from_the_index(
    git: Git, make: Make, registry: ifp.Registry
) -> None:
    stage(make, "second")
    staged = heads(registry)
    make("third")
    git("commit", "-qm", "second")
    assert noted() == staged != heads(registry)


def test_names_that_a_shell_would_take_apart_are_quoted(make: Make, registry: ifp.Registry, folder: Path) -> None:
    make("first")
    registry.close()
    place = folder / "a b ü" / "my [1] #reg.db"
    place.parent.mkdir()
    shutil.copy(registry.path, place)
    run_git("init", "-q")
    setup.install(place)
    run_git("add", str(place))
    path = "a b ü/my [1] #reg.db"
    assert [found.path for found in check_staged(Repository(Path()))] == [path]
    place.write_bytes(b"x" * 5000)
    run_git("add", str(place))
    with pytest.raises(IntegrityError, match=re.escape(f"git restore --staged '{path}'")):
        check_staged(Repository(Path()))


def test_a_hook_imports_no_package_that_every_commit_would_wait_for(git: Git, make: Make) -> None:
    stage(make, "second")
    code = (
        "import sys; sys.argv = ['ifp', 'git', 'hook', 'pre-commit', '--json']; from ifpdb.cli import run; assert run() == 0;"
        "print({'numpy', 'pydantic', 'yaml', 'narwhals', 'platformdirs', 'sqlite_utils'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert '"path": "ifp.db"' in said
    assert said.splitlines()[-1] == "set()"
