"""A directed graph as lanes, children above their parents, in the manner of git log --graph: laid out once, drawn as text.

Text differs from git's where a run has three or more parents: lanes part one after the other, without git's `-.`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A node in its column, of so many lanes, and the links below it: (column here, column in the next row)."""

    name: str
    column: int
    lanes: int
    links: tuple[tuple[int, int], ...]


def layout(nodes: Sequence[tuple[str, Sequence[str]]]) -> Iterator[Row]:
    """`nodes` are (name, parents) with every child before its parents. Parents that are not among the nodes end a lane.

    A lane leads down to one node; a node's first parent stays in its column. When one ends, those to its right move over.
    """
    known = {name for name, _ in nodes}
    lanes = list[str]()
    for name, parents in nodes:
        if name not in lanes:
            lanes.append(name)
        place = lanes.index(name)
        onward = [parent for parent in dict.fromkeys(parents) if parent in known]
        below = lanes[:place] + [parent for parent in onward if parent not in lanes] + lanes[place + 1 :]
        column = {lane: number for number, lane in enumerate(below)}
        links = [(here, column[lane]) for here, lane in enumerate(lanes) if here != place]
        links += [(place, column[parent]) for parent in onward]
        yield Row(name, place, len(lanes), tuple(sorted(links)))
        lanes = below


def draw(nodes: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[str, str]]:
    """(picture, node) for each line of text; the node is '' on lines that only join or part lanes."""
    lines = list[tuple[str, str]]()
    for row in layout(nodes):
        lines.append((" ".join("*" if lane == row.column else "|" for lane in range(row.lanes)), row.name))
        lines += [(line, "") for line in _gap(row)]
    return lines


def _gap(row: Row) -> Iterator[str]:
    """The lines between a row and the next one: each link moves by one lane a line.

    Where the node's own link goes right while others move over to the left, they would meet: it goes first.
    """
    links = list(row.links)
    if any(here == row.column < there for here, there in links) and any(there < here != row.column for here, there in links):
        moved = [(here, there + 1 if there >= row.column else there) for here, there in links if here == row.column]
        yield from _moves([*moved, *((here, here) for here, _ in links if here != row.column)])
        links = [(there, there - 1 if there > row.column else there) for _, there in moved] + [
            (here, there) for here, there in links if here != row.column
        ]
    yield from _moves(links)


def _moves(links: Sequence[tuple[int, int]]) -> Iterator[str]:
    links = list(dict.fromkeys(links))
    while any(here != there for here, there in links):
        cells = [" "] * (2 * max(max(link) for link in links) + 2)
        for here, there in links:
            if here == there:
                cells[2 * here] = "|"
            else:
                cells[2 * here + (1 if there > here else -1)] = "\\" if there > here else "/"
        yield "".join(cells).rstrip()
        links = list(dict.fromkeys((here + (there > here) - (there < here), there) for here, there in links))
