"""fsck, verify: is what the registry says still what was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from .. import signing
from ..drawing.words import short, size
from ..upkeep.anchors import in_commits
from ..upkeep.chain import verify
from ..upkeep.findings import Damage
from ..upkeep.fsck import Inspection, fsck
from ..upkeep.mend import mend
from ..upkeep.signatures import signatures, summary
from .options import Session, command
from .output import Column, emit_json, emit_table, printable, progress_bar


@command("fsck")
@click.option("--fast", is_flag=True, help="Check blobs by xxh3-128 alone: it finds rot, not deceit, in a tenth of the time.")
@click.option(
    "--from",
    "other",
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="Get good copies of missing or damaged blobs from another registry: its .db, its .cas folder or the folder of both.",
)
@click.pass_context
def fsck_command(ctx: click.Context, session: Session, fast: bool, other: Path | None) -> None:
    """Check every blob and row against its digest, and the file itself; exit 1 on a problem.

    Nothing is changed, but for blobs that --from mends.
    """
    mended, failed = list[str](), list[Damage]()
    with session.reading() if other is None else session.writing() as registry:
        with progress_bar("reading blobs") as told:
            found = fsck(registry, fast=fast, progress=told)
        if other is not None and not found.ok:
            mended, failed = mend(registry, other, found.problems)
            with progress_bar("reading blobs again") as told:
                found = fsck(registry, fast=fast, progress=told)
    if session.form == "json":
        emit_json({**found.as_dict(), **({"mended": mended} if other is not None else {})})
    else:
        _say(found, mended, failed)
    if not found.ok:
        ctx.exit(1)


def _say(found: Inspection, mended: Sequence[str], failed: Sequence[Damage]) -> None:
    for digest in mended:
        click.secho(f"mended  {short(digest)}", fg="green")
    for problem in failed:
        click.echo(f"{problem.kind}  {short(problem.digest)}  {printable(problem.detail)}", err=True)
    for problem in found.problems:
        click.secho("  ".join(filter(None, (problem.kind, short(problem.digest), printable(problem.detail)))), fg="red")
    for note in found.notes:
        click.echo(f"note: {printable(note)}", err=True)
    count = len(found.problems)
    told = f"{count} problem{'s' if count > 1 else ''}; the rest is"
    click.echo(f"{found.blobs} blobs of {size(found.bytes)}, {'all' if found.ok else told} as it was written")
    for advice in dict.fromkeys(ADVICE.get(problem.kind, _ROWS) for problem in found.problems):
        click.echo(advice, err=True)


_DECISIONS: list[Column] = [
    ("event", lambda one: short(one.event.id)),
    ("kind", lambda one: one.event.kind),
    ("model", lambda one: one.event.model or ""),
    ("version", lambda one: short(one.event.version)),
    ("actor", lambda one: one.event.actor),  # whole: the mail address is what a key stands for
    ("signature", lambda one: one.status),
    ("key", lambda one: one.key),
]
_BYTES = "missing or damaged bytes: get good ones with ifp fsck --from PATH (another registry or a backup that has them)"
_ROWS = "rows were changed around ifpdb: compare with an older revision in git or a backup; take that one back if it is right"
_LOG = "the log was changed around ifpdb: take back the last revision in git, or the last backup, that ifp verify calls whole"
_PAGES = "the database is damaged: take it back from git or a backup; docs/reliability.md says how to save what is left"
ADVICE = {"missing": _BYTES, "damaged": _BYTES, "tree": _BYTES, "sqlite": _PAGES, "unreadable": _PAGES}
"""What to do about each kind of problem; the others are all rows."""
_SIGNED = "ask whom the events name; their keys belong into the allowed-signers file. What nobody knows of is forged"
LOG_ADVICE = {"unreadable": _PAGES, "signature": _SIGNED}
"""The same for the log."""


@command("verify")
@click.option(
    "--anchor", "anchors", multiple=True, metavar="EVENT", help="Name an event that was noted elsewhere and must be here."
)
@click.option("--signatures", "signed", is_flag=True, help="Show which promotions, approvals and policies are proven.")
@click.option(
    "--allowed-signers",
    "allowed",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Say whose keys count, as ssh-keygen(1) describes it (default: IFP_ALLOWED_SIGNERS, else ifp.toml).",
)
@click.option("--revoked", type=click.Path(path_type=Path), metavar="FILE", help="Name the keys that count no longer.")
@click.pass_context
def verify_command(
    ctx: click.Context, session: Session, anchors: Sequence[str], signed: bool, allowed: Path | None, revoked: Path | None
) -> None:
    """Check the event log: every event's bytes, id and parents, and the stages against it; exit 1 on a problem.

    A log that was cut short or written anew shows only against an anchor: a head that was noted elsewhere, in the Ifp-Heads
    trailer of a git commit or with --anchor. With --signatures, a signature that doesn't prove who made it is a problem, and so
    is a promotion without one where the policy asked for it.
    """
    if (allowed or revoked) and not signed:
        raise click.UsageError("--allowed-signers and --revoked go with --signatures")
    decisions = None
    with session.reading() as registry:
        signers = signing.signers(allowed, revoked) if signed else None
        found = verify(registry, anchors=in_commits(registry.path) | dict.fromkeys(anchors, "elsewhere"))
        if signers is not None:
            with progress_bar("verifying signatures") as told:
                decisions = signatures(registry, signers, progress=told)
            found = replace(found, problems=(*found.problems, *filter(None, (one.problem for one in decisions))))
    if session.form == "json":
        emit_json(found.as_dict() | ({} if decisions is None else {"signatures": [one.as_dict() for one in decisions]}))
    else:
        if decisions:
            emit_table([[tell(one) for _, tell in _DECISIONS] for one in decisions], [name for name, _ in _DECISIONS])
        for kind, event, detail in found.problems:
            click.secho(f"{kind}  {short(event)}  {printable(detail)}", fg="red")
        noted = f", held against {found.anchors} anchor{'s' if found.anchors > 1 else ''}" if found.anchors else ""
        digest = f"; the registry's digest is {found.digest}" if found.digest else ""
        whole = all(kind == "signature" for kind, _, _ in found.problems)
        click.echo(f"{found.events} events{noted}, {'whole' if whole else 'NOT whole'}{digest}")
        for head in found.heads:
            click.echo(f"head {head}")
        if decisions is not None:
            click.echo(f"signatures: {summary(decisions)}")
        for advice in dict.fromkeys(LOG_ADVICE.get(kind, _LOG) for kind, _, _ in found.problems):
            click.echo(advice, err=True)
    if not found.ok:
        ctx.exit(1)


COMMANDS: dict[str, click.Command] = {"fsck": fsck_command, "verify": verify_command}
