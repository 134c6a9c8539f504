"""check: what a range of commits does to the registries in it."""

from __future__ import annotations

from pathlib import Path

import click

from ... import settings
from ...gitlink.check import commits, review
from ...gitlink.markdown import render
from ...store.repository import Repository
from ..options import Session, command
from ..output import emit_json


@command("check")
@click.argument("span", metavar="BASE..HEAD")
@click.pass_context
def check(ctx: click.Context, session: Session, span: str) -> None:
    """Check what BASE..HEAD does to each registry that it changes, and print it as Markdown; exit 1 on a broken rule.

    BASE...HEAD begins where the two part, as a pull request does; BASE alone ends at HEAD. With --db, only that registry.
    """
    named = settings.named_registry(session.db)
    repository = Repository(named.parent if named else Path.cwd())
    found = review(repository, *commits(repository, span), only=repository.path_of(named) if named else None)
    if session.form == "json":
        emit_json([one.as_dict() for one in found])
    else:
        click.echo(render(found), nl=False)
    if not all(one.ok for one in found):
        ctx.exit(1)


COMMANDS: dict[str, click.Command] = {"check": check}
