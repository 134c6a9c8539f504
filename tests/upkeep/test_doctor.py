"""doctor: a good set-up has no findings, each bad one has its own, and what needs no decision is mended."""

from __future__ import annotations

import os
import shlex
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.gitlink import setup
from ifpdb.outbox import delivery
from ifpdb.upkeep.chain import verify
from ifpdb.upkeep.doctor import HINT, PROBLEM, Examination, examine

Make = Callable[..., ifp.Version]
Git = Callable[..., None]
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@pytest.fixture
def git(folder: Path, registry: ifp.Registry) -> Git:
    """Runs git here; the folder is a repository that is set up as it should be, without its first commit."""

    def run(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=b", *arguments], check=True, capture_output=True)

    run("init", "-q")
    setup.install(registry.path)
    return run


def test_notifications_that_met_with_something_are_pointed_at(registry: ifp.Registry) -> None:
    registry.model("fraud").set_policy({"validation": {"min_f1": 0.9, "notify_on_fail": "hook:ci"}})
    registry.register("fraud", "ifp.db", partial=True)
    with pytest.raises(ifp.GateFailed):
        registry.model("fraud").promote("v1", "production")
    assert kinds(examine(registry.path)) == [], "it is under way"
    delivery.deliver(registry)
    (found,) = examine(registry.path).findings
    assert (found.kind, found.severity) == ("undelivered", HINT)
    assert "1 notification waits for hook:ci: " in found.detail
    assert "ifp.toml" in found.detail


def kinds(found: Examination) -> list[tuple[str, str]]:
    assert all(finding.detail and finding.fix for finding in found.findings)
    return [(finding.kind, finding.severity) for finding in found.findings]


def test_a_good_set_up_has_no_findings(make: Make, registry: ifp.Registry, git: Git) -> None:
    make("a")
    git("add", "ifp.db")
    registry.close()
    before = registry.path.read_bytes()
    assert examine(registry.path) == Examination(())
    assert registry.path.read_bytes() == before


def test_wal_mode_is_found_and_converted(make: Make, registry: ifp.Registry) -> None:
    make("a")
    digest = verify(registry).digest
    registry.close()
    connection = sqlite3.connect(registry.path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert kinds(examine(registry.path)) == [("wal", PROBLEM)]
    assert examine(registry.path, mend=True) == Examination((), ("wal",))
    assert verify(registry).digest == digest


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"version https://git-lfs.github.com/spec/v1\n" + bytes(99), "git lfs pull"), (b"", "empty"), (b"x" * 200, "no SQLite")],
)
def test_what_can_not_be_read_is_told(folder: Path, data: bytes, said: str) -> None:
    (folder / "ifp.db").write_bytes(data)
    (found,) = examine(folder / "ifp.db", mend=True).findings
    assert (found.kind, found.severity) == ("unreadable", PROBLEM)
    assert said in found.detail


