"""Bad input for the merge driver: git stops, ours stays byte for byte, nothing is left behind, and a sentence says why."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from person import Person, apart, begin, digest_of, register

import ifpdb as ifp
from ifpdb.errors import IntegrityError
from ifpdb.gitlink import driver

IFP = Path(sys.executable).with_name("ifp")
Spoil = Callable[[Path], None]
Cli = Callable[..., Any]


@pytest.fixture
def ada(tmp_path: Path, home: Path) -> Person:
    return begin(tmp_path)


def sides(person: Person, spoil: Spoil) -> None:
    """Two branches that went on; what topic committed was spoiled before, past all hooks."""
    person.git("switch", "--quiet", "--create", "topic")
    person.register("two", metrics={"f1": 0.9})
    spoil(person.db)
    person.commit("two")
    person.git("switch", "--quiet", "main")
    person.register("three")
    person.commit("three")


def left_behind(person: Person) -> list[str]:
    return sorted(str(found) for found in (person.folder / ".git").rglob("ifp-*")) + [
        line for line in person.status() if not line.endswith(" ifp.db")
    ]


# -- what is no registry


def write(data: bytes) -> Spoil:
    def change(db: Path) -> None:
        db.write_bytes(data)

    return change


def truncate(db: Path) -> None:
    db.write_bytes(db.read_bytes()[: 4096 * 7 + 100])


def another(db: Path) -> None:
    db.unlink()
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("CREATE TABLE event (id)")


def in_wal_mode(db: Path) -> None:
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def of_the_future(db: Path) -> None:
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA user_version = 99")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 258048\n"
NO_REGISTRY: dict[str, tuple[Spoil, str]] = {
    "another program's": (another, "is not a registry"),
    "text": (write(b"registry: 1\n" * 50), "is not a registry"),
    "empty": (write(b""), "is not a registry"),
    "conflict marks": (write(b"<<<<<<< HEAD\nx\n=======\n"), "is not a registry"),
    "an LFS pointer": (write(POINTER), "is not a registry"),
    "truncated": (truncate, "damaged"),
    "in WAL mode": (in_wal_mode, "is in WAL mode"),
    "of a newer ifpdb": (of_the_future, "upgrade"),
}


# -- what somebody changed


@contextmanager
def forging(db: Path) -> Iterator[sqlite3.Connection]:
    """A connection for which no trigger stands, nor afterwards."""
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        yield connection


def sql(statement: str) -> Spoil:
    def change(db: Path) -> None:
        with forging(db) as connection:
            assert connection.execute(statement).rowcount == 1

    return change


def retold(**changes: str) -> Spoil:
    """The last event says something else, under the id that this has."""

    def change(db: Path) -> None:
        with forging(db) as connection:
            key, body = connection.execute("SELECT key, body FROM event ORDER BY key DESC LIMIT 1").fetchone()
            text = json.dumps(json.loads(body) | changes, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            id = hashlib.sha256(text.encode()).digest()
            connection.execute("UPDATE event SET id = ?, body = ? WHERE key = ?", (id, text, key))
            connection.execute("UPDATE head SET id = ?", ("sha256:" + id.hex(),))

    return change


CRAFTED: dict[str, tuple[Spoil, str]] = {
    "an event's words": (sql("UPDATE event SET body = replace(body, '\"ada\"', '\"eve\"') WHERE key = 3"), "was changed"),
    "a run's row": (sql("UPDATE run SET actor = 'eve' WHERE key = 2"), "is not the run that its log tells of"),
    "a version's manifest": (sql("UPDATE version SET manifest = replace(manifest, 'two', 'ten') WHERE key = 2"), "was changed"),
    "a metric's points": (sql("UPDATE metric SET series = x'0123456789' WHERE run = 2"), "can't be read"),
    "an event of the future": (retold(at="2999-01-01T00:00:00.000000Z"), "set this machine's clock"),
    "an event on a version that is nowhere": (retold(version="sha256:" + "0" * 64), "ifp --db"),
}
BAD = {**NO_REGISTRY, **CRAFTED}


@pytest.mark.parametrize(("spoil", "why"), BAD.values(), ids=BAD)
def test_a_bad_other_side_leaves_ours_untouched(ada: Person, spoil: Spoil, why: str) -> None:
    sides(ada, spoil)
    before = ada.db.read_bytes()
    said = ada.git("merge", "--no-edit", "topic", code=1)
    assert (
        why in said and "the other side's ifp.db" in said and "ifp.db stays as ours has it" in said and "Traceback" not in said
    )
    assert "CONFLICT (content): Merge conflict in ifp.db" in said
    assert ada.db.read_bytes() == before
    assert left_behind(ada) == []
    assert ada.problems() == []


@pytest.mark.parametrize(("spoil", "why"), NO_REGISTRY.values(), ids=NO_REGISTRY)
def test_a_bad_own_side_is_named_as_such_and_left_too(
    ada: Person, spoil: Spoil, why: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As git calls it, with files of its own making."""
    monkeypatch.chdir(ada.folder)
    ours, theirs = ada.folder.parent / "A", ada.folder.parent / "B"
    theirs.write_bytes(ada.db.read_bytes())
    ours.write_bytes(ada.db.read_bytes())
    spoil(ours)
    before = ours.read_bytes()
    said = cli("git", "merge-driver", str(theirs), str(ours), str(theirs), "ifp.db")
    assert said.code in (5, 7)
    assert why in said.err and "our side's ifp.db" in said.err
    assert ours.read_bytes() == before
    assert left_behind(ada) == []


