"""Metrics: one row for each run, name and dataset, with every point sealed into a compressed series."""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable

from .. import digest, times
from ..errors import NotFound
from ..records import Measurement
from ..store import series
from ..store.live import Point
from . import datasets

OF_RUN = "SELECT name, coalesce(dataset, 0), rowid FROM metric WHERE run = ?"
OLD_SERIES = "SELECT series FROM metric WHERE rowid = ?"
INSERT = "INSERT INTO metric (run, name, dataset, last, min, max, count, at, series) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
UPDATE = "UPDATE metric SET last = ?, min = ?, max = ?, count = ?, at = ?, series = ? WHERE rowid = ?"


def seal(tx: sqlite3.Connection, run: int, points: Iterable[Point]) -> None:
    """Add points to the series of a run, in the order in which they were logged.

    A point without a step takes the number of points before it. Raises NotFound for a dataset that is not on record.
    """
    columns: dict[tuple[str, str], tuple[list[float], list[int | None], list[int]]] = {}
    for point in points:
        values, steps, moments = columns.setdefault((point.name, point.dataset), ([], [], []))
        values.append(point.value)
        steps.append(point.step)
        moments.append(point.at)
    if not columns:
        return
    rows = {(name, dataset): row for name, dataset, row in tx.execute(OF_RUN, (run,))}
    keys = {dataset: _dataset_key(tx, dataset) for dataset in {dataset for _, dataset in columns}}
    fresh = []
    for (name, identity), column in columns.items():
        dataset = keys[identity]
        row = rows.get((name, dataset or 0))
        if row is None:
            fresh.append((run, name, dataset, *_summary(([], [], []), *column)))
        else:
            old = series.unpack(tx.execute(OLD_SERIES, (row,)).fetchone()[0])
            tx.execute(UPDATE, (*_summary(old, *column), row))
    tx.executemany(INSERT, fresh)


ONE = "SELECT rowid, series FROM metric WHERE run = ? AND name = ? AND coalesce(dataset, 0) = ?"


def unite(tx: sqlite3.Connection, run: int, name: str, dataset: int | None, packed: bytes) -> None:
    """Take in what another registry has of a metric: the same points, or the points of both.

    Raises ValueError or zlib.error for a series that can't be read.
    """
    row = tx.execute(ONE, (run, name, dataset or 0)).fetchone()
    if row is not None and row[1] == packed:
        return
    points = series.unpack(packed if row is None else series.unite(row[1], packed))
    if not points[0]:
        raise ValueError("there are no points in it")
    summary = _summary(([], [], []), points[0], list(points[1]), points[2])
    if row is None:
        tx.execute(INSERT, (run, name, dataset, *summary))
    else:
        tx.execute(UPDATE, (*summary, row[0]))


def _summary(
    old: tuple[list[float], list[int], list[int]], values: list[float], steps: list[int | None], moments: list[int]
) -> tuple[float, float | None, float | None, int, str, bytes]:
    """The columns from `last` to `series` of a metric that grows by these points."""
    all_values = old[0] + values
    all_steps = old[1] + [len(old[1]) + i if step is None else step for i, step in enumerate(steps)]
    all_moments = old[2] + moments
    numbers = [value for value in all_values if not math.isnan(value)]
    packed = series.pack(all_values, all_steps, all_moments)
    at = times.from_microseconds(all_moments[-1])
    least, greatest = min(numbers, default=None), max(numbers, default=None)
    return all_values[-1], least, greatest, len(all_values), at, packed  # SQLite keeps NaN as NULL


def _dataset_key(tx: sqlite3.Connection, identity: str) -> int | None:
    if not identity:
        return None
    key = datasets.find(tx, identity)
    if key is None:
        raise NotFound(f"no dataset {identity} is on record: log it first (run.log_dataset, ifp metric --dataset PATH)")
    return key


OF_RUNS = """
    SELECT x.run, x.name, x.last, x.min, x.max, x.count, d.digest, d.pointer, x.at
      FROM json_each(?) w JOIN metric x ON x.run = w.value LEFT JOIN dataset d ON d.key = x.dataset
     ORDER BY x.run, x.name, x.at, d.digest, d.pointer"""


def measurements_of(tx: sqlite3.Connection, wanted: str) -> defaultdict[int, list[Measurement]]:
    """Measurements by run key; `wanted` is a JSON array of run keys."""
    found: defaultdict[int, list[Measurement]] = defaultdict(list)
    for run, name, last, least, greatest, count, identity, pointer, at in tx.execute(OF_RUNS, (wanted,)):
        dataset = digest.to_text(identity) if identity else pointer
        found[run].append(Measurement(name, _number(last), _number(least), _number(greatest), count, dataset, at))
    return found


def newest(measurements: Iterable[Measurement]) -> tuple[Measurement, ...]:
    """For each metric and dataset the newest measurement, sorted by metric: what a version of several runs has."""
    found: dict[tuple[str, str], Measurement] = {}
    for one in measurements:
        key = (one.metric, one.dataset or "")
        if key not in found or one.at >= found[key].at:
            found[key] = one
    return tuple(found[key] for key in sorted(found))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


SERIES = """
    SELECT x.series FROM metric x LEFT JOIN dataset d ON d.key = x.dataset WHERE x.run = ? AND x.name = ?
     ORDER BY x.at, d.digest, d.pointer"""


def points_of(tx: sqlite3.Connection, run: int, name: str) -> list[tuple[int, float, str]]:
    """(step, value, time) of every point of a run's metric, over all datasets, in the order of logging."""
    found = []
    for (packed,) in tx.execute(SERIES, (run, name)):
        for value, step, moment in zip(*series.unpack(packed), strict=True):
            found.append((step, value, times.from_microseconds(moment)))
    return sorted(found, key=lambda point: point[2])
