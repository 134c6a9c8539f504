"""Two people decided differently: both sides are named and nothing changes, or an event settles it and says who and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clones import Clone, Put, Unite, answers, digest_of

import ifpdb as ifp
from ifpdb.errors import MergeConflict, NotFound, UsageError
from ifpdb.merge.union import merge

Clock = Callable[[str], None]
Two = tuple[ifp.Registry, ifp.Registry]


@pytest.fixture
def rivals(two: ifp.Registry, clone: Clone, put: Put, clock: Clock) -> Two:
    """fraud v1 was in production; ada promoted v2 at ten, and bob v3 at eleven."""
    put(two, "c", metrics={"f1": 0.97})
    theirs = clone("bob")
    clock("2026-01-01T10:00:00Z")
    two.model("fraud").promote("v2", "production", reason="safer", approved_by="grace")
    clock("2026-01-01T11:00:00Z")
    theirs.model("fraud").promote("v3", "production", reason="better", approved_by="heidi")
    clock("2026-01-01T12:00:00Z")
    return two, theirs


def production(registry: ifp.Registry) -> int | None:
    found = registry.model("fraud").production
    return found.ordinal if found else None


def test_two_versions_in_production_stop_the_merge_and_nothing_has_changed(rivals: Two) -> None:
    ours, theirs = rivals
    before = ours.path.read_bytes(), theirs.path.read_bytes()
    v2, v3 = (registry.model("fraud").production for registry in rivals)
    assert v2 is not None
    assert v3 is not None
    with pytest.raises(MergeConflict) as caught:
        merge(ours, theirs.path)
    said = str(caught.value)
    for part in (v2.digest[7:19], v3.digest[7:19], "ada", "bob", "safer", "better", "--prefer ours"):
        assert part in said
    assert (ours.path.read_bytes(), theirs.path.read_bytes()) == before
    with pytest.raises(MergeConflict):
        merge(theirs, ours.path)
    assert (ours.path.read_bytes(), theirs.path.read_bytes()) == before


@pytest.mark.parametrize(("prefer", "holds"), [("ours", 2), ("theirs", 3), ("fraud@v3", 3), ("fraud@v2", 2)])
def test_who_merges_decides_and_everybody_else_follows(
    rivals: Two, clone: Clone, unite: Unite, prefer: str, holds: int
) -> None:
    ours, theirs = rivals
    carol = clone("carol")
    found = unite(ours, theirs, prefer=[prefer], reason="the board said so")
    assert [one.chosen for one in found.settled] == [ours.resolve(f"fraud@v{holds}").digest]
    assert production(ours) == holds
    event = list(ours.events())[-1]
    assert (event.kind, event.actor, event.reason) == ("settled", "ada", "the board said so")
    assert len(event.parents) == 2
    for other in (theirs, carol):
        assert not unite(other, ours).settled
        assert digest_of(other.path) == digest_of(ours.path)
        assert answers(other.path) == answers(ours.path)
    assert unite(ours, theirs).events == 0


def test_history_and_rollback_go_on_from_what_was_settled(rivals: Two, unite: Unite, clock: Clock) -> None:
    ours, theirs = rivals
    unite(ours, theirs, prefer=["ours"])
    held = [(one.since[11:16], one.until[11:16] if one.until else None) for one in ours.model("fraud").history()]
    assert held[1:] == [("10:00", "11:00"), ("11:00", "12:00"), ("12:00", None)]
    assert ours.model("fraud").history()[-1].approved_by == ("grace",)
    clock("2026-01-01T13:00:00Z")
    assert ours.model("fraud").rollback(reason="complaints").ordinal == 1, "v3 was decided against"
    assert not unite(theirs, ours).settled
    assert production(theirs) == 1


def test_a_rollback_after_taking_theirs_goes_past_ours_as_well(rivals: Two, unite: Unite) -> None:
    ours, theirs = rivals
    unite(ours, theirs, prefer=["theirs"])
    assert ours.model("fraud").rollback(reason="complaints").ordinal == 1


def test_the_same_promotion_on_both_sides_is_no_conflict(two: ifp.Registry, clone: Clone, unite: Unite) -> None:
    theirs = clone("bob")
    for registry in (two, theirs):
        registry.model("fraud").promote("v2", "production", approved_by="grace")
    assert not unite(two, theirs).settled
    unite(theirs, two)
    assert digest_of(two.path) == digest_of(theirs.path)
    assert production(two) == 2


@pytest.mark.parametrize("other", ["archived", "shadow"])
@pytest.mark.parametrize("prefer", ["ours", "theirs"])
def test_promoted_here_and_moved_elsewhere_there_is_a_conflict(
    two: ifp.Registry, clone: Clone, unite: Unite, other: str, prefer: str
) -> None:
    theirs = clone("bob")
    two.model("fraud").promote("v2", "production", approved_by="grace")
    theirs.model("fraud").promote("v2", other)
    for ours, others in ((two, theirs), (theirs, two)):
        with pytest.raises(MergeConflict, match="production of fraud"):
            merge(ours, others.path)
    unite(two, theirs, prefer=[prefer])
    assert production(two) == (2 if prefer == "ours" else 1)
    assert not unite(theirs, two).settled


def test_it_may_be_settled_that_nothing_is_in_production(rivals: Two, unite: Unite) -> None:
    ours, theirs = rivals
    theirs.model("fraud").promote("v3", "archived")
    found = unite(ours, theirs, prefer=["theirs"])
    assert [one.chosen for one in found.settled] == [None]
    assert production(ours) is None
    assert not unite(theirs, ours).settled
    assert production(theirs) is None
    assert theirs.model("fraud").rollback(reason="we need one").stage == "production"


def test_contradictory_policies_are_a_conflict_and_equal_ones_are_not(
    two: ifp.Registry, clone: Clone, unite: Unite, clock: Clock
) -> None:
    theirs = clone("bob")
    clock("2026-01-01T10:00:00Z")
    two.model("fraud").set_policy({"validation": {"min_f1": 0.8}})
    theirs.model("fraud").set_policy({"validation": {"min_f1": 0.99}})
    two.model("churn").set_policy({"validation": {"min_f1": 0.5}})
    theirs.model("churn").set_policy({"validation": {"min_f1": 0.5}})
    with pytest.raises(MergeConflict, match="the policy of fraud") as caught:
        merge(two, theirs.path)
    assert [one.model for one in caught.value.disagreements] == ["fraud"]
    assert "or one version by its name" not in str(caught.value)
    unite(two, theirs, prefer=["theirs"])
    found = two.model("fraud").policy
    assert found is not None
    assert found.digest == list(two.events())[-1].detail["policy_digest"]
    unite(theirs, two)
    assert answers(theirs.path)["policy"] == answers(two.path)["policy"]


def test_several_disagreements_may_be_settled_one_by_one(rivals: Two, unite: Unite, clock: Clock) -> None:
    ours, theirs = rivals
    ours.model("fraud").label("v2", "golden")
    theirs.model("fraud").label("v3", "golden")
    ours.model("fraud").label("v1", "silver")
    theirs.model("fraud").label("v2", "silver")
    with pytest.raises(MergeConflict) as caught:
        merge(ours, theirs.path, prefer=["fraud@v3"])
    assert [(one.kind, one.name) for one in caught.value.disagreements] == [("label", "silver")]
    found = unite(ours, theirs, prefer=["theirs", "fraud@v1"])
    assert len(found.settled) == 3
    assert production(ours) == 3
    assert [ours.resolve(f"fraud@{label}").ordinal for label in ("golden", "silver")] == [3, 1]
    unite(theirs, ours)
    assert digest_of(theirs.path) == digest_of(ours.path)


@pytest.mark.parametrize(
    ("prefer", "error", "said"),
    [
        (["fraud@v1"], UsageError, "on neither side"),
        (["fraud@v9"], NotFound, "v9"),
        (["ours", "theirs"], UsageError, "exclude each other"),
        (["mine"], NotFound, "no model .mine."),
    ],
)
def test_what_settles_nothing_is_an_error_and_nothing_has_changed(
    rivals: Two, prefer: list[str], error: type[Exception], said: str
) -> None:
    ours, theirs = rivals
    before = ours.path.read_bytes()
    with pytest.raises(error, match=said):
        merge(ours, theirs.path, prefer=prefer)
    assert ours.path.read_bytes() == before


def test_the_command_names_both_sides_and_settles(rivals: Two, cli: Callable[..., Any], folder: Path) -> None:
    said = cli("merge", "bob/ifp.db")
    assert said.code == 4
    assert "--prefer ours" in said.err
    found = json.loads(cli("merge", "bob/ifp.db", "--prefer", "ours", "--reason", "safer", "--json").out)
    assert [one["kind"] for one in found["settled"]] == ["production"]
    assert cli("merge", "bob/ifp.db").out.startswith("nothing new")
