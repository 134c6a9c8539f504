"""ls, runs, show, schema: what the registry holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from .. import settings
from ..capture.schema.features import FeatureSchema
from ..desk import Registry
from ..drawing import sheet
from ..drawing.words import brief, minute, number, person, short
from ..model import Model
from ..records import Run, Version
from .options import Session, command
from .output import Column, emit_csv, emit_json, emit_records, emit_table, emit_text, stage

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
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the newest N of these versions.")
def ls(session: Session, model: str | None, held: str | None, tag: str | None, where: str | None, limit: int | None) -> None:
    """List the models, or the versions of MODEL, the newest first."""
    with session.reading() as registry:
        if model is not None:
            found = Model(registry, model).versions(stage=held, tag=tag, where=where, limit=limit)
            emit_records(found, _VERSIONS, form=session.form, empty=f"no such version of {model}")
        elif held or tag or where or limit:
            raise click.UsageError("--stage, --tag, --where and --limit ask about versions: name a MODEL")
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
@click.option("--at-commit", metavar="REV", help="Read the registry as this git revision has it.")
def show(session: Session, ref: str, at_commit: str | None) -> None:
    """Show one version (or run) whole: REF is MODEL, MODEL@production, MODEL@v8, a digest, a run or a label."""
    with session.reading() if at_commit is None else _reading_past(session, at_commit) as registry:
        found = registry.find(ref)
        if isinstance(found, Run):
            emit_json(found.as_dict()) if session.form == "json" else emit_text(sheet.run_lines(found))
        elif session.form == "json":
            emit_json(found.as_dict() | {"runs": [registry.run(run).as_dict() for run in found.runs]})
        else:
            emit_text(version_lines(found))


@contextmanager
def _reading_past(session: Session, revision: str) -> Iterator[Registry]:
    from ..gitlink.past import past

    with past(settings.find_registry(session.db), revision).placed() as path, Registry(path, readonly=True) as registry:
        yield registry


def version_lines(version: Version) -> list[tuple[str, str]]:
    """A version whole, with its stage in colour."""
    lines = sheet.version_lines(version)
    return [(heading, stage(version.stage, text) if heading == "stage" else text) for heading, text in lines]


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
