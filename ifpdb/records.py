"""The frozen records of what was seen: runs, versions and their parts, events. They cross floors, and `--json` prints them.

Each record's `as_dict()` is its JSON form; its keys are a promise (docs/format.md) and only ever grow. A NaN or an
infinity, which JSON has no number for, is the string 'NaN', 'Infinity' or '-Infinity' there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .digest import integer_to_json, number_to_json

if TYPE_CHECKING:
    from os import PathLike

    from .capture.schema.features import FeatureSchema


class ArtifactSource(Protocol):
    """Who can fetch a run's bytes and add to what is known of a version: the registry that the record came from."""

    def load_artifact(self, run: str, name: str = "model", *, trust: bool = False) -> Any: ...

    def checkout(self, ref: str, dest: str | PathLike[str]) -> Any: ...

    def measure(self, ref: str, values: Mapping[str, float], *, dataset: object = None) -> Version: ...


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in the blob folder: `sha256:…`, size in bytes, xxh3-128 as 32 hex digits."""

    digest: str
    size: int
    xxh3: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file or folder that a run kept. `kind` is 'file' or 'tree'; a tree's size is that of all its files.

    `blobs` are all the blobs that it needs, its own first; empty in a record read back from the registry.
    """

    name: str
    digest: str
    size: int
    format: str
    kind: str
    stored_anew: bool = field(default=False, compare=False)
    blobs: tuple[Blob, ...] = field(default=(), compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        return {"digest": self.digest, "size": self.size, "format": self.format, "kind": self.kind}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its type and digest (`ifp-table/1` in docs/format.md), and what its values look like.

    `min` and `max` are of the values that are there; times are text. `values` are the distinct ones where they are few.
    `counts` is the profile for drift work: how many values lie in each bin of `edges` (a bin holds its upper edge; there
    is one more bin than edges), or, of a column with `values`, how often each occurs.
    """

    position: int
    name: str
    type: str
    digest: str
    nulls: int
    categorical: bool = False
    min: float | str | None = None
    max: float | str | None = None
    values: tuple[str | int | float | bool, ...] | None = None
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """Data by role. Either `digest` is known, or `uri` is a stable pointer (`uri#revision`) and digest is None.

    `kind` is 'table', 'file', 'tree' or 'pointer'. What was described here has more to tell than what is read back: the
    `columns` of a table, the digests of its first rows as (rows, digest) `prefixes`, and the digest of the `file`'s bytes.
    """

    role: str
    name: str | None
    digest: str | None
    uri: str | None
    rows: int | None = None
    size: int | None = None
    kind: str = "file"
    file: str | None = None
    columns: tuple[Column, ...] = field(default=(), compare=False, repr=False)
    prefixes: tuple[tuple[int, str], ...] = field(default=(), compare=False, repr=False)

    @property
    def identity(self) -> str:
        """The digest, or else the pointer."""
        return self.digest or self.uri or ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "role": self.role,
            "name": self.name,
            "digest": self.digest,
            "uri": self.uri,
            "rows": self.rows,
            "size": self.size,
            "kind": self.kind,
            "file": self.file,
        }


@dataclass(frozen=True, slots=True)
class Code:
    """The code a run used: git's commit, whether tracked files differed from it, and the digest of that difference.

    `digest` covers the project's own imported source files; `files` lists them as (path, digest).
    """

    commit: str | None = None
    dirty: bool | None = None
    diff: str | None = None
    digest: str | None = None
    files: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "commit": self.commit,
            "dirty": self.dirty,
            "diff": self.diff,
            "digest": self.digest,
            "files": [{"path": path, "digest": digest} for path, digest in self.files],
        }


@dataclass(frozen=True, slots=True)
class Parent:
    """A lineage edge seen from the child: the parent's run and how the child came from it."""

    run: str
    kind: str

    def as_dict(self) -> dict[str, Any]:
        return {"run": self.run, "kind": self.kind}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One metric on one dataset (or on none that is known): its last value, extremes and number of points.

    `value`, `min` and `max` are floats, NaN where the points were no numbers. `dataset` is a digest or pointer.
    """

    metric: str
    value: float
    min: float
    max: float
    count: int
    dataset: str | None
    at: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "value": number_to_json(self.value),
            "min": number_to_json(self.min),
            "max": number_to_json(self.max),
            "count": self.count,
            "dataset": self.dataset,
            "at": self.at,
        }


@dataclass(frozen=True, slots=True)
class Run:
    """One execution, observed. Times are registry times (UTC text); `version` is the digest it registered, or None.

    `fit` is what was seen training, {"estimator", "method", "seconds"} and of a torch loop "steps", or None.
    """

    id: str
    model: str
    status: str
    version: str | None
    params: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    seed: int | None
    data: tuple[Dataset, ...]
    code: Code
    environment: Mapping[str, Any]
    artifacts: Mapping[str, Artifact]
    parents: tuple[Parent, ...]
    command: tuple[str, ...] | None
    fit: Mapping[str, Any] | None
    started_at: str
    ended_at: str | None
    actor: str
    error: str | None
    source: ArtifactSource | None = field(default=None, repr=False, compare=False)

    @property
    def metrics(self) -> dict[str, float]:
        """Each metric's newest value."""
        return newest_values(self.measurements)

    def _repr_html_(self) -> str:
        from .drawing import html, sheet  # only notebooks need it

        return html.sheet(sheet.run_lines(self))

    def load_artifact(self, name: str = "model", *, trust: bool = False) -> Any:
        """The object stored under `name`, found by hash and verified before it is read.

        Raises NotFound when this run kept no such artifact or its bytes are not here, IntegrityError when they don't
        match their digest, Untrusted when loading them could run code that this user has not vouched for, Refused
        for a format that has no loader (use `checkout`).
        """
        if self.source is None:
            raise RuntimeError("this record is not bound to a registry")
        return self.source.load_artifact(self.id, name, trust=trust)

    def as_dict(self) -> dict[str, Any]:
        return {
            "run": self.id,
            "model": self.model,
            "status": self.status,
            "digest": self.version,
            "params": dict(self.params),
            "metrics": {name: number_to_json(value) for name, value in self.metrics.items()},
            "measurements": [measurement.as_dict() for measurement in self.measurements],
            "seed": integer_to_json(self.seed),
            "data": [dataset.as_dict() for dataset in self.data],
            "code": self.code.as_dict(),
            "environment": dict(self.environment),
            "artifacts": {name: artifact.as_dict() for name, artifact in self.artifacts.items()},
            "parents": [parent.as_dict() for parent in self.parents],
            "command": None if self.command is None else list(self.command),
            "fit": None if self.fit is None else dict(self.fit),
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "actor": self.actor,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Deployment:
    """An environment served a version from `since` until `until` (None: still), as `actor` said."""

    environment: str
    digest: str
    run: str
    since: str
    until: str | None
    actor: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "digest": self.digest,
            "run": self.run,
            "since": self.since,
            "until": self.until,
            "actor": self.actor,
        }


@dataclass(frozen=True, slots=True)
class Version:
    """What a run registered: four parts, and what has been seen of it since. A snapshot; ask again for news.

    `digest`, `weights.digest` and `schema.digest` are `sha256:…`; `run` is its own run, `runs` every run that gave
    it; `missing` lists the parts it lacks; `created` is False when registration found it there already. What was asked
    for a time (`at`) has `since`, `until`, `approved_by` and the stage held then; `deployed` is where it was served then, and
    `also_served` what environments served of other versions while it was the one in production.
    """

    model: str
    digest: str
    run: str
    ordinal: int
    stage: str
    missing: tuple[str, ...]
    weights: Artifact | None
    data: tuple[Dataset, ...]
    schema: FeatureSchema | None
    params: Mapping[str, Any]
    seed: int | None
    measurements: tuple[Measurement, ...]
    code: Code
    environment: Mapping[str, Any]
    tags: tuple[str, ...]
    labels: tuple[str, ...]
    parents: tuple[Parent, ...]
    created_at: str
    actor: str
    runs: tuple[str, ...]
    manifest: str = field(repr=False)
    fit: Mapping[str, Any] | None = None
    created: bool = False
    since: str | None = None
    until: str | None = None
    approved_by: tuple[str, ...] = ()
    deployed: tuple[Deployment, ...] = ()
    also_served: tuple[Deployment, ...] = ()
    source: ArtifactSource | None = field(default=None, repr=False, compare=False)

    @property
    def partial(self) -> bool:
        return bool(self.missing)

    @property
    def name(self) -> str:
        """`fraud-detector@sha256:…`, which names this version for ever."""
        return f"{self.model}@{self.digest}"

    @property
    def metrics(self) -> dict[str, float]:
        """Each metric's newest value, whatever it was measured on; `measurements` tells them apart."""
        return newest_values(self.measurements)

    def _repr_html_(self) -> str:
        from .drawing import html, sheet

        return html.sheet(sheet.version_lines(self))

    def load_artifact(self, *, trust: bool = False) -> Any:
        """The model object; raises what `Run.load_artifact` raises."""
        if self.source is None:
            raise RuntimeError("this record is not bound to a registry")
        return self.source.load_artifact(self.run, trust=trust)

    def checkout(self, dest: str | PathLike[str]) -> Any:
        """Write the artifact to `dest`, verified; returns the path. See `Registry.checkout`."""
        if self.source is None:
            raise RuntimeError("this record is not bound to a registry")
        return self.source.checkout(self.name, dest)

    def log_metric(self, key: str, value: float, *, dataset: object = None) -> Version:
        """Record a metric after the registration, as an event that the gate sees; the version as it is then.

        `dataset` is what it was measured on: a frame, an array, a path, a pointer, or the name or digest of a dataset that is
        on record. Raises what `Registry.measure` raises.
        """
        if self.source is None:
            raise RuntimeError("this record is not bound to a registry")
        return self.source.measure(self.name, {key: value}, dataset=dataset)

    def as_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "digest": self.digest,
            "run": self.run,
            "ordinal": self.ordinal,
            "stage": self.stage,
            "partial": self.partial,
            "missing": list(self.missing),
            "weights": self.weights.as_dict() if self.weights else None,
            "data": [dataset.as_dict() for dataset in self.data],
            "schema": self.schema.as_dict() if self.schema else None,
            "params": dict(self.params),
            "seed": integer_to_json(self.seed),
            "metrics": {name: number_to_json(value) for name, value in self.metrics.items()},
            "measurements": [measurement.as_dict() for measurement in self.measurements],
            "code": self.code.as_dict(),
            "environment": dict(self.environment),
            "fit": None if self.fit is None else dict(self.fit),
            "tags": list(self.tags),
            "labels": list(self.labels),
            "parents": [parent.as_dict() for parent in self.parents],
            "created_at": self.created_at,
            "actor": self.actor,
        } | self._held()

    def _held(self) -> dict[str, Any]:
        if self.since is None:
            return {}
        return {
            "since": self.since,
            "until": self.until,
            "approved_by": list(self.approved_by),
            "deployed": [one.as_dict() for one in self.deployed],
            "also_served": [one.as_dict() for one in self.also_served],
        }


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A model at a glance: how many versions, which is in production and which is the newest (digests, or None)."""

    model: str
    versions: int
    production: str | None
    latest: str | None
    latest_at: str | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "versions": self.versions,
            "production": self.production,
            "latest": self.latest,
            "latest_at": self.latest_at,
        }


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of the log. `id` is SHA-256 of the canonical JSON that holds everything else, its parents' ids included."""

    id: str
    parents: tuple[str, ...]
    at: str
    actor: str
    kind: str
    model: str | None = None
    run: str | None = None
    version: str | None = None
    from_stage: str | None = None
    to_stage: str | None = None
    reason: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "parents": list(self.parents),
            "at": self.at,
            "actor": self.actor,
            "kind": self.kind,
            "model": self.model,
            "run": self.run,
            "version": self.version,
            "from_stage": self.from_stage,
            "to_stage": self.to_stage,
            "reason": self.reason,
            "detail": dict(self.detail),
        }


def newest_values(measurements: tuple[Measurement, ...]) -> dict[str, float]:
    """Each metric's value by its newest measurement, by name."""
    newest: dict[str, Measurement] = {}
    for found in measurements:
        if found.metric not in newest or found.at >= newest[found.metric].at:
            newest[found.metric] = found
    return {name: newest[name].value for name in sorted(newest)}
