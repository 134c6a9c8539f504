"""Where two people really disagree: each has said something since the common past, and both can't be so.

Everything else is decided by the log's order. These three are not left to whose clock was ahead: which version is in
production, which version bears a label, what the policy is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from .. import digest
from ..drawing.words import minute, person, short
from ..ledger import events
from ..records import Event
from .fork import Fork, order
from .names import labels

ENTRIES = "SELECT id, body FROM event WHERE model = ? AND to_stage = 'production' ORDER BY at, id"
MOVES = "SELECT id, body FROM event WHERE model = ? AND version = ? AND to_stage IS NOT NULL ORDER BY at, id"
POLICIES = "SELECT id, body FROM event WHERE kind = 'policy_set' AND model = ? ORDER BY at, id"
LABEL = "SELECT 1 FROM label l JOIN model m ON m.key = l.model WHERE m.name = ? AND l.name = ?"
OF_MODEL = "SELECT id, body FROM event WHERE model = ? AND kind IN ('registered', 'labelled') ORDER BY at, id"


@dataclass(frozen=True, slots=True)
class Side:
    """What one side wants: a version's or policy's digest, None for nothing in production; and its last word on it."""

    wanted: str | None
    event: Event

    def __str__(self) -> str:
        why = f": {self.event.reason}" if self.event.reason else ""
        said = f"{person(self.event.actor)}, {minute(self.event.at)}{why}"
        return f"{short(self.wanted) or 'nothing'} ({said})"


@dataclass(frozen=True, slots=True, eq=False)
class Disagreement:
    """`kind` is 'production', 'label' or 'policy'; `name` is the label's."""

    kind: str
    model: str
    name: str
    ours: Side
    theirs: Side

    def __str__(self) -> str:
        what = {"production": "production", "label": f"the label {self.name}", "policy": "the policy"}[self.kind]
        return f"{what} of {self.model} is {self.ours} here and {self.theirs} there"

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "model": self.model,
            "name": self.name or None,
            "ours": self.ours.wanted,
            "theirs": self.theirs.wanted,
        }


def find(tx: Connection, fork: Fork) -> list[Disagreement]:
    """What the two sides disagree on, by model; asked before the incoming events are put in."""
    if not fork.incoming or not fork.has_news:
        return []
    found = [*_productions(tx, fork), *_labels(tx, fork), *_policies(tx, fork)]
    return sorted(found, key=lambda one: (one.model, one.kind, one.name))


def _productions(tx: Connection, fork: Fork) -> Iterator[Disagreement]:
    """Two versions promoted; or one promoted here and moved elsewhere there."""
    for model in _models(fork.incoming):
        moves = [event for event in fork.incoming if event.model == model and event.to_stage is not None]
        ours, theirs = _Log(tx, fork, model, moves, here=True), _Log(tx, fork, model, moves, here=False)
        mine, yours = ours.holder(), theirs.holder()
        here, there = ours.last_entry(), theirs.last_entry()
        if here is not None and there is not None:
            if mine != yours:
                yield Disagreement("production", model, "", Side(mine, here), Side(yours, there))
        elif here is not None and mine is not None and (left := theirs.left(mine)) is not None:
            yield Disagreement("production", model, "", Side(mine, here), Side(yours, left))
        elif there is not None and yours is not None and (left := ours.left(yours)) is not None:
            yield Disagreement("production", model, "", Side(mine, left), Side(yours, there))


@dataclass(frozen=True, slots=True)
class _Log:
    """The moves of one model as one side's log tells them: the common past, and what this side alone has."""

    tx: Connection
    fork: Fork
    model: str
    incoming: list[Event]
    here: bool

    def holder(self) -> str | None:
        """The version that this side has in production."""
        entries = self._told(ENTRIES, (self.model,), lambda event: event.to_stage == "production")
        if not entries:
            return None
        version = entries[-1].version
        return version if self._of(version)[-1].to_stage == "production" else None

    def last_entry(self) -> Event | None:
        """The last event by which this side alone put something into production."""
        entries = self._told(ENTRIES, (self.model,), lambda event: event.to_stage == "production")
        return next((event for event in reversed(entries) if self._is_alone(event)), None)

    def left(self, version: str) -> Event | None:
        """The event by which this side alone moved a version to another stage than production, if it was its last word."""
        moves = [event for event in self._of(version) if self._is_alone(event) and event.kind != "registered"]
        return moves[-1] if moves and moves[-1].to_stage != "production" else None

    def _of(self, version: str | None) -> list[Event]:
        return self._told(MOVES, (self.model, version), lambda event: event.version == version)

    def _told(self, query: str, bound: tuple[Any, ...], wanted: Any) -> list[Event]:
        past = [events.from_body(*row) for row in self.tx.execute(query, bound)]
        if self.here:
            return past
        common = [event for event in past if not self.fork.is_only_ours(digest.to_bytes(event.id))]
        return sorted([*common, *filter(wanted, self.incoming)], key=order)

    def _is_alone(self, event: Event) -> bool:
        return self.fork.is_only_ours(digest.to_bytes(event.id)) if self.here else event.id in self.fork.bodies


def _labels(tx: Connection, fork: Fork) -> Iterator[Disagreement]:
    theirs = {place: event for place, event in labels(fork.incoming) if tx.execute(LABEL, place).fetchone()}
    for model in dict.fromkeys(model for model, _ in theirs):
        told = (events.from_body(*row) for row in tx.execute(OF_MODEL, (model,)) if fork.is_only_ours(row[0]))
        ours = {place: event for place, event in labels(told) if place in theirs}
        for place, event in ours.items():
            if event.version != theirs[place].version:
                sides = Side(event.version, event), Side(theirs[place].version, theirs[place])
                yield Disagreement("label", *place, *sides)


def _policies(tx: Connection, fork: Fork) -> Iterator[Disagreement]:
    theirs = {event.model: event for event in fork.incoming if event.kind == "policy_set" and event.model is not None}
    for model, event in theirs.items():
        ours = [events.from_body(*row) for row in tx.execute(POLICIES, (model,)) if fork.is_only_ours(row[0])]
        if ours and _policy(ours[-1].detail) != _policy(event.detail):
            sides = Side(_policy(ours[-1].detail), ours[-1]), Side(_policy(event.detail), event)
            yield Disagreement("policy", model, "", *sides)


def _policy(detail: Mapping[str, Any]) -> str:
    return str(detail["policy_digest"])


def _models(incoming: Iterable[Event]) -> list[str]:
    return list(dict.fromkeys(event.model for event in incoming if event.to_stage is not None and event.model is not None))
