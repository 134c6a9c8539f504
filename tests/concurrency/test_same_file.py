"""Several registries on one file in one process: no lock of one is lost by what another does to the file."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb.store.db import create
from ifpdb.upkeep import backup, chain, doctor, fsck, gc

LOCKED = """
import sqlite3
connection = sqlite3.connect("ifp.db", timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
"""


def is_locked() -> bool:
    """Whether another process finds that somebody writes."""
    done = subprocess.run([sys.executable, "-c", LOCKED], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout == "database is locked\n"


@pytest.mark.parametrize(
    "look",
    [
        lambda path: ifp.open(path).close(),
        lambda path: ifp.open(path, readonly=True).models(),
        lambda path: ifp.init(path).close(),
        lambda path: ifp.open(path).sql("SELECT * FROM versions"),
        lambda path: chain.verify(ifp.open(path)),
        lambda path: fsck.fsck(ifp.open(path)),
        lambda path: gc.collect(ifp.open(path)),
        lambda path: backup.backup(ifp.open(path), path.parent / "copy"),
        lambda path: doctor.examine(path),
        lambda path: subprocess.run(["git", "hash-object", str(path)], check=True, capture_output=True),
    ],
    ids=["open", "read", "init", "sql", "verify", "fsck", "gc", "backup", "doctor", "git"],
)
def test_whoever_looks_at_the_file_leaves_a_writers_locks_alone(
    make: Callable[..., ifp.Version], registry: ifp.Registry, folder: Path, look: Callable[[Path], object]
) -> None:
    make("a")
    with registry.writing():
        look(folder / "ifp.db")
        assert is_locked()
    assert not is_locked()


def test_threads_with_registries_of_their_own_write_one_after_another(
    make: Callable[..., ifp.Version], registry: ifp.Registry, folder: Path
) -> None:
    make("a")
    errors = list[BaseException]()

    def work(number: int) -> None:
        try:
            with ifp.open(folder / "ifp.db") as mine:
                for count in range(5):
                    mine.model("fraud").tag("v1", f"t{number}-{count}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(registry.resolve("fraud@v1").tags) == 40
    assert chain.verify(registry).ok


def test_threads_may_make_a_registry_at_the_same_moment(folder: Path) -> None:
    for round in range(10):
        path, start, errors = folder / f"{round}.db", threading.Barrier(8), list[BaseException]()

        def work(path: Path = path, start: threading.Barrier = start, errors: list[BaseException] = errors) -> None:
            try:
                start.wait()
                create(path)
                ifp.open(path).models()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
