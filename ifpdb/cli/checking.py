"""verify: is what the registry says still what was written."""

from __future__ import annotations

import click

from ..drawing.words import short
from ..upkeep.chain import verify
from .options import Session, command
from .output import emit_json, printable


@command("verify")
@click.pass_context
def verify_command(ctx: click.Context, session: Session) -> None:
    """Check the event log: every event's bytes, id and parents, and the stages against it; exit 1 on a problem."""
    with session.reading() as registry:
        found = verify(registry)
    if session.form == "json":
        emit_json(found.as_dict())
    else:
        for kind, event, detail in found.problems:
            click.secho(f"{kind}  {short(event)}  {printable(detail)}", fg="red")
        click.echo(f"{found.events} events, {'whole' if found.ok else 'NOT whole'}; the registry's digest is {found.digest}")
        for head in found.heads:
            click.echo(f"head {head}")
    if not found.ok:
        ctx.exit(1)


COMMANDS: dict[str, click.Command] = {"verify": verify_command}