def test_a_journal_of_a_killed_writer_is_told(make: Make, registry: ifp.Registry) -> None:
    make("a")
    registry.close()
    script = f"""
import os, sqlite3
c = sqlite3.connect({str(registry.path)!r}, isolation_level=None)
c.execute("PRAGMA cache_size = 1")
c.execute("BEGIN IMMEDIATE")
c.executemany("INSERT INTO code (digest, body) VALUES (randomblob(32), ?)", [('["' + "x" * 3000 + '"]',)] * 50)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script])
    assert Path(f"{registry.path}-journal").stat().st_size
    assert kinds(examine(registry.path)) == [("journal", HINT)]
    assert examine(registry.path) == Examination(())  # looking at it rolled it back


def test_an_older_schema_is_told_and_migrated(folder: Path) -> None:
    connection = sqlite3.connect(folder / "old.db")
    for name in ("schema-1.sql", "registry-1.sql"):
        connection.executescript((FIXTURES / name).read_text())
    connection.close()
    assert ("schema", HINT) in kinds(examine(folder / "old.db"))
    assert "schema" in examine(folder / "old.db", mend=True).mended


def test_missing_blobs_are_counted(make: Make, registry: ifp.Registry) -> None:
    first, _ = make("a"), make("b")
    assert first.weights
    registry.blobs.path(first.weights.digest).unlink()
    (found,) = examine(registry.path).findings
    assert (found.kind, found.severity) == ("blobs", PROBLEM)
    assert "1 of 2" in found.detail
    registry.blobs.root.rename("elsewhere")
    (found,) = examine(registry.path).findings
    assert "2 of 2" in found.detail and "not here" in found.detail


def test_a_copy_beside_it_is_told_and_another_registry_is_not(make: Make, registry: ifp.Registry, folder: Path) -> None:
    make("a")
    with ifp.init(folder / "other.db") as other:
        other.register("fraud", folder / "model.bin", partial=True)
    (folder / "text.db").write_text("hello")
    assert examine(registry.path) == Examination(())
    (folder / "ifp (copy).db").write_bytes(registry.path.read_bytes())
    (found,) = examine(registry.path).findings
    assert (found.kind, found.severity) == ("copy", HINT)
    assert "ifp (copy).db" in found.detail


def test_a_run_whose_process_is_gone_is_told_and_ended(registry: ifp.Registry) -> None:
    script = "import os, ifpdb as ifp\nifp.track('fraud').__enter__()\nos.kill(os.getpid(), 9)\n"
    subprocess.run([sys.executable, "-c", script])
    assert kinds(examine(registry.path)) == [("dead-run", HINT)]
    assert examine(registry.path, mend=True) == Examination((), ("dead-run",))
    assert registry.events()[-1].kind == "run_ended"


def test_a_clock_behind_the_log_is_told(make: Make, registry: ifp.Registry) -> None:
    make("a")
    connection = sqlite3.connect(registry.path)
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("UPDATE event SET body = json_set(body, '$.at', '2999-01-01T00:00:00.000000Z')")
    connection.commit()
    connection.close()
    assert kinds(examine(registry.path)) == [("clock", PROBLEM)]


GIT: dict[str, tuple[list[list[str]], dict[str, str], tuple[str, str]]] = {
    "untracked": ([], {}, ("git-untracked", HINT)),
    "ignored": ([], {".gitignore": "*.db\nifp.cas/\n"}, ("git-ignored", HINT)),
    "blobs not ignored": ([["add", "ifp.db"]], {".gitignore": ""}, ("git-blobs", HINT)),
    "blobs tracked": ([["add", "ifp.db"], ["add", "-f", "ifp.cas"]], {}, ("git-blobs", PROBLEM)),
    "text": ([["add", "ifp.db"]], {".gitattributes": "* text\n"}, ("git-text", PROBLEM)),
    "a filter": ([["add", "ifp.db"]], {".gitattributes": "*.db filter=lfs\n"}, ("git-filter", PROBLEM)),
}


@pytest.mark.parametrize("case", GIT)
def test_what_git_would_do_wrong_is_told(make: Make, registry: ifp.Registry, git: Git, folder: Path, case: str) -> None:
    commands, files, told = GIT[case]
    make("a")
    registry.close()
    for name, text in files.items():
        (folder / name).write_text(text)
    for command in commands:
        git(*command)
    assert kinds(examine(registry.path)) == [told]


def test_a_shallow_clone_is_told(make: Make, registry: ifp.Registry, git: Git, folder: Path) -> None:
    for text in ("a", "b"):
        make(text)
        git("add", "--all")
        git("commit", "-qm", text)
    git("clone", "-q", "--depth=1", f"file://{folder}", "clone")
    (folder / "ifp.cas").rename(folder / "clone" / "ifp.cas")
    clone = folder / "clone" / "ifp.db"
    assert kinds(examine(clone)) == [("git-driver", HINT), ("git-hooks", HINT), ("git-shallow", HINT)]
    setup.install(clone)
    assert kinds(examine(clone)) == [("git-shallow", HINT)]


def test_blobs_that_are_meant_to_be_in_git_are_no_problem(make: Make, registry: ifp.Registry, git: Git) -> None:
    make("a")
    registry.close()
    setup.install(registry.path, setup.COMMITTED)
    git("add", "--all")
    assert examine(registry.path) == Examination(())


def test_blobs_meant_for_lfs_need_it_in_this_clone(make: Make, registry: ifp.Registry, git: Git, folder: Path) -> None:
    make("a")
    registry.close()
    setup.install(registry.path, setup.COMMITTED)
    attributes = folder / ".gitattributes"
    attributes.write_text(attributes.read_text().replace("-text -diff -merge", setup.BLOBS[setup.LFS]))
    git("add", "--all")
    assert kinds(examine(registry.path)) == [("git-lfs", HINT)]
    git("config", "filter.lfs.clean", "cat")
    assert examine(registry.path) == Examination(())


LACKING: dict[str, tuple[list[str], tuple[str, str]]] = {
    "no driver": (["config", "--remove-section", "merge.ifp"], ("git-driver", HINT)),
    "a driver of a Python that is gone": (["config", "merge.ifp.driver", "/gone/ifp git merge-driver"], ("git-driver", HINT)),
    "no hooks": (["config", "core.hooksPath", "elsewhere"], ("git-hooks", HINT)),
}


@pytest.mark.parametrize("case", LACKING)
def test_what_this_clone_lacks_is_told(make: Make, registry: ifp.Registry, git: Git, case: str) -> None:
    make("a")
    registry.close()
    git("add", "ifp.db")
    git(*LACKING[case][0])
    assert kinds(examine(registry.path)) == [LACKING[case][1]]
    setup.install(registry.path)
    assert examine(registry.path).ok


def test_an_attribute_that_is_lacking_is_told_once(make: Make, registry: ifp.Registry, git: Git, folder: Path) -> None:
    make("a")
    registry.close()
    git("add", "ifp.db")
    (folder / ".gitattributes").write_text("ifp.db -text\n")
    assert kinds(examine(registry.path)) == [("git-attributes", HINT)]


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707])
def test_a_trust_list_that_others_may_write_is_told_and_closed(registry: ifp.Registry, home: Path, mode: int) -> None:
    place = home / "data" / "ifp" / "trust"
    place.mkdir(parents=True, mode=0o700)
    place.parent.chmod(0o700)
    assert examine(registry.path) == Examination(())
    place.chmod(mode)
    assert kinds(examine(registry.path)) == [("trust", PROBLEM)]
    assert examine(registry.path, mend=True) == Examination((), ("trust",))
    assert not place.stat().st_mode & 0o022


def test_a_folder_that_can_not_be_written_is_told() -> None:
    """As somebody who is not root: nothing is read-only for root."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "registry")
        place.mkdir()
        with ifp.init(place / "ifp.db"):
            pass
        place.chmod(0o555)
        Path(folder).chmod(0o755)
        before = os.geteuid()
        os.seteuid(before or 65534)
        try:
            found = examine(place / "ifp.db")
        finally:
            os.seteuid(before)
            place.chmod(0o755)
    assert ("read-only", HINT) in kinds(found)
    assert set(kinds(found)) <= {("read-only", HINT), ("no-access", PROBLEM)}  # root's home can't be looked into


def test_a_promotion_that_no_environment_acknowledged_is_told(two: ifp.Registry, cli: Callable[..., Any]) -> None:
    fraud = two.model("fraud")
    first, second = fraud.get("v1").digest[:19], fraud.get("v2").digest[:19]
    assert examine(two.path) == Examination(()), "nobody says where this model is served"
    fraud.deployed("v2", "lab")
    fraud.deployed("v1", "it's eu")
    assert examine(two.path) == Examination(()), "what was never in production may be served elsewhere"
    fraud.promote("v2", "production", force=True, reason="better")
    fraud.deployed("v2", "lab", stopped=True)
    missing, left = examine(two.path).findings
    assert (missing.kind, missing.severity, left.kind, left.severity) == ("not-deployed", HINT, "still-deployed", HINT)
    assert left.fix.endswith(f"""ifp deployed fraud@{first} --environment 'it'"'"'s eu' --stopped""")
    command = missing.fix.partition("then ifp ")[2]
    assert command.startswith(f"deployed fraud@{second} --environment ")
    assert cli(*shlex.split(command)).code == 0
    assert examine(two.path) == Examination(())
