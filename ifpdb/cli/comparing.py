"""diff, explain: what changed, from one to another and along the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import settings
from ..drawing.words import brief, minute, person, short
from ..history.explain import Explanation, Step, explain
from ..history.sentences import by_weight
from ..records import Run, Version
from .options import Session, command
from .output import Column, Styled, emit_csv, emit_json, emit_records, printable, stage

if TYPE_CHECKING:
    from ..gitlink.story import Difference

_COLOURS = {"added": "green", "removed": "red", "unchanged": "bright_black"}
_CHANGES: list[Column] = [
    ("part", lambda c: c.part),
    ("name", lambda c: c.name),
    ("change", lambda c: Styled(click.style(c.change, fg=_COLOURS.get(c.change, "yellow")))),
    ("before", lambda c: brief(c.before)),
    ("after", lambda c: brief(c.after)),
    ("note", lambda c: c.note or ""),
]


@command("diff", output="table")
@click.argument("a")
@click.argument("b", required=False)
@click.option("--all", "everything", is_flag=True, help="Show what is the same as well.")
@click.option("--git", "by_commit", is_flag=True, help="Show the events between two git revisions, or A and the work tree.")
def diff(session: Session, a: str, b: str | None, everything: bool, by_commit: bool) -> None:
    """Show what differs from A to B: data, features, parameters, seed, code, environment, weights, metrics.

    Weights are compared tensor by tensor where their format can be read without running code.

    With --git, A and B are git revisions, and the events that only one of them has are told; without B, A is compared with
    the file in the work tree.
    """
    if by_commit:
        if everything:
            raise click.UsageError("--all compares two versions; --git tells events")
        _tell_difference(session, a, b)
        return
    if b is None:
        raise click.UsageError("name two versions or runs, A and B; or git revisions with --git")
    with session.reading() as registry:
        before, after = registry.find(a), registry.find(b)
        changes = registry.diff(a, b, everything=everything)
    if session.form == "json":
        emit_json({"a": _name(before), "b": _name(after), "changes": [change.as_dict() for change in changes]})
        return
    if session.form == "text":
        click.echo(f"from {_name(before)}\nto   {_name(after)}", err=True)
        changes = by_weight(changes)
    emit_records(changes, _CHANGES, form=session.form, empty="no difference: one version, or two of the same parts")


def _name(found: Version | Run) -> str:
    return found.name if isinstance(found, Version) else found.id


def _tell_difference(session: Session, a: str, b: str | None) -> None:
    from ..gitlink.story import difference  # neither comparison needs what the other imports

    found = difference(settings.find_registry(session.db), a, b)
    if session.form == "json":
        emit_json(found.as_dict())
    elif session.form == "csv":
        sides = (("removed", found.removed), ("added", found.added))
        emit_csv([{"change": change, **event.as_dict()} for change, log in sides for event in log.events()])
    else:
        _emit_difference(found)


def _emit_difference(found: Difference) -> None:
    to = found.b[:12] if found.b else "the work tree"
    for sign, colour, log in (("-", "red", found.removed), ("+", "green", found.added)):
        for line in log.lines():
            click.echo(click.style(f"{sign} {line}", fg=colour))
    if found.removed.rows:
        count = len(found.removed.rows)
        events = f"{count:,} event{'' if count == 1 else 's'} of {found.a[:12]}"
        if found.lost:
            click.echo(f"lost: {to} comes from {found.a[:12]} and lacks {events} (ifp git recover)", err=True)
        else:
            click.echo(f"not merged: {to} lacks {events}", err=True)
    elif not found.added.rows:
        click.echo(f"no difference: {found.a[:12]} and {to} tell the same events", err=True)


@command("explain", output="table")
@click.argument("ref")
@click.argument("ancestor", required=False)
def explain_command(session: Session, ref: str, ancestor: str | None) -> None:
    """Show what changed at each step from ANCESTOR down to REF, in sentences, the most telling first.

    Without ANCESTOR it starts at the production version that REF came from: today's, or the one before.
    """
    with session.reading() as registry:
        found = explain(registry, ref, ancestor)
    if session.form == "json":
        emit_json(found.as_dict())
    elif session.form == "csv":
        steps = [(step, change) for step in found.steps for change in step.changes]
        emit_csv([{"child": step.child, "parent": step.parent, **change.as_dict()} for step, change in steps])
    else:
        _tell(found)


def _tell(found: Explanation) -> None:
    if found.why:
        click.echo(f"from {printable(found.why)}", err=True)
    if not found.steps:
        click.echo("they are the same run: nothing lies between", err=True)
    for step in found.steps:
        tell_step(step)


def tell_step(step: Step) -> None:
    """One edge: who came from whom, and a sentence for each change."""
    click.echo(_headline(step))
    for sentence in step.sentences():
        click.echo(f"  - {printable(sentence)}")


def _headline(step: Step) -> str:
    what = f"{step.model} v{step.ordinal} {short(step.digest)}" if step.digest else f"{step.model} (not registered)"
    held = f" [{stage(step.stage)}]" if step.stage else ""
    how = f"{step.kind.replace('_', ' ')} {step.parent}"
    others = "".join(f", {parent.kind.replace('_', ' ')} {parent.run}" for parent in step.others)
    who = f"{minute(step.at)} by {printable(person(step.actor))}"
    return f"{click.style(step.child, fg='cyan')}  {what}{held}, {how}{others}  {who}"


COMMANDS: dict[str, click.Command] = {"diff": diff, "explain": explain_command}
