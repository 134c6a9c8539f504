"""How results leave: a table or text on request of the eye, one JSON document or CSV on request of a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Protocol

import click

from ..drawing import words


class Record(Protocol):
    def as_dict(self) -> dict[str, Any]: ...


Column = tuple[str, Callable[[Any], str]]
"""A table column: its heading, and what it shows of a record."""


class Styled(str):
    """Text that was made printable and then coloured here."""

    __slots__ = ()


def printable(text: str) -> str:
    """Text with its control characters written out, so that no name or reason can steer a terminal; what was styled stays."""
    return text if isinstance(text, Styled) else words.printable(text)


def emit_json(document: Any, *, indent: int | None = 2) -> None:
    """One JSON document, readable by people too, or without `indent` on one line; what could steer a terminal is escaped."""
    text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False)
    click.echo(text if text.isascii() and "\x7f" not in text else "".join(map(_escaped, text)))


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1] if words.steers(character) else character


def emit_records(records: Sequence[Record], columns: Sequence[Column], *, form: str, empty: str) -> None:
    """Records as a table, a JSON array or CSV. `empty` is said on stderr when there are none to show in a table."""
    if form == "json":
        emit_json([record.as_dict() for record in records])
    elif form == "csv":
        emit_csv([record.as_dict() for record in records])
    elif records:
        emit_table([[show(record) for _, show in columns] for record in records], [name for name, _ in columns])
    else:
        click.echo(empty, err=True)


def emit_table(rows: Iterable[Sequence[str]], headings: Sequence[str]) -> None:
    """Rows under headings, aligned."""
    import tabulate

    shown = [[cell if isinstance(cell, Styled) else _one_line(cell) for cell in row] for row in rows]
    tabulate.MIN_PADDING = 0  # the library's own switch for headings no wider than they are
    heading, *lines = tabulate.tabulate(
        shown, headers=[_one_line(name) for name in headings], tablefmt="plain", disable_numparse=True
    ).split("\n")
    click.secho(heading, bold=True)
    for line in lines:
        click.echo(line.rstrip())


def emit_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as CSV with a header; nested values as JSON. Control characters are written out; JSON carries them as they are."""
    import csv
    import io

    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, list(rows[0]))
        writer.writerow({name: printable(name) for name in rows[0]})
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    click.echo(buffer.getvalue(), nl=False)


def emit_text(lines: Iterable[tuple[str, str]]) -> None:
    """A record line by line: a heading and its text, headings aligned, continuation lines indented."""
    shown = [(heading, printable(text)) for heading, text in lines if text]
    width = max((len(heading) for heading, _ in shown), default=0)
    for heading, text in shown:
        first, *rest = text.split("\n")
        click.echo(f"{click.style(heading.ljust(width), dim=True)}  {first}")
        for line in rest:
            click.echo(f"{' ' * width}  {line}")


def stage(name: str | None, text: str | None = None) -> str:
    """`text` (default: the stage's name) in the colour of a stage."""
    shown = printable(text or name or "")
    return Styled(click.style(shown, fg=_COLOURS[name])) if name in _COLOURS else shown


_COLOURS = {"production": "green", "shadow": "blue", "staging": "yellow"}


def _one_line(text: str) -> str:
    return printable(text).replace("\n", " ").replace("\t", " ")


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list | bool) or value is None:
        value = "" if value is None else json.dumps(value, ensure_ascii=False)
    return printable(value) if isinstance(value, str) else value


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr, where somebody watches; told how much is done and how much there is, by any thread."""
    if not sys.stderr.isatty():
        yield None
        return
    lock = Lock()
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            with lock:
                bar.length = max(total, 1)
                bar.update(done - bar.pos)

        yield show
