"""What changed along a path, edge by edge, from an ancestor down to a version or run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from sqlite3 import Connection
from typing import Any

from ..answers import Change
from ..desk import Registry
from ..errors import NotFound
from ..ledger import ancestry, lineage, resolve, runs, stages, versions
from ..records import Parent, Run, Version
from .compare import compare, seen
from .sentences import by_weight, sentences
from .tables import table_changes


@dataclass(frozen=True, slots=True)
class Step:
    """One edge: what the child is, how it came from the parent, whom else it came from, and what changed between the two.

    `child` and `parent` are run ids; `version` is what the child registered, by ordinal and digest, if anything.
    """

    child: str
    parent: str
    kind: str
    model: str
    ordinal: int | None
    digest: str | None
    stage: str | None
    at: str
    actor: str
    others: tuple[Parent, ...]
    changes: tuple[Change, ...]

    def sentences(self, *, most: int = 12) -> list[str]:
        """The changes in words, the most telling first."""
        return sentences(self.changes, most=most) or ["nothing that is on record changed"]

    def as_dict(self) -> dict[str, Any]:
        return {
            "child": self.child,
            "parent": self.parent,
            "kind": self.kind,
            "model": self.model,
            "ordinal": self.ordinal,
            "digest": self.digest,
            "stage": self.stage,
            "at": self.at,
            "actor": self.actor,
            "others": [parent.as_dict() for parent in self.others],
            "changes": [change.as_dict() for change in self.changes],
            "sentences": self.sentences(),
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """The steps from run `start` down to run `end`; `why` says why it starts there, where nobody said it should."""

    start: str
    end: str
    why: str | None
    steps: tuple[Step, ...]

    def as_dict(self) -> dict[str, Any]:
        steps = [step.as_dict() for step in self.steps]
        return {"from": self.start, "to": self.end, "why": self.why, "steps": steps}


def explain(registry: Registry, ref: str, ancestor: str | None = None) -> Explanation:
    """What changed at each edge of the shortest path from an ancestor to `ref`, registered or not.

    Without an ancestor it starts at the production version (of the same model) that `ref` came from: today's, or where
    `ref` is that one or didn't come from it, the newest before. Where it came from none of them, it starts where its
    history and production's parted. Raises NotFound when there is no such path.
    """
    now = registry.now()
    with registry.reading() as tx:
        end = resolve.resolve(tx, ref, now=now).run
        why = None
        if ancestor is not None:
            start = resolve.resolve_above(tx, ancestor, end, now=now)
        else:
            start, why = _start(tx, end)
        way = ancestry.path(tx, start, end)
        records = _read(tx, way)
        return Explanation(records[0].name, records[-1].name, why, tuple(_steps(tx, records)))


@dataclass(frozen=True, slots=True)
class _Place:
    """A run on the path, with the version that it registered, if any."""

    name: str
    run: Run
    version: Version | None


IN_PRODUCTION = """
    SELECT r.version FROM event e JOIN run r ON r.id = e.run
     WHERE e.model = ? AND e.to_stage = 'production' GROUP BY r.version ORDER BY max(e.at) DESC, r.version"""


def _start(tx: Connection, end: int) -> tuple[int, str]:
    model = lineage.model_of(tx, end)
    held = [key for key in (stages.production(tx, model),) if key is not None]
    entered = [row[0] for row in tx.execute(IN_PRODUCTION, (model,)).fetchall()]
    (own,) = _versions_of(tx, [end])
    line = lineage.Above(tx, end)
    for version in dict.fromkeys([*held, *entered]):
        if version != own and (run := resolve.above(tx, version, line)) is not None:
            when = "in production" if version in held else "in production before"
            return run, f"{lineage.name(tx, run)} is the nearest ancestor that was {when}"
    name = lineage.name(tx, end)
    for run in (versions.own_run(tx, version) for version in held):
        bases = ancestry.merge_bases(tx, run, end)
        if bases and bases[0] != end:
            return bases[0], f"it didn't come from production ({lineage.name(tx, run)}): this is where the two parted"
    first = lineage.parents(tx, end)
    if not first:
        raise NotFound(f"{name} came from nothing that is on record (ifp link {name} PARENT says what it came from)")
    return first[0][0], f"no version of {model} that {name} came from has been in production: this is its first parent"


def _read(tx: Connection, keys: list[int]) -> list[_Place]:
    found = runs.read(tx, keys, None)
    registered = {run.id: row for run, row in zip(found, _versions_of(tx, keys), strict=True) if row is not None}
    whole = dict(zip(registered.values(), versions.read(tx, list(registered.values()), None), strict=True))
    return [_Place(run.id, run, whole.get(registered.get(run.id, 0))) for run in found]


VERSION = "SELECT version FROM run WHERE key = ?"


def _versions_of(tx: Connection, keys: list[int]) -> list[int | None]:
    return [tx.execute(VERSION, (key,)).fetchone()[0] for key in keys]


def _steps(tx: Connection, places: list[_Place]) -> list[Step]:
    found, look = list[Step](), partial(table_changes, tx)
    known = seen(places[0].version or places[0].run)
    for parent, child in pairwise(places):
        now = seen(child.version or child.run, known)
        edges = {edge.run: edge for edge in child.run.parents}
        version = child.version
        found.append(
            Step(
                child=child.name,
                parent=parent.name,
                kind=edges[parent.name].kind,
                model=child.run.model,
                ordinal=version.ordinal if version else None,
                digest=version.digest if version else None,
                stage=version.stage if version else None,
                at=version.created_at if version else child.run.started_at,
                actor=child.run.actor,
                others=tuple(edge for edge in child.run.parents if edge.run != parent.name),
                changes=tuple(by_weight(compare(known, now, look=look))),
            )
        )
        known = now
    return found
