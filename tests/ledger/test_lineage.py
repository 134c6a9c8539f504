"""Lineage: edges in a kept order, no cycle, generations, and walks that agree with naive ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ifpdb as ifp
from ifpdb.ledger import facts, lineage, runs

Make = Callable[..., ifp.Version]


def new_runs(registry: ifp.Registry, count: int) -> list[int]:
    """The keys of fresh runs without edges."""
    with registry.writing() as (tx, by):
        model = facts.keep_model(tx, "fraud")
        first = tx.execute("SELECT count(*) FROM run").fetchone()[0]
        return [
            runs.insert(
                tx,
                id=f"run-{number:05}",
                model=model,
                status="finished",
                actor="ada",
                started_at=by.now,
                seed=None,
                command=None,
                code=ifp.Code(),
            )
            for number in range(first, first + count)
        ]


def test_parents_keep_their_order_and_kinds(make: Make, registry: ifp.Registry) -> None:
    a, b, c = make("a"), make("b"), make("c")
    child = make("d", derived_from=[(c.run, "merged_from"), a.run, (b.run, "distilled_from")])
    assert [(parent.run, parent.kind) for parent in child.parents] == [
        (c.run, "merged_from"),
        (a.run, "derived_from"),
        (b.run, "distilled_from"),
    ]


@pytest.mark.parametrize(
    "kind", ["derived_from", "forked_from", "fine_tuned_from", "distilled_from", "merged_from", "quantized_from"]
)
def test_every_kind_of_the_promise_is_kept(make: Make, kind: str) -> None:
    parent = make("a")
    assert make("b", derived_from=(parent.run, kind)).parents[0].kind == kind


def test_another_kind_is_refused(make: Make) -> None:
    parent = make("a")
    with pytest.raises(ifp.UsageError, match="no kind of lineage"):
        make("b", derived_from=[(parent.run, "stolen_from")])


def test_an_edge_that_would_close_a_cycle_is_refused(make: Make, registry: ifp.Registry) -> None:
    make("a")
    make("b", derived_from="fraud@v1")
    make("c", derived_from="fraud@v2")
    before = registry.path.read_bytes()
    with pytest.raises(ifp.Conflict, match="cycle"):
        registry.link("fraud@v1", "fraud@v3")
    with pytest.raises(ifp.UsageError, match="itself"):
        registry.link("fraud@v1", "fraud@v1")
    assert registry.path.read_bytes() == before


def test_linking_again_is_no_news_and_another_kind_is_a_conflict(make: Make, registry: ifp.Registry) -> None:
    make("a")
    make("b")
    assert registry.link("fraud@v2", "fraud@v1") is True
    assert registry.link("fraud@v2", "fraud@v1") is False
    assert [event.kind for event in registry.events()].count("linked") == 1
    with pytest.raises(ifp.Conflict, match="already derived_from"):
        registry.link("fraud@v2", "fraud@v1", "forked_from")


def test_a_run_that_registered_nothing_is_a_node_too(make: Make, registry: ifp.Registry) -> None:
    with ifp.track("fraud") as warm_up:
        pass
    make("a", derived_from=warm_up.id)
    nodes = registry.lineage("fraud@v1")
    assert [(node.run, node.digest is None) for node in nodes[1:]] == [(warm_up.id, True)]


def test_a_node_of_another_model_is_part_of_the_ancestry(make: Make, registry: ifp.Registry) -> None:
    teacher = make("a", "teacher")
    make("b", "student", derived_from=(teacher.run, "distilled_from"))
    assert [node.model for node in registry.lineage("student@v1")] == ["student", "teacher"]


def test_a_late_edge_raises_the_generations_below_it(registry: ifp.Registry) -> None:
    keys = new_runs(registry, 6)
    with registry.writing() as (tx, _by):
        for child, parent in [(1, 0), (2, 1), (4, 3), (5, 4)]:
            lineage.link(tx, keys[child], keys[parent], "derived_from")
        lineage.link(tx, keys[3], keys[2], "derived_from")
        found = tx.execute("SELECT generation FROM run ORDER BY key").fetchall()
    assert [row[0] for row in found] == [1, 2, 3, 4, 5, 6]


def test_twenty_diamonds_are_walked_without_exploding(registry: ifp.Registry) -> None:
    keys = new_runs(registry, 61)
    with registry.writing() as (tx, _by):
        for start in range(0, 60, 3):
            top, left, right, bottom = keys[start : start + 4]
            for child, parent in [(left, top), (right, top), (bottom, left), (bottom, right)]:
                lineage.link(tx, child, parent, "derived_from")
        assert len(lineage.nodes(tx, keys[-1])) == 61


Edges = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=40)


@given(edges=Edges)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_edges_agrees_with_a_naive_graph(registry: ifp.Registry, edges: list[tuple[int, int]]) -> None:
    keys = new_runs(registry, 12)
    parents: dict[int, list[int]] = {number: [] for number in range(12)}

    def ancestry(of: int) -> set[int]:
        return {of}.union(*(ancestry(parent) for parent in parents[of]))

    def depth(of: int) -> int:
        return 1 + max((depth(parent) for parent in parents[of]), default=0)

    with registry.writing() as (tx, _by):
        for child, parent in edges:
            if child == parent or child in ancestry(parent):
                with pytest.raises((ifp.UsageError, ifp.Conflict)):
                    lineage.link(tx, keys[child], keys[parent], "derived_from")
            else:
                assert lineage.link(tx, keys[child], keys[parent], "derived_from") is (parent not in parents[child])
                if parent not in parents[child]:
                    parents[child].append(parent)
        for number in range(12):
            found = lineage.nodes(tx, keys[number])
            position = {node.run: place for place, node in enumerate(found)}
            assert set(position) == {lineage.name(tx, keys[other]) for other in ancestry(number)}
            assert all(position[node.run] < position[parent.run] for node in found for parent in node.parents)
            generation = tx.execute("SELECT generation FROM run WHERE key = ?", (keys[number],)).fetchone()[0]
            assert generation == depth(number)
            assert [lineage.nth_parent(tx, keys[number], place + 1) for place in range(len(parents[number]))] == [
                keys[parent] for parent in parents[number]
            ]


def test_the_graph_stands_in_the_lineage_view(make: Make, registry: ifp.Registry, folder: Path) -> None:
    a = make("a")
    b = make("b", derived_from=(a.run, "forked_from"))
    rows = registry.sql("SELECT child, parent, kind, position, child_version, parent_version FROM lineage")
    assert rows == [
        {
            "child": b.run,
            "parent": a.run,
            "kind": "forked_from",
            "position": 1,
            "child_version": b.digest,
            "parent_version": a.digest,
        }
    ]
