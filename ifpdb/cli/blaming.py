"""blame: since when each value of a version is what it is."""

from __future__ import annotations

import click

from ..drawing.words import brief, person, short
from ..history.blame import blame
from .options import Session, command
from .output import Column, emit_records

_ORIGINS: list[Column] = [
    ("part", lambda o: o.part),
    ("name", lambda o: o.name),
    ("value", lambda o: brief(o.after)),
    ("since", lambda o: o.at[:10]),
    ("version", lambda o: f"v{o.ordinal} {short(o.digest)}" if o.digest else "–"),
    ("run", lambda o: o.run),
    ("by", lambda o: person(o.actor)),
]


@command("blame", output="table")
@click.argument("ref")
@click.option("--feature", "features", metavar="F", multiple=True, help="Only this feature; may be repeated.")
@click.option("--param", "params", metavar="P", multiple=True, help="Only this parameter; may be repeated.")
@click.option("--package", "packages", metavar="P", multiple=True, help="Only this package; may be repeated.")
@click.option(
    "--data",
    metavar="[ROLE|NAME]",
    multiple=True,
    is_flag=False,
    flag_value="",
    help="Only this dataset, or with nothing behind it every one; may be repeated.",
)
def blame_command(
    session: Session,
    ref: str,
    features: tuple[str, ...],
    params: tuple[str, ...],
    packages: tuple[str, ...],
    data: tuple[str, ...],
) -> None:
    """Say since when the features, parameters and seed of REF are what they are: which version brought each, and by whom.

    MODEL stands for its production version. A feature is its type, range and categories: a range that moved is a change.
    """
    datasets = () if "" in data else data or None
    with session.reading() as registry:
        found = blame(registry, ref, features=features or None, params=params or None, packages=packages or None, data=datasets)
    emit_records(found, _ORIGINS, form=session.form, empty=f"{ref} has no features, parameters or seed on record")


COMMANDS: dict[str, click.Command] = {"blame": blame_command}
