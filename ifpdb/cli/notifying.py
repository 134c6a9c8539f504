"""outbox: the notifications that wait, and why."""

from __future__ import annotations

import click

from ..drawing.words import minute, short
from ..outbox.delivery import deliver, look
from .options import Session, command
from .output import emit_json, emit_table


@command("outbox")
@click.option("--deliver", "now", is_flag=True, help="Send everything that waits, due or not.")
@click.pass_context
def outbox_command(ctx: click.Context, session: Session, now: bool) -> None:
    """Show the notifications that wait, and why; with --deliver, deliver them: exit 1 when some still wait."""
    with session.reading() as registry:
        found = deliver(registry) if now else look(registry)
    if session.form == "json":
        emit_json(found.as_dict())
    else:
        if found.waiting:
            rows = [
                [short(one.event), one.target, str(one.attempts), minute(one.as_dict()["due"]) or "–", one.why]
                for one in found.waiting
            ]
            emit_table(rows, ["event", "target", "tried", "due", "why"])
        delivered = f"{len(found.delivered)} delivered, " if now else ""
        click.echo(f"{delivered}{len(found.waiting) or 'nothing'} {'wait' if len(found.waiting) > 1 else 'waits'}", err=True)
    if now and found.waiting:
        ctx.exit(1)


COMMANDS: dict[str, click.Command] = {"outbox": outbox_command}
