"""What changed along a path: default starts, unregistered runs in between, data that grew, words and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.history.explain import explain

Make = Callable[..., ifp.Version]
POLICY = {"validation": {"min_f1": 0.5}}


@pytest.fixture
def story(make: Make, registry: ifp.Registry, folder: Path) -> dict[str, str]:
    """v1 went to production; v2 has another C and a feature more; an unregistered run; v3 more data and another seed."""
    fraud = registry.model("fraud")
    first = make("a", metrics={"f1": 0.9})
    fraud.set_policy(POLICY)
    fraud.promote("v1", "production")
    hour = {"position": 2, "name": "hour", "type": "integer", "nullable": False, "min": 0, "max": 23}
    wider = {"features": [*json.loads((folder / "schema.json").read_text())["features"], hour]}
    (folder / "wider.json").write_text(json.dumps(wider))
    second = make("b", derived_from=first.run, params={"C": 2.0}, schema="wider.json", metrics={"f1": 0.92})
    with ifp.track("fraud", derived_from=(second.run, "forked_from"), params={"C": 2.0}) as between:
        between.log_metric("f1", 0.93)
    (folder / "train.csv").write_text("amount,country\n12.5,DE\n99.0,FR\n")
    third = make("c", derived_from=between.id, params={"C": 2.0}, schema="wider.json", seed=8)
    return {"v1": first.run, "v2": second.run, "between": between.id, "v3": third.run}


def said(step: Any) -> set[tuple[str, str, str]]:
    return {(change.part, change.name, change.change) for change in step.changes}


def test_it_starts_at_production_and_goes_edge_by_edge(registry: ifp.Registry, story: dict[str, str]) -> None:
    found = explain(registry, "fraud@v3")
    assert (found.start, found.end) == (story["v1"], story["v3"])
    assert "in production" in (found.why or "")
    assert [(step.parent, step.child, step.kind) for step in found.steps] == [
        (story["v1"], story["v2"], "derived_from"),
        (story["v2"], story["between"], "forked_from"),
        (story["between"], story["v3"], "derived_from"),
    ]


def test_each_step_has_its_own_changes(registry: ifp.Registry, story: dict[str, str]) -> None:
    first, between, last = explain(registry, "fraud@v3").steps
    assert {("feature", "hour", "added"), ("param", "C", "changed"), ("weights", "weights", "changed")} <= said(first)
    assert ("metric", "f1", "changed") in said(first)
    assert {part for part, _, _ in said(between)} <= {"metric", "code", "environment", "seed"}
    assert {("data", "train:train.csv", "changed"), ("seed", "seed", "added")} <= said(last)


def test_what_an_unregistered_run_did_not_record_is_not_said_to_be_gone(registry: ifp.Registry, story: dict[str, str]) -> None:
    steps = explain(registry, "fraud@v3").steps
    assert not [change for step in steps for change in step.changes if change.part == "feature" and change.change == "removed"]
    assert not [change for change in steps[2].changes if change.part == "feature"]


def test_the_most_telling_comes_first_and_reads_as_a_sentence(registry: ifp.Registry, story: dict[str, str]) -> None:
    first, _, last = explain(registry, "fraud@v3").steps
    assert first.sentences()[:2] == [
        "feature hour was added (type integer, nullable false, min 0, max 23)",
        "parameter C went from 1 to 2",
    ]
    assert "training data train.csv changed: append-only growth, from 1 to 2 rows" in last.sentences()


def test_a_version_in_production_is_explained_from_the_one_before(registry: ifp.Registry, story: dict[str, str]) -> None:
    registry.model("fraud").promote("v2", "production")
    found = explain(registry, "fraud")
    assert (found.start, found.end) == (story["v1"], story["v2"])
    assert "in production before" in (found.why or "")


def test_what_parted_from_production_starts_where_they_parted(
    make: Make, registry: ifp.Registry, story: dict[str, str]
) -> None:
    registry.model("fraud").promote("v2", "production")
    side = make("side", derived_from=story["between"])
    other = make("other", derived_from=side.run)
    registry.model("fraud").promote(other.run, "production", force=True, reason="trial")
    found = explain(registry, "fraud@v3")
    assert found.start == story["v2"]
    assert [step.child for step in found.steps] == [story["between"], story["v3"]]


def test_without_any_production_it_starts_at_the_first_parent(make: Make, registry: ifp.Registry) -> None:
    a = make("a", "other")
    b = make("b", "other", derived_from=a.run)
    assert explain(registry, b.run).start == a.run
    with pytest.raises(ifp.NotFound, match="came from nothing"):
        explain(registry, a.run)


def test_an_ancestor_that_is_none_is_refused(make: Make, registry: ifp.Registry, story: dict[str, str]) -> None:
    with pytest.raises(ifp.NotFound, match="other way round"):
        explain(registry, "fraud@v1", "fraud@v3")
    loner = make("z", "loner")
    with pytest.raises(ifp.NotFound, match="no ancestor in common"):
        explain(registry, "fraud@v3", loner.run)


def test_from_itself_there_is_no_step(registry: ifp.Registry, story: dict[str, str]) -> None:
    assert explain(registry, "fraud@v3", "fraud@v3").steps == ()


def test_a_merge_names_its_other_parents(make: Make, registry: ifp.Registry, story: dict[str, str]) -> None:
    merged = make("m", derived_from=[story["v3"], (story["v2"], "merged_from")])
    (step,) = explain(registry, merged.run, story["v3"]).steps
    assert step.others == (ifp.Parent(story["v2"], "merged_from"),)


def test_the_document_has_the_promised_keys(cli: Callable[..., Any], story: dict[str, str]) -> None:
    document = json.loads(cli("explain", "fraud@v3", "--json").out)
    assert {"from", "to", "steps"} <= document.keys()
    assert (document["from"], document["to"]) == (story["v1"], story["v3"])
    for step in document["steps"]:
        assert {"child", "parent", "kind", "changes"} <= step.keys()
        assert all({"part", "name", "change", "before", "after"} <= change.keys() for change in step["changes"])


def test_the_command_tells_it_step_by_step(cli: Callable[..., Any], story: dict[str, str]) -> None:
    told = cli("explain", "fraud@v3")
    assert told.code == 0
    assert [line.split()[0] for line in told.out.splitlines() if not line.startswith(" ")] == [
        story["v2"], story["between"], story["v3"],
    ]  # fmt: skip
    assert "  - feature hour was added" in told.out
    assert "in production" in told.err


def test_a_path_of_fifty_edges_is_explained(make: Make, registry: ifp.Registry) -> None:
    parent = make("0").run
    for number in range(1, 51):
        parent = make(str(number), derived_from=parent, params={"C": float(number)}).run
    steps = explain(registry, parent, "fraud@v1").steps
    assert len(steps) == 50
    assert all(("param", "C", "changed") in said(step) for step in steps[1:])


def test_a_version_that_two_runs_gave_is_an_ancestor_by_either(make: Make, registry: ifp.Registry) -> None:
    first = make("a")
    registry.model("fraud").promote("v1", "production", force=True, reason="first")
    assert not make("a").created
    (again,) = {run.id for run in registry.runs() if run.version == first.digest} - {first.run}
    child = make("b", derived_from=again, params={"C": 2.0})
    assert registry.resolve("fraud@v1").run == first.run
    for found in (explain(registry, child.run), explain(registry, child.run, "fraud@v1")):
        assert (found.start, len(found.steps)) == (again, 1)
    bisected = registry.model("fraud").bisect(lambda version: version.params["C"] < 2, good="v1", bad="v2")
    assert bisected.first_bad == child.run
