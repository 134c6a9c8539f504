"""A version or a run whole, as headed lines: what `ifp show` prints and a notebook shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..digest import EVALUATION_ROLES, say_parts
from .words import brief, minute, number, short, size

if TYPE_CHECKING:
    from ..records import Dataset, Run, Version


def version_lines(version: Version) -> Iterator[tuple[str, str]]:
    yield "version", version.name
    partial = f" (partial: it lacks its {say_parts(version.missing)})" if version.partial else ""
    yield "stage", f"v{version.ordinal}, {version.stage}{partial}"
    others = len(version.runs) - 1
    yield "run", version.run + (f" and {others} more that gave the same" if others else "")
    yield "created", f"{minute(version.created_at)} by {version.actor}"
    yield "names", " ".join([*version.labels, *(f"#{tag}" for tag in version.tags)])
    if version.weights:
        weights = version.weights
        yield "weights", f"{weights.digest}\n{size(weights.size)}, {weights.kind}, {weights.format}"
    yield from _shared_lines(version)
    if version.schema:
        yield "schema", f"{version.schema.digest}\n{len(version.schema.features)} features: {_few(version.schema.names)}"


def run_lines(run: Run) -> Iterator[tuple[str, str]]:
    yield "run", f"{run.id} of {run.model}"
    yield "status", run.status + (f": {run.error}" if run.error else "")
    yield "version", run.version or "none registered"
    yield "started", f"{minute(run.started_at)} by {run.actor}"
    yield "ended", minute(run.ended_at)
    yield "command", " ".join(run.command or ())
    yield "artifacts", "\n".join(f"{name}  {a.digest}  {size(a.size)}, {a.format}" for name, a in run.artifacts.items())
    yield from _shared_lines(run)


def _shared_lines(record: Version | Run) -> Iterator[tuple[str, str]]:
    yield "fit", _fit_line(record.fit) if record.fit else ""
    yield "data", "\n".join(_data_line(dataset) for dataset in record.data)
    yield "params", _wrapped(f"{name} = {brief(value)}" for name, value in record.params.items())
    yield "seed", "" if record.seed is None else str(record.seed)
    yield (
        "metrics",
        "\n".join(
            f"{m.metric} = {number(m.value)}" + (f" on {_dataset_name(record, m.dataset)}" if m.dataset else "")
            for m in record.measurements
        ),
    )
    code = record.code
    dirty = " (with changes)" if code.dirty else ""
    yield (
        "code",
        "\n".join(
            part
            for part in (
                f"commit {code.commit}{dirty}" if code.commit else "",
                f"{len(code.files)} files " + code.digest if code.digest else "",
            )
            if part
        ),
    )
    packages = record.environment.get("packages", {})
    where = ", ".join(f"{key} {record.environment[key]}" for key in ("python", "platform") if key in record.environment)
    yield "environment", "\n".join(part for part in (where, _few([f"{n} {v}" for n, v in packages.items()])) if part)
    yield "parents", "\n".join(f"{parent.run} ({parent.kind})" for parent in record.parents)


def _fit_line(fit: Mapping[str, Any]) -> str:
    return f"{fit['estimator'].rpartition('.')[2]}.{fit['method']}, {fit['seconds']:.3g} s ({fit['estimator']})"


def _data_line(dataset: Dataset) -> str:
    rows = f", {dataset.rows} rows" if dataset.rows is not None else ""
    weight = f", {size(dataset.size)}" if dataset.size is not None else ""
    return f"{dataset.role}: {dataset.name or ''} {dataset.identity}{weight}{rows}"


def _dataset_name(record: Version | Run, identity: str) -> str:
    same = [dataset for dataset in record.data if dataset.identity == identity]
    name = next((dataset.name for dataset in same if dataset.name), short(identity))
    trained = any(dataset.role not in EVALUATION_ROLES for dataset in same)
    return f"{name} (training data: no gate counts it)" if trained else name


def _wrapped(items: Iterable[str]) -> str:
    from textwrap import wrap

    return "\n".join(wrap(", ".join(items), 100, break_long_words=False, break_on_hyphens=False))


def _few(items: Any, most: int = 8) -> str:
    found = list(items)
    return ", ".join(found[:most]) + (f" and {len(found) - most} more (--json)" if len(found) > most else "")
