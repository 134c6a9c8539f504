"""Lineage: edges from child to parent runs, kept free of cycles.

`run.generation` is 1 + the greatest of its parents' (git's commit-graph number): no ancestor has a greater or equal
one, which is where every walk may stop.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Sequence

from ..answers import Node
from ..digest import to_text
from ..errors import Conflict, NotFound, UsageError
from .runs import parents_of

ADD = "INSERT INTO edge VALUES (?, (SELECT coalesce(max(position), 0) + 1 FROM edge WHERE child = ?), ?, ?)"
HAS = "SELECT kind FROM edge WHERE parent = ? AND child = ?"
GENERATION = "SELECT generation FROM run WHERE key = ?"
RAISE_GENERATION = "UPDATE run SET generation = ? WHERE key = ? AND generation < ?"
CHILDREN = "SELECT child FROM edge WHERE parent = ?"
PARENTS = "SELECT parent FROM edge WHERE child = ? ORDER BY position"
PARENTS_WITH_GENERATION = """
    SELECT e.parent, r.generation FROM edge e JOIN run r ON r.key = e.parent WHERE e.child = ? ORDER BY e.position"""
NAME = "SELECT id FROM run WHERE key = ?"


def link(tx: sqlite3.Connection, child: int, parent: int, kind: str) -> bool:
    """Add an edge behind the child's others; False when it is there already.

    Raises UsageError for a run's edge to itself, Conflict for one that would close a cycle or contradicts its kind.
    """
    if child == parent:
        raise UsageError(f"{name(tx, child)} can't come from itself")
    if row := tx.execute(HAS, (parent, child)).fetchone():
        if row[0] != kind:
            raise Conflict(f"{name(tx, child)} is already {row[0]} {name(tx, parent)}; lineage doesn't change")
        return False
    if is_ancestor(tx, child, parent):
        raise Conflict(f"{name(tx, parent)} came from {name(tx, child)}: the edge would close a cycle")
    tx.execute(ADD, (child, child, parent, kind))
    _raise_generations(tx, child, int(tx.execute(GENERATION, (parent,)).fetchone()[0]) + 1)
    return True


def is_ancestor(tx: sqlite3.Connection, run: int, of: int) -> bool:
    """Whether `run` is `of` itself or one of its ancestors; never looks below the run's generation."""
    if run != of and tx.execute(CHILDREN, (run,)).fetchone() is None:
        return False  # as each new run: no walk is needed to link it to its parents
    return run in Above(tx, of)


class Above:
    """A run and all its ancestors, found from the highest generation down, once and only as far down as is asked."""

    def __init__(self, tx: sqlite3.Connection, run: int) -> None:
        self._tx = tx
        self._found = {run}
        self._waiting = [(-generation(tx, run), run)]

    def __contains__(self, run: int) -> bool:
        floor = -generation(self._tx, run)
        while self._waiting and self._waiting[0][0] < floor:
            for parent, number in parents(self._tx, heapq.heappop(self._waiting)[1]):
                if parent not in self._found:
                    self._found.add(parent)
                    heapq.heappush(self._waiting, (-number, parent))
        return run in self._found


def _raise_generations(tx: sqlite3.Connection, run: int, generation: int) -> None:
    waiting = [(run, generation)]
    while waiting:
        here, number = waiting.pop()
        if tx.execute(RAISE_GENERATION, (number, here, number)).rowcount:
            waiting += [(row[0], number + 1) for row in tx.execute(CHILDREN, (here,))]


ALL_RUNS = "SELECT key, generation FROM run"
ALL_EDGES = "SELECT child, parent FROM edge"
SET_GENERATION = "UPDATE run SET generation = ? WHERE key = ?"


def renumber(tx: sqlite3.Connection) -> None:
    """Count every generation anew, where edges were taken away."""
    held, above = dict[int, int](tx.execute(ALL_RUNS).fetchall()), dict[int, int]()
    children, missing = dict[int, list[int]](), dict.fromkeys(held, 0)
    for child, parent in tx.execute(ALL_EDGES):
        children.setdefault(parent, []).append(child)
        missing[child] += 1
    ready = [run for run, count in missing.items() if not count]
    for run in ready:
        for child in children.get(run, ()):
            above[child] = max(above.get(child, 1), above.get(run, 1) + 1)
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    tx.executemany(SET_GENERATION, [(above.get(run, 1), run) for run in held if held[run] != above.get(run, 1)])


