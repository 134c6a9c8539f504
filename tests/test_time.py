"""Questions about a time: zones, the instant of a swap, before the first promotion, and what was known on a given day."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb import times
from ifpdb.times import one_microsecond_after, one_microsecond_before
from ifpdb.upkeep import chain

Make = Callable[..., ifp.Version]
Clock = Callable[[str], None]
Cli = Callable[..., Any]

NOVEMBER = ["2025-11-01T10:00:00Z", "2025-11-10T09:00:00Z", "2025-11-14T12:00:00Z"]


@pytest.fixture
def fraud(make: Make, clock: Clock, registry: ifp.Registry) -> ifp.Model:
    """v1 in production from the 10th to the 14th at noon, v2 since: written at their times, as the registry knows it."""
    clock(NOVEMBER[0])
    make("a", metrics={"f1": 0.9})
    make("b")
    model = registry.model("fraud")
    for ordinal, time in zip(("v1", "v2"), NOVEMBER[1:], strict=True):
        clock(time)
        model.promote(ordinal, "production", force=True, reason=f"{ordinal} is better", approved_by="grace")
    learned(registry, "kind <> ''", "at")
    return model


def learned(registry: ifp.Registry, which: str, at: str) -> None:
    """Let the events for which an SQL condition holds have come to this file at that time, as a merge would note it."""
    with registry.writing() as (tx, _):
        tx.execute(f"INSERT OR REPLACE INTO arrival SELECT key, {at} FROM event WHERE {which}")


def ordinals(versions: list[ifp.Version]) -> list[int]:
    return [version.ordinal for version in versions]


# -- zones and instants


@pytest.mark.parametrize(
    ("time", "held"),
    [
        ("2025-11-14T14:00:00+02:00", 2),  # noon, UTC
        ("2025-11-14T13:59:59.999999+02:00", 1),
        ("2025-11-14T07:00:00-05:00", 2),
        ("2025-11-14T06:59:59-05:00", 1),
        ("2025-11-15T01:59:59+14:00", 1),  # tomorrow over there
        ("2025-11-14 11:59", 1),  # no zone is UTC
        ("2025-11-14t12:00:00z", 2),
    ],
)
def test_a_time_is_understood_in_its_zone(fraud: ifp.Model, time: str, held: int) -> None:
    assert ordinals(fraud.at(time)) == [held]
    assert fraud.get(f"production@{{{time}}}").ordinal == held
    assert ordinals(fraud.at("2025-11-14", as_known_on=time)) == [1, 2][:held]


def test_at_the_microsecond_of_a_swap_there_is_one_version(fraud: ifp.Model) -> None:
    (swap,) = [interval.since for interval in fraud.history()][1:]
    moments = [one_microsecond_before(swap), swap, one_microsecond_after(swap)]
    assert [ordinals(fraud.at(moment)) for moment in moments] == [[1], [2], [2]]
    assert [ordinals(fraud.at(moment, stage="archived")) for moment in moments] == [[], [1], [1]]


@pytest.mark.parametrize(
    "time", ["2025-13-01", "2025-11-14T25:00:00Z", "last tuesday", "", "14/11/2025", "2025-11-14T10:00:00+99:00"]
)
def test_what_is_no_time_is_told_with_the_forms_that_are(fraud: ifp.Model, cli: Cli, time: str) -> None:
    for ask in (
        lambda: fraud.at(time),
        lambda: fraud.at("2025-11-14", as_known_on=time),
        lambda: fraud.history(as_known_on=time),
        lambda: fraud.registry.exposure("fraud@v1", as_known_on=time),
    ):
        with pytest.raises(ifp.UsageError, match=r"is no time: write a date \(2025-11-14\)"):
            ask()
    for command in (["at", time], ["at", "now", "--as-known-on", time], ["history", "fraud", "--as-known-on", time]):
        said = cli(*command)
        assert (said.code, said.out) == (2, "") and "is no time" in said.err


# -- before the first promotion


def test_before_the_first_promotion_it_says_when_that_was(fraud: ifp.Model, cli: Cli) -> None:
    assert fraud.at("2025-11-09") == []
    for arguments in (["fraud"], []):
        said = cli("at", "2025-11-09", *arguments)
        assert (said.code, said.out) == (0, "")
        assert "the first entered it on 2025-11-10 09:00:00Z (ifp history" in said.err
    assert json.loads(cli("at", "2025-11-09", "--json").out) == []


def test_a_model_that_was_never_promoted_says_so(make: Make, registry: ifp.Registry, cli: Cli) -> None:
    make("a")
    assert registry.model("fraud").history() == []
    assert registry.exposure("fraud@v1") == []
    assert "no version of fraud has been in production" in cli("history", "fraud").err
    assert "nothing has been in it (ifp history fraud)" in cli("at", "now", "fraud").err
    assert "never been in production" in cli("exposure", "fraud@v1").err


# -- as known on a day


def test_a_backdated_import_is_there_but_was_not_known(make: Make, clock: Clock, registry: ifp.Registry, cli: Cli) -> None:
    clock("2025-11-10")
    make("a")
    fraud = registry.model("fraud")
    fraud.promote("v1", "production", force=True, reason="as the old registry had it")
    assert ordinals(fraud.at("2025-11-14")) == [1]
    assert fraud.at("2025-11-14", as_known_on="2025-11-20") == []
    assert fraud.history(None, as_known_on="2025-11-20") == []
    assert registry.exposure("fraud@v1", as_known_on="2025-11-20") == []
    assert json.loads(cli("at", "2025-11-14", "--json").out)[0]["ordinal"] == 1
    assert json.loads(cli("at", "2025-11-14", "--as-known-on", "2025-11-20", "--json").out) == []
    assert "nothing has been in it" in cli("at", "2025-11-14", "--as-known-on", "2025-11-20").err
    assert "that was known then" in cli("history", "fraud", "--as-known-on", "2025-11-20").err
    assert "as far as was known then" in cli("exposure", "fraud@v1", "--as-known-on", "2025-11-20").err


def test_what_was_imported_is_known_from_the_clocks_time_on(
    make: Make, clock: Clock, registry: ifp.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock("2025-11-10")
    make("a")
    registry.model("fraud").promote("v1", "production", force=True, reason="imported")
    monkeypatch.delenv("IFP_NOW")
    (promoted,) = registry.events(kind="promoted")
    known = promoted.detail["clock"]
    assert ordinals(registry.at("2025-11-14", as_known_on=known)) == [1]
    assert registry.at("2025-11-14", as_known_on=one_microsecond_before(known)) == []
    assert ordinals(registry.at("2025-11-14", as_known_on="today")) == [1]
    assert registry.sql("SELECT known_at FROM events WHERE kind = 'promoted'") == [{"known_at": known}]


def test_a_move_that_a_merge_brought_was_not_known_before(fraud: ifp.Model, cli: Cli) -> None:
    learned(fraud.registry, "run = (SELECT run FROM versions WHERE ordinal = 'v2')", "'2025-11-20T08:00:00.000000Z'")
    assert ordinals(fraud.at("2025-11-15")) == [2]
    assert ordinals(fraud.at("2025-11-15", as_known_on="2025-11-20")) == [2]
    assert ordinals(fraud.at("2025-11-15", as_known_on="2025-11-20T07:59:59.999999Z")) == [1]
    (then,) = fraud.at("2025-11-15", as_known_on="2025-11-19")
    assert (then.since, then.until, then.approved_by) == ("2025-11-10T09:00:00.000000Z", None, ("grace",))
    assert [i.until for i in fraud.registry.exposure("fraud@v1", as_known_on="2025-11-19")] == [None]
    assert [i.until for i in fraud.registry.exposure("fraud@v1")] == ["2025-11-14T12:00:00.000000Z"]
    assert fraud.registry.exposure("fraud@v2", as_known_on="2025-11-19") == []
    told = json.loads(cli("history", "fraud", "--as-known-on", "2025-11-19", "--json").out)
    assert [(row["digest"], row["until"]) for row in told] == [(fraud.get("v1").digest, None)]
    assert len(json.loads(cli("exposure", "fraud@v2", "--as-known-on", "2025-11-20", "--json").out)) == 1


def test_the_end_of_a_day_is_its_last_microsecond(fraud: ifp.Model) -> None:
    learned(fraud.registry, "kind = 'promoted'", "'2025-11-21T00:00:00.000000Z'")
    assert fraud.history(as_known_on="2025-11-20") == []
    learned(fraud.registry, "kind = 'promoted'", "'2025-11-20T23:59:59.999999Z'")
    assert len(fraud.history(as_known_on="2025-11-20")) == 2


# -- measurements as known


def f1(versions: list[ifp.Version]) -> list[float | None]:
    return [version.metrics.get("f1") for version in versions]


def test_a_measurement_taken_later_is_left_out(fraud: ifp.Model, clock: Clock) -> None:
    clock("2025-11-18")
    fraud.registry.measure("fraud@v1", {"auc": 0.8})
    learned(fraud.registry, "kind = 'measured'", "at")
    assert [v.metrics for v in fraud.at("2025-11-12")] == [{"auc": 0.8, "f1": 0.9}]
    assert [v.metrics for v in fraud.at("2025-11-12", as_known_on="2025-11-17")] == [{"f1": 0.9}]
    assert [v.metrics for v in fraud.at("2025-11-12", as_known_on="2025-11-18")] == [{"auc": 0.8, "f1": 0.9}]


@pytest.mark.parametrize("value", [0.5, float("inf")])
def test_a_metric_that_was_measured_again_has_its_value_of_then(fraud: ifp.Model, clock: Clock, value: float) -> None:
    clock("2025-11-16")
    fraud.registry.measure("fraud@v1", {"f1": value})
    clock("2025-11-18")
    fraud.registry.measure("fraud@v1", {"f1": 0.4})
    learned(fraud.registry, "kind = 'measured'", "at")
    days = ["2025-11-15", "2025-11-16", "2025-11-18"]
    assert [f1(fraud.at("2025-11-12", as_known_on=day)) for day in days] == [[0.9], [value], [0.4]]


def test_a_backdated_measurement_was_not_known(fraud: ifp.Model, clock: Clock) -> None:
    clock("2025-11-14T13:00:00Z")
    fraud.registry.measure("fraud@v1", {"f1": 0.99, "auc": 0.8})
    (then,) = fraud.at("2025-11-12", as_known_on="2025-11-20")
    assert then.metrics == {"f1": 0.9}
    assert fraud.at("2025-11-12")[0].metrics == {"f1": 0.99, "auc": 0.8}


# -- what the file knows of its own past


def test_arrivals_are_no_part_of_what_two_equal_registries_have_alike(fraud: ifp.Model) -> None:
    before = chain.verify(fraud.registry)
    learned(fraud.registry, "kind = 'promoted'", "'2025-12-01T00:00:00.000000Z'")
    after = chain.verify(fraud.registry)
    assert (after.digest, after.ok) == (before.digest, True)


def test_an_arrival_is_of_an_event_that_is_here(fraud: ifp.Model) -> None:
    with closing(sqlite3.connect(fraud.registry.path)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            connection.execute("INSERT INTO arrival VALUES (999999, '2025-12-01T00:00:00.000000Z')")


def test_an_event_without_arrival_or_hand_set_time_was_known_when_it_says(make: Make, registry: ifp.Registry) -> None:
    make("a")
    assert registry.sql("SELECT known_at = at AS same FROM events WHERE at <> known_at") == []
    assert times.read_time(registry.sql("SELECT max(known_at) AS known FROM events")[0]["known"])
