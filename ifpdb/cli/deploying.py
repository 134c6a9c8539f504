"""resolve, deployed: what a pipeline needs, and what infrastructure says it serves."""

from __future__ import annotations

import click

from ..drawing.words import short
from .moving import model_of
from .options import Session, command
from .output import emit_json, emit_text, printable, stage


@command("resolve")
@click.argument("ref")
def resolve(session: Session, ref: str) -> None:
    """Print what a deployment of version REF needs: its digest, where its bytes are, its schema, the gate's verdict."""
    with session.reading() as registry:
        model, version = model_of(registry, ref)
        path = registry.blobs.path(version.weights.digest) if version.weights else None
        verdict = model.gate(version.name)
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


@command("deployed")
@click.argument("ref")
@click.option("--environment", required=True, metavar="E", help="Say where, as in prod-eu.")
@click.option("--replaces", metavar="REF", help="Name the version that it took the place of.")
def deployed(session: Session, ref: str, environment: str, replaces: str | None) -> None:
    """Record that infrastructure says it serves version REF in an environment."""
    with session.writing() as registry:
        model, version = model_of(registry, ref)
        found = model.deployed(version.name, environment, replaces=replaces)
    if session.form == "json":
        emit_json(found.as_dict())
    else:
        click.echo(f"{found.model}@{short(found.digest)}  deployed in {printable(environment)}")


COMMANDS: dict[str, click.Command] = {"resolve": resolve, "deployed": deployed}
