"""diff, explain: what changed, from one to another and along the way."""

from __future__ import annotations

import click

from ..history.compare import compare
from .looking import brief
from .options import Session, command
from .output import Column, emit_json, emit_records

_CHANGES: list[Column] = [
    ("part", lambda c: c.part),
    ("name", lambda c: c.name),
    ("change", lambda c: c.change),
    ("before", lambda c: brief(c.before)),
    ("after", lambda c: brief(c.after)),
]


@command("diff", output="table")
@click.argument("a")
@click.argument("b")
def diff(session: Session, a: str, b: str) -> None:
    """Show what differs from version A to version B: data, features, parameters, code, weights, metrics."""
    with session.reading() as registry:
        before, after = registry.resolve(a), registry.resolve(b)
    changes = compare(before, after)
    if session.form == "json":
        emit_json({"a": before.name, "b": after.name, "changes": [change.as_dict() for change in changes]})
        return
    if session.form == "text":
        click.echo(f"from {before.name}\nto   {after.name}", err=True)
    emit_records(changes, _CHANGES, form=session.form, empty="no difference: one version, or two of the same parts")


COMMANDS: dict[str, click.Command] = {"diff": diff}
