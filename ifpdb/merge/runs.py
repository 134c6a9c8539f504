"""Runs carried over, and a run that both sides know put together.

What was observed of a run comes whole from one side: the one whose log tells the newest end of it, or else the newest step.
That it was killed is what others say of a process that they can't see, so that any other end of it counts more. Its metrics
are the union of the points of both, its data that of both.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from sqlite3 import Connection
from typing import Any

from ..errors import Conflict, IntegrityError
from ..ledger import facts, metrics, runs
from ..records import Event
from .facts import Facts
from .fork import order, told_since

STEPS = frozenset({"run_started", "artifact_logged", "registered", "run_ended"})
"""The events by which a run's own process tells of it."""

RUN = """
    SELECT r.key, r.id, m.name, r.status, r.actor, r.started_at, r.ended_at, r.error, r.fit, r.seed, r.command,
           r.code_commit, r.code_dirty, r.code_diff, r.live_bytes, r.environment, r.code
      FROM json_each(?) w JOIN run r ON r.id = w.value JOIN model m ON m.key = r.model"""
IDENTITY = "SELECT m.name, r.actor, r.started_at, r.status FROM run r JOIN model m ON m.key = r.model WHERE r.key = ?"
NEW_RUN = "INSERT INTO run (id, model, status, actor, started_at, generation) VALUES (?, ?, ?, ?, ?, 1) RETURNING key"
SET_RUN = """
    UPDATE run SET status = ?, ended_at = ?, error = ?, fit = ?, seed = ?, command = ?, code_commit = ?, code_dirty = ?,
                   code_diff = ?, live_bytes = max(live_bytes, ?), environment = ?, code = ? WHERE key = ?"""
STATUS = "SELECT status FROM run WHERE key = ?"
NO_PARAMS = "DELETE FROM param WHERE run = ?"
PARAMS = "SELECT key, value FROM param WHERE run = ?"
NO_ARTIFACTS = "DELETE FROM artifact WHERE run = ?"
ARTIFACTS = "SELECT name, blob, kind, format, size FROM artifact WHERE run = ?"
NEW_ARTIFACT = "INSERT INTO artifact VALUES (?, ?, ?, ?, ?, ?)"
NEW_PARAM = "INSERT INTO param VALUES (?, ?, ?)"
DATA = "SELECT role, dataset, name, uri, file FROM run_dataset WHERE run = ?"
ONE_DATASET = "SELECT name, uri, file FROM run_dataset WHERE run = ? AND role = ? AND dataset = ?"
SET_DATASET = """
    INSERT INTO run_dataset VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET name = excluded.name, uri = excluded.uri, file = excluded.file"""
METRICS = "SELECT name, dataset, series FROM metric WHERE run = ?"


NEVER = (False, "", "")


