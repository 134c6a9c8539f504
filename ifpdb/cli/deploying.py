"""resolve, deployed: what a pipeline needs, and what infrastructure says it serves."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from ..answers import Verdict
from ..drawing.words import short
from ..records import Version
from .moving import model_of
from .options import Session, command
from .output import emit_json, emit_text, printable, stage


@command("resolve")
@click.argument("ref")
@click.option(
    "--shell", is_flag=True, help="Print variables that a shell can eval: IFP_MODEL, IFP_DIGEST, IFP_PATH and others."
)
def resolve(session: Session, ref: str, shell: bool) -> None:
    """Print what a deployment of version REF needs: its digest, where its bytes are, its schema, the gate's verdict."""
    if shell and session.form == "json":
        raise click.UsageError("--shell and --json exclude each other")
    with session.reading() as registry:
        model, version = model_of(registry, ref)
        path = registry.blobs.path(version.weights.digest).absolute() if version.weights else None
        verdict = model.gate(version.name)
    if shell:
        for name, value in _variables(version, path, verdict):
            click.echo(os.fsencode(f"{name}={shlex.quote(value)}"))  # a path need not be text
        return
    if session.form == "json":
        emit_json(
            {
                "model": version.model,
                "digest": version.digest,
                "run": version.run,
                "stage": version.stage,
                "weights": version.weights.as_dict() if version.weights else None,
                "path": str(path) if path else None,
                "present": bool(path and path.is_file()),
                "schema": version.schema.as_dict() if version.schema else None,
                "gate": verdict.as_dict(),
            }
        )
        return
    emit_text(
        [
            ("version", version.name),
            ("stage", stage(version.stage)),
            ("path", f"{path}{'' if path and path.is_file() else ' (not here)'}"),
            ("format", version.weights.format if version.weights else ""),
            ("schema", version.schema.digest if version.schema else ""),
            ("gate", "passes" if verdict.passed else f"fails {len(verdict.failures)} checks (ifp gate {ref})"),
        ]
    )


def _variables(version: Version, path: Path | None, verdict: Verdict) -> list[tuple[str, str]]:
    return [
        ("IFP_MODEL", version.model),
        ("IFP_DIGEST", version.digest),
        ("IFP_RUN", version.run),
        ("IFP_STAGE", version.stage),
        ("IFP_WEIGHTS", version.weights.digest if version.weights else ""),
        ("IFP_PATH", str(path or "")),
        ("IFP_SCHEMA", version.schema.digest if version.schema else ""),
        ("IFP_GATE", "passed" if verdict.passed else "failed"),
    ]


@command("deployed")
@click.argument("ref")
@click.option("--environment", required=True, metavar="E", help="Say where, as in prod-eu.")
@click.option(
    "--replaces", metavar="REF", help="Name the version that it took the place of; refuse where another is on record."
)
@click.option(
    "--at", "since", metavar="TIME", help="Say since when: an RFC 3339 time, or as in '3 minutes ago' (default: now)."
)
@click.option("--stopped", is_flag=True, help="Record that it is served there no longer, and nothing else is.")
def deployed(session: Session, ref: str, environment: str, replaces: str | None, since: str | None, stopped: bool) -> None:
    """Record that infrastructure says it serves version REF in an environment."""
    with session.writing() as registry:
        model, version = model_of(registry, ref)
        found = model.deployed(version.name, environment, replaces=replaces, at=since, stopped=stopped)
    if session.form == "json":
        emit_json(found.as_dict())
    else:
        done = "no longer deployed" if stopped else "deployed"
        click.echo(f"{found.model}@{short(found.digest)}  {done} in {printable(environment)}")


COMMANDS: dict[str, click.Command] = {"resolve": resolve, "deployed": deployed}
