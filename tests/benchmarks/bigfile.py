"""A large artifact (W3), next to hashing it and to copying it; and a folder of many files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from material import MODEL
from report import Result

import ifpdb as ifp

FIRST, AGAIN = 1.15, 20.0
REST = 2.1
"""Seconds: what changed more shortly before it was read is not noted in the stat cache."""


def bigfile(folder: Path, *, rounds: int, size: int, files: int = 10_000) -> Iterator[Result]:
    """Register a file of `size` bytes, a multiple of 16 MiB, and a folder of `files`; then again, unchanged."""
    big = folder / "big.bin"
    with open(big, "wb") as file:
        for _ in range(size >> 24):
            file.write(os.urandom(1 << 24))
    time.sleep(REST)
    ratios, firsts, agains, bounds = [], [], [], []
    for number in range(rounds):
        bound = max(_timed(lambda: _hash(big)), _timed(lambda: _copy(big, folder / "copy.bin")))
        with ifp.init(folder / f"{number}.db") as registry:
            first, again = _twice(registry, big)
            registry.blobs.path(registry.resolve(f"{MODEL}@v1").weights.digest).unlink()
        ratios.append(first / bound)
        firsts.append(first)
        agains.append(again)
        bounds.append(bound)
    figures = f"{median(firsts):.2f} s; the slower of sha256 and cp + fsync {median(bounds):.2f} s"
    spread = f"[{min(ratios):.2f}–{max(ratios):.2f}]"
    label = f"{size / 2**30:g} GiB artifact (W3)"
    yield Result(f"{label}, first", "x", median(ratios), FIRST, f"{figures} {spread}")
    spread = f"[{min(agains) * 1e3:.1f}–{max(agains) * 1e3:.1f}]"
    yield Result(f"{label}, again, unchanged", "ms", median(agains) * 1e3, AGAIN, spread)
    many = folder / "many"
    many.mkdir()
    for number in range(files):
        (many / f"{number}.bin").write_bytes(b"%d," % number * 2000)
    time.sleep(REST)
    with ifp.init(folder / "many.db") as registry:
        first, again = _twice(registry, many)
    yield Result(f"folder of {files:,} files, again, unchanged", "ms", again * 1e3, None, f"first {first:.2f} s")


def _twice(registry: ifp.Registry, path: Path) -> tuple[float, float]:
    """Seconds that it takes to register a path, and to do so once more."""
    first = _timed(lambda: registry.register(MODEL, path, params={}, seed=1, partial=True))
    return first, _timed(lambda: registry.register(MODEL, path, params={}, seed=2, partial=True))


def _timed(work: Callable[[], object]) -> float:
    os.sync()  # what others have left to write is not our time
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(path: Path, target: Path) -> None:
    subprocess.run(["cp", path, target], check=True)
    descriptor = os.open(target, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    target.unlink()
