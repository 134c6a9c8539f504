"""Stages read off the log: intervals, exactly one production version at each instant, rollbacks, replay."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ifpdb as ifp
from ifpdb.ledger import stages
from ifpdb.times import one_microsecond_after, one_microsecond_before

Make = Callable[..., ifp.Version]
Clock = Callable[[str], None]


@pytest.fixture
def november(make: Make, clock: Clock, registry: ifp.Registry) -> ifp.Model:
    """v1 in production from the 10th to the 14th at noon, v2 since, archived on the 20th."""
    clock("2025-11-01")
    make("a")
    make("b")
    fraud = registry.model("fraud")
    clock("2025-11-10T09:00:00Z")
    fraud.promote("v1", "production", force=True, reason="first", approved_by=["grace", "alan"])
    clock("2025-11-14T12:00:00Z")
    fraud.promote("v2", "production", force=True, reason="second")
    clock("2025-11-20T00:00:00Z")
    fraud.promote("v2", "archived", reason="retired")
    return fraud


def test_a_promotion_ends_the_others_interval_at_the_same_instant(november: ifp.Model) -> None:
    first, second = november.history()
    assert (first.since, first.until) == ("2025-11-10T09:00:00.000000Z", "2025-11-14T12:00:00.000000Z")
    assert (second.since, second.until) == ("2025-11-14T12:00:00.000000Z", "2025-11-20T00:00:00.000000Z")
    assert (first.actor, first.approved_by, first.reason) == ("ada", ("grace", "alan"), "first")


def test_what_is_displaced_is_archived_by_the_event_that_displaced_it(november: ifp.Model) -> None:
    archived = november.history("archived")
    assert [(i.digest == november.get("v1").digest, i.since, i.until, i.reason) for i in archived] == [
        (True, "2025-11-14T12:00:00.000000Z", None, "second"),
        (False, "2025-11-20T00:00:00.000000Z", None, "retired"),
    ]


@pytest.mark.parametrize(
    ("time", "ordinals"),
    [
        ("2025-11-09", []),
        ("2025-11-10T08:59:59.999999Z", []),
        ("2025-11-10T09:00:00Z", [1]),
        ("2025-11-10", [1]),
        ("2025-11-14T11:59:59.999999Z", [1]),
        ("2025-11-14T12:00:00Z", [2]),
        ("2025-11-14", [1, 2]),  # the whole day
        ("2025-11-15", [2]),
        ("2025-11-19", [2]),
        ("2025-11-20", []),  # it was archived as that day began
        ("2025-11-20T00:00:00Z", []),
    ],
)
def test_at_an_instant_one_version_and_on_a_day_each_that_touches_it(
    november: ifp.Model, time: str, ordinals: list[int]
) -> None:
    assert [version.ordinal for version in november.at(time)] == ordinals
    assert [version.ordinal for version in november.registry.at(time)] == ordinals


def test_at_gives_the_version_as_it_was_held(november: ifp.Model) -> None:
    (version,) = november.at("2025-11-12")
    assert (version.stage, november.get("v1").stage) == ("production", "archived")
    assert (version.since, version.until) == ("2025-11-10T09:00:00.000000Z", "2025-11-14T12:00:00.000000Z")
    assert version.approved_by == ("grace", "alan")
    assert [v.ordinal for v in november.at("2025-11-12", stage="staging")] == [2]


def test_exposure_is_each_interval_in_production(november: ifp.Model, clock: Clock) -> None:
    clock("2025-12-01")
    november.promote("v1", "production", reason="again")
    found = november.registry.exposure("fraud@v1")
    assert [(i.since[:10], i.until and i.until[:10]) for i in found] == [("2025-11-10", "2025-11-14"), ("2025-12-01", None)]
    assert [i.since[:10] for i in november.registry.exposure("fraud@v2")] == ["2025-11-14"]


def test_two_models_do_not_displace_each_other(make: Make, registry: ifp.Registry) -> None:
    for model in ("fraud", "churn"):
        make("a", model)
        registry.model(model).promote("v1", "production", force=True, reason="first")
    assert [v.model for v in registry.at("now")] == ["fraud", "churn"]
    assert all(interval.until is None for interval in registry.model("fraud").history())


def test_one_artifact_in_two_models_has_two_histories(make: Make, registry: ifp.Registry) -> None:
    one, two = make("a", "fraud"), make("a", "churn")
    assert one.digest == two.digest
    registry.model("fraud").promote("v1", "production", force=True, reason="first")
    assert registry.model("churn").get("v1").stage == "staging"
    assert registry.model("churn").history() == []


STAGES = ("staging", "shadow", "production", "archived")


class Rules:
    """The rules of stages in a few lines of plain Python: the model that the registry is held against."""

    def __init__(self) -> None:
        self.stage: list[str] = []
        self.entered: list[int] = []  # production, in the order of entry
        self.rolled_away: dict[int, bool] = {}

    @property
    def production(self) -> int | None:
        return self.stage.index("production") if "production" in self.stage else None

    def move(self, version: int, to: str, *, back: bool) -> None:
        if to == "production":
            if self.production is not None:
                self.stage[self.production] = "archived"
            if self.entered and self.entered[-1] != version:
                self.rolled_away[self.entered[-1]] = back
            self.entered.append(version)
        self.stage[version] = to

    def back(self) -> int | None:
        found = [v for v in self.entered if v != self.production and not self.rolled_away.get(v, False)]
        return found[-1] if found else None


Deed = st.one_of(
    st.tuples(st.just("register"), st.sampled_from(["staging", "shadow"])),
    st.tuples(st.just("move"), st.integers(0, 5), st.sampled_from(STAGES)),
    st.tuples(st.just("rollback")),
    st.tuples(st.just("rollback"), st.integers(0, 5)),
)


@contextmanager
def scratch() -> Iterator[tuple[ifp.Registry, Path]]:
    """An empty registry in a folder of its own, one for each example."""
    with tempfile.TemporaryDirectory() as name, ifp.init(Path(name) / "ifp.db") as registry:
        yield registry, Path(name)


def perform(model: ifp.Model, folder: Path, rules: Rules, deed: tuple[Any, ...]) -> None:
    """Do one deed to the registry and to the rules; where the rules say no, the registry must, too."""
    match deed:
        case ("register", stage):
            file = folder / "model.bin"
            file.write_text(str(len(rules.stage)))
            model.registry.register("fraud", file, params={}, partial=True, stage=stage)
            rules.stage.append(stage)
        case ("move", version, to) if version < len(rules.stage):
            back = to == "production" and version in rules.entered
            before = rules.stage[version]
            model.promote(f"v{version + 1}", to, reason="because", force=not back)
            if before != to:
                rules.move(version, to, back=back)
        case ("rollback",) if rules.stage:
            target = rules.back()
            if target is None:
                with pytest.raises(ifp.NotFound):
                    model.rollback(reason="because")
            else:
                assert model.rollback(reason="because").ordinal == target + 1
                rules.move(target, "production", back=True)
        case ("rollback", version) if version < len(rules.stage):
            if version not in rules.entered:
                with pytest.raises(ifp.Refused, match="never been in production"):
                    model.rollback(reason="because", to=f"v{version + 1}")
            else:
                before = rules.stage[version]
                model.rollback(reason="because", to=f"v{version + 1}")
                if before != "production":
                    rules.move(version, "production", back=True)


LEFT_AND_BACK = ("move", 0, "production"), ("move", 0, "staging"), ("rollback",), ("move", 0, "staging"), ("rollback",)


@given(deeds=st.lists(Deed, max_size=25))
@example(deeds=[("register", "staging"), *LEFT_AND_BACK])  # who left production by a move was not rolled away from
@settings(max_examples=40, deadline=None)
def test_any_sequence_of_moves_ends_as_the_rules_say(deeds: list[tuple[Any, ...]]) -> None:
    with scratch() as (registry, folder):
        model, rules = registry.model("fraud"), Rules()
        for deed in deeds:
            perform(model, folder, rules, deed)
            with registry.reading() as tx:
                assert tx.execute("SELECT v.stage FROM version v ORDER BY ordinal").fetchall() == [(s,) for s in rules.stage]
                assert tx.execute("SELECT stage FROM stage_by_log ORDER BY version").fetchall() == [(s,) for s in rules.stage]
        if rules.stage:
            check_intervals(registry, rules)


def check_intervals(registry: ifp.Registry, rules: Rules) -> None:
    """Held at each instant at which anything happened, and a microsecond before and after it."""
    log = [event for event in registry.events() if event.to_stage]
    held: dict[str, str] = {}
    with registry.reading() as tx:
        everything = list(stages.intervals(tx, model="fraud"))
    for event in log:
        assert event.version is not None and event.to_stage is not None
        before = dict(held)
        if event.to_stage == "production":
            held |= {version: "archived" for version, stage in held.items() if stage == "production"}
        held[event.version] = event.to_stage
        for moment, expected in (
            (one_microsecond_before(event.at), before),
            (event.at, held),
            (one_microsecond_after(event.at), held),
        ):
            if moment in {other.at for other in log} - {event.at}:
                continue  # another event's own instant
            found = [(i.digest, i.stage) for i in everything if stages.held_during(i, moment, moment)]
            assert sorted(found) == sorted(expected.items())  # each version in exactly one stage
            assert [stage for _, stage in found].count("production") <= 1
    archived_by_hand = any(event.from_stage == "production" for event in log)
    if rules.entered and not archived_by_hand:
        chain = [interval for interval in everything if interval.stage == "production"]
        assert [i.until for i in chain] == [i.since for i in chain[1:]] + [None]  # no gap and no overlap


LEFT_AND_BACK = ("move", 0, "production"), ("move", 0, "staging"), ("rollback",), ("move", 0, "staging"), ("rollback",)


@given(deeds=st.lists(Deed, max_size=25))
@example(deeds=[("register", "staging"), *LEFT_AND_BACK])  # who left production by a move was not rolled away from
@settings(max_examples=25, deadline=None)
def test_replayed_events_equal_current_stages(deeds: list[tuple[Any, ...]]) -> None:
    with scratch() as (registry, folder):
        model, rules = registry.model("fraud"), Rules()
        for deed in deeds:
            perform(model, folder, rules, deed)
        replayed: dict[str, str] = {}
        for event in registry.events():
            if event.to_stage and event.version:
                if event.to_stage == "production":
                    replayed |= {version: "archived" for version, stage in replayed.items() if stage == "production"}
                replayed[event.version] = event.to_stage
        now = {version.digest: version.stage for version in model.versions()} if rules.stage else {}
        assert now == replayed


def test_a_rollback_skips_versions_that_were_rolled_away_from(make: Make, registry: ifp.Registry) -> None:
    fraud = registry.model("fraud")
    for weights in "abc":
        make(weights)
        fraud.promote("latest", "production", force=True, reason="next")
    assert fraud.rollback(reason="v3 is bad").ordinal == 2
    assert fraud.rollback(reason="v2 is bad").ordinal == 1
    with pytest.raises(ifp.NotFound, match="no earlier production version"):
        fraud.rollback(reason="v1 is bad")
    make("d")
    fraud.promote("v4", "production", force=True, reason="fixed")
    assert fraud.rollback(reason="v4 is bad").ordinal == 1
