"""Since when: for each feature and parameter of a version, the run that brought its present value, when and by whom.

As git blames a line: a value that some parent has too came from the first such parent, in the kept order; a value that no
parent has came with the run itself. A run that says nothing of a part (no schema, no training record, no environment, no
data) stands for its own parents. A feature's value is its whole description but its position: a range that moved is a change.
"""

from __future__ import annotations

import difflib
import heapq
import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..capture.schema.features import Feature
from ..digest import canonical, integer_to_json, to_text
from ..errors import NotFound
from ..ledger import resolve, runs

if TYPE_CHECKING:
    from ..desk import Registry


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: `part` is 'feature', 'param', 'seed', 'package' or 'data'; `digest` is None of a run that
    registered nothing.

    `after` is the value, `before` the first parent's (None: it wasn't there). Of a feature that was there, both have only
    the keys that differ. `at` is when the run registered, or else started.
    """

    part: str
    name: str
    before: Any
    after: Any
    run: str
    digest: str | None
    model: str
    ordinal: int | None
    at: str
    actor: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "name": self.name,
            "before": self.before,
            "after": self.after,
            "run": self.run,
            "digest": self.digest,
            "model": self.model,
            "ordinal": self.ordinal,
            "at": self.at,
            "actor": self.actor,
        }


def blame(
    registry: Registry,
    ref: str,
    *,
    features: Collection[str] | None = None,
    params: Collection[str] | None = None,
    packages: Collection[str] | None = None,
    data: Collection[str] | None = None,
) -> list[Origin]:
    """Who brought each value of a version, in the version's own order: its features, parameters and seed when nothing is named.

    Each part may be narrowed to names (of data: roles, names or `role:name`); an empty collection is all of that part. Raises
    NotFound with the nearest names for what the version doesn't have, and what resolving a reference raises.
    """
    asked = {"feature": features, "param": params, "package": packages, "data": data}
    if all(names is None for names in asked.values()):
        asked = {"feature": (), "param": (), "seed": ()}
    with registry.reading() as tx:
        start = _node(tx, resolve.resolve(tx, ref, now=registry.now()).run)
        wanted = {
            part: _chosen(ref, part, _READ[part](tx, start) or {}, names) for part, names in asked.items() if names is not None
        }
        found = {(origin.part, origin.name): origin for origin in _origins(tx, start, wanted)}
    return [found[part, name] for part, values in wanted.items() for name in values]


_SAID = {"feature": "feature", "param": "parameter", "package": "package", "data": "data"}


def _chosen(ref: str, part: str, values: _Values, names: Collection[str]) -> _Values:
    known = {key: {key, *key.split(":", 1)} if part == "data" else {key} for key in values}
    for name in names:
        if not any(name in called for called in known.values()):
            near = difflib.get_close_matches(name, set[str]().union(*known.values()), n=3, cutoff=0.6)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise NotFound(f"{ref} has no {_SAID[part]} '{name}'{hint} (ifp show {ref} --json)")
    return {key: values[key] for key, called in known.items() if not called.isdisjoint(names)} if names else values


_Values = dict[str, Any]
"""Values of one part by name, as the rows have them: quick to compare."""


class _Node(NamedTuple):
    """What the walk must know of a run; all are local keys but `generation` and `seed`."""

    run: int
    generation: int
    seed: int | None
    environment: int | None
    version: int | None
    schema: int | None


NODE = """
    SELECT r.key, r.generation, r.seed, r.environment, v.key, v.schema
      FROM run r LEFT JOIN version v ON v.key = r.version WHERE r.key = ?"""
PARENTS = """
    SELECT r.key, r.generation, r.seed, r.environment, v.key, v.schema
      FROM edge e JOIN run r ON r.key = e.parent LEFT JOIN version v ON v.key = r.version
     WHERE e.child = ? ORDER BY e.position"""


def _node(tx: sqlite3.Connection, run: int) -> _Node:
    return _Node(*tx.execute(NODE, (run,)).fetchone())


def _above(tx: sqlite3.Connection, node: _Node) -> list[_Node]:
    return [_Node(*row) for row in tx.execute(PARENTS, (node.run,))]


def _origins(tx: sqlite3.Connection, start: _Node, wanted: Mapping[str, _Values]) -> Iterator[Origin]:
    """The values climb together, from the highest generation down, so that what meets again in a run goes on as one."""
    waiting = {start.run: (start, {part: values for part, values in wanted.items() if values})}
    order = [(-start.generation, start.run)]
    while order:
        node, parts = waiting.pop(heapq.heappop(order)[1])
        above = _above(tx, node)
        for part, values in parts.items():
            before: _Values | None = None
            left = values
            for parent, theirs in _knowing(tx, node, above, part, left):
                before = theirs if before is None else before
                passed = _shared(part, left, theirs)
                if passed:
                    if parent.run not in waiting:
                        waiting[parent.run] = parent, {}
                        heapq.heappush(order, (-parent.generation, parent.run))
                    there = waiting[parent.run][1]
                    there[part] = there[part] | passed if part in there else passed
                if len(passed) == len(left):
                    break
                left = {name: value for name, value in left.items() if name not in passed}
            else:
                yield from _brought(tx, node, part, left, before or {})


def _knowing(
    tx: sqlite3.Connection, node: _Node, above: list[_Node], part: str, values: _Values
) -> Iterator[tuple[_Node, _Values]]:
    """The parents that say something of a part, and what; one that doesn't is replaced by its own parents."""
    waiting, seen = above[::-1], set[int]()
    while waiting:
        parent = waiting.pop()
        if parent.run in seen:
            continue
        seen.add(parent.run)
        theirs = values if _same_record(part, node, parent) else _READ[part](tx, parent)
        if theirs is None:
            waiting += reversed(_above(tx, parent))
        else:
            yield parent, theirs


