"""validate: whether data are what a version was trained on."""

from __future__ import annotations

import click

from ..capture.schema.datafile import validate_file
from ..capture.schema.validation import Validation
from ..errors import NotFound
from .options import Session, command
from .output import emit_json, printable


@command("validate")
@click.argument("ref")
@click.argument("data", type=click.Path())
@click.pass_context
def validate(ctx: click.Context, session: Session, ref: str, data: str) -> None:
    """Check the table in file DATA against the feature schema of version REF; exit 1 when it breaks it.

    DATA is a CSV, Parquet, Feather, Arrow, JSON or JSON lines file.
    """
    with session.reading() as registry:
        version = registry.resolve(ref)
    if version.schema is None:
        raise NotFound(f"{version.name} has no feature schema to validate against: register with --schema or --schema-from")
    found = validate_file(version.schema, data)
    if session.form == "json":
        emit_json(found.as_dict())
    else:
        emit_validation(found)
    if not found.ok:
        ctx.exit(1)


def emit_validation(found: Validation) -> None:
    """A line a problem, or one that all is well."""
    if found.ok:
        click.echo(click.style("ok", fg="green"))
    for problem in found.problems:
        click.echo(f"{click.style(problem.code, fg='red')}  {printable(problem.feature)}: {printable(problem.detail)}")


COMMANDS: dict[str, click.Command] = {"validate": validate}
