"""What a registry should be, in plain Python: lists, dictionaries and the contract's rules, without a thought of SQL.

Each change is a generator that yields after every commit and raises No with the error that the registry should raise: where
that is before the first yield, nothing has changed. Versions and runs are known by their places in the lists; their ids and
digests are learned from the registry when they first appear.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import ifpdb as ifp
from ifpdb.times import from_microseconds

START = 1_735_689_600_000_000  # 2025-01-01, in microseconds


class No(Exception):
    """The registry should refuse, by an error of this class."""

    def __init__(self, error: type[ifp.IfpError]) -> None:
        super().__init__(error.__name__)
        self.error = error


Parts = tuple[str, float, bool]
"""What tells versions apart: the text that is the weights, the parameter C, and whether the schema is there."""


@dataclass
class Policy:
    least: float
    on_pass: bool = False
    approvals: int = 0


@dataclass
class Version:
    model: str
    parts: Parts
    ordinal: int
    stage: str
    runs: list[int]
    f1: float | None = None
    tags: set[str] = field(default_factory=set)
    approvals: list[tuple[str, Policy | None, str]] = field(default_factory=list)  # who, for which policy and f1
    was_in_production: bool = False
    digest: str = ""


@dataclass
class Run:
    model: str
    actor: str
    status: str
    parents: list[tuple[int, str]]
    version: int | None = None
    id: str = ""


@dataclass
class Event:
    kind: str
    model: str
    actor: str
    at: int
    run: int | None = None
    version: int | None = None
    to_stage: str | None = None


@dataclass
class Interval:
    version: int
    stage: str
    since: int
    until: int | None = None


@dataclass
class Book:
    """The whole of it. `now` and `actor` are who acts next and when."""

    now: int = START
    actor: str = "ada"
    models: set[str] = field(default_factory=set)
    versions: list[Version] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    labels: dict[tuple[str, str], int] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    entries: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    held: dict[str, list[tuple[int, int | None]]] = field(default_factory=dict)
    """By model, from when on which version was in production."""

    # -- looking

    def of(self, model: str) -> list[int]:
        return [place for place, version in enumerate(self.versions) if version.model == model]

    def in_stage(self, model: str, stage: str) -> list[int]:
        return [place for place in self.of(model) if self.versions[place].stage == stage]

    def production(self, model: str, at: int | None = None) -> int | None:
        """What is, or was, in production."""
        changes = [version for since, version in self.held.get(model, []) if at is None or since <= at]
        return changes[-1] if changes else None

    def labels_of(self, version: int) -> list[str]:
        return sorted(label for (_, label), place in self.labels.items() if place == version)

    def ancestors(self, run: int) -> set[int]:
        """A run and all that it came from."""
        found, waiting = set[int](), [run]
        while waiting:
            here = waiting.pop()
            if here not in found:
                found.add(here)
                waiting += [parent for parent, _ in self.runs[here].parents]
        return found

    def passes(self, version: int, approved_by: tuple[str, ...] = ()) -> bool:
        """What the gate says."""
        found = self.versions[version]
        policy = self.policies.get(found.model)
        if policy is None or not found.parts[2] or found.f1 is None or math.isnan(found.f1):
            return False
        authors = {self.runs[run].actor for run in found.runs}
        standing = {who for who, under, f1 in found.approvals if (under, f1) == (policy, repr(found.f1))}
        approvals = {*standing, *approved_by} - authors
        return found.f1 >= policy.least and len(approvals) >= policy.approvals

    def before(self, model: str) -> int | None:
        """What a rollback goes to: the last that was in production before, but for what was rolled away from."""
        entries = self.entries.get(model, [])
        for version, _ in reversed(entries):
            exits = [later[1] for earlier, later in pairwise(entries) if earlier[0] == version != later[0]]
            if version != self.production(model) and exits[-1:] != ["rolled_back"]:
                return version
        return None

    # -- the log

    def _begin(self) -> None:
        """Every commit buries first the runs whose process is gone."""
        dead = [place for place, run in enumerate(self.runs) if run.status == "dead"]
        for place in sorted(dead, key=lambda place: self.runs[place].id):
            self.runs[place].status = "killed"
            self._log("run_ended", self.runs[place].model, run=place)

    def _log(
        self, kind: str, model: str, *, run: int | None = None, version: int | None = None, to_stage: str | None = None
    ) -> None:
        at = max(self.now, self.events[-1].at + 1) if self.events else self.now
        self.events.append(Event(kind, model, self.actor, at, run, version, to_stage))
        if version is not None and to_stage is not None:
            self._move(version, to_stage, kind, at)

    def _say(self, kind: str, version: int, *, to_stage: str | None = None) -> None:
        found = self.versions[version]
        self._log(kind, found.model, run=found.runs[0], version=version, to_stage=to_stage)

    def _move(self, version: int, stage: str, kind: str, at: int) -> None:
        found = self.versions[version]
        held = self.production(found.model)
        if stage == "production":
            if held is not None and held != version:
                self._begin_interval(held, "archived", at)
            self.entries.setdefault(found.model, []).append((version, kind))
            found.was_in_production = True
        if stage == "production" or held == version:
            self.held.setdefault(found.model, []).append((at, version if stage == "production" else None))
        self._begin_interval(version, stage, at)

    def _begin_interval(self, version: int, stage: str, at: int) -> None:
        for interval in self.intervals:
            if interval.version == version and interval.until is None:
                interval.until = at
        self.intervals.append(Interval(version, stage, at))
        self.versions[version].stage = stage

    # -- changing

    def register(
        self,
        model: str,
        parts: Parts,
        f1: float | None,
        parents: list[int],
        tags: frozenset[str],
        label: str | None,
        stage: str,
    ) -> Iterator[None]:
        self._begin()
        self.models.add(model)
        self.runs.append(Run(model, self.actor, "finished", [(parent, "derived_from") for parent in parents]))
        self._register(len(self.runs) - 1, parts, f1, tags, label, stage)
        yield

    def _register(self, run: int, parts: Parts, f1: float | None, tags: frozenset[str], label: str | None, stage: str) -> None:
        model = self.runs[run].model
        same = [place for place in self.of(model) if self.versions[place].parts == parts]
        if not same:
            self.versions.append(Version(model, parts, len(self.of(model)) + 1, stage, []))
        place = same[0] if same else len(self.versions) - 1
        found = self.versions[place]
        found.runs.append(run)
        found.tags |= tags
        found.f1 = found.f1 if f1 is None else f1
        self.runs[run].version = place
        self._log("registered", model, run=run, version=place, to_stage=None if same else stage)
        if label is not None:
            before = self.labels.get((model, label))
            self.labels[model, label] = place
            if before not in (None, place):
                self._log("labelled", model, run=run, version=place)
        if not same and model in self.policies and self.policies[model].on_pass:
            passed = self.passes(place)
            self._say("promoted" if passed else "promotion_refused", place, to_stage="production" if passed else None)

    def track(
        self, model: str, parts: Parts, parents: list[int], *, registers: bool, tags: frozenset[str], status: str
    ) -> Iterator[None]:
        self._begin()
        self.models.add(model)
        run = len(self.runs)
        self.runs.append(Run(model, self.actor, "running", [(parent, "derived_from") for parent in parents]))
        self._log("run_started", model, run=run)
        yield
        if registers:
            self._register(run, parts, None, tags, None, "staging")
            yield
        self.runs[run].status = status
        self._log("run_ended", model, run=run)
        yield

    def promote(
        self, version: int, stage: str, *, reason: str | None, force: bool, approved_by: tuple[str, ...], expect: int | None
    ) -> Iterator[None]:
        found = self.versions[version]
        if expect is not None and expect != self.production(found.model):
            raise No(ifp.Conflict)
        enters = found.stage != stage == "production"
        if found.stage != stage and not reason and (force or (enters and found.was_in_production)):
            raise No(ifp.NeedsReason)
        self._begin()
        refused = False
        if enters and found.was_in_production:
            self._say("rolled_back", version, to_stage=stage)
        elif enters:
            refused = not force and not self.passes(version, approved_by)
            self._say("promotion_refused" if refused else "promoted", version, to_stage=None if refused else stage)
        elif found.stage != stage:
            self._say("moved", version, to_stage=stage)
        yield
        if refused:
            raise No(ifp.GateFailed if found.model in self.policies else ifp.Refused)

    def rollback(self, model: str, to: int | None, reason: str | None) -> Iterator[None]:
        if not reason:
            raise No(ifp.NeedsReason)
        target = self.before(model) if to is None else to
        if target is None:
            raise No(ifp.NotFound)
        if not self.versions[target].was_in_production:
            raise No(ifp.Refused)
        self._begin()
        if self.versions[target].stage != "production":
            self._say("rolled_back", target, to_stage="production")
        yield

    def approve(self, version: int) -> Iterator[None]:
        self._begin()
        self._say("approved", version)
        found = self.versions[version]
        found.approvals.append((self.actor, self.policies.get(found.model), repr(found.f1)))
        yield

    def tag(self, version: int, tags: frozenset[str], *, remove: bool) -> Iterator[None]:
        self._begin()
        found = self.versions[version]
        changed = found.tags & tags if remove else tags - found.tags
        found.tags ^= changed
        if changed:
            self._say("untagged" if remove else "tagged", version)
        yield

    def label(self, version: int, label: str) -> Iterator[None]:
        self._begin()
        place = (self.versions[version].model, label)
        if self.labels.get(place) != version:
            self.labels[place] = version
            self._say("labelled", version)
        yield

    def measure(self, version: int, f1: float) -> Iterator[None]:
        self._begin()
        self.versions[version].f1 = f1
        self._say("measured", version)
        yield

    def set_policy(self, model: str, policy: Policy) -> Iterator[None]:
        self._begin()
        self.models.add(model)
        self.policies[model] = policy
        self._log("policy_set", model)
        yield

    def look_after(self) -> Iterator[None]:
        self._begin()
        yield

    def link(self, child: int, parent: int, kind: str) -> Iterator[None]:
        known = dict(self.runs[child].parents).get(parent)
        if child == parent:
            raise No(ifp.UsageError)
        if known not in (None, kind) or (known is None and child in self.ancestors(parent)):
            raise No(ifp.Conflict)
        self._begin()
        if known is None:
            self.runs[child].parents.append((parent, kind))
            self._log("linked", self.runs[child].model, run=child)
        yield


def time_of(microseconds: int) -> str:
    """As the registry writes it."""
    return from_microseconds(microseconds)
