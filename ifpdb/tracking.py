"""Tracking: the live run that a training script writes to while it is open.

The database is written when a run starts, registers and ends. What is logged in between waits in memory or in the
run's live file (store/live.py), so that logging is fast and a commit to git in the middle of a training sees no churn.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import digest, names, registration
from .capture.data import dataset as datasets
from .capture.data.sources import Source
from .capture.redaction import redact_text
from .capture.schema.features import read_schema
from .desk import Lineage, Registry, init, parse_lineage
from .errors import IfpError, StorageError, UsageError
from .ledger import datasets as dataset_rows
from .ledger import events, facts, lineage, resolve, runs, versions
from .observation import RANDOM_STATE, Captured, Observation
from .promotion import dataset_named
from .records import Artifact, Code, Dataset, Parent, Run, Version
from .store.live import LiveWriter, forget


def track(
    model: str,
    *,
    derived_from: Lineage = (),
    data: object = None,
    seed: int | None = None,
    params: Mapping[str, Any] | None = None,
    db: str | os.PathLike[str] | None = None,
    actor: str | None = None,
    autocapture: bool = True,
) -> TrackedRun:
    """A run of `model`, for a `with` block; makes ./ifp.db where there is no registry yet.

    The outermost `fit` in the block is captured: the estimator, its parameters, the digests of X and y, the schema of X.
    An exception that leaves the block ends the run as failed and is raised on; Ctrl-C ends it killed. With
    `autocapture=False` the run records only what it is told: no fit, and not the process's code, packages or command line.
    Raises UsageError for bad names and values, NotFound for a parent that is not there.
    """
    return TrackedRun(
        names.check_model(model),
        parents=parse_lineage(derived_from),
        data=data,
        seed=registration.check_seed(seed),
        params=registration.check_params(params or {}),
        db=db,
        actor=actor,
        autocapture=autocapture,
    )


class TrackedRun:
    """A run in progress. Its `log_…` and `register` methods work inside the `with` block; what it knows, always."""

    def __init__(
        self,
        model: str,
        *,
        parents: Sequence[Parent],
        data: object,
        seed: int | None,
        params: dict[str, Any],
        db: str | os.PathLike[str] | None,
        actor: str | None,
        autocapture: bool,
    ) -> None:
        self.model = model
        self.seed = seed
        self.id = runs.new_id(os.urandom(10))
        self._parents = list(parents)
        self._data = data
        self._params = params
        self._datasets: list[Dataset] = []
        self._lengths: tuple[int, ...] = ()
        self._sources: list[tuple[Dataset, Source]] = []
        self._known_metrics: set[str] = set()
        self._autocapture = autocapture
        self._seen: Observation | None = None
        self._logged_model = self._registered = False
        self._place, self._actor = db, actor
        self._identities: dict[str | Dataset | None, str] = {None: ""}
        self._registry: Registry | None = None
        self._live: LiveWriter | None = None
        self._key = 0

    def __enter__(self) -> Self:
        if self._registry is not None:
            raise UsageError(f"{self.id} was tracked already: call ifp.track again for another run")
        registry = init(self._place, actor=self._actor)
        self._live = LiveWriter(registry.blobs.root, self.id)
        try:
            with registry.reading() as tx:
                self._lengths = dataset_rows.lengths_of(tx, self.model)
            for role, item in datasets.items(self._data):
                self._describe(item, role=role, project=registry.project)
            self._seen = Observation(registry.project, lengths=self._lengths) if self._autocapture else None
            code = self._seen.code() if self._seen else Code()
            with registry.ingesting():
                random_state = self._keep_random_state(registry)
                with registry.writing() as (tx, by):
                    self._key = runs.insert(
                        tx,
                        id=self.id,
                        model=facts.keep_model(tx, self.model),
                        status="running",
                        actor=by.actor,
                        started_at=by.now,
                        seed=self.seed,
                        command=self._seen.command if self._seen else None,
                        code=code,
                    )
                    self._save_given(tx)
                    if random_state:
                        runs.add_artifact(tx, self._key, random_state)
                    for parent in self._parents:
                        lineage.link(tx, self._key, resolve.resolve(tx, parent.run, now=by.now).run, parent.kind)
                    came_from = [parent.as_dict() for parent in runs.parents_of(tx, f"[{self._key}]")[self._key]]
                    events.append(tx, by, "run_started", model=self.model, run=self.id, detail={"parents": came_from})
        except BaseException as error:
            if self._seen:
                self._seen.close()
            self._live.close()
            if isinstance(error, IfpError) and not isinstance(error, StorageError):
                forget(registry.blobs.root, self.id)  # else the commit may have been made: the next writer looks
            registry.close()
            raise
        self._registry = registry
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None) -> None:
        status, said = "finished", None
        if kind is not None:
            status = "killed" if issubclass(kind, KeyboardInterrupt) else "failed"
            said = redact_text(f"{kind.__name__}: {error}")[:2000].encode("utf-8", "replace").decode()
        registry, writer = self._open(), self._live
        assert writer is not None
        try:
            if self._seen:
                self._seen.close()
            writer.flush()
            captured = self._seen.of(None) if self._seen and not self._registered else Captured()
            with registry.writing() as (tx, by):
                self._save_given(tx, captured)
                if self._seen:
                    runs.set_observed(tx, self._key, environment=self._seen.environment(), code=self._seen.code())
                registry.seal(tx, self._key, self.id, runs.live_bytes(tx, self._key))
                registry.end(tx, by, self._key, self.id, self.model, status=status, error=said)
            forget(registry.blobs.root, self.id)
        finally:
            writer.close()
            self._live = None
            registry.close()

    def _keep_random_state(self, registry: Registry) -> Artifact | None:
        state = self._seen.random_state if self._seen else None
        return registry.blobs.put_bytes(state, name=RANDOM_STATE, format="json") if state else None

    def _save_given(self, tx: Any, captured: Captured = Captured()) -> None:  # noqa: B008  # it is frozen
        """Write what the run was told and what was captured; what it was told goes first."""
        runs.set_params(tx, self._key, captured.params | self._params)
        runs.add_datasets(tx, self._key, [*self._datasets, *captured.data])
        if captured.fit:
            runs.set_fit(tx, self._key, captured.fit, seed=captured.seed)

    def _describe(self, data: object, *, role: str, project: Path, name: str | None = None, uri: str | None = None) -> Dataset:
        """Describe data that the run was told of, and remember where it came from."""
        source = Source(data)
        described = datasets.describe(data, role=role, name=name, uri=uri, project=project, lengths=self._lengths)
        self._datasets.append(described)
        self._sources.append((described, source))
        return described

    def _open(self) -> Registry:
        if self._registry is None:
            raise UsageError("this run hasn't started: use it in a with block, `with ifp.track(…) as run:`")
        return self._registry

    def _writer(self) -> LiveWriter:
        if self._live is None:
            self._open()
            raise UsageError(f"{self.id} has ended: log inside its with block")
        return self._live

    # -- logging

    def log_metric(self, key: str, value: float, step: int | None = None, dataset: str | Dataset | None = None) -> None:
        """Log one point of a metric.

        `dataset` is what it was measured on: what `log_dataset` returned, or the name, role or digest of a logged dataset.

        NaN and infinities are kept as what they are. Raises UsageError for what is no number, NotFound for a dataset
        that is not known.
        """
        if type(value) is not float:
            value = registration.check_number(key, value)
        writer = self._live or self._writer()
        if key not in self._known_metrics:
            self._known_metrics.add(names.check_key(key, "metric"))
        identity = self._identities.get(dataset)
        writer.log(key, self._identify(dataset) if identity is None else identity, value, step)

    def log_metrics(self, values: Mapping[str, float], step: int | None = None, dataset: str | Dataset | None = None) -> None:
        """Log one point of each of several metrics."""
        for key, value in registration.check_metrics(values).items():
            self.log_metric(key, value, step, dataset)

    def log_param(self, key: str, value: Any) -> None:
        """Log a parameter; raises UsageError for a value that is not JSON."""
        self.log_params({key: value})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log several parameters."""
        self._writer()
        self._params.update(registration.check_params(params))

    def log_dataset(self, data: object, role: str = "train", name: str | None = None, uri: str | None = None) -> Dataset:
        """Log data that the run uses: a frame, an array, a file, a folder, a pointer `uri#revision`. Only digests are kept.

        Roles 'test' and 'holdout' evaluate; every other role is training data and defines the version. Raises UsageError
        for what has no digest.
        """
        self._writer()
        return self._describe(data, role=role, project=self._open().project, name=name, uri=uri)

    def log_artifact(self, obj_or_path: object, name: str = "model") -> Artifact:
        """Keep a file, a folder or an object under `name`; an object is serialized and trusted for this user."""
        self._writer()
        names.check_key(name, "artifact name")
        registry = self._open()
        with registry.ingesting():
            kept = registry.keep(obj_or_path, name=name)
            self._logged_model = self._logged_model or name == "model"
            if self._seen and name == "model":
                self._seen.logged(obj_or_path)
            with registry.writing() as (tx, by):
                runs.add_artifact(tx, self._key, kept)
                detail = {"name": name, "artifact": kept.as_dict()}
                events.append(tx, by, "artifact_logged", model=self.model, run=self.id, detail=detail)
        return kept

    def _identify(self, dataset: str | Dataset | None) -> str:
        """The digest or pointer of what a metric was measured on; remembered, since a run logs many points of one."""
        assert dataset is not None
        if isinstance(dataset, Dataset):
            return self._identify(dataset.identity)
        found = {d.identity for d in self._datasets if dataset in (d.name, d.role, d.identity)}
        if len(found) > 1:
            raise UsageError(f"'{dataset}' is several of this run's datasets; name one by its digest")
        if found:
            identity = found.pop()
        else:
            with self._open().reading() as tx:
                identity = dataset_named(tx, dataset)
                if dataset_rows.find(tx, identity) is None:
                    raise UsageError(f"no dataset {identity} is on record: log it first with run.log_dataset")
        self._identities[dataset] = identity
        return identity

    # -- registering

    def register(
        self,
        model: object = None,
        *,
        stage: str = "staging",
        tags: Sequence[str] = (),
        labels: Sequence[str] = (),
        derived_from: Lineage = (),
        schema: object = None,
        data: object = None,
        partial: bool = False,
    ) -> Version:
        """Register what this run made: `model` is an object or a path.

        By default it is the artifact logged as 'model', else the one model that was fitted in the block. What was captured
        of its fit fills in what is not given: parameters, training data, schema. The version with the same four parts
        comes back where there is one (`created` is False). For a new one, when the policy says `promote_on_pass`, the gate
        runs in the same transaction.

        Raises Ambiguous when several models were fitted, Refused for missing parts without `partial`, UsageError for bad
        input or when no fit was seen; the registry is then as it was.
        """
        writer, registry = self._writer(), self._open()
        wishes = registration.Wishes(stage, tags, labels, partial)
        parents = parse_lineage(derived_from)
        features = None if schema is None else read_schema(schema)  # type: ignore[arg-type]  # read_schema checks it
        more_data = datasets.describe_all(data, project=registry.project, lengths=self._lengths)
        model = self._model(model, partial=partial)
        captured = self._seen.of(model) if self._seen else Captured()
        code = self._seen.code() if self._seen else Code()
        found = self._seen.environment() if self._seen else {}
        known = registration.Parts(
            None,
            [*self._datasets, *more_data, *captured.data],
            features or captured.schema,
            captured.params | self._params,
            captured.seed if self.seed is None else self.seed,
            code.digest,
            found.get("packages"),
        )
        missing = digest.missing_parts(known.manifest())
        registration.check_missing(self.model, [part for part in missing if part != "weights"], wishes, captured.problem)
        with registry.ingesting():
            parts = replace(known, artifact=self._artifact(model))
            self._warn_of_changes(model)
            writer.flush()
            with registry.writing() as (tx, by):
                self._save_given(tx, captured)
                runs.add_datasets(tx, self._key, more_data)
                runs.set_observed(tx, self._key, environment=found, code=code)
                for parent in parents:
                    lineage.link(tx, self._key, resolve.resolve(tx, parent.run, now=by.now).run, parent.kind)
                registry.seal(tx, self._key, self.id, runs.live_bytes(tx, self._key))
                key, created = registration.register(
                    tx, by, model=self.model, run=self._key, run_id=self.id, parts=parts, wishes=wishes
                )
                version = versions.read(tx, [key], registry, created=created)[0]
        self._datasets += more_data
        self._registered = True
        self._logged_model = self._logged_model or parts.artifact is not None
        return version

    def _model(self, model: object, *, partial: bool) -> object:
        """What to register: what was given; None for what was logged as 'model'; else what was fitted."""
        if model is not None or self._logged_model:
            return model
        if self._seen is None or (partial and not self._seen.fitted):
            if partial:
                return None
            raise UsageError(
                f"{self.id} has no model to register: pass it, run.register(model), or a path, or log it first with "
                f"run.log_artifact(model)"
            )
        return self._seen.model()

    def _artifact(self, model: object) -> Artifact | None:
        return self.record().artifacts.get("model") if model is None else self._open().keep(model, name="model")

    def _warn_of_changes(self, model: object) -> None:
        fitted = self._seen.changed(model) if self._seen else []
        told = [dataset.name or dataset.role for dataset, source in self._sources if source.differs_from(dataset.digest)]
        for name in [*fitted, *told]:
            text = f"{name} was changed since it was fitted or logged; {self.id} names the data as it was then"
            warnings.warn(text, UserWarning, stacklevel=3)

    # -- what it knows

    def record(self) -> Run:
        """This run as the registry has it now; metrics that were logged since the last write are not in it yet."""
        return self._open().run(self.id)

    def load_artifact(self, name: str = "model", *, trust: bool = False) -> Any:
        """The object kept under `name`; see `Run.load_artifact`."""
        return self._open().load_artifact(self.id, name, trust=trust)

    @property
    def params(self) -> dict[str, Any]:
        return dict(self._params)

    @property
    def status(self) -> str:
        return self.record().status

    @property
    def version(self) -> str | None:
        return self.record().version

    @property
    def metrics(self) -> dict[str, float]:
        return self.record().metrics

    @property
    def environment(self) -> Mapping[str, Any]:
        return self.record().environment

    @property
    def started_at(self) -> str:
        return self.record().started_at

    @property
    def ended_at(self) -> str | None:
        return self.record().ended_at
