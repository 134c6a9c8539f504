"""Claims: many share, one has it alone, a process takes its claims with it when it dies."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ifpdb.errors import Busy, Refused, StorageError
from ifpdb.store import claims

HOLD = """
import sys, pathlib
from ifpdb.store import claims
with getattr(claims, sys.argv[1])(pathlib.Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(kind: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a claim until its stdin closes."""
    command = [sys.executable, "-c", HOLD, kind, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_many_share(folder: Path) -> None:
    with held("shared", folder), held("shared", folder), claims.shared(folder, timeout=0), claims.shared(folder, timeout=0):
        pass


@pytest.mark.parametrize(("theirs", "ours"), [("shared", "exclusive"), ("exclusive", "shared"), ("exclusive", "exclusive")])
def test_one_has_it_alone(folder: Path, theirs: str, ours: str) -> None:
    with held(theirs, folder) as other:
        with pytest.raises(Busy, match="longer than 0 s"), getattr(claims, ours)(folder, timeout=0):
            pass
        other.kill()
        with getattr(claims, ours)(folder):
            pass


def test_threads_of_one_process_hold_each_other_off(folder: Path) -> None:
    order, inside = list[str](), threading.Event()

    def share() -> None:
        with claims.shared(folder):
            inside.set()
            order.append("shared")

    with claims.exclusive(folder):
        thread = threading.Thread(target=share)
        thread.start()
        assert not inside.wait(0.05)
        order.append("exclusive")
    thread.join()
    assert order == ["exclusive", "shared"]


def test_a_claim_ends_when_its_block_raises(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), claims.exclusive(folder):
        raise ZeroDivisionError
    with claims.exclusive(folder, timeout=0):
        pass


def test_a_forked_child_does_not_give_its_parents_claim_away(folder: Path) -> None:
    with held("shared", folder) as other:
        other.kill()
    claim = claims.shared(folder)
    claim.__enter__()
    child = os.fork()
    if child == 0:
        claim.__exit__(None, None, None)
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(Busy), claims.exclusive(folder, timeout=0):
        pass
    claim.__exit__(None, None, None)
    with claims.exclusive(folder, timeout=0):
        pass


def test_the_folder_is_made_where_it_is_missing(folder: Path) -> None:
    with claims.shared(folder / "ifp.cas"):
        assert (folder / "ifp.cas" / "claim").is_file()


@contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder that this process may not write in, even where it is root's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "inside").mkdir()
        Path(folder, "inside").chmod(0o555)
        Path(folder).chmod(0o755)
        before = os.geteuid()
        os.seteuid(before or 65534)
        try:
            yield Path(folder, "inside")
        finally:
            os.seteuid(before)
            Path(folder, "inside").chmod(0o755)


def test_a_folder_that_nobody_could_claim_needs_no_claim() -> None:
    with as_nobody() as unwritable:
        with claims.shared(unwritable):
            assert list(unwritable.iterdir()) == []
        with claims.shared(unwritable / "ifp.cas"):
            assert not (unwritable / "ifp.cas").exists()


def test_a_folder_that_somebody_else_claims_is_held_off_without_writing_in_it() -> None:
    with as_nobody() as unwritable:
        ours = os.geteuid()
        os.seteuid(os.getuid())
        unwritable.chmod(0o755)
        with claims.exclusive(unwritable):
            unwritable.chmod(0o555)
            os.seteuid(ours)
            with pytest.raises(Busy), claims.shared(unwritable, timeout=0):
                pass
            os.seteuid(os.getuid())


def test_a_file_in_the_folders_place_is_told(folder: Path) -> None:
    (folder / "ifp.cas").write_text("")
    with pytest.raises(StorageError, match="can't be claimed"), claims.shared(folder / "ifp.cas"):
        pass


def test_without_flock_nobody_has_it_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "fcntl", None)
    with claims.shared(folder):
        pass
    with pytest.raises(Refused, match="no flock"), claims.exclusive(folder):
        pass
