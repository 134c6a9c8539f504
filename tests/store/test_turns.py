"""The line that writers stand in: first come, first served, whoever is killed, stopped or forked in it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ifpdb.store import turns
from ifpdb.store.turns import turn

WRITER = """
import sys, time
from pathlib import Path
from ifpdb.store import turns
turns.HELD = 60
with turns.turn(Path("."), time.monotonic() + 60) as came:
    with open("order", "a") as file:
        file.write(f"{sys.argv[1]} {came}\\n")
    print("in", flush=True)
    sys.stdin.readline()
"""
TURN, EVERYONE = (0, 1), (1, 1 << 62)


class Line:
    """The line of a folder, as seen by somebody who stands outside of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[subprocess.Popen[str]] = []
        self._file = os.open(folder / turns.NAME, os.O_RDWR | os.O_CREAT)
        self._last = 0

    def enter(self, name: str) -> subprocess.Popen[str]:
        """Start a writer, and return when it stands in line or has the turn."""
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self.folder
        )
        self.children.append(child)
        if not self.is_held():
            self.wait_for(self.is_held)
        else:
            self.wait_for(lambda: self._newest() is not None)
            self._last = self._newest() or 0
        return child

    def _newest(self) -> int | None:
        return turns._holder(self._file, self._last + 1, 1 << 62)

    def is_held(self) -> bool:
        return turns._holder(self._file, *TURN) is not None

    def is_empty(self) -> bool:
        return not self.is_held() and turns._holder(self._file, *EVERYONE) is None

    def wait_for(self, state: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not state():
            assert time.monotonic() < until
            time.sleep(0.002)

    def order(self) -> list[str]:
        """Who had the turn, with whether they had it, when all who live are through."""
        for child in self.children:
            if child.stdin is not None and child.poll() is None:
                child.stdin.write("\n")
                child.stdin.flush()
        for child in self.children:
            child.communicate(timeout=60)
        return (self.folder / "order").read_text().splitlines()


@pytest.fixture
def line(folder: Path) -> Iterator[Line]:
    made = Line(folder)
    yield made
    for child in made.children:
        child.kill()
        child.communicate()


def soon() -> float:
    return time.monotonic() + 60


def test_writers_have_their_turns_in_the_order_in_which_they_came(line: Line, folder: Path) -> None:
    with turn(folder, soon()) as came:
        assert came
        for number in range(6):
            line.enter(f"w{number}")
    assert line.order() == [f"w{number} True" for number in range(6)]
    assert line.is_empty()
    assert (folder / turns.NAME).stat().st_size == 0


def test_the_rest_goes_on_in_order_when_one_that_waits_is_killed(line: Line, folder: Path) -> None:
    with turn(folder, soon()):
        children = [line.enter(f"w{number}") for number in range(4)]
        for number in (0, 2):
            children[number].kill()
            children[number].wait()
    assert line.order() == ["w1 True", "w3 True"]


def test_who_is_killed_with_the_turn_in_its_hands_gives_it_on(line: Line) -> None:
    holder = line.enter("w0")
    line.enter("w1")
    holder.kill()
    assert line.order() == ["w0 True", "w1 True"]


def test_who_is_stopped_while_it_waits_is_passed_and_has_its_turn_later(line: Line, folder: Path) -> None:
    with turn(folder, soon()):
        stopped = [line.enter(f"w{number}") for number in range(2)]
        for child in stopped:
            child.send_signal(signal.SIGSTOP)
    for _ in range(2):
        with turn(folder, soon()) as came:
            assert came
            assert line.is_held()
    for child in stopped:
        child.send_signal(signal.SIGCONT)
    assert sorted(line.order()) == ["w0 True", "w1 True"]


def test_who_is_stopped_with_the_turn_in_its_hands_is_left_behind(line: Line, folder: Path) -> None:
    line.enter("w0").send_signal(signal.SIGSTOP)
    with turn(folder, soon()) as came:
        assert not came  # SQLite says whether it is really writing
        assert turns._holder(line._file, *EVERYONE) is None


def test_waiting_ends_when_it_must(line: Line, folder: Path) -> None:
    line.enter("w0")
    for until in (time.monotonic() + 0.02, time.monotonic() - 1):
        with turn(folder, until) as came:
            assert not came
    line.enter("w1")
    with turn(folder, time.monotonic() + 0.02) as came:
        assert not came


@pytest.mark.parametrize("place", ["missing", "file", "folder"])
def test_where_there_can_be_no_line_writers_go_on_without(folder: Path, place: str) -> None:
    (folder / "file").touch()
    (folder / "folder" / turns.NAME).mkdir(parents=True)
    before = sorted(folder.rglob("*"))
    with turn(folder / place, soon()) as came:
        assert not came
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EINVAL, errno.EOPNOTSUPP, errno.EIO])
def test_where_the_file_system_keeps_no_locks_writers_go_on_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(turns, "fcntl", refuse)
    with turn(folder, soon()) as came:
        assert not came


def test_a_child_that_is_forked_with_the_turn_does_not_give_it_away(line: Line, folder: Path) -> None:
    child = -1
    try:
        with turn(folder, soon()):
            if (child := os.fork()) == 0:
                raise SystemExit  # leaves the block as the parent does
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert line.is_held()
    except SystemExit:
        os._exit(0)
    assert line.is_empty()


def test_the_turn_comes_back_from_a_parent_whose_child_lives_on(line: Line, folder: Path) -> None:
    reader, writer = os.pipe()
    with turn(folder, soon()):
        if (child := os.fork()) == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    assert line.is_empty()
    os.close(writer)
    os.waitpid(child, 0)
    os.close(reader)


def test_threads_have_their_turns_one_at_a_time(folder: Path) -> None:
    inside, most, came = 0, 0, list[bool]()

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with turn(folder, soon()) as mine:
                inside += 1
                most = max(most, inside)
                came.append(mine)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, came) == (1, [True] * 160)


def test_the_file_may_be_removed_at_any_time(line: Line, folder: Path) -> None:
    with turn(folder, soon()):
        (folder / turns.NAME).unlink()
        with turn(folder, soon()) as came:
            assert came  # of another line: SQLite keeps the two apart
    with turn(folder, soon()) as came:
        assert came


def test_a_clock_that_was_set_back_puts_nobody_before_the_next_in_line(line: Line, folder: Path) -> None:
    other = os.open(folder / turns.NAME, os.O_RDWR)
    assert turns._lock(line._file, 1, 1000)
    assert turns._stand(other, 500) == 1001
    os.close(other)
