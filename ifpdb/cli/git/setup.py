"""git install, uninstall: git told of the registry. git hook: what git's hooks call, loaded at every commit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ... import settings
from ..options import Session, command
from ..output import emit_json, emit_text

if TYPE_CHECKING:
    from ...gitlink.setup import Setup


@command("install")
@click.option("--with-blobs", "blobs", flag_value="committed", help="Put the blobs into git, beside the registry.")
@click.option("--lfs", "blobs", flag_value="lfs", help="Put the blobs into git through Git LFS; never the registry.")
@click.option("--without-blobs", "blobs", flag_value="ignored", help="Leave the blobs out of git, as at first.")
def install(session: Session, blobs: str | None) -> None:
    """Set up git for this registry: diff and merge drivers, hooks, .gitattributes and .gitignore.

    Drivers and hooks are this clone's: every clone needs it once. Hooks that are there go on working. Doing it again
    changes nothing; without a flag, the blobs stay in git, or out of it, as they were.
    """
    from ...gitlink import setup

    done = setup.install(settings.find_registry(session.db), blobs)
    _emit(session, done)
    if not done.changed:
        click.echo("It was all there; nothing was changed.", err=True)
    elif any(one.place.endswith((".gitattributes", ".gitignore")) and one.done != "there" for one in done.told):
        click.echo("Commit .gitattributes and .gitignore with the registry; other clones need ifp git install too.", err=True)


@command("uninstall")
def uninstall(session: Session) -> None:
    """Take the drivers and hooks out of this clone; .gitattributes and .gitignore stay, being the project's."""
    from ...gitlink import setup

    _emit(session, setup.uninstall(settings.find_registry(session.db)))


def _emit(session: Session, done: Setup) -> None:
    if session.form == "json":
        emit_json(done.as_dict())
    else:
        emit_text([*((one.done, one.place) for one in done.told), ("blobs", BLOBS[done.blobs])])


BLOBS = {"ignored": "left out of git", "committed": "in git, beside the registry", "lfs": "in git, through Git LFS"}


@command("hook")
@click.argument("hook", type=click.Choice(["pre-commit", "commit-msg"]))
@click.argument("message", required=False, type=click.Path(path_type=Path))
def hook(session: Session, hook: str, message: Path | None) -> None:
    """Check the registries that are staged, as git's HOOK of that name; commit-msg notes their heads in the file MESSAGE."""
    from ...gitlink import hooks
    from ...store.repository import Repository

    repository = Repository(Path())
    if hook == "pre-commit":
        staged = hooks.check_staged(repository)
    elif message is not None:
        staged = hooks.note_heads(repository, message)
    else:
        raise click.UsageError("commit-msg needs the file of the MESSAGE")
    if session.form == "json":
        emit_json([found.as_dict() for found in staged])


COMMANDS: dict[str, click.Command] = {"install": install, "uninstall": uninstall, "hook": hook}
