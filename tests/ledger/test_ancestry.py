"""Walks over the lineage DAG agree with naive ones: ancestors and descendants with depths, merge bases, shortest paths."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ifpdb as ifp
from ifpdb.ledger import ancestry, facts, lineage, runs

Parents = Mapping[int, Sequence[int]]
Grow = Callable[[Parents], list[int]]

DAGS = (
    st.integers(1, 12)
    .flatmap(
        lambda size: st.tuples(
            *(st.lists(st.integers(0, max(0, n - 1)), max_size=3 if n else 0, unique=True) for n in range(size))
        )
    )
    .map(lambda rows: dict(enumerate(rows)))
)

ZOO: dict[str, Parents] = {
    "chain": {0: [], 1: [0], 2: [1], 3: [2]},
    "diamond": {0: [], 1: [0], 2: [0], 3: [1, 2]},
    "unequal arms": {0: [], 1: [0], 2: [1], 3: [0, 2]},
    "criss-cross": {0: [], 1: [0], 2: [0], 3: [1, 2], 4: [2, 1], 5: [3], 6: [4]},
    "octopus": {0: [], 1: [0], 2: [0], 3: [0], 4: [1, 2, 3]},
    "two roots": {0: [], 1: [], 2: [0, 1]},
    "ladder": {0: [], 1: [], **{n: [n - 2 - n % 2, n - 1 - n % 2] for n in range(2, 12)}},
}
graphs = pytest.mark.parametrize("parents", ZOO.values(), ids=ZOO.keys())


def grow(tx: sqlite3.Connection, parents: Parents) -> list[int]:
    """The keys of fresh runs with these edges."""
    model = facts.keep_model(tx, "fraud")
    first = tx.execute("SELECT count(*) FROM run").fetchone()[0]
    keys = [
        runs.insert(
            tx,
            id=f"run-{first + number:05}",
            model=model,
            status="finished",
            actor="ada",
            started_at="2026-01-01T00:00:00.000000Z",
            seed=None,
            command=None,
            code=ifp.Code(),
        )
        for number in parents
    ]
    for child, above in parents.items():
        lineage.link_all(tx, keys[child], [(keys[parent], "derived_from") for parent in above])
    return keys


def distances(parents: Parents, start: int) -> dict[int, int]:
    """How many edges each ancestor is away, itself 0."""
    found, level, depth = {start: 0}, [start], 0
    while level:
        depth += 1
        level = list(dict.fromkeys(parent for one in level for parent in parents[one] if parent not in found))
        found |= dict.fromkeys(level, depth)
    return found


def flipped(parents: Parents) -> dict[int, list[int]]:
    return {one: [child for child, above in parents.items() if one in above] for one in parents}


def check_walks(tx: sqlite3.Connection, parents: Parents) -> None:
    keys = grow(tx, parents)
    names = [lineage.name(tx, key) for key in keys]
    for walk, edges in ((ancestry.ancestors, parents), (ancestry.descendants, flipped(parents))):
        for start in parents:
            expected = {names[one]: depth for one, depth in distances(edges, start).items() if depth}
            found = walk(tx, keys[start])
            assert {kin.run: kin.depth for kin in found} == expected
            assert [kin.depth for kin in found] == sorted(kin.depth for kin in found)
            for most in (0, 1, 2):
                near = {kin.run: kin.depth for kin in walk(tx, keys[start], depth=most)}
                assert near == {name: depth for name, depth in expected.items() if depth <= most}


def check_merge_bases(tx: sqlite3.Connection, parents: Parents) -> None:
    keys = grow(tx, parents)
    above = {one: set(distances(parents, one)) for one in parents}
    for a in parents:
        for b in parents:
            common = above[a] & above[b]
            best = {one for one in common if not any(one in above[other] for other in common - {one})}
            found = ancestry.merge_bases(tx, keys[a], keys[b])
            assert len(found) == len(set(found))
            assert set(found) == {keys[one] for one in best}


def check_paths(tx: sqlite3.Connection, parents: Parents) -> None:
    keys = grow(tx, parents)
    for run in parents:
        away = distances(parents, run)
        for ancestor in parents:
            if ancestor not in away:
                with pytest.raises(ifp.NotFound, match=r"doesn't come from|the other way round"):
                    ancestry.path(tx, keys[ancestor], keys[run])
                continue
            way = [keys.index(key) for key in ancestry.path(tx, keys[ancestor], keys[run])]
            assert (way[0], way[-1], len(way)) == (ancestor, run, away[ancestor] + 1)
            assert all(parent in parents[child] for parent, child in itertools.pairwise(way))


def check_lines(tx: sqlite3.Connection, parents: Parents) -> None:
    keys = grow(tx, parents)
    for run in parents:
        for order in (sorted(parents), sorted(parents, reverse=True)):
            line = lineage.Above(tx, keys[run])
            assert {one for one in order if keys[one] in line} == set(distances(parents, run))


def check_first_nodes(tx: sqlite3.Connection, parents: Parents) -> None:
    for run in grow(tx, parents):
        whole = lineage.nodes(tx, run)
        for limit in (1, 2, 3, len(whole), 100):
            assert lineage.nodes(tx, run, limit=limit) == whole[:limit]


CHECKS = [check_walks, check_merge_bases, check_paths, check_lines, check_first_nodes]


@graphs
@pytest.mark.parametrize("check", CHECKS)
def test_the_zoo_agrees_with_naive_walks(registry: ifp.Registry, parents: Parents, check: Callable[..., None]) -> None:
    with registry.writing() as (tx, _by):
        check(tx, parents)


@pytest.mark.parametrize("check", CHECKS)
@given(parents=DAGS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_graph_agrees_with_naive_walks(registry: ifp.Registry, check: Callable[..., None], parents: Parents) -> None:
    with registry.writing() as (tx, _by):
        check(tx, parents)


def test_the_parents_above_keep_their_order(registry: ifp.Registry) -> None:
    with registry.writing() as (tx, _by):
        keys = grow(tx, ZOO["criss-cross"])
        found = ancestry.parents_above(tx, keys[4])
        assert found == {keys[4]: [keys[2], keys[1]], keys[1]: [keys[0]], keys[2]: [keys[0]], keys[0]: []}
        order = ancestry.topological(found, set(found))
    assert all(order.index(parent) < order.index(child) for child, above in found.items() for parent in above)


def test_what_has_nothing_in_common_says_so(registry: ifp.Registry) -> None:
    with registry.writing() as (tx, _by):
        a, b, _ = grow(tx, ZOO["two roots"])
        assert ancestry.merge_bases(tx, a, b) == []
        with pytest.raises(ifp.NotFound, match="no ancestor in common"):
            ancestry.path(tx, a, b)


def test_a_path_asked_for_upside_down_says_so(registry: ifp.Registry) -> None:
    with registry.writing() as (tx, _by):
        keys = grow(tx, ZOO["chain"])
        with pytest.raises(ifp.NotFound, match="other way round"):
            ancestry.path(tx, keys[3], keys[0])


def test_a_path_that_is_not_there_names_what_both_came_from(registry: ifp.Registry) -> None:
    with registry.writing() as (tx, _by):
        keys = grow(tx, ZOO["diamond"])
        with pytest.raises(ifp.NotFound, match=f"in common is {lineage.name(tx, keys[0])}"):
            ancestry.path(tx, keys[1], keys[2])


def test_sixty_diamonds_are_walked_without_exploding(registry: ifp.Registry) -> None:
    rungs = {0: [], **{n: {0: [n - 1, n - 2], 1: [n - 1], 2: [n - 2]}[n % 3] for n in range(1, 181)}}
    with registry.writing() as (tx, _by):
        keys = grow(tx, rungs)
        assert len(ancestry.ancestors(tx, keys[-1])) == 180
        assert len(ancestry.ancestors(tx, keys[-1], depth=200)) == 180
        assert ancestry.path(tx, keys[0], keys[-1])[-1] == keys[-1]
