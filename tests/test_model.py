"""A model: its versions by stage, tag and metric; tags, labels, policy, differences; each change an event."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

Make = Callable[..., ifp.Version]


@pytest.fixture
def fraud(make: Make, registry: ifp.Registry) -> ifp.Model:
    """v1 to v4 with an f1 of 0.7, 0.8, 0.9 and NaN; v2 and v3 tagged good, v2 in shadow."""
    for weights, f1, tags in [("a", 0.7, []), ("b", 0.8, ["good"]), ("c", 0.9, ["good"]), ("d", math.nan, [])]:
        make(weights, metrics={"f1": f1, "rmse": 3.0}, tags=tags)
    registry.model("fraud").promote("v2", "shadow")
    return registry.model("fraud")


@pytest.mark.parametrize(
    ("wanted", "ordinals"),
    [
        ({}, [4, 3, 2, 1]),
        ({"limit": 2}, [4, 3]),
        ({"stage": "shadow"}, [2]),
        ({"stage": "production"}, []),
        ({"tag": "good"}, [3, 2]),
        ({"tag": "nothing"}, []),
        ({"where": "f1 >= 0.8"}, [3, 2]),
        ({"where": "f1>0.8"}, [3]),
        ({"where": "f1 == 0.7"}, [1]),
        ({"where": "f1 != 0.7"}, [3, 2]),
        ({"where": "f1 < 0.9 and rmse <= 3, f1 > 0.7"}, [2]),
        ({"where": "f1 < inf"}, [3, 2, 1]),
        ({"where": "recall > 0"}, []),
        ({"stage": "shadow", "tag": "good", "where": "f1 > 0.5"}, [2]),
    ],
)
def test_versions_are_found(fraud: ifp.Model, wanted: dict[str, Any], ordinals: list[int]) -> None:
    assert [version.ordinal for version in fraud.versions(**wanted)] == ordinals


@pytest.mark.parametrize("where", ["f1", "f1 >= good", "f1 => 0.9", "f1 >= 0.9 or rmse < 3", "'; DROP TABLE run", ">= 1"])
def test_a_condition_that_cannot_be_read_is_an_error(fraud: ifp.Model, where: str) -> None:
    with pytest.raises(ifp.UsageError, match="METRIC OP NUMBER"):
        fraud.versions(where=where)


def test_an_unknown_model_is_named_with_its_nearest(fraud: ifp.Model, registry: ifp.Registry) -> None:
    for ask in (registry.model("frauds").versions, registry.model("frauds").history):
        with pytest.raises(ifp.NotFound, match="did you mean 'fraud'"):
            ask()


def test_tags_are_put_on_and_taken_off_and_each_change_is_an_event(fraud: ifp.Model, registry: ifp.Registry) -> None:
    count = len(registry.events())
    assert fraud.tag("v1", "data-v14", "q1").tags == ("data-v14", "q1")
    assert fraud.tag("v1", "q1").tags == ("data-v14", "q1")  # no news
    assert fraud.untag("v1", "q1", "never").tags == ("data-v14",)
    changes = [(event.kind, event.detail["tags"]) for event in registry.events()[count:]]
    assert changes == [("tagged", ["data-v14", "q1"]), ("untagged", ["q1"])]


def test_a_label_moves_and_says_where_from(fraud: ifp.Model, registry: ifp.Registry) -> None:
    fraud.label("v1", "2025-Q4")
    fraud.label("v1", "2025-Q4")  # no news
    assert fraud.label("v2", "2025-Q4").labels == ("2025-Q4",)
    assert fraud.get("v1").labels == ()
    assert fraud.get("2025-Q4").ordinal == 2
    first, second = registry.events(kind="labelled")
    assert (first.detail, second.detail) == ({"label": "2025-Q4"}, {"label": "2025-Q4", "from": fraud.get("v1").digest})


def test_a_label_that_a_registration_takes_over_is_in_its_event(fraud: ifp.Model, make: Make, registry: ifp.Registry) -> None:
    fraud.label("v1", "2025-Q4")
    version = make("e", labels=["2025-Q4"])
    assert fraud.get("2025-Q4").ordinal == 5
    registered, taken = registry.events()[-2:]
    assert (registered.version, registered.detail["labels"]) == (version.digest, ["2025-Q4"])
    assert (taken.kind, taken.detail["from"]) == ("labelled", fraud.get("v1").digest)


@pytest.mark.parametrize("label", ["latest", "production", "v8", "v08", "has space", "", "-x", "a" * 129, "ünicode"])
def test_a_label_that_means_something_else_is_refused(fraud: ifp.Model, registry: ifp.Registry, label: str) -> None:
    before = registry.path.read_bytes()
    with pytest.raises(ifp.UsageError):
        fraud.label("v1", label)
    assert registry.path.read_bytes() == before


@pytest.mark.parametrize("tag", ["Q1", "has space", "", "#x", "a" * 129])
def test_a_malformed_tag_is_refused(fraud: ifp.Model, registry: ifp.Registry, tag: str) -> None:
    before = registry.path.read_bytes()
    with pytest.raises(ifp.UsageError):
        fraud.tag("v1", tag)
    with pytest.raises(ifp.UsageError):
        fraud.tag("v1")
    assert registry.path.read_bytes() == before


def test_labels_of_two_models_are_apart(fraud: ifp.Model, make: Make, registry: ifp.Registry) -> None:
    make("z", "churn", labels=["2025-Q4"])
    fraud.label("v1", "2025-Q4")
    assert registry.resolve("churn@2025-Q4").model == "churn"
    assert registry.resolve("fraud@2025-Q4").ordinal == 1


def test_every_move_is_an_event_that_says_who_and_why(fraud: ifp.Model, registry: ifp.Registry) -> None:
    fraud.promote("v1", "shadow", reason="try")
    fraud.promote("v1", "archived", reason="no good")
    fraud.promote("v1", "staging")
    moves = [(e.kind, e.from_stage, e.to_stage, e.reason, e.actor) for e in registry.events()[-3:]]
    assert moves == [
        ("moved", "staging", "shadow", "try", "ada"),
        ("moved", "shadow", "archived", "no good", "ada"),
        ("moved", "archived", "staging", None, "ada"),
    ]


def test_a_policy_file_is_set_shown_and_logged(fraud: ifp.Model, registry: ifp.Registry, folder: Path) -> None:
    (folder / "policy.yaml").write_text("validation:\n  min_f1: 0.9\n  notify_on_fail: slack:#ml-alerts\n")
    policy = fraud.set_policy("policy.yaml")
    assert fraud.policy == policy
    event = registry.events()[-1]
    assert (event.kind, event.model, event.detail["policy_digest"]) == ("policy_set", "fraud", policy.digest)
    fraud.set_policy({"validation": {"min_f1": 0.5}})
    assert fraud.gate("v1").passed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("validation:\n  min_f1: 0.9\n  mni_f1: 0.9\n", "line 3"),
        ("validation:\n  min_f1: high\n", "line 2"),
        ("validation:\n  min_f1: .nan\n", "line 2"),
        ("validation:\n  min_f1: [0.9\n", "line"),
        ("validation:\n  promote_on_pass: staging\n", "line 2"),
        ("validation: {}\napprovals: {required: two}\n", "line 2"),
        ("", "validation"),
    ],
)
def test_a_policy_that_is_wrong_names_the_line(
    fraud: ifp.Model, registry: ifp.Registry, folder: Path, text: str, says: str
) -> None:
    (folder / "policy.yaml").write_text(text)
    before = registry.path.read_bytes()
    with pytest.raises(ifp.UsageError, match=says):
        fraud.set_policy("policy.yaml")
    with pytest.raises(ifp.UsageError, match="no policy file"):
        fraud.set_policy("nowhere.yaml")
    assert registry.path.read_bytes() == before


def test_what_differs_is_told_part_by_part(make: Make, registry: ifp.Registry, folder: Path) -> None:
    (folder / "more.csv").write_text("more")
    make("a", metrics={"f1": 0.8})
    make("b", params={"C": 2.0, "tol": 0.1}, seed=8, data={"train": "train.csv", "extra": "more.csv"}, metrics={"f1": 0.9})
    changes = [(c.part, c.name, c.change, c.before, c.after) for c in registry.model("fraud").diff("v1", "v2")]
    assert ("param", "C", "changed", 1.0, 2.0) in changes
    assert ("param", "tol", "added", None, 0.1) in changes
    assert ("seed", "seed", "changed", 7, 8) in changes
    assert ("metric", "f1", "changed", 0.8, 0.9) in changes
    assert [change[0] for change in changes] == ["data", "param", "param", "seed", "weights", "metric"]
    assert registry.model("fraud").diff("v1", "v1") == []


def test_a_deployment_is_an_event(fraud: ifp.Model, registry: ifp.Registry) -> None:
    fraud.deployed("v2", "prod-eu", replaces="v1")
    event = registry.events()[-1]
    assert (event.kind, event.version, event.detail) == (
        "deployed",
        fraud.get("v2").digest,
        {"environment": "prod-eu", "replaces": fraud.get("v1").digest},
    )


def test_a_record_is_frozen(fraud: ifp.Model) -> None:
    version = fraud.get("v1")
    with pytest.raises(AttributeError):
        version.stage = "production"  # type: ignore[misc]  # that is the question


@pytest.mark.parametrize("reason", ["\ud800", "a\ud800b"])
def test_a_reason_of_broken_text_is_refused(fraud: ifp.Model, registry: ifp.Registry, reason: str) -> None:
    before = registry.path.read_bytes()
    with pytest.raises(ifp.UsageError):
        fraud.promote("v1", "shadow", reason=reason)
    with pytest.raises(ifp.UsageError):
        fraud.approve("v1", reason)
    assert registry.path.read_bytes() == before


def test_a_model_explains_blames_and_bisects(make: Callable[..., ifp.Version], registry: ifp.Registry) -> None:
    parent = list[str]()
    for number in range(5):
        parent = [make(str(number), params={"C": 1.0 if number < 3 else 2.0}, derived_from=parent).run]
    fraud = registry.model("fraud")
    assert [step.ordinal for step in fraud.explain("v5", "v3").steps] == [4, 5]
    origins = {origin.name: origin.ordinal for origin in fraud.blame("latest")}
    assert (origins["C"], origins["amount"]) == (4, 1)
    found = fraud.bisect(lambda version: version.params["C"] < 2, good="v1", bad="v5")
    assert found.first_bad == fraud.get("v4").run
    assert fraud.bisect(lambda _version: None, good="v1", bad="v5").first_bad is None
