"""Live files: points on disk within a moment, torn lines dropped, and a lock that outlives nobody."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from ifpdb.errors import IntegrityError, StorageError, UsageError
from ifpdb.store import live

RUN = "run-7q3k9x2mab"


@pytest.fixture
def writer(folder: Path) -> Iterator[live.LiveWriter]:
    opened = live.LiveWriter(folder, RUN)
    yield opened
    opened.close()


def told(folder: Path, start: int = 0) -> list[tuple[str, str, float, int | None]]:
    return [(p.name, p.dataset, p.value, p.step) for p in live.read_points(folder, RUN, start)[0]]


def test_points_are_read_back_in_their_order(writer: live.LiveWriter, folder: Path) -> None:
    points = [("f1", "", 0.1, None), ("loss on x", "s3://b#1", 1e-300, -5), ("größe", "sha256:aa", -0.0, 2**63 - 1)]
    for point in points:
        writer.log(*point)
    writer.flush()
    assert told(folder) == points
    assert str(told(folder)[2][2]) == "-0.0"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_kept(writer: live.LiveWriter, folder: Path, value: float) -> None:
    writer.log("f1", "", value, 0)
    writer.flush()
    assert repr(told(folder)[0][2]) == repr(value)


def test_a_point_is_timed_when_it_was_logged(writer: live.LiveWriter, folder: Path) -> None:
    writer.log("f1", "", 0.0, None)
    writer.log("f1", "", 0.0, None)
    writer.flush()
    first, second = live.read_points(folder, RUN, 0)[0]
    assert 0 <= second.at - first.at < 60_000_000


def test_points_reach_the_file_by_themselves(writer: live.LiveWriter, folder: Path) -> None:
    writer.log("f1", "", 0.5, 1)
    for _ in range(100):
        if told(folder):
            break
        writer._stop.wait(live.FLUSH_SECONDS / 5)
    assert told(folder) == [("f1", "", 0.5, 1)]


def test_closing_writes_what_waits(writer: live.LiveWriter, folder: Path) -> None:
    writer.log("f1", "", 0.5, 1)
    writer.close()
    assert told(folder) == [("f1", "", 0.5, 1)]


def test_a_step_of_numpy_is_a_step(writer: live.LiveWriter, folder: Path) -> None:
    writer.log("f1", "", 0.5, numpy.int64(7))  # type: ignore[arg-type]
    writer.flush()
    assert told(folder) == [("f1", "", 0.5, 7)]


@pytest.mark.parametrize("step", [1.5, "3", 2**63, -(2**63) - 1, float("nan")])
def test_a_step_that_could_not_be_sealed_is_refused(writer: live.LiveWriter, folder: Path, step: Any) -> None:
    with pytest.raises(UsageError, match="step"):
        writer.log("f1", "", 0.5, step)
    writer.flush()
    assert told(folder) == []


def test_reading_goes_on_where_it_ended(writer: live.LiveWriter, folder: Path) -> None:
    writer.log("f1", "", 0.1, 1)
    writer.flush()
    _, end = live.read_points(folder, RUN, 0)
    writer.log("f1", "", 0.2, 2)
    writer.flush()
    assert told(folder, end) == [("f1", "", 0.2, 2)]
    last = live.read_points(folder, RUN, 0)[1]
    assert live.read_points(folder, RUN, last) == ([], last)


def test_a_file_cut_anywhere_gives_the_whole_lines_before_the_cut(writer: live.LiveWriter, folder: Path) -> None:
    for step in range(3):
        writer.log("größe", "", 0.5, step)
    writer.close()
    whole = writer.path.read_bytes()
    header = whole.index(b"\n") + 1
    for cut in range(len(whole) + 1):
        writer.path.write_bytes(whole[:cut])
        points, end = live.read_points(folder, RUN, 0)
        assert [p.step for p in points] == list(range(max(0, whole[header:cut].count(b"\n"))))
        assert end == whole[:cut].rfind(b"\n") + 1


def test_a_line_that_is_no_point_is_told_by_its_file(writer: live.LiveWriter, folder: Path) -> None:
    writer.close()
    with open(writer.path, "ab") as file:
        file.write(b"no point\n")
    with pytest.raises(IntegrityError, match=RUN):
        live.read_points(folder, RUN, 0)


@pytest.mark.parametrize("written", [4, 20, 30])
def test_zeros_that_a_power_cut_left_end_the_points(writer: live.LiveWriter, folder: Path, written: int) -> None:
    for step in range(3):
        writer.log("f1", "", 0.5, step)
    writer.close()
    whole = writer.path.read_bytes()
    header = whole.index(b"\n") + 1
    hole = len(whole) - written
    writer.path.write_bytes(whole[:hole] + bytes(2) + whole[hole + 2 :])
    points, end = live.read_points(folder, RUN, 0)
    assert [p.step for p in points] == list(range(whole[header:hole].count(b"\n")))
    assert end == whole[:hole].rindex(b"\n") + 1


def test_a_sealed_file_that_can_not_be_removed_is_left_to_the_next_writer(folder: Path) -> None:
    live.live_path(folder, RUN).mkdir(parents=True)  # which unlink refuses, for root too
    live.forget(folder, RUN)
    assert live.live_runs(folder) == [RUN]


def test_no_file_has_no_points(folder: Path) -> None:
    assert live.live_runs(folder) == []
    assert live.read_points(folder, RUN, 0) == ([], 0)
    assert not live.is_dead(folder, RUN)
    live.forget(folder, RUN)


def test_one_run_has_one_writer(writer: live.LiveWriter, folder: Path) -> None:
    assert live.live_runs(folder) == [RUN]
    with pytest.raises(StorageError):
        live.LiveWriter(folder, RUN)


def test_a_run_is_alive_until_it_is_closed(writer: live.LiveWriter, folder: Path) -> None:
    assert not live.is_dead(folder, RUN)
    writer.close()
    assert live.is_dead(folder, RUN)
    live.forget(folder, RUN)
    assert live.live_runs(folder) == []


CHILD = """
import sys
from pathlib import Path
from ifpdb.store import live
writer = live.LiveWriter(Path(sys.argv[1]), sys.argv[2])
writer.log("f1", "", 0.5, 1)
writer.flush()
writer.log("f1", "", 0.75, 2)
print("ready", flush=True)
sys.stdin.read()
"""


def test_the_lock_tells_a_killed_process(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert not live.is_dead(folder, RUN)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert live.is_dead(folder, RUN)
    assert told(folder)[0] == ("f1", "", 0.5, 1)


def test_another_machines_run_is_never_called_dead(writer: live.LiveWriter, folder: Path) -> None:
    writer.close()
    writer.path.write_bytes(f"ifp-live/1\t{RUN}\tanother-host\t1\n".encode())
    assert not live.is_dead(folder, RUN)


def test_a_file_without_its_header_is_not_called_dead(folder: Path) -> None:
    live.live_path(folder, RUN).parent.mkdir()
    live.live_path(folder, RUN).touch()
    assert not live.is_dead(folder, RUN)


FULL = """
import resource, signal, sys
from pathlib import Path
from ifpdb.errors import StorageError
from ifpdb.store import live
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = live.LiveWriter(Path(sys.argv[1]), sys.argv[2])
writer.log("f1", "", 0.5, 1)
writer.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (writer.path.stat().st_size + 10, resource.RLIM_INFINITY))
writer.log("f1", "", 0.75, 2)
try:
    writer.flush()
except StorageError:
    points, _ = live.read_points(Path(sys.argv[1]), sys.argv[2], 0)
    assert [p.step for p in points] == [1] and writer.path.read_bytes().endswith(b"\\n")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    writer.flush()
    print("told")
"""


def test_a_full_disk_is_told_and_the_points_wait_for_room(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(folder), RUN], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("told\n", "")
    assert [point[3] for point in told(folder)] == [1, 2]


def test_a_forked_child_leaves_the_parents_points_alone(writer: live.LiveWriter, folder: Path) -> None:
    writer.log("f1", "", 0.5, 1)
    if (child := os.fork()) == 0:
        try:
            writer.flush()
            writer.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    writer.flush()
    assert told(folder) == [("f1", "", 0.5, 1)]
    assert not live.is_dead(folder, RUN)