def ancestor(tx: sqlite3.Connection, run: int, count: int) -> int:
    """`REF~count`: that many generations up the first parents. Raises NotFound when the line is shorter."""
    here = run
    for step in range(count):
        row = tx.execute(PARENTS, (here,)).fetchone()
        if row is None:
            raise NotFound(f"{name(tx, run)} has only {step} first-parent ancestors, not {count} (ifp log {name(tx, run)})")
        here = row[0]
    return here


def nth_parent(tx: sqlite3.Connection, run: int, position: int) -> int:
    """`REF^position`: its position-th parent, itself for 0. Raises NotFound when it has fewer."""
    if position == 0:
        return run
    parents = [row[0] for row in tx.execute(PARENTS, (run,))]
    if position > len(parents):
        raise NotFound(f"{name(tx, run)} has {len(parents)} parents, not {position} (ifp log {name(tx, run)})")
    return int(parents[position - 1])


def generation(tx: sqlite3.Connection, run: int) -> int:
    """1 + the greatest of its parents'."""
    return int(tx.execute(GENERATION, (run,)).fetchone()[0])


def parents(tx: sqlite3.Connection, run: int) -> list[tuple[int, int]]:
    """(parent, its generation) in the kept order."""
    return tx.execute(PARENTS_WITH_GENERATION, (run,)).fetchall()


def name(tx: sqlite3.Connection, run: int) -> str:
    """The id of a run."""
    return str(tx.execute(NAME, (run,)).fetchone()[0])


def link_all(tx: sqlite3.Connection, child: int, parents: Sequence[tuple[int, str]]) -> None:
    """Add edges in this order."""
    for parent, kind in parents:
        link(tx, child, parent, kind)


MODEL_OF = "SELECT m.name FROM run r JOIN model m ON m.key = r.model WHERE r.key = ?"


def model_of(tx: sqlite3.Connection, run: int) -> str:
    """The name of the model that a run trained."""
    return str(tx.execute(MODEL_OF, (run,)).fetchone()[0])


ALL_ABOVE = """
    WITH RECURSIVE a(run) AS (VALUES (?) UNION SELECT e.parent FROM a JOIN edge e ON e.child = a.run)
    SELECT json_group_array(run) FROM a"""
NODES = """
    SELECT r.key, r.id, m.name, v.digest, v.ordinal, v.stage, r.status, r.started_at,
           (SELECT json_group_array(l.name) FROM label l WHERE l.version = v.key)
      FROM json_each(?) w JOIN run r ON r.key = w.value JOIN model m ON m.key = r.model
      LEFT JOIN version v ON v.key = r.version
     ORDER BY r.generation DESC, r.started_at DESC, r.id DESC"""


STARTED = "SELECT started_at, id FROM run WHERE key = ?"


def nodes(tx: sqlite3.Connection, run: int, *, limit: int | None = None) -> list[Node]:
    """A run and all its ancestors, children always before their parents; with `limit`, the first so many of them."""
    if limit is None:
        return _nodes(tx, tx.execute(ALL_ABOVE, (run,)).fetchone()[0])
    found, level = list[int](), {generation(tx, run): {run}}
    while level and len(found) < limit:
        here = level.pop(max(level))
        found += sorted(here, key=lambda key: tx.execute(STARTED, (key,)).fetchone(), reverse=True)
        for parent, number in (above for key in here for above in parents(tx, key)):
            level.setdefault(number, set()).add(parent)
    return read(tx, found[:limit])


def read(tx: sqlite3.Connection, keys: Sequence[int]) -> list[Node]:
    """The nodes behind these keys, children always before their parents."""
    return _nodes(tx, json.dumps(keys))


def _nodes(tx: sqlite3.Connection, wanted: str) -> list[Node]:
    parents = parents_of(tx, wanted)
    return [
        Node(
            run=id,
            model=model,
            digest=to_text(digest) if digest else None,
            ordinal=ordinal,
            stage=stage,
            labels=tuple(json.loads(labels)),
            status=status,
            started_at=started_at,
            parents=tuple(parents[key]),
        )
        for key, id, model, digest, ordinal, stage, status, started_at, labels in tx.execute(NODES, (wanted,)).fetchall()
    ]