def test_a_pointer_that_git_lfs_left_in_place_of_ours_is_said_by_resolve_too(ada: Person) -> None:
    sides(ada, write(POINTER))
    ada.git("merge", "--quiet", "topic", code=1)
    before = ada.db.read_bytes()
    with pytest.raises(IntegrityError, match=r":3:ifp\.db is not a registry"):
        driver.resolve(ada.db)
    assert ada.db.read_bytes() == before
    assert ada.status() == ["UU ifp.db"]


def test_an_unrelated_registry_is_united_and_that_is_said(ada: Person) -> None:
    ada.git("switch", "--quiet", "--create", "topic")
    ada.db.unlink()
    ifp.init(ada.db).close()
    theirs = ada.save("two", model="churn")
    ada.git("switch", "--quiet", "main")
    ours = ada.save("three")
    said = ada.git("merge", "--no-edit", "topic")
    assert "unrelated" in said
    assert ada.digest() == ada.united(ours, theirs)


# -- a driver that is killed

KILLED = """
import glob, os, subprocess, sys
ours = sys.argv[2]
was = os.stat(ours).st_ino
driver = subprocess.Popen([{ifp!r}, "git", "merge-driver", *sys.argv[1:]])
while driver.poll() is None and not {moment}:
    pass
driver.kill()
driver.wait()
sys.exit(137)
"""
MOMENTS = {
    "at once": "True",
    "while it copies": "glob.glob('.git/ifp-merge-*/*')",
    "in the transaction": "glob.glob('.git/ifp-merge-*/*-journal')",
    "with the result in place": "os.stat(ours).st_ino != was",
}


@pytest.mark.parametrize("name", MOMENTS)
def test_a_driver_that_is_killed_leaves_ours_or_the_whole_result(ada: Person, name: str) -> None:
    script = ada.folder.parent / "killed.py"
    script.write_text(KILLED.format(ifp=str(IFP), moment=MOMENTS[name]))
    both = apart(ada)
    before, after = ada.digest(), ada.united(*both)
    ada.git("config", "merge.ifp.driver", f"{sys.executable} {script} %O %A %B %P")
    assert "CONFLICT" in ada.git("merge", "--no-edit", "topic", code=1)
    assert ada.digest() in (after, before if "result" not in name else after)  # on a busy machine the hand comes late
    assert ada.status() == ["UU ifp.db"]
    assert ada.problems() == []
    driver.resolve(ada.db)
    ada.git("commit", "--quiet", "--no-edit")
    assert ada.digest() == after


@pytest.mark.nightly
def test_at_no_moment_is_the_file_that_git_takes_torn(ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    with ada.open() as registry:
        for number in range(400):
            register(registry, f"w{number}", metrics={"f1": 0.5})
    ada.commit()
    ours, theirs = (ada.bytes_at(side) for side in apart(ada))
    before, after = ada.united("main"), ada.united("main", "topic")
    monkeypatch.chdir(ada.folder)
    took, cut = drive_for(ada, ours, theirs, None), 0
    for moment in range(120):
        drive_for(ada, ours, theirs, took * (0.4 + 0.6 * moment / 120))
        found = digest_of(ada.folder.parent / "A")
        assert found in (before, after)
        cut += found == before
    assert cut > 30


def drive_for(person: Person, ours: bytes, theirs: bytes, seconds: float | None) -> float:
    """Run the driver for that long, or to its end; how long it took."""
    a, b = person.folder.parent / "A", person.folder.parent / "B"
    a.write_bytes(ours)
    b.write_bytes(theirs)
    began = time.monotonic()
    process = subprocess.Popen([IFP, "git", "merge-driver", b, a, b, "ifp.db"], stderr=subprocess.DEVNULL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    process.wait()
    return time.monotonic() - began
