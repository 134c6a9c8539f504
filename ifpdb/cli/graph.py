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
        onward = [parent for parent in dict.fromkeys(parents) if parent in known]
        fresh = [parent for parent in onward if parent not in lanes]
        here_already = [parent for parent in onward if parent in lanes]
        before = len(lanes)
        lanes[place : place + 1] = fresh or [name]
        if len(fresh) > 1:
            lines.append((_parting(before, place, len(fresh)), ""))
        for parent in here_already:
            other = lanes.index(parent)
            keep, end = sorted((place, other))
            lines.append((_joining(len(lanes), keep, end, closing=not fresh), ""))
            if not fresh:
                lanes[keep] = parent
                del lanes[end]
                fresh = [parent]
        if not onward:
            del lanes[place]
    return lines


def _parting(lanes: int, place: int, count: int) -> str:
    """One lane becomes `count`; those to its right move over."""
    return " ".join(["|"] * place + ["|" + "\\" * (count - 1)] + ["\\"] * (lanes - place - 1))


def _joining(lanes: int, keep: int, end: int, *, closing: bool) -> str:
    """A line from lane `end` over to lane `keep`; when it closes `end`, the lanes to its right move over."""
    cells = [" "] * (2 * lanes)
    for lane in range(lanes):
        if not closing or lane < end:
            cells[2 * lane] = "|"
        elif lane > end:
            cells[2 * lane - 1] = "/"
    cells[2 * keep + 1 : 2 * end - 1] = "_" * (2 * (end - keep) - 2)
    cells[2 * end - 1] = "/"
    return "".join(cells).rstrip()
