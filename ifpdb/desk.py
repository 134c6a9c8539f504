"""The desk: a registry that is changed. Every change opens its one transaction here, or in model.py.

Bytes are made durable before the transaction that names them begins.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

from . import digest, names, promotion, registration, settings, times
from .capture.data import dataset as datasets
from .capture.schema.features import read_schema
from .errors import Conflict, NotFound, UsageError
from .ledger import datasets as dataset_rows
from .ledger import deployments, events, facts, lineage, metrics, resolve, runs, versions
from .reader import Reader
from .records import Artifact, Code, Dataset, Deployment, Parent, Version
from .store import claims, live
from .store.db import create

if TYPE_CHECKING:
    from .model import Model
    from .outbox.letters import Box

Progress = Callable[[int], None]
"""Told the number of bytes of each chunk that was read."""

Lineage = str | tuple[str, str] | Sequence[str | tuple[str, str]]
"""What `derived_from` accepts: a REF, a pair (REF, kind), or a list of these."""


class Registry(Reader):
    """A registry: the .db at `path` and the blobs in `blobs.root`. Threads may share one; it is a context manager."""

    def __init__(self, path: Path, *, readonly: bool = False, actor: str | None = None) -> None:
        """Open a registry that exists; `ifpdb.open` finds or makes one first."""
        super().__init__(path, readonly=readonly)
        self._actor = actor
        self._box: Box | None = None

    @property
    def actor(self) -> str:
        """Who acts: the argument, else IFP_ACTOR, else git's user, else user@host."""
        return settings.who(self._actor)

    @contextmanager
    def writing(self) -> Iterator[tuple[Connection, events.Author]]:
        """A transaction for writing, with its author; seals first what runs that died have left."""
        from . import signing  # these three: what only writers need would cost every `ifp show` 5 ms
        from .outbox.letters import Box, Posting
        from .outbox.waking import wake

        actor = self.actor
        box = self._box = self._box or Box(self.blobs.root, self.path)
        with Posting(box) as posting, self._db.write() as tx:
            by = events.Author(actor, *settings.time_now(), sign=signing.sign)
            buried = self._bury(tx, by)
            yield tx, by
            posting.write(box.address(tx, by.written, now=time.time()))
        for run in buried:
            live.forget(self.blobs.root, run)
        if posting.letters or box.has_due(time.time()):
            wake(box, self.path)

    def _bury(self, tx: Connection, by: events.Author) -> list[str]:
        """Seal the points of runs whose process is gone and end them as killed; their ids."""
        dead = [run for run in live.live_runs(self.blobs.root) if live.is_dead(self.blobs.root, run)]
        if dead:
            open_runs = {run: (key, model, sealed) for key, run, model, sealed in runs.running(tx)}
            for run in dead:
                if run in open_runs:
                    key, model, sealed = open_runs[run]
                    self.seal(tx, key, run, sealed)
                    self.end(tx, by, key, run, model, status="killed", error="its process is gone")
        return dead

    def seal(self, tx: Connection, key: int, run: str, sealed: int) -> None:
        """Take the points of a live file from byte `sealed` on into the database."""
        points, end = live.read_points(self.blobs.root, run, sealed)
        metrics.seal(tx, key, points)
        runs.set_live_bytes(tx, key, end)

    def end(self, tx: Connection, by: events.Author, key: int, run: str, model: str, *, status: str, error: str | None) -> None:
        """Close a run, with the event that says how it went."""
        runs.end(tx, key, status=status, at=by.now, error=error)
        detail: dict[str, Any] = {"status": status, "record": runs.record_digest(tx, key)}
        if error:
            detail["error"] = error
        events.append(tx, by, "run_ended", model=model, run=run, detail=detail)

    def model(self, name: str) -> Model:
        """One model's versions, stages and policy. Nothing is looked up yet."""
        from .model import Model

        return Model(self, name)

    # -- registering

    def register(
        self,
        model: str,
        artifact: object,
        *,
        data: object = None,
        schema: object = None,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        seed: int | None = None,
        derived_from: Lineage = (),
        stage: str = "staging",
        tags: Sequence[str] = (),
        labels: Sequence[str] = (),
        partial: bool = False,
        allow_name: bool = False,
        progress: Progress | None = None,
    ) -> Version:
        """Register a model that was trained elsewhere: record what is given, and nothing of this process.

        `artifact` is a path of a file or folder, or an object. `data` is a path, a pointer `uri#revision`, a Dataset, a
        list of these or a mapping of role to them; `schema` a JSON file, a FeatureSchema or feature records.

        Raises UsageError for bad input, Refused when a part is missing and `partial` is not set, Conflict for a file
        that changes while it is read. The registry is then as it was.
        """
        names.check_model(model, allow=allow_name)
        wishes = registration.Wishes(stage, tags, labels, partial)
        known_params = None if params is None else registration.check_params(params)
        values = registration.check_metrics(metrics or {})
        number = registration.check_seed(seed)
        parents = parse_lineage(derived_from)
        with self.reading() as tx:
            self._parents(tx, parents)
            lengths = dataset_rows.lengths_of(tx, model)
        features = None if schema is None else read_schema(schema)  # type: ignore[arg-type]  # read_schema checks it
        found_data = datasets.describe_all(data, project=self.project, lengths=lengths)
        known = registration.Parts(None, found_data, features, known_params, number).manifest()
        registration.check_missing(model, [part for part in digest.missing_parts(known) if part != "weights"], wishes)
        with self.ingesting():
            kept = self.keep(artifact, name="model", progress=progress)
            with self.writing() as (tx, by):
                run_id = runs.new_id(os.urandom(10))
                run = runs.insert(
                    tx,
                    id=run_id,
                    model=facts.keep_model(tx, model),
                    status="finished",
                    actor=by.actor,
                    started_at=by.now,
                    seed=number,
                    command=None,
                    code=Code(),
                )
                runs.end(tx, run, status="finished", at=by.now, error=None)
                runs.set_params(tx, run, known_params or {})
                runs.add_datasets(tx, run, found_data)
                moment = times.to_microseconds(by.now)
                _seal(tx, run, [live.Point(key, "", value, None, moment) for key, value in values.items()])
                lineage.link_all(tx, run, self._parents(tx, parents))
                parts = registration.Parts(kept, found_data, features, known_params, number)
                version, created = registration.register(
                    tx, by, model=model, run=run, run_id=run_id, parts=parts, wishes=wishes
                )
                found = versions.read(tx, [version], self, created=created)[0]
        return replace(found, weights=kept)

    def keep(self, artifact: object, *, name: str, progress: Progress | None = None) -> Artifact:
        """Make an artifact's bytes durable in the blob folder: a path is copied, an object is serialized.

        What this process serialized is trusted for this user from then on.
        """
        from .store import formats, trust

        if isinstance(artifact, str | os.PathLike):
            path = Path(artifact)
            if not path.exists():
                raise UsageError(f"there is no file or folder {path}")
            return self.blobs.put_path(path, name=name, format=formats.guess(path), progress=progress)
        kept, runs_code = self.blobs.put_written(lambda file: formats.dump_into(file, artifact), name=name)
        if runs_code:
            trust.trust(kept.digest, kept.format, f"serialized here from a {type(artifact).__name__}")
        return kept

    @contextmanager
    def ingesting(self) -> Iterator[None]:
        """Hold off gc: from before the first byte of a new blob until a row names it. Raises Busy as `claims.shared` does."""
        with claims.shared(self.blobs.root):
            yield

    def _parents(self, tx: Connection, wanted: Sequence[Parent]) -> list[tuple[int, str]]:
        return [(resolve.resolve(tx, parent.run, now=self.now()).run, parent.kind) for parent in wanted]

    # -- small changes

    def link(self, child: str, parent: str, kind: str = "derived_from") -> bool:
        """Say after the fact that a run came from another; False when that was known. Raises Conflict for a cycle."""
        names.check_kind(kind)
        with self.writing() as (tx, by):
            below = resolve.resolve(tx, child, now=by.now).run
            above = resolve.resolve(tx, parent, now=by.now).run
            if not lineage.link(tx, below, above, kind):
                return False
            detail = {"parent": lineage.name(tx, above), "lineage": kind}
            events.append(tx, by, "linked", model=lineage.model_of(tx, below), run=lineage.name(tx, below), detail=detail)
            return True

    def measure(self, ref: str, values: Mapping[str, float], *, dataset: object = None) -> Version:
        """Record metrics of a version after its registration.

        `dataset` is what they were measured on: a frame, an array, a path, a pointer, or a name or digest that is on record.

        The metrics are an event, and the gate sees them. Raises NotFound for a dataset name that no run has used.
        """
        known = registration.check_metrics(values)
        if not known:
            raise UsageError("no metric was given: write f1=0.93")
        described = self._described(ref, dataset)
        with self.writing() as (tx, by):
            version = resolve.resolve_version(tx, ref, now=by.now)
            run = versions.own_run(tx, version)
            if described is not None:
                identity = described.identity
                runs.add_datasets(tx, run, [described])
            else:
                identity = "" if dataset is None else promotion.dataset_named(tx, str(dataset))
                if identity and dataset_rows.find(tx, identity) is None:
                    raise NotFound(f"no dataset {identity} is on record: name its file or folder once (--dataset PATH)")
            found = versions.read(tx, [version], self)[0]
            detail = {
                "metrics": [
                    {"metric": key, "value": digest.number_to_json(value), "dataset": identity or None}
                    for key, value in known.items()
                ]
            }
            told = events.append(tx, by, "measured", model=found.model, run=found.run, version=found.digest, detail=detail)
            moment = times.to_microseconds(told.at)  # so that of two people's measurements the log tells the later one
            _seal(tx, run, [live.Point(key, identity, value, None, moment) for key, value in known.items()])
            return versions.read(tx, [version], self)[0]

    def deployed(
        self, ref: str, environment: str, *, replaces: str | None = None, at: str | None = None, stopped: bool = False
    ) -> Version:
        """Record that infrastructure says it serves a version in an environment, such as 'prod-eu', since `at` (default: now).

        `replaces` names the version that it took the place of: what the environment served until now, if that is on record.
        With `stopped`, the environment serves the version no longer, and no other. Nothing is written where all that is known.

        Raises Conflict when the environment is on record with another version, UsageError for a time that is a whole day, in
        the future, or before the environment began to serve what it leaves.
        """
        names.check_key(environment, "environment")
        if stopped and replaces is not None:
            raise UsageError("stopped says that nothing is served there: leave replaces out")
        with self.writing() as (tx, by):
            key = resolve.resolve_version(tx, ref, now=by.now)
            found = versions.read(tx, [key], self)[0]
            since = None if at is None else _instant(at, by.now)
            held = deployments.served(tx, found.model, environment)
            detail: dict[str, Any] = {"environment": environment}
            if stopped:
                detail["stopped"] = True
                _check_served(held, found.digest, found.model, environment, since)
            elif held is not None and held.digest == found.digest and (since is None or held.since <= since):
                return found
            elif replaces is not None:
                before = resolve.resolve_version(tx, replaces, now=by.now, model=found.model)
                detail["replaces"] = versions.digest_of(tx, before)
                if held is not None:
                    _check_served(held, detail["replaces"], found.model, environment, since)
            if since is not None:
                detail["since"] = since
            events.append(tx, by, "deployed", model=found.model, run=found.run, version=found.digest, detail=detail)
            return found

    def _described(self, ref: str, dataset: object) -> Dataset | None:
        """The Dataset behind data, a path or a pointer, that `ref` was measured on; None for a name or a digest."""
        if dataset is None:
            return None
        if isinstance(dataset, str) and not os.path.exists(dataset) and not datasets.is_pointer(dataset):
            return None
        with self.reading() as tx:
            lengths = dataset_rows.lengths_of(tx, lineage.model_of(tx, resolve.resolve(tx, ref, now=self.now()).run))
        return datasets.describe(dataset, role="holdout", project=self.project, lengths=lengths)


