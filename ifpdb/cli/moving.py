"""promote, rollback, approve, gate, policy: how versions move, and by which rules."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..answers import Verdict
from ..desk import Registry
from ..errors import NotFound
from ..model import Model
from ..records import Version
from .options import Session, command
from .output import emit_json, printable, stage


def model_of(registry: Registry, ref: str) -> tuple[Model, Version]:
    """The version that a reference names, and its model."""
    version = registry.resolve(ref)
    return Model(registry, version.model), version


@command("promote")
@click.argument("ref")
@click.argument("stage_", metavar="STAGE", type=click.Choice(["staging", "shadow", "production", "archived"]))
@click.option("--reason", metavar="R", help="Say why; going back and forcing need it.")
@click.option("--approved-by", multiple=True, metavar="A", help="Name who approved it.")
@click.option("--force", is_flag=True, help="Enter production without a passing gate; needs --reason.")
@click.option("--expect", metavar="REF", help="Refuse unless REF is in production now.")
def promote(
    session: Session,
    ref: str,
    stage_: str,
    reason: str | None,
    approved_by: Sequence[str],
    force: bool,
    expect: str | None,
) -> None:
    """Move version REF to STAGE. Production is entered through the validation gate; what was there is archived."""
    with session.writing() as registry:
        model, version = model_of(registry, ref)
        held = model.production
        moved = model.promote(version.name, stage_, reason=reason, approved_by=approved_by, force=force, expect=expect)
        _emit_moved(session, version, moved, held)


@command("rollback")
@click.argument("model")
@click.option("--reason", metavar="R", help="Say why; it must be said.")
@click.option("--to", metavar="REF", help="Go back to this version (default: the one before).")
def rollback(session: Session, model: str, reason: str | None, to: str | None) -> None:
    """Put an earlier version of MODEL back into production. It undoes nothing that the one there has done."""
    with session.writing() as registry:
        found = Model(registry, model)
        held = found.production
        moved = found.rollback(reason=reason, to=to)
        _emit_moved(session, None, moved, held)


def _emit_moved(session: Session, before: Version | None, moved: Version, held: Version | None) -> None:
    if session.form == "json":
        emit_json(moved.as_dict())
        return
    click.echo(f"{moved.name}  v{moved.ordinal}  {stage(moved.stage)}")
    if before is not None and before.stage == moved.stage:
        click.echo(f"it was in {moved.stage} already", err=True)
    elif moved.stage == "production" and held is not None and held.digest != moved.digest:
        click.echo(f"v{held.ordinal} {held.name} was archived by the same event", err=True)


@command("approve")
@click.argument("ref")
@click.option("--reason", metavar="R", help="Say why.")
@click.option("--withdraw", is_flag=True, help="Take one's own approval back.")
def approve(session: Session, ref: str, reason: str | None, withdraw: bool) -> None:
    """Approve version REF, in the name of who acts.

    It stands for the policy in force and what is measured by now: a later change of either makes it stale.
    """
    with session.writing() as registry:
        model, version = model_of(registry, ref)
        found = model.withdraw_approval(version.name, reason) if withdraw else model.approve(version.name, reason)
        if session.form == "json":
            emit_json(found.as_dict())
            return
        done = "approval withdrawn" if withdraw else "approved"
        click.echo(f"{found.name}  {done} by {printable(registry.actor)}")
        for check in model.gate(found.name).checks:
            if check.name == "approvals":
                click.echo(printable(check.why), err=True)


@command("gate")
@click.argument("ref")
@click.pass_context
def gate(ctx: click.Context, session: Session, ref: str) -> None:
    """Ask the gate about version REF and write nothing; exit 1 when it would not pass."""
    with session.reading() as registry:
        model, version = model_of(registry, ref)
        verdict = model.gate(version.name)
    if session.form == "json":
        emit_json(verdict.as_dict())
    else:
        emit_verdict(verdict)
    if not verdict.passed:
        ctx.exit(1)


def emit_verdict(verdict: Verdict) -> None:
    """A line a check."""
    for check in verdict.checks:
        mark = click.style("pass", fg="green") if check.passed else click.style("FAIL", fg="red")
        click.echo(f"{mark}  {printable(check.name)}: {printable(check.why)}")


@click.group("policy")
def policy_group() -> None:
    """Set and show validation policies."""


@command("set")
@click.argument("model")
@click.argument("file", type=click.Path())
def policy_set(session: Session, model: str, file: str) -> None:
    """Set the validation policy of MODEL from a YAML FILE."""
    with session.writing() as registry:
        found = Model(registry, model).set_policy(file)
    if session.form == "json":
        emit_json(found.as_dict() | {"digest": found.digest})
    else:
        click.echo(f"policy of {printable(model)} set: {found.digest}")


@command("show")
@click.argument("model")
def policy_show(session: Session, model: str) -> None:
    """Show the validation policy of MODEL, as YAML."""
    with session.reading() as registry:
        found = Model(registry, model).policy
    if found is None:
        raise NotFound(f"{model} has no policy: set one with ifp policy set {model} FILE")
    if session.form == "json":
        emit_json(found.as_dict() | {"digest": found.digest})
    else:
        import yaml

        click.echo(yaml.safe_dump(found.as_dict(), sort_keys=False), nl=False)


policy_group.add_command(policy_set)
policy_group.add_command(policy_show)

COMMANDS: dict[str, click.Command] = {
    "promote": promote,
    "rollback": rollback,
    "approve": approve,
    "gate": gate,
    "policy": policy_group,
}
