"""metric, tag, label: what is said of a version after its registration."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..drawing.words import number
from .moving import model_of
from .options import Session, command
from .output import emit_json, printable


@command("metric")
@click.argument("ref")
@click.argument("values", nargs=-1, required=True, metavar="K=V...")
@click.option("--dataset", metavar="D", help="Say on what: a file or folder, a digest, or the name of logged data.")
def metric(session: Session, ref: str, values: Sequence[str], dataset: str | None) -> None:
    """Record metrics K=V of version REF; they are an event, and the gate sees them."""
    from .registering import parse_metrics

    with session.writing() as registry:
        version = registry.measure(ref, parse_metrics(values), dataset=dataset)
    if session.form == "json":
        emit_json(version.as_dict())
    else:
        click.echo(f"{version.name}  " + ", ".join(f"{printable(k)} {number(v)}" for k, v in version.metrics.items()))


@command("tag")
@click.argument("ref")
@click.argument("tags", nargs=-1, required=True, metavar="T...")
@click.option("--remove", is_flag=True, help="Take the tags off.")
def tag(session: Session, ref: str, tags: Sequence[str], remove: bool) -> None:
    """Put tags T on version REF, or take them off."""
    with session.writing() as registry:
        model, version = model_of(registry, ref)
        found = (model.untag if remove else model.tag)(version.name, *tags)
    if session.form == "json":
        emit_json(found.as_dict())
    else:
        click.echo(f"{found.name}  {' '.join(f'#{name}' for name in found.tags) or 'no tags'}")


@command("label")
@click.argument("ref")
@click.argument("label_", metavar="L")
def label(session: Session, ref: str, label_: str) -> None:
    """Give version REF the label L, a name of one version in its model; it moves here if another had it."""
    with session.writing() as registry:
        model, version = model_of(registry, ref)
        found = model.label(version.name, label_)
    if session.form == "json":
        emit_json(found.as_dict())
    else:
        click.echo(f"{found.model}@{label_}  {found.name}")


COMMANDS: dict[str, click.Command] = {"metric": metric, "tag": tag, "label": label}
