"""A registry that is open while git, or somebody, puts another file in its place."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb.store import turns
from ifpdb.store.db import Database
from ifpdb.upkeep import chain


def git(*arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=ada", "-c", "user.email=ada@x", *arguments], check=True, capture_output=True, timeout=60
    )


@pytest.fixture
def branches(registry: ifp.Registry, make: Callable[..., ifp.Version]) -> ifp.Registry:
    """A git checkout of branch `main`, with v1; branch `more` has v2 besides. The registry was opened before."""
    make("a")
    git("init", "-q", "-b", "main")
    git("add", "ifp.db")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "more")
    make("b", params={"C": 2.0})
    git("commit", "-qam", "two")
    git("checkout", "-q", "main")
    return registry


def ordinals(registry: ifp.Registry) -> list[int]:
    return sorted(version.ordinal for version in registry.model("fraud").versions())


def test_reads_and_writes_after_a_checkout_are_of_the_branch_that_is_here(branches: ifp.Registry) -> None:
    assert ordinals(branches) == [1]
    git("checkout", "-q", "more")
    assert ordinals(branches) == [1, 2]
    branches.model("fraud").tag("v2", "more")
    assert chain.verify(branches).ok
    git("commit", "-qam", "three")
    git("checkout", "-q", "main")
    assert ordinals(branches) == [1]
    branches.model("fraud").tag("v1", "main")
    assert chain.verify(branches).ok
    git("checkout", "-qf", "more")
    assert branches.resolve("fraud@v2").tags == ("more",)


def test_a_write_that_a_checkout_comes_into_fails_and_neither_branch_has_any_of_it(
    branches: ifp.Registry, folder: Path
) -> None:
    with pytest.raises(ifp.Conflict, match="was replaced"), branches.writing() as (tx, _):
        tx.execute("INSERT INTO model (name) VALUES ('churn')")
        git("checkout", "-q", "more")
    for branch, expected in (("more", [1, 2]), ("main", [1])):
        git("checkout", "-q", branch)
        assert ordinals(branches) == expected
        assert [model.model for model in branches.models()] == ["fraud"]
        assert subprocess.run(["git", "status", "--porcelain", "ifp.db"], capture_output=True, check=True).stdout == b""
    assert not (folder / "ifp.db-journal").exists()


def test_a_read_that_a_checkout_comes_into_goes_on_with_what_it_began(branches: ifp.Registry) -> None:
    with branches.reading() as tx:
        git("checkout", "-q", "more")
        assert tx.execute("SELECT count(*) FROM version").fetchone() == (1,)
    assert ordinals(branches) == [1, 2]


def remove(path: Path) -> None:
    path.unlink()


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("harm", "error"), [(remove, ifp.NotFound), (make_a_folder, ifp.StorageError)], ids=["removed", "folder"]
)
def test_a_file_that_goes_is_told_by_the_next_read_and_write(
    branches: ifp.Registry, folder: Path, harm: Callable[[Path], None], error: type[ifp.IfpError]
) -> None:
    harm(folder / "ifp.db")
    for attempt in (lambda: ordinals(branches), lambda: branches.model("fraud").tag("v1", "t")):
        with pytest.raises(error):
            attempt()


@pytest.mark.parametrize("harm", [remove, make_a_folder])
def test_a_write_whose_file_goes_meanwhile_fails(branches: ifp.Registry, folder: Path, harm: Callable[[Path], None]) -> None:
    with pytest.raises(ifp.Conflict), branches.writing() as (tx, _):
        harm(folder / "ifp.db")
        tx.execute("INSERT INTO model (name) VALUES ('churn')")


# -- waiting, stopping, closing

WAITING = """
from pathlib import Path
from ifpdb.store.db import Database
db = Database(Path("ifp.db"))
try:
    with db.write():
        pass
except KeyboardInterrupt:
    print("stopped")
"""


def test_ctrl_c_ends_the_wait_for_another_writer(branches: ifp.Registry, folder: Path) -> None:
    other = sqlite3.connect("ifp.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    line = os.open(folder / "ifp.cas" / turns.NAME, os.O_RDWR)
    child = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True)
    while turns._holder(line, 0, 1) is None:  # until it has its turn and asks SQLite
        assert child.poll() is None
        time.sleep(0.002)
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=20)[0] == "stopped\n"  # of the 60 s that it would have waited
    other.close()
    os.close(line)


def test_a_registry_that_another_thread_closes_is_closed_after_the_write(branches: ifp.Registry) -> None:
    begun = threading.Event()

    def close() -> None:
        begun.set()
        branches.close()

    thread = threading.Thread(target=close)
    with branches.writing() as (tx, _):
        thread.start()
        begun.wait(60)
        tx.execute("INSERT INTO model (name) VALUES ('churn')")
    thread.join()
    assert [model.model for model in branches.models()] == ["churn", "fraud"]


def test_a_registry_that_is_closed_inside_its_own_write_has_none_of_it(branches: ifp.Registry) -> None:
    with pytest.raises(sqlite3.ProgrammingError), branches.writing() as (tx, _):
        tx.execute("INSERT INTO model (name) VALUES ('churn')")
        branches.close()
    assert [model.model for model in branches.models()] == ["fraud"]


@pytest.mark.parametrize("way", ["read", "write"])
def test_a_transaction_inside_of_another_is_refused_and_leaves_that_as_it_is(branches: ifp.Registry, way: str) -> None:
    db = Database(branches.path)
    with db.write() as tx:
        tx.execute("INSERT INTO model (name) VALUES ('churn')")
        with pytest.raises(ifp.UsageError, match="is in a transaction"), getattr(db, way)():
            pass
        assert tx.in_transaction
    assert [model.model for model in branches.models()] == ["churn", "fraud"]


def test_what_a_users_block_raises_is_raised_as_it_is(branches: ifp.Registry, folder: Path) -> None:
    for block in (branches.reading, branches.writing):
        with pytest.raises(FileNotFoundError), block():
            (folder / "nothing").read_bytes()
