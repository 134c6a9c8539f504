"""How a run becomes a version: its parts are named in a manifest, and one transaction writes everything that follows.

Where the model has a version of these very parts already, the run points to that one and nothing new is made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import digest, names, promotion
from .capture.schema.features import FeatureSchema
from .errors import Conflict, Refused, UsageError
from .ledger import events, facts, runs, stages, versions
from .ledger.metrics import measurements_of
from .records import Artifact, Dataset

OPEN_STAGES = ("staging", "shadow")
"""Where a version may start: production is only reached through the gate."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The four parts of a version. `params`, `code` and `packages` are None when nothing is known of them."""

    artifact: Artifact | None
    data: Sequence[Dataset]
    schema: FeatureSchema | None
    params: Mapping[str, digest.JSON] | None
    seed: int | None
    code: str | None = None
    packages: Mapping[str, str] | None = None

    def manifest(self) -> digest.JSON:
        """The document that names them; its digest is the version's."""
        return digest.manifest(
            weights=self.artifact.digest if self.artifact else None,
            data=[(dataset.role, dataset.digest, dataset.uri) for dataset in self.data],
            schema=self.schema.digest if self.schema else None,
            training=digest.training_record(params=self.params, seed=self.seed, code=self.code, packages=self.packages),
        )


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller asks for besides: where the version starts, its names, and whether parts may be missing."""

    stage: str = "staging"
    tags: Sequence[str] = ()
    labels: Sequence[str] = ()
    partial: bool = False

    def __post_init__(self) -> None:
        if self.stage not in OPEN_STAGES:
            names.check_stage(self.stage)
            raise Refused(f"a version starts in staging or shadow, not in {self.stage}: register it, then ifp promote")
        for tag in _listed(self.tags, "tags"):
            names.check_tag(tag)
        for label in _listed(self.labels, "labels"):
            names.check_label(label)


def register(
    tx: sqlite3.Connection, by: events.Author, *, model: str, run: int, run_id: str, parts: Parts, wishes: Wishes
) -> tuple[int, bool]:
    """Let a run register its parts; the version's key, and whether it is new.

    Raises Refused for missing parts that `wishes` doesn't allow, Conflict for a run that registered other parts before.
    """
    document = parts.manifest()
    check_missing(model, digest.missing_parts(document), wishes)
    body = digest.canonical(document)
    identity = digest.sha256(body)
    model_key = facts.keep_model(tx, model)
    version = versions.find(tx, model_key, identity)
    again = _registered_before(tx, run, run_id, version)
    created = version is None
    blob = runs.add_artifact(tx, run, parts.artifact) if parts.artifact else None
    if version is None:
        schema = facts.keep_schema(tx, parts.schema) if parts.schema else None
        version = versions.insert(tx, model=model_key, digest=identity, manifest=body, weights=blob, schema=schema)
    if not again:
        versions.set_run(tx, run=run, version=version, at=by.now)
    tags = versions.add_tags(tx, version, wishes.tags)
    borne_by = {label: versions.set_label(tx, model_key, label, version) for label in wishes.labels}
    detail = _detail(tx, run, document, created=created, tags=tags, labels=list(wishes.labels))
    if created:
        event = stages.move(tx, by, version, "registered", to_stage=wishes.stage, run=run_id, detail=detail)
    else:
        event = events.append(tx, by, "registered", model=model, run=run_id, version=identity, detail=detail)
    if not again and event.at != by.now:
        versions.set_run(tx, run=run, version=version, at=event.at)
    for label, before in borne_by.items():
        if before not in (None, version):
            taken = {"label": label, "from": versions.digest_of(tx, before)}
            events.append(tx, by, "labelled", model=model, run=run_id, version=identity, detail=taken)
    if created and (policy := stages.policy(tx, model)) is not None and policy.promote_on_pass:
        promotion.promote_on_pass(tx, by, version)
    return version, created


def check_missing(model: str, missing: Sequence[str], wishes: Wishes, problem: str | None = None) -> None:
    """Raise Refused, with what to give, for parts that are missing unless `wishes` allows a partial version.

    `problem` is why they could not be captured, where that was tried.
    """
    if missing and not wishes.partial:
        why = f" ({problem})" if problem else ""
        raise Refused(
            f"this version of {model} would lack its {digest.say_parts(missing)}{why}: give {_how_to_give(missing)}, "
            f"or register it as it is with --partial (partial=True)"
        )


def _registered_before(tx: sqlite3.Connection, run: int, run_id: str, version: int | None) -> bool:
    """Whether this run registered this very version before; raises Conflict where it was another one."""
    registered = tx.execute("SELECT version FROM run WHERE key = ?", (run,)).fetchone()[0]
    if registered is not None and registered != version:
        raise Conflict(f"{run_id} has registered a version already, and this one has other parts: track another run for it")
    return registered is not None


def _detail(
    tx: sqlite3.Connection, run: int, document: digest.JSON, *, created: bool, tags: list[str], labels: list[str]
) -> dict[str, digest.JSON]:
    """What the log keeps of a registration: what a gate may judge by, and what the run came from."""
    wanted = f"[{run}]"
    detail = {
        "created": created,
        "weights": document["weights"],
        "data": [_named(dataset) for dataset in runs.datasets_of(tx, wanted)[run]],
        "schema": document["schema"],
        "metrics": [
            {"metric": m.metric, "value": digest.number_to_json(m.value), "dataset": m.dataset}
            for m in measurements_of(tx, wanted)[run]
        ],
        "parents": [parent.as_dict() for parent in runs.parents_of(tx, wanted)[run]],
        "tags": tags,
        "labels": labels,
    }
    if tx.execute("SELECT status FROM run WHERE key = ?", (run,)).fetchone()[0] != "running":
        detail["record"] = runs.record_digest(tx, run)
    return detail


def _named(dataset: Dataset) -> dict[str, str | None]:
    return {"role": dataset.role, "dataset": dataset.identity, "name": dataset.name}


def _how_to_give(missing: Sequence[str]) -> str:
    how = {
        "weights": "the model",
        "data": "--data PATH or --data-ref URI#REV (data=)",
        "schema": "--schema FILE or --schema-from DATA (schema=)",
        "training": "--param, --params or --seed (params=, seed=)",
    }
    return " and ".join(how[part] for part in missing)


def check_params(params: Mapping[str, digest.JSON]) -> dict[str, digest.JSON]:
    """Parameters as they can be kept; raises UsageError that names the one that is not JSON."""
    if not isinstance(params, Mapping):
        raise UsageError(f"parameters are a mapping of name to value, not a {type(params).__name__}")
    for key, value in params.items():
        names.check_key(key, "parameter")
        if value is None or type(value) is bool or (type(value) is str and value.isascii()):
            continue  # JSON as it stands: most parameters are, and canonical form is the dear part of this loop
        try:
            digest.canonical(value)
        except UsageError as error:
            raise UsageError(f"parameter {key!r} is {error}; write it as a string") from None
    return dict(params)


def check_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metric values as floats; raises UsageError that names the one that is no number. NaN and infinities are fine."""
    found = {}
    for name, value in metrics.items():
        names.check_key(name, "metric")
        found[name] = check_number(name, value)
    return found


def check_number(name: str, value: object) -> float:
    """A metric's value as a float; raises UsageError when it is none."""
    if isinstance(value, str | bytes) or value is None:
        raise UsageError(f"metric {name!r} is {value!r}, not a number")
    try:
        return float(value)  # type: ignore[arg-type]  # numpy's and torch's scalars have __float__
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"metric {name!r} is {value!r}, not a number") from None


def check_seed(seed: int | None) -> int | None:
    """A seed that a 64-bit integer holds; raises UsageError for anything else."""
    if seed is None:
        return None
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not -(2**63) <= int(seed) < 2**63:
        raise UsageError(f"the seed {seed!r} is not a 64-bit integer; keep a longer one as a parameter")
    return int(seed)


def _listed(items: Sequence[str], what: str) -> Sequence[str]:
    if isinstance(items, str):
        raise UsageError(f"{what} is a list of names: write {what}=[{items!r}]")
    return items
