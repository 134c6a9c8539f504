"""The lanes of `ifp log --graph`: next to git's own pictures, and every edge can be followed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifpdb.drawing.lanes import draw, layout

Nodes = list[tuple[str, Sequence[str]]]

GRAPHS: dict[str, tuple[Nodes, list[str]]] = {
    "a chain": ([("c", ["b"]), ("b", ["a"]), ("a", [])], ["*", "*", "*"]),
    "a triangle": ([("c", ["b", "a"]), ("b", ["a"]), ("a", [])], ["*", "|\\", "* |", "|/", "*"]),
    "a diamond": (
        [("d", ["b", "c"]), ("b", ["a"]), ("c", ["a"]), ("a", [])],
        ["*", "|\\", "* |", "| *", "|/", "*"],
    ),
    "two roots": ([("c", ["a", "b"]), ("a", []), ("b", [])], ["*", "|\\", "* |", " /", "*"]),
    "a parent beyond the picture": ([("b", ["a"])], ["*"]),
    "an octopus": (
        [("e", ["b", "c", "d"]), ("b", ["a"]), ("c", ["a"]), ("d", ["a"]), ("a", [])],
        ["*", "|\\", "| |\\", "* | |", "| * |", "|/ /", "| *", "|/", "*"],
    ),
    "a parent two lanes to the right": (
        [("d", ["b", "c"]), ("e", ["a", "c"]), ("b", ["c"]), ("c", ["a"]), ("a", [])],
        ["*", "|\\", "| | *", "| |/|", "* | |", "|/ /", "* |", "|/", "*"],
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_picture(name: str) -> None:
    nodes, picture = GRAPHS[name]
    lines = draw(nodes)
    assert [line for line, _ in lines] == picture
    assert [node for _, node in lines if node] == [node for node, _ in nodes]


SAME_AS_GIT: dict[str, Nodes] = {
    "chain": [("c", ["b"]), ("b", ["a"]), ("a", [])],
    "diamond": [("d", ["b", "c"]), ("c", ["a"]), ("b", ["a"]), ("a", [])],
    "triangle": [("c", ["a", "b"]), ("b", ["a"]), ("a", [])],
    "two roots": [("c", ["a", "b"]), ("b", []), ("a", [])],
    "a long branch": [("e", ["a", "d"]), ("d", ["c"]), ("c", ["b"]), ("b", ["a"]), ("a", [])],
    "two merges": [("e", ["c", "d"]), ("d", ["b"]), ("c", ["a", "b"]), ("b", ["a"]), ("a", [])],
}


@pytest.mark.parametrize("name", SAME_AS_GIT)
def test_git_draws_the_same(name: str, tmp_path: Path) -> None:
    nodes = SAME_AS_GIT[name]
    found = [line.rstrip() for line in git_log(nodes, tmp_path)]
    named = [(line[:-1].rstrip(), line[-1]) if line[-1].isalpha() else (line, "") for line in found]
    order = [name for _, name in named if name]
    assert draw([(name, dict(nodes)[name]) for name in order]) == named


def git_log(nodes: Nodes, folder: Path) -> list[str]:
    """git's picture of the same graph, made of empty commits."""
    who = {f"GIT_{role}_{key}": "a" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}

    def git(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**os.environ, **who, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    git("init", "-q")
    tree, ids = git("mktree").strip(), dict[str, str]()
    for number, (name, parents) in enumerate(reversed(nodes)):
        moment = f"{1_700_000_000 + number} +0000"
        dates = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
        above = [word for parent in parents for word in ("-p", ids[parent])]
        ids[name] = git("commit-tree", tree, "-m", name, *above, **dates).strip()
    return git("log", "--graph", "--topo-order", "--format=%s", ids[nodes[0][0]]).splitlines()


DAGS = (
    st.integers(1, 14)
    .flatmap(
        lambda size: st.tuples(
            *(st.lists(st.integers(0, n - 1), max_size=4, unique=True) if n else st.just([]) for n in range(size))
        )
    )
    .map(lambda rows: [(str(n), [str(parent) for parent in rows[n]]) for n in reversed(range(len(rows)))])
)


@given(nodes=DAGS)
def test_every_edge_can_be_followed_and_no_other(nodes: Nodes) -> None:
    rows = list(layout(nodes))
    place = {row.name: number for number, row in enumerate(rows)}
    for name, parents in nodes:
        found = set[str]()
        for here, column in rows[place[name]].links:
            if here == rows[place[name]].column:
                number = place[name] + 1
                while rows[number].column != column:
                    (column,) = {there for at, there in rows[number].links if at == column}
                    number += 1
                found.add(rows[number].name)
        assert found == set(parents)
    assert all(0 <= there < rows[number + 1].lanes for number, row in enumerate(rows[:-1]) for _, there in row.links)


@given(nodes=DAGS)
def test_no_lane_hides_another_in_the_text(nodes: Nodes) -> None:
    lines = draw(nodes)
    assert [name for _, name in lines if name] == [name for name, _ in nodes]
    for row, (picture, _) in zip(layout(nodes), [line for line in lines if line[1]], strict=True):
        assert picture.count("*") == 1
        assert picture.count("|") == row.lanes - 1
    assert all(set(picture) <= set("*|/\\ ") for picture, _ in lines)


def test_a_hundred_thousand_runs_are_laid_out_at_once() -> None:
    start = time.process_time()
    chain = [(str(n), [str(n - 1)] if n else []) for n in reversed(range(100_000))]
    assert len(draw(chain)) == 100_000
    assert time.process_time() - start < 20, "it should take a second: something grew with the square"
