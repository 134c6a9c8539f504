"""checkout, trust, data: the bytes themselves."""

from __future__ import annotations

from pathlib import Path

import click

from ..artifacts import imports
from ..capture.dataset import hash_data
from ..store import formats, trust
from .options import Session, command
from .output import emit_json, printable


@command("checkout")
@click.argument("ref")
@click.argument("dest", type=click.Path())
def checkout(session: Session, ref: str, dest: str) -> None:
    """Write the artifact of REF to DEST as a file or folder, verified against its digest."""
    with session.reading() as registry:
        artifact = registry.artifact(ref)
        path = registry.checkout(ref, Path(dest))
    if session.form == "json":
        emit_json({"path": str(path), **artifact.as_dict()})
    else:
        click.echo(printable(str(path)))


@command("trust")
@click.argument("ref", required=False)
@click.option("--list", "listing", is_flag=True, help="List what this user trusts.")
def trust_command(session: Session, ref: str | None, listing: bool) -> None:
    """Vouch for the artifact of REF, so that it may run code when it is loaded; shows first what it would import."""
    if listing or ref is None:
        found = trust.trusted()
        if session.form == "json":
            emit_json([{"digest": digest, "why": why} for digest, why in found])
        for digest, why in found if session.form == "text" else []:
            click.echo(f"{digest}  {printable(why)}")
        return
    with session.reading() as registry:
        artifact = registry.artifact(ref)
        wanted = imports(registry.blobs, artifact)
    needed = artifact.kind == "file" and formats.runs_code(artifact.format)
    if needed:
        trust.trust(artifact.digest, f"ifp trust {ref}")
    if session.form == "json":
        emit_json({"digest": artifact.digest, "format": artifact.format, "imports": wanted, "trusted": needed})
        return
    for name in wanted:
        click.echo(f"imports {printable(name)}")
    click.echo(f"{artifact.digest}  {'trusted from now on' if needed else 'needs no trust: loading it runs no code'}")


@click.group("data")
def data_group() -> None:
    """Look at data."""


@command("hash")
@click.argument("path", type=click.Path())
def data_hash(session: Session, path: str) -> None:
    """Print the digest of the data file or folder PATH."""
    digest = hash_data(Path(path))
    emit_json({"path": path, "digest": digest}) if session.form == "json" else click.echo(digest)


data_group.add_command(data_hash)

COMMANDS: dict[str, click.Command] = {"checkout": checkout, "trust": trust_command, "data": data_group}
