"""A process of its own that delivers, so that no receiver slows the command that wrote the event."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .letters import Box

try:
    import fcntl
except ImportError:  # Windows: two may deliver at once, and a receiver tells by the idempotency key
    fcntl = None  # type: ignore[assignment]


def wake(box: Box, db: Path) -> None:
    """Start a process that delivers what is due, unless one is at work, or IFP_OUTBOX=off."""
    if os.environ.get("IFP_OUTBOX") == "off" or not sys.executable:
        return
    with delivering(box) as free:
        if not free:  # it looks once more after it has let go
            return
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "ifpdb.outbox", os.path.abspath(db)],
            cwd=Path(__file__).parents[2],
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            start_new_session=True,
        )
    except OSError:  # no process can be had: the letters wait for the next command, and `ifp outbox` shows them
        return
    threading.Thread(target=process.wait, daemon=True, name="ifp-outbox").start()  # so that no zombie stays


@contextmanager
def delivering(box: Box) -> Iterator[bool]:
    """Hold the right to deliver; False when another process has it, or the folder can't be written."""
    try:
        descriptor = os.open(box.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        yield False
        return
    try:
        yield fcntl is None or _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
