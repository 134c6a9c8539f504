"""history, at, exposure, events, sql: what was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ..desk import Registry
from ..drawing.story import happened
from ..drawing.words import minute, person, short
from ..errors import IfpError
from ..model import Model
from ..records import Deployment
from .looking import version_lines
from .options import Session, command
from .output import Column, emit_csv, emit_json, emit_records, emit_table, emit_text, printable, stage

_INTERVALS: list[Column] = [
    ("model", lambda i: i.model),
    ("stage", lambda i: stage(i.stage)),
    ("version", lambda i: short(i.digest)),
    ("run", lambda i: i.run),
    ("since", lambda i: minute(i.since)),
    ("until", lambda i: minute(i.until) or "now"),
    ("moved by", lambda i: person(i.actor)),
    ("approved by", lambda i: ", ".join(map(person, i.approved_by))),
    ("reason", lambda i: i.reason or ""),
]
_EXPOSURE: list[Column] = [*_INTERVALS[:2], ("environment", lambda i: i.environment or ""), *_INTERVALS[2:]]
_EVENTS: list[Column] = [
    ("at", lambda e: minute(e.at)),
    ("event", lambda e: short(e.id)),
    ("kind", lambda e: e.kind),
    ("model", lambda e: e.model or ""),
    ("version", lambda e: short(e.version)),
    ("stage", lambda e: f"{e.from_stage or 'new'} → {e.to_stage}" if e.to_stage else ""),
    ("actor", lambda e: person(e.actor)),
    ("reason", lambda e: e.reason or ""),
]
_as_known_on = click.option(
    "--as-known-on",
    metavar="TIME",
    help="Ask what was known by then, without what came later, by a merge or a backdated import; a date means its end.",
)


@command("history", output="table")
@click.argument("model")
@click.option("--stage", "held", default="production", metavar="S", help="Ask about this stage; 'all' for every one.")
@_as_known_on
def history(session: Session, model: str, held: str, as_known_on: str | None) -> None:
    """Show which version of MODEL held a stage from when to when, oldest first."""
    with session.reading() as registry:
        found = Model(registry, model).history(None if held == "all" else held, as_known_on=as_known_on)
    known = " that was known then" if as_known_on else ""
    empty = f"no version of {printable(model)}{known} has been in {'any stage' if held == 'all' else printable(held)}"
    emit_records(found, _INTERVALS, form=session.form, empty=empty)


@command("at")
@click.argument("time")
@click.argument("model", required=False)
@click.option("--stage", "held", default="production", metavar="S", help="Ask about this stage.")
@_as_known_on
def at(session: Session, time: str, model: str | None, held: str, as_known_on: str | None) -> None:
    """Show what was in production at TIME (of MODEL): how it was trained, who approved it, and where it was served.

    A date asks about every moment of that day (UTC); an RFC 3339 time about that instant; '3 days ago' works too.
    Tags and labels are today's, with --as-known-on too.
    """
    with session.reading() as registry:
        found = registry.at(time, model=model, stage=held, as_known_on=as_known_on)
        first = None if found else _first(registry, model, held, as_known_on)
    if session.form == "json":
        emit_json([version.as_dict() for version in found])
        return
    for position, version in enumerate(found):
        if position:
            click.echo()
        approved = ", ".join(version.approved_by) or "nobody on record"
        lines = [
            ("held", f"{minute(version.since)} to {minute(version.until) or 'now'}"),
            ("approved by", approved),
            ("deployed", "\n".join(map(_served, version.deployed))),
            ("also served", "\n".join(f"{short(one.digest)} {_served(one)}" for one in version.also_served)),
        ]
        emit_text([*lines, *version_lines(version)])
    if not found:
        since = f"the first entered it on {minute(first)}" if first else "nothing has been in it"
        click.echo(f"nothing was in {held} then; {since} (ifp history {printable(model or 'MODEL')})", err=True)


def _served(found: Deployment) -> str:
    until = minute(found.until) or "now"
    return f"in {found.environment.strip()}, {minute(found.since)} to {until}, says {person(found.actor)}"


def _first(registry: Registry, model: str | None, held: str, as_known_on: str | None) -> str | None:
    """When a stage was entered for the first time, by a model or by any."""
    names = [model] if model else [summary.model for summary in registry.models()]
    histories = [Model(registry, name).history(held, as_known_on=as_known_on) for name in names]
    return min((history[0].since for history in histories if history), default=None)


@command("exposure", output="table")
@click.argument("ref")
@_as_known_on
def exposure(session: Session, ref: str, as_known_on: str | None) -> None:
    """Show when version REF faced users: when it was in production, and when which environment says that it served it."""
    with session.reading() as registry:
        found = registry.exposure(ref, as_known_on=as_known_on)
    known = ", as far as was known then" if as_known_on else ""
    empty = f"it has never been in production{known}, and no environment says that it served it"
    emit_records(found, _EXPOSURE, form=session.form, empty=empty)


@command("events", output="table")
@click.option("--model", metavar="M", help="Only events of this model.")
@click.option(
    "--since", multiple=True, metavar="T", help="Only events from this time on, or after this event; repeat for several."
)
@click.option("--kind", metavar="K", help="Only events of this kind, such as promoted.")
@click.option(
    "--follow", is_flag=True, help="Wait for more, and show each as it comes, until stopped; with --json a line each."
)
def events_command(session: Session, model: str | None, since: Sequence[str], kind: str | None, follow: bool) -> None:
    """Show the event log, oldest first.

    After an event (sha256:…) means what is neither it nor an ancestor of it. With --follow and without --since, it is what
    comes from now on.
    """
    with session.reading() as registry:
        if not follow:
            found = registry.events(model=model, since=since or None, kind=kind)
            emit_records(found, _EVENTS, form=session.form, empty="no event")
            return
        if session.form == "csv":
            raise click.UsageError("--follow prints lines of text, or with --json of JSON")
        told = registry.follow(since or None, model=model, kind=kind, waiting=_say_waiting)
    if not since:
        click.echo("following from now on; --since TIME or --since EVENT tells what was before", err=True)
    for event in told:
        if session.form == "json":
            emit_json(event.as_dict(), indent=None)
        else:
            click.echo(f"{minute(event.at)}  {short(event.id)}  {printable(person(event.actor))}  {happened(event)}")


def _say_waiting(error: IfpError) -> None:
    click.echo(f"ifp: waiting: {printable(str(error))}", err=True)


@command("sql", output="table")
@click.argument("query")
@click.option("-p", "--param", "params", multiple=True, nargs=2, metavar="NAME VALUE", help="Bind :NAME to VALUE.")
def sql(session: Session, query: str, params: Sequence[tuple[str, str]]) -> None:
    """Run a read-only QUERY over the views that docs/audits.md describes."""
    with session.reading() as registry:
        rows = [{key: _plain(value) for key, value in row.items()} for row in registry.sql(query, dict(params))]
    if session.form == "json":
        emit_json(rows)
    elif session.form == "csv":
        emit_csv(rows)
    elif rows:
        emit_table([["" if value is None else str(value) for value in row.values()] for row in rows], list(rows[0]))
    else:
        click.echo("no row", err=True)


def _plain(value: Any) -> Any:
    """A column's value as JSON and a terminal can show it: bytes as hex, NaN and infinities as words."""
    from ..digest import number_to_json

    if isinstance(value, bytes):
        return value.hex()
    return number_to_json(value) if isinstance(value, float) else value


COMMANDS: dict[str, click.Command] = {
    "history": history,
    "at": at,
    "exposure": exposure,
    "events": events_command,
    "sql": sql,
}
