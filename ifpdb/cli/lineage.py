"""log, ancestors, descendants, merge-base, link: what came from what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from ..answers import Kin, Node
from ..desk import Registry
from ..drawing.lanes import draw
from ..drawing.words import short
from ..errors import UsageError
from ..names import KINDS
from .options import Session, command
from .output import Column, emit_csv, emit_json, emit_records, stage

_KIN: list[Column] = [
    ("depth", lambda k: str(k.depth)),
    ("run", lambda k: k.run),
    ("model", lambda k: k.model),
    ("version", lambda k: short(k.digest) or "–"),
]


@command("log", output="table")
@click.argument("ref")
@click.option("--graph", is_flag=True, help="Draw the branches.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Show only the first N.")
@click.option(
    "--svg", "picture", type=click.Path(dir_okay=False, writable=True), help="Write them to a file, as an SVG picture."
)
def log(session: Session, ref: str, graph: bool, limit: int | None, picture: str | None) -> None:
    """Show the ancestry of REF, children before their parents."""
    with session.reading() as registry:
        nodes = registry.lineage(ref, limit=limit)
    if picture is not None:
        _write(Path(picture), nodes.svg())
        return
    if session.form == "json":
        emit_json([node.as_dict() for node in nodes])
    elif session.form == "csv":
        emit_csv([node.as_dict() for node in nodes])
    else:
        lanes = draw([(node.run, [parent.run for parent in node.parents]) for node in nodes]) if graph else None
        by_run = {node.run: node for node in nodes}
        for lane, run in lanes or [("*", node.run) for node in nodes]:
            click.echo(f"{lane}  {_node_line(by_run[run])}" if run else lane)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from None
    click.echo(f"wrote {path}", err=True)


def _node_line(node: Node) -> str:
    what = f"{node.model} v{node.ordinal} {short(node.digest)}" if node.digest else f"{node.model} ({node.status})"
    names = "".join(f"  {label}" for label in node.labels)
    kinds = ", ".join(sorted({parent.kind for parent in node.parents} - {"derived_from"}))
    held = f"  [{stage(node.stage)}]" if node.stage else ""
    return f"{click.style(node.run, fg='cyan')}  {what}{held}{names}" + (f"  {kinds}" if kinds else "")


def _kin_command(name: str, ask: Callable[..., Sequence[Kin]], what: str, empty: str) -> click.Command:
    def kin(session: Session, ref: str, depth: int | None) -> None:
        with session.reading() as registry:
            found = ask(registry, ref, depth=depth)
        emit_records(found, _KIN, form=session.form, empty=empty)

    kin.__doc__ = what
    kin = click.option("--depth", type=click.IntRange(0), metavar="N", help="Go at most N edges far.")(kin)
    return command(name, output="table")(click.argument("ref")(kin))


ancestors = _kin_command(
    "ancestors", Registry.ancestors, "List what REF came from, registered or not, the nearest first.", "it came from nothing"
)
descendants = _kin_command(
    "descendants",
    Registry.descendants,
    "List what came from REF, registered or not, the nearest first.",
    "nothing came from it",
)


@command("merge-base")
@click.argument("a")
@click.argument("b")
def merge_base(session: Session, a: str, b: str) -> None:
    """Show the best common ancestors of A and B: where their histories parted."""
    with session.reading() as registry:
        found = registry.merge_base(a, b)
    if session.form == "json":
        emit_json([node.as_dict() for node in found])
    else:
        for node in found:
            click.echo(_node_line(node))


@command("link")
@click.argument("child")
@click.argument("parent")
@click.option("--kind", type=click.Choice(KINDS), default="derived_from", help="Say how the child came from it.")
def link(session: Session, child: str, parent: str, kind: str) -> None:
    """Record after the fact that the run of CHILD came from the run of PARENT."""
    with session.writing() as registry:
        new = registry.link(child, parent, kind)
        found = registry.run(child)
    if session.form == "json":
        emit_json(found.as_dict())
    else:
        click.echo(f"{found.id}  " + ", ".join(f"{parent.kind} {parent.run}" for parent in found.parents))
        above = registry.run(parent)
        if above.model != found.model:
            click.echo(f"across models: {found.model} {kind.replace('_', ' ')} {above.model}", err=True)
        if not new:
            click.echo("that was known already", err=True)


COMMANDS: dict[str, click.Command] = {
    "log": log,
    "ancestors": ancestors,
    "descendants": descendants,
    "merge-base": merge_base,
    "link": link,
}
