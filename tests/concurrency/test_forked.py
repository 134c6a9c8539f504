"""A registry that is open while its process forks: each process writes for itself, and nobody's locks are lost."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import ifpdb as ifp

LOCKED = """
import sqlite3
connection = sqlite3.connect("ifp.db", timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
"""
FORK = multiprocessing.get_context("fork")


class Leave(Exception):
    """Raised in a child, to leave a block that it was forked in."""


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked process; 0 when it came through, 7 when it was refused."""
    if (child := os.fork()) == 0:
        status = 1
        try:
            work()
            status = 0
        except ifp.Refused:
            status = 7

        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def is_locked() -> bool:
    """Whether another process finds that somebody writes."""
    done = subprocess.run([sys.executable, "-c", LOCKED], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout == "database is locked\n"


@contextmanager
def child_at_the_end() -> Iterator[None]:
    """Ends a child that was forked in the block, however it leaves it, with the code that `in_child` gives."""
    parent, status = os.getpid(), 1
    try:
        yield
    except Leave:
        status = 0
    except ifp.Refused:
        status = 7
        if os.getpid() == parent:
            raise
    finally:
        if os.getpid() != parent:
            os._exit(status)


def tags(registry: ifp.Registry) -> list[str]:
    return sorted(registry.resolve("fraud@v1").tags)


@pytest.fixture
def fraud(registry: ifp.Registry, make: Callable[..., ifp.Version]) -> ifp.Registry:
    make("a")
    return registry


def test_children_of_multiprocessing_write_with_the_registry_that_they_came_with(fraud: ifp.Registry) -> None:
    children = [FORK.Process(target=fraud.model("fraud").tag, args=("v1", f"t{number}")) for number in range(4)]
    for child in children:
        child.start()
    fraud.model("fraud").tag("v1", "parent")
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4
    assert tags(fraud) == ["parent", "t0", "t1", "t2", "t3"]


@pytest.mark.parametrize("raises", [False, True])
def test_a_child_forked_in_a_transaction_can_neither_commit_nor_undo_it(fraud: ifp.Registry, raises: bool) -> None:
    with child_at_the_end(), fraud.writing() as (tx, _):
        tx.execute("INSERT INTO model (name) VALUES ('churn')")
        if (child := os.fork()) == 0:
            if raises:
                raise Leave
        else:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (0 if raises else 7)
            assert is_locked()
    assert [model.model for model in fraud.models()] == ["churn", "fraud"]
    assert not is_locked()


def test_a_child_forked_in_a_transaction_may_not_look_and_leaves_it_to_its_parent(fraud: ifp.Registry) -> None:
    def look() -> None:
        for look_again in (lambda: tags(fraud), ifp.open):
            with pytest.raises(ifp.Refused, match="forked in the middle of a transaction"):
                look_again()
        fraud.close()
        gc.collect()

    with fraud.writing() as (tx, _):
        tx.execute("INSERT INTO model (name) VALUES ('churn')")
        assert in_child(look) == 0
        assert is_locked()
    assert len(fraud.models()) == 2


def test_a_child_that_was_refused_once_is_refused_the_commit_too(fraud: ifp.Registry) -> None:
    with child_at_the_end(), fraud.writing() as (tx, _):
        tx.execute("INSERT INTO model (name) VALUES ('churn')")
        if (child := os.fork()) == 0:
            with pytest.raises(ifp.Refused):
                tags(fraud)
        else:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert len(fraud.models()) == 2


def test_threads_of_a_pool_may_fork_while_others_write(fraud: ifp.Registry) -> None:
    def work(number: int) -> int:
        if number % 2:
            fraud.model("fraud").tag("v1", f"t{number}")
            return 0
        return in_child(lambda: fraud.model("fraud").tag("v1", f"t{number}"))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(16))) == [0] * 16
    assert len(tags(fraud)) == 16


def test_a_child_that_dies_without_closing_leaves_nothing_in_the_way(fraud: ifp.Registry, folder: Path) -> None:
    def die() -> None:
        with fraud.writing() as (tx, _):
            tx.execute("INSERT INTO model (name) VALUES ('churn')")
            os._exit(0)

    assert in_child(die) == 0
    fraud.model("fraud").tag("v1", "t")
    assert [model.model for model in fraud.models()] == ["fraud"]
    assert not (folder / "ifp.db-journal").exists()
