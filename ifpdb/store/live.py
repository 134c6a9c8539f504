"""The live file of a run in progress: its metric points, appended beside the blobs until they are sealed into the .db.

One text line a point, `name TAB dataset TAB value TAB step TAB microseconds`, so that it can be watched with tail -f; a
last line without its newline was cut off by a kill and is dropped. The process that runs holds a lock on the file:
whoever can take that lock, on the same machine, knows that the run died. The file is durable before a row names the run;
its points are only when they are sealed.
"""

from __future__ import annotations

import operator
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import IntegrityError, StorageError, UsageError
from .blobs import fsync_path

try:
    import fcntl
except ImportError:  # Windows: no advisory locks, so a dead run is noticed only by its own process
    fcntl = None  # type: ignore[assignment]

FLUSH_SECONDS = 0.5
"""How long a point may wait in memory; a kill loses at most this."""

_STEPS = 1 << 63


@dataclass(frozen=True, slots=True)
class Point:
    """One metric point. `dataset` is a digest, a pointer, or ''; `at` is microseconds since 1970, UTC."""

    name: str
    dataset: str
    value: float
    step: int | None
    at: int


class LiveWriter:
    """Appends points for one run; `log` costs a microsecond or two and a thread writes twice a second."""

    def __init__(self, folder: Path, run: str) -> None:
        """Make the run's live file and lock it. Raises StorageError where that can't be done."""
        self.path = live_path(folder, run)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "xb", buffering=0)  # noqa: SIM115  # held, and locked, until close
            _lock(self._file.fileno())
            self._file.write(f"ifp-live/1\t{run}\t{socket.gethostname()}\t{os.getpid()}\n".encode())
            _make_durable(self._file.fileno(), self.path.parent)
        except OSError as error:
            raise StorageError(f"{self.path} can't be written: {error.strerror}") from error
        self._pid = os.getpid()
        self._pending: list[tuple[str, str, float, int | None, int]] = []
        self._lock = threading.Lock()
        self._failure: OSError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"ifp-live-{run}", daemon=True)
        self._thread.start()

    def log(self, name: str, dataset: str, value: float, step: int | None) -> None:
        """Take one point; it is in the file within FLUSH_SECONDS. Raises UsageError for a step that is no 64-bit integer."""
        if step is not None and (type(step) is not int or not -_STEPS <= step < _STEPS):
            step = _whole_step(step)
        self._pending.append((name, dataset, value, step, time.time_ns() // 1000))

    def flush(self) -> None:
        """Write what waits. Raises StorageError when the disk is full; the points wait on."""
        self._write()
        if self._failure is not None:
            raise StorageError(f"{self.path} can't be written: {self._failure.strerror}") from self._failure

    def close(self) -> None:
        """Stop and unlock; the file stays until what is in it was sealed."""
        self._stop.set()
        if self._pid == os.getpid():
            self._thread.join()
            self._write()
        self._file.close()

    def _work(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self._write()

    def _write(self) -> None:
        if self._pid != os.getpid():
            return  # a forked child: the points belong to the parent
        with self._lock:
            count = len(self._pending)
            if not count:
                return
            lines = [
                f"{name}\t{dataset}\t{value!r}\t{'' if step is None else step}\t{at}\n"
                for name, dataset, value, step, at in self._pending[:count]
            ]
            data, size = "".join(lines).encode(), os.fstat(self._file.fileno()).st_size
            try:
                while data:
                    data = data[self._file.write(data) :]
                self._failure = None
            except OSError as error:
                self._failure = error
                os.ftruncate(self._file.fileno(), size)
                self._file.seek(size)
                return
            del self._pending[:count]


def _whole_step(step: object) -> int:
    """A step of another integer type, such as numpy's, as an int."""
    try:
        whole = operator.index(step)  # type: ignore[arg-type]  # the question is whether it can
    except TypeError:
        raise UsageError(f"step {step!r} is not an integer") from None
    if not -_STEPS <= whole < _STEPS:
        raise UsageError(f"step {step!r} doesn't fit into 64 bits")
    return whole


def live_path(folder: Path, run: str) -> Path:
    """Where a run's live file lies, or would lie, under the blob folder."""
    return folder / "live" / f"{run}.points"


def live_runs(folder: Path) -> list[str]:
    """The runs that have a live file here."""
    try:
        return sorted(name.removesuffix(".points") for name in os.listdir(folder / "live") if name.endswith(".points"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{folder / 'live'} can't be read: {error.strerror}") from error


def is_dead(folder: Path, run: str) -> bool:
    """Whether this machine can tell that the run's process is gone: its file is here, is ours, and nobody holds it."""
    if fcntl is None:
        return False
    try:
        with open(live_path(folder, run), "rb") as file:
            header = file.readline().decode(errors="replace").split("\t")
            if len(header) != 4 or header[2] != socket.gethostname():
                return False
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def read_points(folder: Path, run: str, start: int) -> tuple[list[Point], int]:
    """The whole points from byte `start` on (0: from the first), and where they end.

    A power cut can leave zeros where bytes were not yet on the disk; what was logged from there on is gone. Raises
    IntegrityError for a line that is no point, StorageError when the file can't be read.
    """
    try:
        data = live_path(folder, run).read_bytes()
    except FileNotFoundError:
        return [], start
    except OSError as error:
        raise StorageError(f"{live_path(folder, run)} can't be read: {error.strerror}") from error
    start = start or data.find(b"\n") + 1
    hole = data.find(b"\0", start)
    end = data.rfind(b"\n", 0, hole if hole >= 0 else len(data)) + 1
    try:
        return list(_parse(data[start:end].decode())), max(end, start)
    except ValueError as error:
        path = live_path(folder, run)
        raise IntegrityError(f"{path} is damaged ({error}): move it away to lose these points of {run} and go on") from None


def _parse(text: str) -> Iterator[Point]:
    for line in text.split("\n")[:-1]:
        name, dataset, value, step, at = line.split("\t")
        yield Point(name, dataset, float(value), int(step) if step else None, int(at))


def forget(folder: Path, run: str) -> None:
    """Remove the live file of a run whose points are all sealed. One that can't be removed is left to the next writer."""
    with suppress(OSError):
        live_path(folder, run).unlink()


def _make_durable(descriptor: int, folder: Path) -> None:
    """See that a power cut can't take the file: a run that is on record without it would be in progress for ever."""
    os.fsync(descriptor)
    for place in (folder, folder.parent, folder.parent.parent):
        fsync_path(place)


def _lock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # waits only for who looks whether we are dead
