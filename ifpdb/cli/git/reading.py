"""git textconv: a registry's file as the lines that `git diff` and `git log -p` show."""

from __future__ import annotations

from pathlib import Path

import click

from ...gitlink import story
from ..options import Session, command
from ..output import emit_json


@command("textconv")
@click.argument("file", type=click.Path(path_type=Path))
def textconv(session: Session, file: Path) -> None:
    """Print what registry FILE tells, a line a fact, for `git diff`; it never fails, since git would stop at that."""
    lines = story.tell(file)
    if session.form == "json":
        emit_json({"lines": lines})
    else:  # bytes, since git compares them, whatever the locale
        click.echo("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"), nl=False)


COMMANDS: dict[str, click.Command] = {"textconv": textconv}
