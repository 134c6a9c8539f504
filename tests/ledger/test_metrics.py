"""Metrics: last, extremes and count beside the sealed series; NaN and infinities as what they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ifpdb as ifp
from ifpdb.ledger import metrics
from ifpdb.store.live import Point

Make = Callable[..., ifp.Version]


@pytest.fixture
def key(make: Make, registry: ifp.Registry) -> int:
    """The key of a run without metrics."""
    make("a")
    with registry.reading() as tx:
        return int(tx.execute("SELECT key FROM run").fetchone()[0])


def sealed(registry: ifp.Registry, key: int, *batches: list[float]) -> ifp.Measurement:
    """The one measurement of metric f1 after these batches of points were sealed one by one."""
    with registry.writing() as (tx, _by):
        tx.execute("DELETE FROM metric")
        for batch in batches:
            metrics.seal(tx, key, [Point("f1", "", value, None, 1_700_000_000_000_000) for value in batch])
        (found,) = metrics.measurements_of(tx, f"[{key}]")[key]
        return found


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


@pytest.mark.parametrize(
    ("values", "last", "least", "greatest"),
    [
        ([0.5], 0.5, 0.5, 0.5),
        ([0.5, 0.9, 0.7], 0.7, 0.5, 0.9),
        ([math.nan], math.nan, math.nan, math.nan),
        ([math.nan, 0.5], 0.5, 0.5, 0.5),
        ([0.5, math.nan], math.nan, 0.5, 0.5),
        ([math.inf, 0.5], 0.5, 0.5, math.inf),
        ([-math.inf, math.nan, math.inf], math.inf, -math.inf, math.inf),
    ],
)
def test_the_summary_of_points(
    registry: ifp.Registry, key: int, values: list[float], last: float, least: float, greatest: float
) -> None:
    found = sealed(registry, key, values)
    assert same(found.value, last)
    assert same(found.min, least)
    assert same(found.max, greatest)
    assert found.count == len(values)


def test_sealing_in_batches_is_sealing_at_once(registry: ifp.Registry, key: int) -> None:
    assert sealed(registry, key, [1.0], [2.0, 3.0]) == sealed(registry, key, [1.0, 2.0, 3.0])


def test_a_point_without_a_step_counts_the_points_before_it(registry: ifp.Registry, key: int) -> None:
    run = registry.runs()[0].id
    with registry.writing() as (tx, _by):
        metrics.seal(tx, key, [Point("f1", "", 0.1, None, 1), Point("f1", "", 0.2, 50, 2)])
        metrics.seal(tx, key, [Point("f1", "", 0.3, None, 3)])
    assert [(step, value) for step, value, _ in registry.points(run, "f1")] == [(0, 0.1), (50, 0.2), (2, 0.3)]


def test_one_metric_on_two_datasets_is_two_measurements(make: Make, registry: ifp.Registry, folder: Path) -> None:
    (folder / "holdout.csv").write_text("h")
    version = make("a", metrics={"f1": 0.8})
    found = registry.measure(version.name, {"f1": 0.9}, dataset="holdout.csv")
    assert sorted((m.value, m.dataset is None) for m in found.measurements) == [(0.8, True), (0.9, False)]
    assert found.metrics == {"f1": 0.9}  # the newest


def test_a_metric_on_an_unknown_dataset_is_not_found(registry: ifp.Registry, key: int) -> None:
    with registry.writing() as (tx, _by), pytest.raises(ifp.NotFound, match="log it first"):
        metrics.seal(tx, key, [Point("f1", "sha256:" + "0" * 64, 0.5, None, 1)])


def test_a_version_of_two_runs_shows_the_newest_measurement(make: Make) -> None:
    make("a", metrics={"f1": 0.8, "rmse": 3.0})
    again = make("a", metrics={"f1": 0.9})
    assert again.created is False
    assert again.metrics == {"f1": 0.9, "rmse": 3.0}


Numbers = st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30)


@given(values=Numbers, cut=st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_any_points_come_back_bit_by_bit_however_they_were_cut(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], cut: int
) -> None:
    with ifp.init(tmp_path_factory.mktemp("r") / "ifp.db") as registry:
        (registry.project / "m").write_text("m")
        run = registry.register("fraud", registry.project / "m", params={}, partial=True).run
        found = sealed(registry, 1, *[batch for batch in (values[:cut], values[cut:]) if batch])
        back = [value for _, value, _ in registry.points(run, "f1")]
    assert all(same(a, b) and math.copysign(1, a) == math.copysign(1, b) for a, b in zip(back, values, strict=True))
    numbers = [value for value in values if not math.isnan(value)]
    assert same(found.min, min(numbers, default=math.nan))
    assert same(found.max, max(numbers, default=math.nan))
