"""A directed graph as lanes of text, children above their parents, in the manner of git log --graph."""

from __future__ import annotations

from collections.abc import Sequence


def draw(nodes: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[str, str]]:
    """(picture, node) for each line; the node is '' on lines that only join or part lanes.

    `nodes` are (name, parents) with every child before its parents. Parents that are not among the nodes end a lane.
    """
    known = {name for name, _ in nodes}
    lanes, lines = list[str](), list[tuple[str, str]]()
    for name, parents in nodes:
        if name not in lanes:
            lanes.append(name)
        place = lanes.index(name)
        lines.append((" ".join("*" if lane == name else "|" for lane in lanes), name))
        onward = [parent for parent in parents if parent in known]
        fresh = [parent for parent in onward if parent not in lanes]
        joining = [lanes.index(parent) for parent in onward if parent in lanes]
        before = list(lanes)
        lanes[place : place + 1] = fresh
        if len(fresh) > 1:
            lines.append((_parting(before, place, len(fresh)), ""))
        for target in joining:
            lines.append((_joining(before, place, target), ""))
    return lines


def _parting(lanes: Sequence[str], place: int, count: int) -> str:
    left = ["|"] * place
    return " ".join([*left, "|" + "\\" * (count - 1), *["\\"] * (len(lanes) - place - 1)])


def _joining(lanes: Sequence[str], place: int, target: int) -> str:
    """A line from one lane over to another that goes on."""
    low, high = sorted((place, target))
    cells = ["|" if lane not in range(low, high + 1) or lane == target else "_" for lane in range(len(lanes))]
    cells[place] = "/" if target < place else "\\"
    return " ".join(cells)
