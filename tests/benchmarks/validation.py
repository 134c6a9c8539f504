"""Validating one row of 30 features, in every kind of batch that is here; and profiling columns, next to hashing them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from report import Result
from stopwatch import take_turns

from ifpdb.capture.data.profile import Profiler
from ifpdb.capture.schema.features import Feature, make_schema

WIDTH = 30
LIMITS = {"numpy": 50.0, "dict": 50.0, "pandas": 50.0, "polars": 50.0}
"""Microseconds for a row."""


def validation(_: Path, *, rounds: int, turns: int, rows: int) -> Iterator[Result]:
    """Good rows, since those are what is served; then the profiles."""
    schema = make_schema(Feature(i, f"x{i}", "number", False, -6.0, 6.0) for i in range(WIDTH))
    batches = _batches(schema.names)
    for batch in batches.values():
        assert schema.validate(batch)
    work = {name: lambda _, batch=batch: schema.validate(batch) for name, batch in batches.items()}
    laps = take_turns(work, rounds=rounds, turns=turns)
    for name in batches:
        yield Result(
            f"validate one row of {WIDTH} features, {name}", "µs", laps.seconds(name) * 1e6, LIMITS.get(name), "bare call"
        )
    yield from _profiles(rounds, rows)


def _batches(names: tuple[str, ...]) -> dict[str, Any]:
    import numpy as np

    row = np.random.default_rng(0).uniform(-5, 5, WIDTH)
    found: dict[str, Any] = {"numpy": row.reshape(1, -1), "dict": dict(zip(names, row.tolist(), strict=True))}
    if find_spec("pandas"):
        import pandas

        found["pandas"] = pandas.DataFrame([row], columns=list(names))
    if find_spec("polars"):
        import polars

        found["polars"] = polars.DataFrame([found["dict"]])
    if find_spec("pyarrow"):
        import pyarrow

        found["pyarrow"] = pyarrow.Table.from_pylist([found["dict"]])
    return found


def _profiles(rounds: int, rows: int) -> Iterator[Result]:
    import numpy as np

    rng = np.random.default_rng(0)
    small, large = rng.normal(size=(WIDTH, 569)), rng.normal(size=(WIDTH, rows))
    _profile(small)
    taken = median(_timed(lambda: _profile(small)) for _ in range(rounds * 10))
    yield Result("profile 569 x 30 floats", "ms", taken * 1e3, 3.0, "all columns")
    ratios = []
    for _ in range(rounds):
        hashed = _timed(lambda: [hashlib.sha256(column).digest() for column in large])
        ratios.append(_timed(lambda: _profile(large)) / hashed)
    figures = f"{hashed * 1e3:.0f} ms hashed, {rows:,} rows"
    yield Result(f"profile {WIDTH} columns of floats, over SHA-256", "x", median(ratios), 0.5, figures)


def _profile(columns: Any) -> None:
    for column in columns:
        profiler = Profiler("f64")
        for start in range(0, len(column), 65_536):
            profiler.add(column[start : start + 65_536])
        profiler.finish()


def _timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
