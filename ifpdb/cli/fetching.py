"""checkout, trust, data: the bytes themselves."""

from __future__ import annotations

from pathlib import Path

import click

from ..artifacts import can_run_code, scan
from ..capture.data.dataset import hash_data
from ..drawing.words import minute
from ..errors import NotFound, Refused
from ..records import Artifact
from ..store import trust
from ..store.scan import Scan
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
@click.option("--even-so", is_flag=True, help="Vouch for it although it imports what models are not usually made of.")
@click.option("--remove", is_flag=True, help="Take trust back, from REF or from a digest in the list.")
def trust_command(session: Session, ref: str | None, listing: bool, even_so: bool, remove: bool) -> None:
    """Vouch for the artifact of REF, so that it may run code when it is loaded; shows first what it would import.

    What can't be read whole is refused. What imports more than models are usually made of needs --even-so.
    """
    if listing or ref is None:
        _list(session)
    elif remove:
        _remove(session, ref)
    else:
        _vouch(session, ref, even_so=even_so)


def _list(session: Session) -> None:
    found = trust.trusted()
    if session.form == "json":
        emit_json([entry.as_dict() for entry in found])
        return
    for entry in found:
        click.echo(f"{entry.digest}  {entry.format}  {printable(minute(entry.at))}  {printable(entry.why)}")


def _remove(session: Session, ref: str) -> None:
    listed = {entry.digest for entry in trust.trusted() if len(ref) >= 14 and entry.digest.startswith(ref)}
    if len(listed) == 1:
        digest = listed.pop()
    else:
        with session.reading() as registry:
            digest = registry.artifact(ref).digest
    if not trust.distrust(digest):
        raise NotFound(f"{digest} was not trusted (ifp trust --list)")
    if session.form == "json":
        emit_json({"digest": digest, "trusted": False})
    else:
        click.echo(f"{digest}  no longer trusted")


def _vouch(session: Session, ref: str, *, even_so: bool) -> None:
    with session.reading() as registry:
        artifact = registry.artifact(ref)
        needed = can_run_code(registry.blobs, artifact)
        found = scan(registry.blobs, artifact)
    allowed = needed and not found.problems and (even_so or not found.flagged)
    if allowed:
        trust.trust(artifact.digest, artifact.format, f"ifp trust {ref}{' --even-so' if found.flagged else ''}")
    _show(session, artifact, found, trusted=allowed, needed=needed)
    if found.problems:
        raise Refused(
            f"{ref} is not trusted: it can't be read whole ({found.problems[0]}), so nobody can say what it would import; "
            f"get its bytes with ifp checkout {ref} DEST"
        )
    if needed and not allowed:
        raise Refused(
            f"{ref} is not trusted: it imports {', '.join(found.flagged[:3])}{' …' if len(found.flagged) > 3 else ''}, "
            f"with which it can run anything; if you know who made it: ifp trust {ref} --even-so"
        )


def _show(session: Session, artifact: Artifact, found: Scan, *, trusted: bool, needed: bool) -> None:
    if session.form == "json":
        emit_json({"digest": artifact.digest, "format": artifact.format, **found.as_dict(), "trusted": trusted})
        return
    for name in found.imports:
        flagged = name in found.flagged
        click.secho(f"imports {printable(name)}{'  can run anything' if flagged else ''}", fg="red" if flagged else None)
    for problem in found.problems:
        click.secho(f"unread  {printable(problem)}", fg="red")
    if trusted or not needed:
        click.echo(f"{artifact.digest}  {'trusted from now on' if trusted else 'needs no trust: loading it runs no code'}")


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
