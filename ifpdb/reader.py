"""What a registry answers: every question is one reading transaction, and changes nothing."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from types import TracebackType
from typing import Any, Self

from . import answers, following, names, settings, times
from .answers import Change, Interval, Kin, Node
from .errors import NotFound, UsageError
from .ledger import ancestry, deployments, events, lineage, metrics, news, resolve, runs, stages, versions
from .records import Artifact, Event, ModelSummary, Run, Version
from .store import live
from .store.blobs import BlobStore
from .store.db import Database


class Reader(ABC):
    """The half of a Registry that only looks: the .db at `path` and the blobs in `blobs.root`."""

    def __init__(self, path: Path, *, readonly: bool = True) -> None:
        """Open a registry that exists."""
        self.path = path
        self.blobs = BlobStore(settings.blob_folder(path))
        self.project = settings.project_folder(path)
        self._db = Database(path, readonly=readonly)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction for reading."""
        with self._db.read() as tx:
            yield tx

    @abstractmethod
    def measure(self, ref: str, values: Mapping[str, float], *, dataset: object = None) -> Version:
        """What a Version that was read here hands later metrics to."""

    def now(self) -> str:
        """The time that events would bear."""
        return settings.time_now()[0]

    # -- looking things up

    def models(self) -> list[ModelSummary]:
        """Every model at a glance, by name."""
        with self.reading() as tx:
            return versions.summaries(tx)

    def resolve(self, ref: str) -> Version:
        """The version that a reference names. Raises UsageError, NotFound or Ambiguous."""
        with self.reading() as tx:
            key = resolve.resolve_version(tx, ref, now=self.now())
            return versions.read(tx, [key], self)[0]

    def find(self, ref: str) -> Version | Run:
        """The version that a reference names, or the run where that registered none. Raises as `resolve` does."""
        with self.reading() as tx:
            found = resolve.resolve(tx, ref, now=self.now())
            if found.version is not None:
                return versions.read(tx, [found.version], self)[0]
            return self._as_seen(runs.read(tx, [found.run], self))[0]

    def run(self, id: str) -> Run:
        """The run that a reference names. Raises UsageError, NotFound or Ambiguous."""
        with self.reading() as tx:
            found = resolve.resolve(tx, id, now=self.now())
            return self._as_seen(runs.read(tx, [found.run], self))[0]

    def runs(self, *, model: str | None = None, status: str | None = None) -> list[Run]:
        """Runs, registered or not, the newest first."""
        with self.reading() as tx:
            if model is not None:
                resolve.model_key(tx, model)
            wanted = "running" if status == "killed" else status
            keys = runs.select(tx, model=model, status=status)
            if wanted != status:
                keys = sorted({*keys, *runs.select(tx, model=model, status=wanted)}, reverse=True)
            found = self._as_seen(runs.read(tx, keys, self))
        return [run for run in found if status is None or run.status == status]

    def _as_seen(self, found: list[Run]) -> list[Run]:
        """Runs whose process is gone shown as killed, though no writer has come by to say so in the log."""
        return [
            replace(run, status="killed") if run.status == "running" and live.is_dead(self.blobs.root, run.id) else run
            for run in found
        ]

    def points(self, run: str, metric: str) -> list[tuple[int, float, str]]:
        """(step, value, time) of each sealed point of a run's metric, in the order of logging."""
        with self.reading() as tx:
            key = resolve.resolve(tx, run, now=self.now()).run
            return metrics.points_of(tx, key, metric)

    def lineage(self, ref: str, *, limit: int | None = None) -> answers.Lineage:
        """A run and all its ancestors, children before parents; with `limit`, the first so many."""
        with self.reading() as tx:
            return answers.Lineage(lineage.nodes(tx, resolve.resolve(tx, ref, now=self.now()).run, limit=limit))

    def ancestors(self, ref: str, *, depth: int | None = None) -> list[Kin]:
        """What a version or run came from, the nearest first; at most `depth` edges away."""
        with self.reading() as tx:
            return ancestry.ancestors(tx, resolve.resolve(tx, ref, now=self.now()).run, depth=depth)

    def descendants(self, ref: str, *, depth: int | None = None) -> list[Kin]:
        """What came from a version or run, the nearest first; at most `depth` edges away."""
        with self.reading() as tx:
            return ancestry.descendants(tx, resolve.resolve(tx, ref, now=self.now()).run, depth=depth)

    def merge_base(self, a: str, b: str) -> list[Node]:
        """The best common ancestors of two: those that no other common ancestor comes from.

        Raises NotFound for histories that have nothing in common.
        """
        with self.reading() as tx:
            one, other = (resolve.resolve(tx, ref, now=self.now()).run for ref in (a, b))
            found = ancestry.merge_bases(tx, one, other)
            if not found:
                raise NotFound(f"{a} and {b} have no ancestor in common (ifp log {a}, ifp log {b})")
            return lineage.read(tx, found)

    def diff(self, a: str, b: str, *, everything: bool = False) -> list[Change]:
        """What differs from `a` to `b`, versions or runs, part by part; with `everything`, what is the same as well.

        Tables are compared by their columns and first rows, weights by their tensors where their format can be read
        without running code and their bytes are here.
        """
        from .history.compare import compare  # few calls need these three, and `ifp show` would wait for them
        from .history.tables import table_changes
        from .history.tensors import tensor_changes

        before, after = self.find(a), self.find(b)
        with self.reading() as tx:
            changes = compare(before, after, look=partial(table_changes, tx), everything=everything)
        kept = [found.weights if isinstance(found, Version) else found.artifacts.get("model") for found in (before, after)]
        if kept[0] is None or kept[1] is None or kept[0].digest == kept[1].digest:
            return changes
        tensors = tensor_changes(self.blobs, kept[0], kept[1], everything=everything)
        place = next(number for number, change in enumerate(changes) if change.part == "weights")
        return [*changes[:place], *tensors, *changes[place + 1 :]]

    def events(
        self,
        *,
        model: str | None = None,
        since: str | Sequence[str] | None = None,
        until: str | None = None,
        kind: str | None = None,
    ) -> list[Event]:
        """The log, oldest first. Times are what people write: dates, RFC 3339, '3 days ago'.

        `since` may also be the ids of events, or beginnings of them: what is neither these nor an ancestor of theirs.
        """
        now = self.now()
        start, ids = _where_to_begin(since, now)
        end = times.parse_when(until, now=now).end if until else None
        with self.reading() as tx:
            if model is not None:
                resolve.model_key(tx, model)
            found = events.select(tx, model=model, kind=kind, since=start, until=end)
            if not ids:
                return list(found)
            seen = news.up_to(tx, [news.find(tx, id) for id in ids])
            return [event for event in found if event.id not in seen]

    def follow(
        self,
        since: str | Sequence[str] | None = None,
        *,
        model: str | None = None,
        kind: str | None = None,
        waiting: following.Waiting | None = None,
    ) -> Iterator[Event]:
        """Each event once, in log order, as it comes; for ever. Without `since`, what comes from now on.

        `since` is a time, or the ids of the last events that were dealt with: what is neither these nor an ancestor of theirs
        is told first. An older event that a merge brings is told when it comes. A file that is replaced, as by git checkout,
        is followed: what it has and the one before lacked is told. `waiting` is told why the file can't be read for a moment.

        Raises UsageError for a `since` that is neither, NotFound for an event or model that isn't here; while it follows,
        what reading the registry raises, where that lasts.
        """
        start, ids = _where_to_begin(since, self.now())
        with self.reading() as tx:
            if model is not None:
                resolve.model_key(tx, model)
            if ids:
                seen = news.up_to(tx, [news.find(tx, id) for id in ids])
            else:
                seen = news.all_of(tx) if start is None else news.before(tx, start)
        told = following.follow(self.path, seen, waiting)
        return (event for event in told if model in (None, event.model) and kind in (None, event.kind))

    def at(
        self, time: str, *, model: str | None = None, stage: str = "production", as_known_on: str | None = None
    ) -> list[Version]:
        """What held a stage then, with `since`, `until`, `approved_by` and `deployed`; a date means every moment of that day.

        `as_known_on` leaves out the moves and measurements that this registry learned of later, by a merge or a backdated
        import; a date means its end. Tags, labels, runs and parents are today's.
        """
        names.check_stage(stage)
        when, known_by = times.parse_when(time, now=self.now()), self.known_by(as_known_on)
        with self.reading() as tx:
            if model is not None:
                resolve.model_key(tx, model)
            held = [
                interval
                for interval in stages.intervals(tx, model=model, stage=stage, known_by=known_by)
                if stages.held_during(interval, when.start, when.end)
            ]
            return [self._served(tx, self._held(tx, interval, known_by), when, known_by) for interval in held]

    def known_by(self, as_known_on: str | None) -> str | None:
        """The registry time that `as_known_on` means; a date is its last moment."""
        if as_known_on is None:
            return None
        when = times.parse_when(as_known_on, now=self.now())
        return times.one_microsecond_before(when.end) if when.is_day else when.start

    def _held(self, tx: Connection, interval: Interval, known_by: str | None) -> Version:
        key = versions.find(tx, resolve.model_key(tx, interval.model), interval.digest)
        assert key is not None and interval.stage is not None
        found = versions.read(tx, [key], self)[0]
        if known_by is not None:
            found = replace(found, measurements=stages.measurements_known_by(tx, found, known_by))
        return replace(
            found,
            stage=interval.stage,
            since=interval.since,
            until=interval.until,
            approved_by=interval.approved_by,
        )

    def _served(self, tx: Connection, found: Version, when: times.When, known_by: str | None) -> Version:
        """A version that held a stage then, with what environments served of it and, while it was in production, of others."""
        told = [
            one
            for one in deployments.intervals(tx, found.model, known_by=known_by)
            if stages.held_during(one, when.start, when.end)
        ]
        others = [
            one
            for one in told
            if found.stage == "production"
            and one.digest != found.digest
            and (found.until is None or one.since < found.until)
            and (one.until is None or found.since is None or one.until > found.since)
        ]
        return replace(found, deployed=tuple(one for one in told if one.digest == found.digest), also_served=tuple(others))

    def exposure(self, ref: str, *, as_known_on: str | None = None) -> answers.History:
        """When a version faced users: the intervals in which it was in production, as was intended, and those in which an
        `environment` says that it served it; by their beginning. `as_known_on` as in `at`."""
        known_by = self.known_by(as_known_on)
        with self.reading() as tx:
            key = resolve.resolve_version(tx, ref, now=self.now())
            found = versions.read(tx, [key], None)[0]
            moves = stages.intervals(tx, model=found.model, stage="production", version=found.digest, known_by=known_by)
            served = [
                Interval(
                    *(found.model, one.run, one.digest, None, one.since, one.until, one.actor, (), None),
                    environment=one.environment,
                )
                for one in deployments.intervals(tx, found.model, known_by=known_by)
                if one.digest == found.digest
            ]
            return answers.History(sorted([*moves, *served], key=lambda interval: interval.since))

    def sql(self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of a read-only query over the views of schema.sql. Raises Refused for writes, UsageError for bad SQL."""
        from .store.query import query as run_query

        return run_query(self._db, query, params)

    # -- artifacts

    def load_artifact(self, run: str, name: str = "model", *, trust: bool = False) -> Any:
        """The object that a run kept under `name`; see `Run.load_artifact`."""
        from .artifacts import load

        return load(self.blobs, self.artifact(run, name), self.run(run), trusted=trust)

    def artifact(self, ref: str, name: str = "model") -> Artifact:
        """What a run kept under `name`. Raises NotFound with the names there are."""
        found = self.run(ref)
        if name not in found.artifacts:
            kept = ", ".join(found.artifacts) or "nothing"
            raise NotFound(f"{found.id} kept no artifact '{name}'; it kept {kept} (ifp show {found.id})")
        return found.artifacts[name]

    def checkout(self, ref: str, dest: str | os.PathLike[str], *, name: str = "model") -> Path:
        """Write a version's artifact to `dest` as a file or folder, verified against its digest; its path.

        Raises UsageError when `dest` is taken, NotFound when bytes are missing, IntegrityError when they are damaged.
        """
        return self.blobs.checkout(self.artifact(ref, name), Path(dest))


def _where_to_begin(since: str | Sequence[str] | None, now: str) -> tuple[str | None, list[str]]:
    """The registry time that somebody means, or else the ids of events. Raises UsageError for anything else."""
    given = [since] if isinstance(since, str) else list(since or ())
    if not given or all(map(news.is_id, given)):
        return None, given
    if len(given) > 1:
        raise UsageError("events since what? Give one time, or ids of events (sha256:…), not several times or both")
    return times.parse_when(given[0], now=now).start, []