@dataclass(slots=True)
class Told:
    """What the events of one side tell of runs."""

    ended: dict[str, tuple[bool, str, str]] = field(default_factory=dict)
    step: dict[str, tuple[str, str]] = field(default_factory=dict)
    record: dict[str, str] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    registered: dict[str, Event] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Events come in the order of the log."""
        if event.run is None or event.kind not in STEPS:
            return
        self.step[event.run] = order(event)
        detail, end = event.detail, (event.detail.get("status", "killed") != "killed", *order(event))
        if event.kind == "run_started":
            self.status.setdefault(event.run, "running")
        if ("record" in detail or event.kind == "run_ended") and end > self.ended.get(event.run, NEVER):
            self.ended[event.run] = end
            self.record[event.run] = str(detail.get("record", ""))  # an older ifpdb made none
            if event.kind == "run_ended":
                self.status[event.run] = str(detail["status"])
        if event.kind == "registered":
            self.registered.setdefault(event.run, event)

    def rank(self, run: str) -> tuple[tuple[bool, str, str], tuple[str, str]]:
        """Of two sides, the one with the greater rank knows more of a run."""
        return self.ended.get(run, NEVER), self.step.get(run, ("", ""))


@dataclass(slots=True)
class Carried:
    """The runs that came in: their keys here and there, which are new here, and which were taken as theirs has them."""

    told: Told
    here: dict[str, int] = field(default_factory=dict)
    there: dict[str, int] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    observed: set[str] = field(default_factory=set)
    running: list[str] = field(default_factory=list)


def carry(known: Facts, incoming: Sequence[Event]) -> Carried:
    """Bring every run that the incoming events name; `check` must follow when the rest of it is here.

    Raises IntegrityError for a run that isn't in theirs, Conflict for another run of the same id.
    """
    tx, called = known.tx, known.called
    carried = Carried(Told())
    for event in incoming:
        carried.told.take(event)
    wanted = list(dict.fromkeys(event.run for event in incoming if event.run is not None))
    rows = {row[1]: row for row in known.theirs.execute(RUN, (json.dumps(wanted),))}
    ours = _told_by_ours(tx, incoming, carried.told)
    for name in wanted:
        if name not in rows:
            raise IntegrityError(f"{called}: its log tells of {name}, but that run is not in it: see ifp --db {called} fsck")
        row, key = rows[name], runs.find(tx, name)
        identity = (row[2], row[4], row[5])
        if key is None:
            carried.new.add(name)
            key = int(tx.execute(NEW_RUN, (name, facts.keep_model(tx, row[2]), *row[3:6])).fetchone()[0])
        elif (held := tx.execute(IDENTITY, (key,)).fetchone())[:3] != identity:
            raise Conflict(f"{name} is another run here than in {called}: they can't be united")
        elif held[3] != "running":
            before = (held[3] != "killed", "", "") if name in carried.told.ended else (True, "~", "")
            ours.ended[name] = max(before, ours.ended.get(name, NEVER))
        carried.here[name], carried.there[name] = key, row[0]
        if name in carried.new or carried.told.rank(name) > ours.rank(name):
            carried.observed.add(name)
            _observe(known, row, key)
        _data(known, row[0], key)
        _metrics(known, row[0], key, name)
    return carried


def check(known: Facts, carried: Carried) -> None:
    """Hold the runs that came in against what the log says of them. Raises IntegrityError for one that was changed."""
    for name in sorted(carried.observed):
        key, record = carried.here[name], carried.told.record.get(name)
        status = known.tx.execute(STATUS, (key,)).fetchone()[0]
        unsaid = status if record else "finished" if name in carried.new else "running"
        if status == "running":
            carried.running.append(name)
        if carried.told.status.get(name, unsaid) != status or (record and runs.record_digest(known.tx, key) != record):
            called = known.called
            raise IntegrityError(f"{called}: {name} is not the run that its log tells of: see ifp --db {called} fsck")


def _told_by_ours(tx: Connection, incoming: Iterable[Event], told: Told) -> Told:
    """What ours tells of runs that both know, as far as it could be newer than what comes in."""
    since = dict[str, str]()
    for event in incoming:
        if event.run in told.step and event.model is not None and runs.find(tx, event.run) is not None:
            since.setdefault(event.model, event.at)
    found = Told()
    for event in told_since(tx, since.items()):
        found.take(event)
    return found


def _observe(known: Facts, row: Sequence[Any], key: int) -> None:
    """Take over what theirs observed of a run: its row, parameters and artifacts."""
    tx, theirs, there = known.tx, known.theirs, row[0]
    environment = None if row[15] is None else known.environment(row[15])
    code = None if row[16] is None else known.code(row[16])
    tx.execute(SET_RUN, (row[3], *row[6:15], environment, code, key))
    tx.execute(NO_PARAMS, (key,))
    tx.executemany(NEW_PARAM, [(key, *param) for param in theirs.execute(PARAMS, (there,))])
    tx.execute(NO_ARTIFACTS, (key,))
    kept = [(key, name, known.blob(blob), *rest) for name, blob, *rest in theirs.execute(ARTIFACTS, (there,))]
    tx.executemany(NEW_ARTIFACT, kept)


def _data(known: Facts, there: int, here: int) -> None:
    """The data of both sides. What one of them called it otherwise, later and unhashed, is told alike on either side."""
    for role, dataset, *said in known.theirs.execute(DATA, (there,)).fetchall():
        key = known.dataset(dataset)
        held = known.tx.execute(ONE_DATASET, (here, role, key)).fetchone()
        if held is None or _said(said) < _said(held):
            known.tx.execute(SET_DATASET, (here, role, key, *said))


def _said(row: Iterable[Any]) -> list[tuple[bool, Any]]:
    """An order of what rows say, in which something comes before nothing."""
    return [(one is None, one if isinstance(one, bytes) else (one or "").encode()) for one in row]


def _metrics(known: Facts, there: int, here: int, name: str) -> None:
    """The points of both sides: those of one where the other has the same, else all of them in the order of time."""
    for metric, dataset, packed in known.theirs.execute(METRICS, (there,)).fetchall():
        try:
            metrics.unite(known.tx, here, metric, None if dataset is None else known.dataset(dataset), packed)
        except (zlib.error, ValueError) as error:
            raise IntegrityError(f"{known.called}: the points of {metric} of {name} can't be read: {error}") from error
