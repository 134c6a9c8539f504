"""The lanes of `ifp log --graph`."""

from __future__ import annotations

import pytest

from ifpdb.cli.graph import draw

GRAPHS = {
    "a chain": ([("c", ["b"]), ("b", ["a"]), ("a", [])], ["*", "*", "*"]),
    "a triangle": ([("c", ["b", "a"]), ("b", ["a"]), ("a", [])], ["*", "|\\", "* |", "|/", "*"]),
    "a diamond": (
        [("d", ["b", "c"]), ("b", ["a"]), ("c", ["a"]), ("a", [])],
        ["*", "|\\", "* |", "| *", "|/", "*"],
    ),
    "two roots": ([("c", ["a", "b"]), ("a", []), ("b", [])], ["*", "|\\", "* |", "*"]),
    "a parent beyond the picture": ([("b", ["a"])], ["*"]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_picture(name: str) -> None:
    nodes, picture = GRAPHS[name]
    lines = draw(nodes)
    assert [line for line, _ in lines] == picture
    assert [node for _, node in lines if node] == [node for node, _ in nodes]
