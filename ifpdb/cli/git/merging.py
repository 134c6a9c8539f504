"""resolve, recover, merge-driver: registries put together inside a git checkout."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from ... import settings
from ...errors import IfpError, MergeConflict
from ...gitlink import driver, lost
from ..merging import PREFER, REASON, say
from ..options import Session, command
from ..output import emit_json, printable


@command("merge-driver")
@click.argument("base", metavar="%O", type=click.Path(path_type=Path))
@click.argument("ours", metavar="%A", type=click.Path(path_type=Path))
@click.argument("theirs", metavar="%B", type=click.Path(path_type=Path))
@click.argument("path", metavar="%P")
def merge_driver(session: Session, base: Path, ours: Path, theirs: Path, path: str) -> None:
    """Merge two revisions of a registry, %A and %B with the base %O, into %A, as git asks for it; it lies at %P."""
    del base  # facts are only ever added: the common past is what both logs have
    os.environ.pop("IFP_NOW", None)
    try:
        found = driver.drive(ours, theirs, path=path)
    except MergeConflict as error:
        raise MergeConflict(f"{error}. Run ifp git resolve with that, then go on in git", error.disagreements) from error
    except IfpError:
        ours_stays = (
            f"{printable(path)} stays as ours has it: keep that with git add, or abort, mend the other side and try again"
        )
        click.echo(ours_stays, err=True)
        raise
    if not found.related:
        click.echo(printable(f"note: the two sides of {path} had no event in common: they are unrelated registries"), err=True)
    if session.form == "json":
        emit_json(found.as_dict())


@command("resolve")
@PREFER
@REASON
def resolve(session: Session, prefer: Sequence[str], reason: str | None) -> None:
    """Settle a merge of the registry that git stopped at, and add the result to the index.

    `ours` is the branch that is checked out; in a rebase that is the one rebased onto. Also for a clone without the driver.
    """
    found = driver.resolve(settings.find_registry(session.db), prefer=prefer, reason=reason, actor=session.actor)
    if session.form == "json":
        emit_json([one.as_dict() for one in found])
        return
    for one in found:
        if one.events or one.settled or len(found) == 1:
            say(one)
    click.echo("resolved and added; go on with git commit, or git rebase --continue", err=True)


@command("recover")
@click.argument("revisions", metavar="[REV]...", nargs=-1)
@PREFER
@REASON
def recover(session: Session, revisions: Sequence[str], prefer: Sequence[str], reason: str | None) -> None:
    """Bring back events that git has and the registry lost: those of commits [REV], or of all that HEAD comes from.

    A revert, an octopus merge, or a merge in a clone without the driver can lose them.
    """
    found = lost.recover(settings.find_registry(session.db), revisions, prefer=prefer, reason=reason, actor=session.actor)
    if session.form == "json":
        emit_json([{"commit": commit, **one.as_dict()} for commit, one in found.items()])
    elif not found:
        click.echo("nothing is lost: the log has all that HEAD comes from")
    else:
        for commit, one in found.items():
            click.echo(f"{commit[:10]}: ", nl=False)
            say(one)
        click.echo("commit it: git commit -m 'Bring back lost events' the .db", err=True)


COMMANDS: dict[str, click.Command] = {"resolve": resolve, "recover": recover, "merge-driver": merge_driver}
