"""Walks over the lineage DAG: ancestors, descendants, best common ancestors, the shortest way from one run to another.

Every walk visits a run once, however many paths lead to it. A run's generation is greater than each ancestor's.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Collection, Mapping, Sequence

from ..answers import Kin
from ..digest import to_text
from ..errors import NotFound
from . import lineage

UP, DOWN = ("e.parent", "e.child"), ("e.child", "e.parent")
NAMED = "FROM a JOIN run r ON r.key = a.run JOIN model m ON m.key = r.model LEFT JOIN version v ON v.key = r.version"
# UNION drops a run that was met before. 7 and 7.0 are equal to it, so that a run's key is an integer on even levels and a
# real number on odd ones: the queue is first in, first out (https://www.sqlite.org/lang_with.html §3.3), levels come one
# after another, and a change of type is the next level. A depth of its own in the row would tell equal runs apart.
ALL = f"""
    WITH RECURSIVE a(run) AS (
      VALUES (?) UNION SELECT iif(typeof(a.run) = 'integer', {{to}} + 0.0, {{to}}) FROM a JOIN edge e ON {{at}} = a.run)
    SELECT r.id, v.digest, m.name, typeof(a.run) = 'real', r.started_at {NAMED}"""
NEAR = f"""
    WITH RECURSIVE step(run, depth) AS (
      VALUES (?, 0) UNION SELECT {{to}}, depth + 1 FROM step s JOIN edge e ON {{at}} = s.run WHERE depth < ?),
    a AS MATERIALIZED (SELECT run, min(depth) AS depth FROM step GROUP BY run)
    SELECT r.id, v.digest, m.name, a.depth {NAMED} WHERE a.depth > 0 ORDER BY a.depth, r.started_at, r.id"""


def ancestors(tx: sqlite3.Connection, run: int, *, depth: int | None = None) -> list[Kin]:
    """What a run came from, the nearest first, without itself; `depth` is how many edges away they may be."""
    return _kin(tx, UP, run, depth)


def descendants(tx: sqlite3.Connection, run: int, *, depth: int | None = None) -> list[Kin]:
    """What came from a run, the nearest first, then the oldest, without itself; `depth` is how many edges away they may be."""
    return _kin(tx, DOWN, run, depth)


def _kin(tx: sqlite3.Connection, way: tuple[str, str], run: int, most: int | None) -> list[Kin]:
    to, at = way
    if most is not None:
        rows = tx.execute(NEAR.format(to=to, at=at), (run, most))
        return [Kin(name, to_text(digest) if digest else None, model, depth) for name, digest, model, depth in rows]
    found, depth, on_odd = list[tuple[str, Kin]](), 0, 0
    for name, digest, model, odd, started_at in tx.execute(ALL.format(to=to, at=at), (run,)):
        if odd != on_odd:
            depth, on_odd = depth + 1, odd
        found.append((started_at, Kin(name, to_text(digest) if digest else None, model, depth)))
    if way == DOWN:  # parents have an order of their own; children come in that of this file's keys
        found.sort(key=lambda one: (one[1].depth, one[0], one[1].run))
    return [kin for _, kin in found[1:]]


EDGES = """
    WITH RECURSIVE a(run) AS (VALUES (?) UNION SELECT e.parent FROM a JOIN edge e ON e.child = a.run)
    SELECT e.child, e.parent FROM a JOIN edge e ON e.child = a.run ORDER BY e.child, e.position"""


def parents_above(tx: sqlite3.Connection, run: int) -> dict[int, list[int]]:
    """The parents, in their order, of a run and of each of its ancestors; roots have an empty list."""
    found: dict[int, list[int]] = {run: []}
    for child, parent in tx.execute(EDGES, (run,)):
        found.setdefault(child, []).append(parent)
        found.setdefault(parent, [])
    return found


A, B, STALE = 1, 2, 4


def merge_bases(tx: sqlite3.Connection, a: int, b: int) -> list[int]:
    """The best common ancestors of two runs (a run is its own ancestor): those that no other one comes from.

    Generations go down, so that a run is looked at after all its descendants: what is known of it then is final. The walk
    ends when only ancestors of what was found are left, as git's `merge-base --all` does. Empty: unrelated histories.
    """
    marks = {a: A, b: A | B if a == b else B}
    waiting = [(-lineage.generation(tx, run), run) for run in marks]
    heapq.heapify(waiting)
    open_ends, found = len(waiting), []
    while open_ends:
        _, run = heapq.heappop(waiting)
        mark = marks[run]
        open_ends -= not mark & STALE
        if mark == A | B:
            found.append(run)
            mark |= STALE
        for parent, generation in lineage.parents(tx, run):
            known = marks.get(parent)
            marks[parent] = (known or 0) | mark
            if known is None:
                heapq.heappush(waiting, (-generation, parent))
                open_ends += not mark & STALE
            elif mark & STALE and not known & STALE:
                open_ends -= 1
    return found


def path(tx: sqlite3.Connection, ancestor: int, run: int) -> list[int]:
    """The shortest way from an ancestor down to a run, both included; among equals, along the earlier parents.

    Raises NotFound, naming the best common ancestor where there is one, for what is no ancestor of the run.
    """
    floor = lineage.generation(tx, ancestor)
    came_from, level = {run: run}, [run]
    while level and ancestor not in came_from:
        above = list[int]()
        for child in level:
            for parent, generation in lineage.parents(tx, child):
                if parent not in came_from and (generation > floor or parent == ancestor):
                    came_from[parent] = child
                    above.append(parent)
        level = above
    if ancestor not in came_from:
        raise NotFound(not_an_ancestor(tx, ancestor, run))
    way = [ancestor]
    while way[-1] != run:
        way.append(came_from[way[-1]])
    return way


def not_an_ancestor(tx: sqlite3.Connection, ancestor: int, run: int) -> str:
    """Why there is no way from one run down to another, and what to name instead."""
    names = lineage.name(tx, ancestor), lineage.name(tx, run)
    bases = [lineage.name(tx, base) for base in merge_bases(tx, ancestor, run)]
    if names[1] in bases:
        return f"it is the other way round: {names[0]} came from {names[1]} (ifp log {names[0]})"
    hint = f"what they have in common is {' and '.join(bases)}" if bases else "they have no ancestor in common"
    return f"{names[1]} doesn't come from {names[0]}: {hint} (ifp log {names[1]})"


def topological(parents: Mapping[int, Sequence[int]], only: Collection[int]) -> list[int]:
    """These runs, parents before their children."""
    missing = {run: sum(parent in only for parent in parents[run]) for run in only}
    children: dict[int, list[int]] = {}
    for run in only:
        for parent in parents[run]:
            children.setdefault(parent, []).append(run)
    order = [run for run in only if not missing[run]]
    for run in order:
        for child in children.get(run, ()):
            missing[child] -= 1
            if not missing[child]:
                order.append(child)
    return order
