"""Logging metric points (W5), next to a bare Python list."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from material import MODEL
from report import Result

import ifpdb as ifp

NAMES = [f"k{i}" for i in range(10)]


def points(folder: Path, *, rounds: int, count: int) -> Iterator[Result]:
    """`run.log_metric`, one call a point: the call alone, and all told, with what seals the points at the end."""
    calls, totals, bare = [], [], []
    _bare(count)
    _logged(folder / "warm.db", count)
    for number in range(rounds):
        bare.append(_bare(count))
        call, total = _logged(folder / f"{number}.db", count)
        calls.append(call)
        totals.append(total)
    list_append = median(bare)
    for work, seconds, limit in (("buffered, a call", calls, 3.0), ("all told, a point", totals, 5.0)):
        value = median(seconds) / count * 1e6
        ratio = median(a / b for a, b in zip(seconds, bare, strict=True))
        figures = f"{ratio:.1f} x list.append, {list_append / count * 1e6:.3f} µs; {count:,} points"
        yield Result(f"log_metric {work} (W5)", "µs", value, limit, figures)


def _bare(count: int) -> float:
    """Seconds for as many tuples in a list."""
    kept: list[tuple[str, float, int]] = []
    start = time.perf_counter()
    for step in range(count):
        kept.append((NAMES[step % 10], step * 0.5, step))  # noqa: PERF401  # a call a point, as log_metric is
    return time.perf_counter() - start


def _logged(db: Path, count: int) -> tuple[float, float]:
    """Seconds in the loop, and until the run has ended with every point in the registry."""
    with ifp.track(MODEL, db=db, autocapture=False) as run:
        start = time.perf_counter()
        for step in range(count):
            run.log_metric(NAMES[step % 10], step * 0.5, step)
        looped = time.perf_counter() - start
    total = time.perf_counter() - start
    with ifp.open(db) as registry:
        assert sum(found.count for found in registry.run(run.id).measurements) == count
    return looped, total
