"""What environments say that they serve: one version of a model at a time, whenever it was said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb.ledger import deployments
from ifpdb.merge.union import merge

Clock = Callable[[str], None]
Served = list[tuple[str, str, str, str | None]]


@pytest.fixture(autouse=True)
def past(clock: Clock) -> None:
    """All that was before."""
    clock("2025-12-01T00:00:00Z")


@pytest.fixture
def fraud(two: ifp.Registry, clock: Clock) -> ifp.Model:
    clock("2026-01-01T10:00:00Z")
    return two.model("fraud")


def served(registry: ifp.Registry, known_by: str | None = None) -> Served:
    """(environment, ordinal, since, until), times as hours and minutes."""
    with registry.reading() as tx:
        found = deployments.intervals(tx, "fraud", known_by=known_by)
    names = {version.digest: f"v{version.ordinal}" for version in registry.model("fraud").versions()}
    return [(one.environment, names[one.digest], one.since[11:16], one.until[11:16] if one.until else None) for one in found]


def test_an_environment_serves_a_version_until_the_next_is_deployed_there(fraud: ifp.Model, clock: Clock) -> None:
    fraud.deployed("v1", "eu")
    fraud.deployed("v1", "us")
    clock("2026-01-01T11:00:00Z")
    fraud.deployed("v2", "eu", replaces="v1")
    assert served(fraud.registry) == [
        ("eu", "v1", "10:00", "11:00"),
        ("us", "v1", "10:00", None),
        ("eu", "v2", "11:00", None),
    ]


def test_what_is_said_again_is_not_written_again(fraud: ifp.Model, clock: Clock) -> None:
    fraud.deployed("v1", "eu")
    count = len(fraud.registry.events())
    clock("2026-01-01T11:00:00Z")
    assert fraud.deployed("v1", "eu").digest == fraud.get("v1").digest
    assert fraud.deployed("v1", "eu", replaces="v2", at="2026-01-01T10:30:00Z")
    assert len(fraud.registry.events()) == count
    fraud.deployed("v1", "eu", at="2026-01-01T09:00:00Z")
    assert served(fraud.registry) == [("eu", "v1", "09:00", None)], "it began earlier than was known"


def test_an_environment_that_stopped_serves_nothing(fraud: ifp.Model, clock: Clock) -> None:
    fraud.deployed("v1", "eu")
    clock("2026-01-01T11:00:00Z")
    fraud.deployed("v1", "eu", stopped=True, at="10 minutes ago")
    assert served(fraud.registry) == [("eu", "v1", "10:00", "10:50")]
    fraud.deployed("v1", "eu")
    assert served(fraud.registry)[1:] == [("eu", "v1", "11:00", None)]


def test_times_that_were_told_late_decide_the_order(fraud: ifp.Model, clock: Clock) -> None:
    fraud.deployed("v2", "eu")
    clock("2026-01-01T11:00:00Z")
    fraud.deployed("v1", "eu", at="2026-01-01T09:00:00Z")
    assert served(fraud.registry) == [("eu", "v1", "09:00", "10:00"), ("eu", "v2", "10:00", None)]


def test_what_a_merge_brought_later_was_not_known_before(fraud: ifp.Model, clock: Clock, folder: Path) -> None:
    shutil.copy(fraud.registry.path, folder / "other.db")
    fraud.deployed("v1", "eu")
    with ifp.open(folder / "other.db") as other:
        clock("2026-01-01T10:30:00Z")
        other.model("fraud").deployed("v2", "eu")
    merge(fraud.registry, folder / "other.db")
    assert served(fraud.registry) == [("eu", "v1", "10:00", "10:30"), ("eu", "v2", "10:30", None)]
    with fraud.registry.reading() as tx:
        (arrived,) = tx.execute("SELECT min(at) FROM arrival").fetchone()
    clocks = [event.detail["clock"] for event in fraud.registry.events(kind="deployed")]
    assert max(clocks) < arrived
    assert served(fraud.registry, known_by=max(clocks)) == [("eu", "v1", "10:00", None)]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"replaces": "v2"}, ifp.Conflict, "it serves fraud@"),
        ({"replaces": "v9"}, ifp.NotFound, "v9"),
        ({"stopped": True}, ifp.Conflict, "it serves fraud@"),
        ({"stopped": True, "replaces": "v1"}, ifp.UsageError, "leave replaces out"),
        ({"replaces": "v1", "at": "2026-01-01T09:00:00Z"}, ifp.UsageError, "before eu began"),
        ({"at": "2026-01-01T10:00:01Z"}, ifp.UsageError, "in the future"),
        ({"at": "today"}, ifp.UsageError, "whole day"),
        ({"at": "soon"}, ifp.UsageError, "no time"),
    ],
)
def test_what_can_not_be_so_is_refused_and_nothing_is_written(
    fraud: ifp.Model, given: dict[str, str], error: type[ifp.IfpError], said: str
) -> None:
    fraud.deployed("v1", "eu")
    count = len(fraud.registry.events())
    with pytest.raises(error, match=said):
        fraud.deployed("v2", "eu", **given)  # type: ignore[arg-type]  # `stopped` is a bool
    with pytest.raises(ifp.Conflict, match="it serves nothing"):
        fraud.deployed("v2", "us", stopped=True)
    assert len(fraud.registry.events()) == count


def test_an_environment_of_which_nothing_is_known_contradicts_nobody(fraud: ifp.Model) -> None:
    fraud.deployed("v2", "eu", replaces="v1")
    assert served(fraud.registry) == [("eu", "v2", "10:00", None)]


def test_exposure_tells_what_was_intended_from_what_was_served(fraud: ifp.Model, clock: Clock) -> None:
    registry = fraud.registry
    fraud.deployed("v1", "eu")
    clock("2026-01-01T11:00:00Z")
    fraud.promote("v2", "production", force=True, reason="better")
    clock("2026-01-01T12:00:00Z")
    fraud.deployed("v2", "eu")
    found = [(i.stage, i.environment, i.since[11:16], i.until and i.until[11:16]) for i in registry.exposure("fraud@v1")]
    assert found[0][:2] == ("production", None)
    assert (found[0][3], found[1:]) == ("11:00", [(None, "eu", "10:00", "12:00")])
    known = registry.exposure("fraud@v2", as_known_on="2026-01-01T11:30:00Z")
    assert known == [], "by the clocks, all this was written later"
    assert "environment" in registry.exposure("fraud@v2")._repr_html_()


def test_at_tells_where_a_version_was_served_and_what_was_served_beside_it(fraud: ifp.Model, clock: Clock) -> None:
    registry = fraud.registry
    fraud.deployed("v1", "eu")
    fraud.deployed("v2", "canary")
    clock("2026-01-01T11:00:00Z")
    fraud.promote("v2", "production", force=True, reason="better")
    clock("2026-01-01T12:00:00Z")
    fraud.deployed("v2", "eu")

    def at(time: str) -> list[tuple[int, list[str], list[str]]]:
        return [
            (one.ordinal, [d.environment for d in one.deployed], [d.environment for d in one.also_served])
            for one in registry.at(time)
        ]

    assert at("2026-01-01T10:30:00Z") == [(1, ["eu"], ["canary"])]
    assert at("2026-01-01T11:30:00Z") == [(2, ["canary"], ["eu"])]
    assert at("2026-01-01T12:30:00Z") == [(2, ["canary", "eu"], [])]
    assert at("2026-01-01") == [(1, ["eu"], ["canary"]), (2, ["canary", "eu"], ["eu"])]
    assert [one.also_served for one in registry.at("2026-01-01", stage="archived")] == [()]
    (eu,) = registry.at("2026-01-01T11:30:00Z")[0].as_dict()["also_served"]
    assert eu == {
        "environment": "eu",
        "digest": fraud.get("v1").digest,
        "run": fraud.get("v1").run,
        "since": "2026-01-01T10:00:00.000000Z",
        "until": "2026-01-01T12:00:00.000000Z",
        "actor": "ada",
    }


def test_the_view_says_the_same(fraud: ifp.Model, clock: Clock) -> None:
    for hour, (ref, environment, given) in enumerate(
        [
            ("v1", "eu", {}),
            ("v1", "us", {}),
            ("v2", "eu", {}),
            ("v2", "eu", {"stopped": True}),
            ("v2", "eu", {}),
            ("v1", "eu", {"at": "2026-01-01T10:30:00Z"}),
            ("v2", "us", {"at": "2026-01-01T09:00:00Z"}),
            ("v1", "us", {"stopped": True, "at": "1 minute ago"}),
        ]
    ):
        clock(f"2026-01-01T{11 + hour}:00:00Z")
        fraud.deployed(ref, environment, **given)
    with fraud.registry.reading() as tx:
        found = deployments.intervals(tx, "fraud")
    rows = fraud.registry.sql("SELECT environment, version AS digest, run, since, until, actor FROM deployments")
    assert [one.as_dict() for one in found] == rows
    assert len(rows) == 5
