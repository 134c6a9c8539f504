"""The log against the rows that follow from it: lineage, tags, labels, measurements and how runs ended."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from sqlite3 import Connection
from typing import Any

from ..ledger.lineage import is_ancestor
from ..ledger.runs import record_digest
from .findings import Damage

TOLD = """
    SELECT kind, model, run, version, at, json_extract(body, '$.detail') FROM event
     WHERE kind IN ('run_started', 'registered', 'linked', 'measured', 'tagged', 'untagged', 'labelled', 'run_ended')
     ORDER BY at, id"""


@dataclass(slots=True)
class Told:
    """What the log says, folded by (at, id). Versions are (model, digest), edges (parent, kind), metrics (name, dataset),
    data (run, role, dataset)."""

    edges: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    tags: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    labels: dict[tuple[str, str], str] = field(default_factory=dict)
    metrics: dict[str, dict[tuple[str, str | None], tuple[str, set[str]]]] = field(default_factory=lambda: defaultdict(dict))
    registered: dict[str, tuple[str, str]] = field(default_factory=dict)
    created: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    data: dict[tuple[str, str, str], str | None] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)

    def take(self, kind: str, model: str, run: str, version: str, at: str, detail: dict[str, Any]) -> None:
        """Fold in one more event; they come in the order of the log."""
        place = (model, version)
        if kind in ("run_started", "registered"):
            self.edges[run].update((parent["run"], parent["kind"]) for parent in detail["parents"])
        # Who saw the end of a run counts more than a clone that found its process gone.
        is_overruled = detail.get("status") == "killed" and self.status.get(run) in ("finished", "failed")
        if "record" in detail and not is_overruled:
            self.records[run] = detail["record"]
        if kind == "run_started":
            self.status[run] = "running"
        elif kind == "run_ended" and not is_overruled:
            self.status[run] = detail["status"]
        elif kind == "linked":
            self.edges[run].add((detail["parent"], detail["lineage"]))
        elif kind == "labelled":
            self.labels[model, detail["label"]] = version
        elif kind == "untagged":
            self.tags[place].difference_update(detail["tags"])
        elif kind == "tagged":
            self.tags[place].update(detail["tags"])
        if kind == "registered":
            self.registered.setdefault(run, (version, at))
            self.data.update({(run, one["role"], one["dataset"]): one["name"] for one in detail["data"]})
            if detail["created"] and version not in self.created[model]:
                self.created[model][version] = len(self.created[model]) + 1
            self.tags[place].update(detail["tags"])
            self.labels.update({(model, label): version for label in detail["labels"]})
        if kind in ("registered", "measured"):
            for one in detail["metrics"]:
                since, values = self.metrics[run].get((one["metric"], one["dataset"]), ("", set()))
                values = values if since == at else set()  # of two people's in the same microsecond either may count
                self.metrics[run][one["metric"], one["dataset"]] = (at, values | {repr(float(one["value"]))})


def read(tx: Connection, told: Told) -> None:
    """Fold the whole log into `told`, which holds what could be read where that fails."""
    for kind, model, run, version, at, text in tx.execute(TOLD):
        told.take(kind, model, run, version, at, json.loads(text or "{}"))


SOME = "r.key IN (SELECT value FROM json_each(?))"


def _asked(tx: Connection, query: str, some: Collection[int] | None) -> Iterator[tuple[Any, ...]]:
    """The rows that a query gives for these runs, or for all."""
    if some is None:
        return tx.execute(query.format("TRUE"))
    return tx.execute(query.format(SOME), (json.dumps(list(some)),))


RUNS = """
    SELECT r.id, r.status, v.sha256, r.registered_at FROM run r LEFT JOIN version v ON v.key = r.version ORDER BY r.key"""


def runs(tx: Connection, told: Told) -> Iterator[Damage]:
    """A run registered what the log says, when it says, and ended so."""
    here = set[str]()
    for run, status, version, at in tx.execute(RUNS):
        here.add(run)
        if (None if version is None else (version, at)) != told.registered.get(run):
            yield Damage("run", version or "", f"{run} registered another version, or at another time, than the log says")
        if status != told.status.get(run, "finished"):
            yield Damage("run", "", f"{run} is {status}, but the log says {told.status.get(run, 'finished')}")
    for run in {*told.registered, *told.status} - here:
        yield Damage("run", "", f"{run} is in the log, but it is not here")


VERSIONS = "SELECT m.name, v.sha256, v.ordinal FROM version v JOIN model m ON m.key = v.model ORDER BY v.key"
MERGED = "SELECT EXISTS (SELECT 1 FROM arrival)"


def versions(tx: Connection, told: Told) -> Iterator[Damage]:
    """Every version was registered, and is numbered in the order of the log; after a merge it may bear a lower number."""
    merged = tx.execute(MERGED).fetchone()[0]
    places = {(model, version): n for model, found in told.created.items() for version, n in found.items()}
    for model, version, ordinal in tx.execute(VERSIONS):
        place = places.pop((model, version), None)
        if place is None:
            yield Damage("version", version, f"no event registered v{ordinal} of {model}")
        elif ordinal != place and not (merged and ordinal < place):
            yield Damage("version", version, f"it is v{ordinal} of {model}, but the log says v{place}")
    for model, version in places:
        yield Damage("version", version, f"the log says that it was registered for {model}, but it is not here")


KEYS = "SELECT key, id FROM run"


def records(tx: Connection, told: Told) -> Iterator[Damage]:
    """What was observed of a run that has ended is what the event that ended it says."""
    for key, run in tx.execute(KEYS).fetchall():
        if run in told.records and record_digest(tx, key) != told.records[run]:
            yield Damage("run", "", f"the record of {run} is not the one that it ended with")


DATA = """
    SELECT r.id, u.role, coalesce('sha256:' || nullif(lower(hex(d.digest)), ''), d.pointer), u.name
      FROM run_dataset u JOIN run r ON r.key = u.run JOIN dataset d ON d.key = u.dataset WHERE {}"""


def data(tx: Connection, told: Told, some: Collection[int] | None = None) -> Iterator[Damage]:
    """A run used the data that its registration says, under that name; with `some`, one of these runs."""
    left = dict(told.data)
    for run, role, dataset, name in _asked(tx, DATA, some):
        if (known := left.pop((run, role, dataset), name)) != name:
            yield Damage("data", dataset, f"its name is {name} in {run} ({role}), but the log says {known}")
    for run, role, dataset in left:
        yield Damage("data", dataset, f"the log says that {run} used it as {role}, but that row is not here")


EDGES = "SELECT c.id, p.id, e.kind FROM edge e JOIN run c ON c.key = e.child JOIN run p ON p.key = e.parent"


def lineage(tx: Connection, told: Told) -> Iterator[Damage]:
    """Every edge is in the log, and every one of the log is here, but for a link that contradicts another one."""
    held = {(child, (parent, kind)) for child, parent, kind in tx.execute(EDGES)}
    known = {(child, edge) for child, edges in told.edges.items() for edge in edges}
    for child, (parent, kind) in sorted(held - known):
        yield Damage("lineage", "", f"no event says that {child} was {kind} {parent}")
    pairs = {(child, parent) for child, (parent, _) in held}
    for child, (parent, kind) in sorted(known - held):
        if (child, parent) in pairs or _closes_a_cycle(tx, child, parent):
            continue  # two people linked these, each in a file of their own, before a merge
        yield Damage("lineage", "", f"the log says that {child} was {kind} {parent}, but that edge is not here")


KEY = "SELECT key FROM run WHERE id = ?"


def _closes_a_cycle(tx: Connection, child: str, parent: str) -> bool:
    keys = [row[0] for name in (child, parent) for row in tx.execute(KEY, (name,))]
    return len(keys) == 2 and is_ancestor(tx, *keys)


TAGS = "SELECT m.name, v.sha256, t.name FROM tag t JOIN version v ON v.key = t.version JOIN model m ON m.key = v.model"
LABELS = "SELECT m.name, l.name, v.sha256 FROM label l JOIN version v ON v.key = l.version JOIN model m ON m.key = l.model"


def names(tx: Connection, told: Told) -> Iterator[Damage]:
    """Tags and labels are where the log put them last."""
    tags = {((model, version), tag) for model, version, tag in tx.execute(TAGS)}
    known = {(place, tag) for place, found in told.tags.items() for tag in found}
    for (model, version), tag in sorted(tags ^ known):
        why = "no event says so" if ((model, version), tag) in tags else "the log says so, but it doesn't"
        yield Damage("tag", version, f"{model} bears the tag {tag}: {why}")
    labels = {(model, label): version for model, label, version in tx.execute(LABELS)}
    for place in sorted(labels.keys() | told.labels.keys()):
        if labels.get(place) != told.labels.get(place):
            yield Damage("label", labels.get(place, ""), f"the label {place[1]} of {place[0]} is not where the log put it")


METRICS = """
    SELECT r.id, x.name, coalesce('sha256:' || nullif(lower(hex(d.digest)), ''), d.pointer), x.last, x.at
      FROM metric x JOIN run r ON r.key = x.run LEFT JOIN dataset d ON d.key = x.dataset WHERE {}"""


def metrics(tx: Connection, told: Told, some: Collection[int] | None = None) -> Iterator[Damage]:
    """A metric is what the log says, unless points were logged after that; with `some`, of these runs."""
    left = {(run, place): value for run, found in told.metrics.items() for place, value in found.items()}
    for run, name, dataset, last, at in _asked(tx, METRICS, some):
        since, values = left.pop((run, (name, dataset)), ("", set()))
        if at <= since and repr(math.nan if last is None else last) not in values:
            yield Damage("metric", "", f"{name} of {run} is {last}, but the log says {' or '.join(sorted(values))}")
    for run, (name, _) in left:
        yield Damage("metric", "", f"the log tells {name} of {run}, but it is not here")