def _same_record(part: str, a: _Node, b: _Node) -> bool:
    """Whether a whole part is known to be equal by its key alone."""
    return a.schema == b.schema if part == "feature" else part == "package" and a.environment == b.environment


def _shared(part: str, values: _Values, theirs: _Values) -> _Values:
    if theirs is values:
        return values
    shared = {}
    for name, value in values.items():
        other = theirs.get(name)
        if other == value or (other is not None and _exact(part, other) == _exact(part, value)):
            shared[name] = value
    return shared


ORIGIN = """
    SELECT r.id, v.digest, m.name, v.ordinal, coalesce(r.registered_at, r.started_at), r.actor
      FROM run r JOIN model m ON m.key = r.model LEFT JOIN version v ON v.key = r.version WHERE r.key = ?"""


def _brought(tx: sqlite3.Connection, node: _Node, part: str, values: _Values, theirs: _Values) -> Iterator[Origin]:
    run, digest, model, ordinal, at, actor = tx.execute(ORIGIN, (node.run,)).fetchone()
    for name, value in values.items():
        before, after = _shown(part, theirs.get(name)), _shown(part, value)
        if part == "feature" and before is not None:
            keys = [key for key in before | after if canonical(before.get(key)) != canonical(after.get(key))]
            before, after = ({key: one.get(key) for key in keys} for one in (before, after))
        yield Origin(part, name, before, after, run, to_text(digest) if digest else None, model, ordinal, at, actor)


def _shown(part: str, value: Any) -> Any:
    """A value as JSON has it."""
    if value is None:
        return None
    if part == "feature":
        name, type, nullable, low, high, categories, dtype, shape = value
        categories, shape = (None if text is None else json.loads(text) for text in (categories, shape))
        described = Feature(0, name, type, bool(nullable), low, high, categories, dtype, shape).as_dict()
        return {key: described[key] for key in described if key not in ("position", "name")}
    if part == "param":
        return json.loads(value)
    if part == "seed":
        return integer_to_json(value)
    return value


def _exact(part: str, value: Any) -> Any:
    """Equal for what is equal though its rows differ, such as objects with their keys in another order."""
    if part == "feature":
        return canonical(_shown(part, value))
    return json.dumps(json.loads(value), sort_keys=True) if part == "param" else value


FEATURES = "SELECT name, type, nullable, min, max, categories, dtype, shape FROM feature WHERE schema = ? ORDER BY position"
PARAMS = "SELECT key, value FROM param WHERE run = ? ORDER BY key"
IS_TRAINED = "SELECT json_type(manifest, '$.training') <> 'null' FROM version WHERE key = ?"
PACKAGES = "SELECT json_extract(body, '$.packages') FROM environment WHERE key = ?"


def _features(tx: sqlite3.Connection, node: _Node) -> _Values | None:
    return None if node.schema is None else {row[0]: row for row in tx.execute(FEATURES, (node.schema,))}


def _params(tx: sqlite3.Connection, node: _Node) -> _Values | None:
    found = dict(tx.execute(PARAMS, (node.run,)).fetchall())
    return found if found or node.seed is not None or _is_trained(tx, node) else None


def _seed(tx: sqlite3.Connection, node: _Node) -> _Values | None:
    if node.seed is not None:
        return {"seed": node.seed}
    return None if _params(tx, node) is None else {}


def _is_trained(tx: sqlite3.Connection, node: _Node) -> bool:
    """Whether a run without parameters and seed has a training record, which then says that there were none."""
    return node.version is not None and bool(tx.execute(IS_TRAINED, (node.version,)).fetchone()[0])


def _packages(tx: sqlite3.Connection, node: _Node) -> _Values | None:
    row = tx.execute(PACKAGES, (node.environment,)).fetchone()
    return json.loads(row[0]) if row and row[0] else None


def _data(tx: sqlite3.Connection, node: _Node) -> _Values | None:
    """By role and name; several of one role and name are one value, a list."""
    found: dict[str, list[str]] = {}
    for dataset in runs.datasets_of(tx, f"[{node.run}]")[node.run]:
        found.setdefault(f"{dataset.role}:{dataset.name or ''}", []).append(dataset.identity)
    return {name: sorted(several) if several[1:] else several[0] for name, several in found.items()} or None


_READ: Mapping[str, Callable[[sqlite3.Connection, _Node], _Values | None]] = {
    "feature": _features,
    "param": _params,
    "seed": _seed,
    "package": _packages,
    "data": _data,
}
"""What a run says of each part; None: nothing, which is not the same as that there was none."""
