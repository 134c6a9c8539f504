"""ls, runs, show, schema: what the registry holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from ..capture.schema.features import FeatureSchema
from ..digest import EVALUATION_ROLES, say_parts
from ..model import Model
from ..records import Dataset, Run, Version
from .options import Session, command
from .output import Column, emit_csv, emit_json, emit_records, emit_table, emit_text, minute, number, person, short, size, stage

_MODELS: list[Column] = [
    ("model", lambda m: m.model),
    ("versions", lambda m: str(m.versions)),
    ("production", lambda m: short(m.production) or "–"),
    ("latest", lambda m: short(m.latest) or "–"),
    ("registered", lambda m: minute(m.latest_at)),
]
_VERSIONS: list[Column] = [
    ("version", lambda v: f"v{v.ordinal}"),
    ("digest", lambda v: short(v.digest)),
    ("stage", lambda v: stage(v.stage)),
    ("run", lambda v: v.run),
    ("registered", lambda v: minute(v.created_at)),
    ("metrics", lambda v: ", ".join(f"{name} {number(value)}" for name, value in v.metrics.items())),
    ("names", lambda v: " ".join([*v.labels, *(f"#{tag}" for tag in v.tags)])),
    ("missing", lambda v: ", ".join(v.missing)),
]
_RUNS: list[Column] = [
    ("run", lambda r: r.id),
    ("model", lambda r: r.model),
    ("status", lambda r: r.status),
    ("started", lambda r: minute(r.started_at)),
    ("by", lambda r: person(r.actor)),
    ("version", lambda r: short(r.version) or "–"),
    ("metrics", lambda r: ", ".join(f"{name} {number(value)}" for name, value in r.metrics.items())),
]


@command("ls", output="table")
@click.argument("model", required=False)
@click.option("--stage", "held", metavar="S", help="Only versions in this stage.")
@click.option("--tag", metavar="T", help="Only versions with this tag.")
@click.option("--where", metavar="CONDITION", help="Only versions whose metrics satisfy it, as in 'f1 >= 0.9'.")
def ls(session: Session, model: str | None, held: str | None, tag: str | None, where: str | None) -> None:
    """List the models, or the versions of MODEL, the newest first."""
    with session.reading() as registry:
        if model is not None:
            found = Model(registry, model).versions(stage=held, tag=tag, where=where)
            emit_records(found, _VERSIONS, form=session.form, empty=f"no such version of {model}")
        elif held or tag or where:
            raise click.UsageError("--stage, --tag and --where ask about versions: name a MODEL")
        else:
            empty = "no model yet: ifp register MODEL FILE"
            emit_records(registry.models(), _MODELS, form=session.form, empty=empty)


@command("runs", output="table")
@click.argument("model", required=False)
@click.option("--status", type=click.Choice(["running", "finished", "failed", "killed"]), help="Only runs that are so.")
def runs_command(session: Session, model: str | None, status: str | None) -> None:
    """List the runs (of MODEL), registered or not, the newest first."""
    with session.reading() as registry:
        emit_records(registry.runs(model=model, status=status), _RUNS, form=session.form, empty="no such run")


@command("show")
@click.argument("ref")
def show(session: Session, ref: str) -> None:
    """Show one version (or run) whole: REF is MODEL, MODEL@production, MODEL@v8, a digest, a run or a label."""
    with session.reading() as registry:
        found = registry.find(ref)
        if isinstance(found, Run):
            emit_json(found.as_dict()) if session.form == "json" else emit_text(_run_lines(found))
        elif session.form == "json":
            emit_json(found.as_dict() | {"runs": [registry.run(run).as_dict() for run in found.runs]})
        else:
            emit_text(version_lines(found))


def version_lines(version: Version) -> Iterator[tuple[str, str]]:
    yield "version", version.name
    partial = f" (partial: it lacks its {say_parts(version.missing)})" if version.partial else ""
    yield "stage", stage(version.stage, f"v{version.ordinal}, {version.stage}{partial}")
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


def _run_lines(run: Run) -> Iterator[tuple[str, str]]:
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


def brief(value: Any) -> str:
    import json

    if value is None:
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return short(text) if text.startswith("sha256:") else text if len(text) <= 60 else text[:59] + "…"


@click.group("schema")
def schema_group() -> None:
    """Look at feature schemas."""


@command("show", output="table")
@click.argument("ref")
@click.option("--frictionless", is_flag=True, help="Print it as a Frictionless Table Schema, in JSON.")
def schema_show(session: Session, ref: str, frictionless: bool) -> None:
    """Show the feature schema of version REF."""
    with session.reading() as registry:
        version = registry.resolve(ref)
    schema = version.schema or FeatureSchema((), "")
    if frictionless:
        emit_json(schema.to_frictionless() if version.schema else None)
    elif session.form == "json":
        emit_json(schema.as_dict() if version.schema else None)
    elif session.form == "csv":
        emit_csv([feature.as_dict() for feature in schema.features])
    elif version.schema is None:
        click.echo(f"{version.name} has no feature schema: that part is missing", err=True)
    else:
        rows = [[brief(value) for value in feature.as_dict().values()] for feature in schema.features]
        emit_table(rows, list(schema.features[0].as_dict()))


schema_group.add_command(schema_show)

COMMANDS: dict[str, click.Command] = {
    "ls": ls,
    "runs": runs_command,
    "show": show,
    "schema": schema_group,
}