def _instant(text: str, now: str) -> str:
    when = times.parse_when(text, now=now)
    if when.is_day:
        raise UsageError(f"'{text}' is a whole day: write the time as well, as in 2025-11-14T09:30:00Z or '3 minutes ago'")
    if when.start > now:
        raise UsageError(f"'{text}' is in the future: record it when it has happened")
    return when.start


def _check_served(held: Deployment | None, expected: str, model: str, environment: str, since: str | None) -> None:
    """See that an environment is on record with the version that it leaves, and since before it does so."""
    if held is None or held.digest != expected:
        now = f"{model}@{held.digest[:19]}" if held is not None else "nothing"
        raise Conflict(
            f"{environment} is not on record with {model}@{expected[:19]}: it serves {now} of {model}. Look again and repeat "
            f"(ifp events --model {model} --kind deployed)"
        )
    if since is not None and since < held.since:
        raise UsageError(f"{since} is before {environment} began to serve {model}@{expected[:19]}, on {held.since}")


def _seal(tx: Connection, run: int, points: list[live.Point]) -> None:
    metrics.seal(tx, run, points)


def parse_lineage(derived_from: Lineage) -> list[Parent]:
    """`derived_from` as a list of Parents whose `run` is still a reference; raises UsageError for anything else."""
    if isinstance(derived_from, str):
        return [Parent(derived_from, "derived_from")]
    items = list(derived_from)
    if len(items) == 2 and isinstance(derived_from, tuple) and items[1] in names.KINDS:
        return [Parent(str(items[0]), str(items[1]))]
    found = []
    for item in items:
        if isinstance(item, str):
            found.append(Parent(item, "derived_from"))
        elif isinstance(item, tuple) and len(item) == 2:
            found.append(Parent(item[0], names.check_kind(item[1])))
        else:
            raise UsageError(f"derived_from takes a REF, a pair (REF, kind) or a list of these, not {item!r}")
    return found


def open(path: str | os.PathLike[str] | None = None, *, readonly: bool = False, actor: str | None = None) -> Registry:
    """Open a registry: the one at `path`, else IFP_DB, else the nearest ifp.db. It must exist (`init` makes one).

    Raises NotFound when there is none, IntegrityError for a file that is something else, Refused for one in WAL mode
    or made by a newer ifpdb.
    """
    return Registry(settings.find_registry(path), readonly=readonly, actor=actor)


def init(path: str | os.PathLike[str] | None = None, *, actor: str | None = None) -> Registry:
    """Open the registry at `path` (default: IFP_DB, the nearest ifp.db, or ./ifp.db), making it where there is none."""
    place = settings.find_or_place_registry(path)
    create(place)
    return Registry(place, actor=actor)
