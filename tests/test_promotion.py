"""How versions move: through the gate, with approvals, back with a reason, by force; a refusal changes nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

Make = Callable[..., ifp.Version]

F1 = {"validation": {"min_f1": 0.9}}


@pytest.fixture
def fraud(registry: ifp.Registry, parts: dict[str, Any]) -> ifp.Model:
    return registry.model("fraud")


def state(registry: ifp.Registry) -> list[dict[str, Any]]:
    """Everything that a refusal must leave alone."""
    return registry.sql("SELECT * FROM versions ORDER BY model, version") + registry.sql("SELECT * FROM stage_intervals")


def test_without_a_policy_production_is_refused_with_the_two_ways_on(
    make: Make, fraud: ifp.Model, registry: ifp.Registry
) -> None:
    make("a", metrics={"f1": 0.99})
    before = state(registry)
    with pytest.raises(ifp.Refused) as caught:
        fraud.promote("v1", "production")
    assert "ifp policy set fraud" in str(caught.value)
    assert "--force --reason" in str(caught.value)
    assert state(registry) == before
    assert [event.kind for event in registry.events()] == ["registered", "promotion_refused"]


@pytest.mark.parametrize("stage", ["staging", "shadow", "archived"])
def test_a_passing_gate_opens_production_from_any_stage(make: Make, fraud: ifp.Model, stage: str) -> None:
    fraud.set_policy(F1)
    make("a", metrics={"f1": 0.95})
    fraud.promote("v1", stage)
    moved = fraud.promote("v1", "production")
    assert moved.stage == "production"
    event = fraud.registry.events(kind="promoted")[-1]
    assert (event.from_stage, event.to_stage) == (stage, "production")
    assert event.detail["verdict"]["passed"] is True


@pytest.mark.parametrize(
    ("policy", "metrics", "why"),
    [
        (F1, {"f1": 0.89}, "f1 is 0.89, not >= 0.9"),
        (F1, {}, "f1 was never measured"),
        (F1, {"f1": math.nan}, "f1 is not a number"),
        ({"validation": {"max_rmse": 3}}, {"rmse": 3.5}, "rmse is 3.5, not <= 3"),
        ({"validation": {"max_rmse": 3}}, {"rmse": math.inf}, "rmse is inf"),
    ],
)
def test_a_refused_promotion_is_an_event_with_its_verdict_and_nothing_else(
    make: Make, fraud: ifp.Model, registry: ifp.Registry, policy: Any, metrics: Any, why: str
) -> None:
    digest = fraud.set_policy(policy | {"validation": policy["validation"] | {"notify_on_fail": "slack:#ml"}}).digest
    version = make("a", metrics=metrics)
    before = state(registry)
    with pytest.raises(ifp.GateFailed) as caught:
        fraud.promote("v1", "production", reason="it's ready")
    assert why in str(caught.value)
    assert not caught.value.verdict.passed
    assert state(registry) == before
    event = registry.events()[-1]
    assert (event.kind, event.version, event.to_stage, event.reason) == (
        "promotion_refused", version.digest, None, "it's ready",
    )  # fmt: skip
    assert event.detail["verdict"]["policy"] == digest
    assert event.detail["verdict"]["notify_on_fail"] == ["slack:#ml"]
    assert event.detail["verdict"] == caught.value.verdict.as_dict()


@pytest.mark.parametrize(("f1", "passes"), [(0.9, True), (math.nextafter(0.9, 0), False), (math.inf, True)])
def test_a_bound_is_met_at_its_very_value(make: Make, fraud: ifp.Model, f1: float, passes: bool) -> None:
    fraud.set_policy(F1)
    make("a", metrics={"f1": f1})
    assert fraud.gate("v1").passed is passes


def test_the_gate_writes_nothing(make: Make, fraud: ifp.Model, registry: ifp.Registry) -> None:
    fraud.set_policy(F1)
    make("a", metrics={"f1": 0.95})
    before = registry.path.read_bytes()
    assert fraud.gate("v1").passed
    assert registry.path.read_bytes() == before


def test_a_metric_on_the_training_data_never_counts(make: Make, fraud: ifp.Model, registry: ifp.Registry) -> None:
    fraud.set_policy(F1)
    make("a")
    registry.measure("fraud@v1", {"f1": 0.99}, dataset="train.csv")
    assert [check.why for check in fraud.gate("v1").failures] == ["f1 was only measured on the training data"]


def test_several_datasets_need_the_policy_to_say_which(
    make: Make, fraud: ifp.Model, registry: ifp.Registry, folder: Path
) -> None:
    fraud.set_policy(F1)
    make("a")
    for name, f1 in (("spring.csv", 0.8), ("autumn.csv", 0.95)):
        (folder / name).write_text(name)
        registry.measure("fraud@v1", {"f1": f1}, dataset=name)
    assert "must say which" in fraud.gate("v1").failures[0].why
    fraud.set_policy({"validation": {"min_f1": 0.9, "dataset": "autumn.csv"}})
    assert fraud.gate("v1").passed
    fraud.set_policy({"validation": {"min_f1": 0.9, "dataset": "spring.csv"}})
    assert not fraud.gate("v1").passed
    fraud.set_policy({"validation": {"min_f1": 0.9, "dataset": ifp.hash_data("autumn.csv")}})
    assert fraud.gate("v1").passed


def test_the_name_of_a_dataset_is_fixed_when_the_policy_is_set(
    make: Make, fraud: ifp.Model, registry: ifp.Registry, folder: Path
) -> None:
    (folder / "holdout.csv").write_text("hard")
    make("a", data={"train": "train.csv", "holdout": "holdout.csv"})
    hard = ifp.hash_data("holdout.csv")
    assert fraud.set_policy({"validation": {"min_f1": 0.9, "dataset": "holdout.csv"}}).dataset == hard
    (folder / "holdout.csv").write_text("easy")
    registry.measure("fraud@v1", {"f1": 0.99}, dataset="holdout.csv")
    assert fraud.policy is not None and fraud.policy.dataset == hard
    assert fraud.gate("v1").failures[0].why == "f1 was not measured on holdout.csv"
    with pytest.raises(ifp.Ambiguous, match="2 different datasets"):
        fraud.set_policy({"validation": {"dataset": "holdout.csv"}})


def test_a_dataset_that_nobody_used_cannot_be_asked_for(make: Make, fraud: ifp.Model, registry: ifp.Registry) -> None:
    make("a")
    before = registry.path.read_bytes()
    with pytest.raises(ifp.NotFound, match="nowhere"):
        fraud.set_policy({"validation": {"min_f1": 0.9, "dataset": "nowhere"}})
    assert registry.path.read_bytes() == before


@pytest.mark.parametrize(
    ("metric", "by", "old", "new", "passes"),
    [
        ("f1", 0.0, 0.9, 0.9, True),
        ("f1", 0.0, 0.9, 0.89, False),
        ("f1", 0.05, 0.9, 0.94, False),
        ("f1", 0.05, 0.9, 0.96, True),
        ("rmse", 0.0, 3.0, 3.1, False),
        ("rmse", 0.5, 3.0, 2.4, True),
        ("f1", 0.0, math.nan, 0.99, False),
    ],
)
def test_a_version_must_beat_production(
    make: Make, fraud: ifp.Model, metric: str, by: float, old: float, new: float, passes: bool
) -> None:
    make("a", metrics={metric: old})
    fraud.promote("v1", "production", force=True, reason="first")
    fraud.set_policy({"validation": {"beats_production": {metric: by}}})
    make("b", metrics={metric: new})
    assert fraud.gate("v2").passed is passes


def test_with_nothing_in_production_there_is_nothing_to_beat(make: Make, fraud: ifp.Model) -> None:
    fraud.set_policy({"validation": {"beats_production": {"f1": 0.1}}})
    make("a", metrics={"f1": 0.1})
    assert fraud.promote("v1", "production").stage == "production"


def test_approvals_count_each_person_once_and_not_the_author(
    make: Make, fraud: ifp.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    fraud.set_policy({"validation": {}, "approvals": {"required": 2, "not_author": True}})
    make("a")
    for actor, passes in [("ada", False), ("grace", False), ("grace", False), ("alan", True)]:
        monkeypatch.setenv("IFP_ACTOR", actor)
        fraud.approve("v1", reason="looked at it")
        assert fraud.gate("v1").passed is passes
    monkeypatch.setenv("IFP_ACTOR", "ada")
    fraud.promote("v1", "production")
    (interval,) = fraud.history()
    assert interval.approved_by == ("ada", "grace", "alan")


def test_approval_can_be_given_with_the_promotion(make: Make, fraud: ifp.Model) -> None:
    fraud.set_policy({"validation": {}, "approvals": {"required": 1}})
    make("a")
    with pytest.raises(ifp.GateFailed, match="0 of 1 approvals"):
        fraud.promote("v1", "production")
    fraud.promote("v1", "production", approved_by="grace")
    assert fraud.history()[0].approved_by == ("grace",)


def test_an_approval_is_of_one_version_only(make: Make, fraud: ifp.Model) -> None:
    fraud.set_policy({"validation": {}, "approvals": {"required": 1}})
    make("a")
    make("b")
    fraud.approve("v1")
    assert fraud.gate("v1").passed and not fraud.gate("v2").passed


def test_promote_on_pass_promotes_in_the_registration(make: Make, fraud: ifp.Model, registry: ifp.Registry) -> None:
    fraud.set_policy({"validation": {"min_f1": 0.9, "promote_on_pass": "production"}})
    good, bad = make("a", metrics={"f1": 0.95}), make("b", metrics={"f1": 0.5})
    assert (good.stage, bad.stage) == ("production", "staging")
    kinds = [event.kind for event in registry.events()]
    assert kinds == ["policy_set", "registered", "promoted", "registered", "promotion_refused"]


def test_promote_on_pass_does_not_touch_a_version_that_was_known(make: Make, fraud: ifp.Model) -> None:
    make("a", metrics={"f1": 0.95})
    fraud.set_policy({"validation": {"min_f1": 0.9, "promote_on_pass": "production"}})
    assert make("a", metrics={"f1": 0.95}).stage == "staging"


@pytest.mark.parametrize("reason", [None, "", "  \n"])
def test_force_needs_a_reason(make: Make, fraud: ifp.Model, registry: ifp.Registry, reason: str | None) -> None:
    make("a")
    before = registry.path.read_bytes()
    with pytest.raises(ifp.NeedsReason, match="--reason"):
        fraud.promote("v1", "production", force=True, reason=reason)
    assert registry.path.read_bytes() == before


def test_a_forced_promotion_keeps_the_verdict_that_it_overrode(make: Make, fraud: ifp.Model) -> None:
    fraud.set_policy(F1)
    make("a", metrics={"f1": 0.1})
    fraud.promote("v1", "production", force=True, reason="the board said so")
    event = fraud.registry.events(kind="promoted")[-1]
    assert (event.detail["forced"], event.detail["verdict"]["passed"], event.reason) == (True, False, "the board said so")


def test_a_partial_version_enters_production_only_by_force(make: Make, fraud: ifp.Model) -> None:
    fraud.set_policy({"validation": {}})
    make("a", schema=None, partial=True)
    with pytest.raises(ifp.GateFailed, match="it lacks its schema part"):
        fraud.promote("v1", "production")
    assert fraud.promote("v1", "production", force=True, reason="we know it").stage == "production"


def test_promotion_archives_what_was_there_in_the_same_event(make: Make, fraud: ifp.Model, registry: ifp.Registry) -> None:
    fraud.set_policy({"validation": {}})
    make("a")
    make("b")
    fraud.promote("v1", "production")
    count = len(registry.events())
    fraud.promote("v2", "production")
    assert [version.stage for version in fraud.versions()] == ["production", "archived"]
    assert len(registry.events()) == count + 1
    assert registry.events()[-1].detail["replaced"]["version"] == fraud.get("v1").digest


def test_going_back_needs_a_reason_and_no_gate(make: Make, fraud: ifp.Model, registry: ifp.Registry) -> None:
    fraud.set_policy({"validation": {}})
    make("a")
    make("b")
    fraud.promote("v1", "production")
    fraud.promote("v2", "production")
    fraud.set_policy(F1)  # v1 would no longer pass
    before = registry.path.read_bytes()
    with pytest.raises(ifp.NeedsReason, match="rollback"):
        fraud.promote("v1", "production")
    for reason in ("", " "):
        with pytest.raises(ifp.NeedsReason):
            fraud.rollback(reason=reason)
    assert registry.path.read_bytes() == before
    assert fraud.rollback(reason="regression in v2").ordinal == 1
    event = registry.events()[-1]
    assert (event.kind, event.reason, event.actor) == ("rolled_back", "regression in v2", "ada")


def test_a_rollback_to_what_was_never_there_is_refused(make: Make, fraud: ifp.Model, registry: ifp.Registry) -> None:
    make("a")
    make("b")
    fraud.promote("v1", "production", force=True, reason="first")
    before = registry.path.read_bytes()
    with pytest.raises(ifp.Refused, match="never been in production"):
        fraud.rollback(reason="x", to="v2")
    with pytest.raises(ifp.NotFound):
        fraud.rollback(reason="x")
    assert registry.path.read_bytes() == before


def test_expect_is_compare_and_swap(make: Make, fraud: ifp.Model, registry: ifp.Registry) -> None:
    fraud.set_policy({"validation": {}})
    for weights in "abc":
        make(weights)
    fraud.promote("v1", "production")
    fraud.promote("v2", "production", expect="v1")
    before = registry.path.read_bytes()
    with pytest.raises(ifp.Conflict, match="no longer in production") as caught:
        fraud.promote("v3", "production", expect="v1")
    assert fraud.get("v2").digest in str(caught.value)
    assert registry.path.read_bytes() == before


def test_promoting_to_where_it_is_writes_nothing(make: Make, fraud: ifp.Model, registry: ifp.Registry) -> None:
    make("a")
    before = registry.path.read_bytes()
    assert fraud.promote("v1", "staging", reason="again").stage == "staging"
    assert registry.path.read_bytes() == before


@pytest.mark.parametrize("bad", [("v1", "live"), ("v9", "shadow"), ("?", "shadow"), ("staging", "shadow")])
def test_a_bad_move_leaves_the_registry_byte_for_byte(
    make: Make, fraud: ifp.Model, registry: ifp.Registry, bad: tuple[str, str]
) -> None:
    make("a")
    make("b")
    before = registry.path.read_bytes()
    with pytest.raises((ifp.UsageError, ifp.NotFound, ifp.Ambiguous)):
        fraud.promote(*bad)
    assert registry.path.read_bytes() == before


def test_a_rollback_keeps_on_record_who_approved_the_version_before(registry: ifp.Registry, make: Any) -> None:
    make("a")
    make("b")
    team = registry.model("fraud")
    for ref in ("v1", "v2"):
        team.promote(ref, "production", force=True, reason="first", approved_by=f"approver of {ref}")
    team.rollback(reason="regressed")
    assert [interval.approved_by for interval in team.history()][-1] == ("approver of v1",)
