"""merge: another registry put into this one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..drawing.words import short, size
from ..merge.union import Merged, merge
from .options import Session, command
from .output import emit_json, printable, progress_bar

PREFER = click.option(
    "--prefer",
    multiple=True,
    metavar="ours|theirs|REF",
    help="Settle what both sides decided differently: as this one has it, as the other has it, or for the version REF.",
)
REASON = click.option("--reason", metavar="TEXT", help="Say why, where something is settled.")


@command("merge")
@click.argument("other", metavar="OTHER", type=click.Path(path_type=Path))
@PREFER
@REASON
def merge_command(session: Session, other: Path, prefer: Sequence[str], reason: str | None) -> None:
    """Merge the registry OTHER, a .db, into this one: everything that it knows, and the blobs that are missing here.

    OTHER stays as it is. Merging it again changes nothing; a copy that was interrupted goes on where it stopped.
    """
    with session.writing() as registry, progress_bar("copying blobs") as told:
        found = merge(registry, other, prefer=prefer, reason=reason, progress=told)
    if session.form == "json":
        emit_json(found.as_dict())
    else:
        say(found)


def say(found: Merged) -> None:
    """What a merge brought, in words."""
    blobs = f", {_count(found.blobs.count, 'blob')} of {size(found.blobs.bytes)}" if found.blobs.count else ""
    if found.events or found.blobs.count:
        told = (_count(found.events, "event"), _count(found.versions, "new version"), _count(found.runs, "new run"))
        click.echo("{}: {}, {}".format(*told) + blobs)
    else:
        click.echo("nothing new: everything was here already")
    for one in found.settled:
        chosen = short(one.chosen) or "nothing"
        name = f" {one.disagreement.name}" if one.disagreement.name else ""
        click.echo(printable(f"settled: {one.disagreement.kind}{name} of {one.disagreement.model} is {chosen}"))
    if not found.related:
        click.echo("note: the two had no event in common: they are unrelated registries, now in one", err=True)
    if found.running:
        names = ", ".join(found.running[:3]) + (" …" if found.running[3:] else "")
        click.echo(f"note: {names} in progress there; merge again when ended (ifp doctor --fix ends what died)", err=True)
    for edge in found.without_effect:
        click.echo(printable(f"note: a link has no effect beside an earlier one: {edge}"), err=True)
    missing = [*found.blobs.missing, *found.blobs.damaged]
    if missing:
        click.echo(f"note: {len(missing)} blobs are not here, nor whole there: {short(missing[0])} … (ifp fsck)", err=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


COMMANDS: dict[str, click.Command] = {"merge": merge_command}
