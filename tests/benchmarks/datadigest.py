"""Digests of training data, next to plain SHA-256 of as many bytes in the same run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from report import Result
from stopwatch import Turn, take_turns

import ifpdb as ifp
from ifpdb.capture.data.dataset import describe

COLUMNS = 30
NUMERIC, TEXTUAL = 0.8, 0.5
"""The least throughput, as a part of SHA-256's."""


def datadigest(_folder: Path, *, rounds: int, rows: int) -> Iterator[Result]:
    """Arrays in both orders, a frame and a table of texts; and a small array described with its profile."""
    import numpy as np

    numbers = np.random.default_rng(0).normal(size=(rows, COLUMNS))
    given: dict[str, tuple[Any, int, float]] = {
        "array, row by row": (numbers, numbers.nbytes, NUMERIC),
        "array, column by column": (np.asfortranarray(numbers), numbers.nbytes, NUMERIC),
    }
    if find_spec("pandas") is not None:
        import pandas

        frame = pandas.DataFrame({f"c{i}": numbers[:, i].copy() for i in range(COLUMNS)})
        given["pandas frame"] = (frame, numbers.nbytes, NUMERIC)
    if find_spec("pyarrow") is not None:
        import pyarrow

        texts = pyarrow.table({"a": np.char.mod("%d", np.arange(rows)), "b": np.char.mod("%.12g", numbers[:, 0])})
        given["Arrow table of texts"] = (texts, texts.nbytes, TEXTUAL)
    work: dict[str, Turn] = {}
    for name, (data, size, _) in given.items():
        work[name] = lambda _, data=data: ifp.hash_data(data)
        work[f"{name}: raw"] = lambda _, raw=bytes(size): hashlib.sha256(raw).digest()
    laps = take_turns(work, rounds=rounds, turns=1)
    for name, (_, size, least) in given.items():
        limit, figures = 1 / least, f"{size / laps.seconds(name) / 1e9:.2f} GB/s"
        ratio = laps.ratio(name, f"{name}: raw")
        yield Result(f"digest of {rows:,} rows, {name}, over SHA-256", "x", ratio, limit, figures)
    small = numbers[:569].copy()
    laps = take_turns({"small": lambda _: describe(small)}, rounds=rounds, turns=50)
    yield Result("569 x 30 described: digest, schema's ranges and profiles", "ms", laps.seconds("small") * 1e3, 3.0, "–")
