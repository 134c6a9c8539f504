"""gc, backup, doctor: what nobody names goes, what is needed is twice there, and how it is set up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from .. import settings
from ..drawing.words import short, size
from ..errors import NotFound, UsageError
from ..upkeep.backup import backup
from ..upkeep.doctor import PROBLEM, examine
from ..upkeep.gc import GRACE, collect
from .options import Session, command
from .output import emit_json, emit_table, printable, progress_bar


@command("gc")
@click.option("--yes", is_flag=True, help="Go ahead and remove what is listed.")
@click.option("--grace", type=float, default=GRACE, metavar="DAYS", help="Take only what is older than DAYS.")
@click.option(
    "--forget", multiple=True, metavar="ID", help="Forget what this revision in git names, which can't be read (repeatable)."
)
def gc_command(session: Session, yes: bool, grace: float, forget: Sequence[str]) -> None:
    """List blobs that no row names, here or in any revision of the .db that git can bring back; remove them with --yes."""
    if not grace >= 0:
        raise UsageError("--grace takes a number of days, 0 or more")
    if short_ids := [id for id in forget if len(id) < 7]:
        raise UsageError(f"--forget {short_ids[0]} could be many revisions: give 7 characters or more")
    with session.writing() if yes else session.reading() as registry, _counting() as count:
        found = collect(registry, delete=yes, grace=grace, forget=forget, progress=count)
    if session.form == "json":
        emit_json(found.as_dict())
        return
    if found.garbage:
        emit_table(
            [[short(one.digest) if one.digest else one.path, size(one.size), f"{one.age:.1f}"] for one in found.garbage],
            ["blob", "size", "days"],
        )
    done = "removed" if found.deleted else "would go"
    looked = f"; {found.revisions} revisions in git were looked at" if found.revisions else ""
    young = f", {found.young} unnamed are younger than {grace:g} days" if found.young else ""
    click.echo(
        f"{len(found.garbage)} files of {size(found.bytes)} {done}, {found.kept} named blobs stay{young}{looked}", err=True
    )
    if found.garbage and not found.deleted:
        click.echo("remove them with ifp gc --yes", err=True)


@command("backup")
@click.argument("dest", type=click.Path(path_type=Path))
@click.option("--fast", is_flag=True, help="Take a blob that is there for good when its size is right.")
@click.pass_context
def backup_command(ctx: click.Context, session: Session, dest: Path, fast: bool) -> None:
    """Copy the registry and its blobs to the folder or .db file DEST, verified, while others write.

    A backup that is there is brought up to date. Exit 1 when blobs are missing or damaged here; the rest is copied.
    """
    with session.reading() as registry, progress_bar("copying") as progress:
        made = backup(registry, dest, fast=fast, progress=progress)
    if session.form == "json":
        emit_json(made.as_dict())
    else:
        for kind, digest, detail in made.problems:
            click.secho(f"{kind}  {short(digest)}  {printable(detail)}", fg="red")
        click.echo(
            f"{printable(str(made.path))}: {made.events} events, {made.blobs} blobs of {size(made.bytes)}, "
            f"{made.copied} of {size(made.copied_bytes)} copied now; its digest is {made.digest}"
        )
    if not made.ok:
        ctx.exit(1)


@command("doctor")
@click.option("--fix", is_flag=True, help="Put right what needs no decision: WAL mode, an old schema, dead runs, permissions.")
@click.pass_context
def doctor_command(ctx: click.Context, session: Session, fix: bool) -> None:
    """Look for problems in how the registry is set up, and say what mends each; exit 1 when there are more than hints."""
    path = settings.find_registry(session.db)
    if not path.is_file():
        raise NotFound(f"there is no registry at {path}: make one with ifp init")
    found = examine(path, mend=fix)
    if session.form == "json":
        emit_json(found.as_dict())
    else:
        for kind in found.mended:
            click.secho(f"mended   {kind}", fg="green")
        for one in found.findings:
            colour = "red" if one.severity == PROBLEM else "yellow"
            head = click.style(f"{one.severity:<7}", fg=colour)
            click.echo(f"{head}  {one.kind}: {printable(one.detail)}; {click.style('fix: ', dim=True)}{printable(one.fix)}")
        if not found.findings:
            click.echo(f"nothing to mend at {printable(str(path))}")
    if not found.ok:
        ctx.exit(1)


@contextmanager
def _counting() -> Iterator[Callable[[str, int], None] | None]:
    """A line on stderr that counts, where somebody watches."""
    if not sys.stderr.isatty():
        yield None
        return

    def show(what: str, number: int) -> None:
        if number % 20 == 0:
            click.echo(f"\r\x1b[K{what}: {number}", err=True, nl=False)

    try:
        yield show
    finally:
        click.echo("\r\x1b[K", err=True, nl=False)


COMMANDS: dict[str, click.Command] = {"gc": gc_command, "backup": backup_command, "doctor": doctor_command}
