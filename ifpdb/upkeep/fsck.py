"""Is everything still what was written: SQLite's own pages, rows against digests and the log, every blob's bytes.

Each check stands alone: where one meets a page or a row that can't be read, that is a problem like any other, and the next
check goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from sqlite3 import Connection
from typing import Any

from ..desk import Registry
from ..store.db import APPLICATION_ID, MIN_READER, SCHEMA_NUMBER, fresh_registry
from . import contents, folds, rows
from .chain import STAGES_OFF
from .findings import Damage

Check = Callable[[Connection], Iterator[Damage]]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What fsck found: how many blobs of how many bytes are named, what is wrong, and what is worth knowing."""

    blobs: int
    bytes: int
    problems: tuple[Damage, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "blobs": self.blobs,
            "bytes": self.bytes,
            "problems": [problem.as_dict() for problem in self.problems],
            "notes": list(self.notes),
        }


def fsck(registry: Registry, *, fast: bool = False, progress: Callable[[int, int], None] | None = None) -> Inspection:
    """Check the whole registry; changes nothing. With `fast` blobs are held to their xxh3-128, not to SHA-256.

    `progress` is told the bytes of blobs read so far and in all, from several threads.
    """
    problems, wanted = rows_of(registry), dict[str, contents.Expected]()
    with registry.reading() as tx:
        problems += _guarded("the list of blobs", lambda: contents.expected(tx, registry.blobs, wanted))
    total, done = sum(one.size for one in wanted.values()), 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        if progress:
            progress(done, total)

    problems += contents.check(registry.blobs, wanted.values(), fast=fast, progress=count)
    notes = contents.unnamed(registry.blobs, wanted)
    return Inspection(len(wanted), total, tuple(problems), tuple(notes))


def rows_of(registry: Registry) -> list[Damage]:
    """What is wrong with the file itself and its rows; no blob is looked at."""
    problems, told = list[Damage](), folds.Told()
    for what, check in CHECKS.items():
        with registry.reading() as tx:  # one for each: writers wait while it is open
            problems += _guarded(what, partial(check, tx))
    with registry.reading() as tx:
        problems += (stopped := list(_guarded("the log, and so no row can be held against it", lambda: _fold(tx, told))))
        for what, fold in FOLDS.items() if not stopped else ():
            problems += _guarded(what, partial(fold, tx, told))
    return problems


def _guarded(what: str, check: Callable[[], Iterator[Damage]]) -> Iterator[Damage]:
    """The problems of one check, and the one that stopped it, if any."""
    try:
        yield from check()
    except Exception as error:  # what damage makes of a row can raise anything
        yield Damage("unreadable", "", f"{what} can't be read further: {type(error).__name__}: {error}")


def _fold(tx: Connection, into: folds.Told) -> Iterator[Damage]:
    folds.read(tx, into)
    yield from ()


def sqlite(tx: Connection) -> Iterator[Damage]:
    """What SQLite's own integrity check says of pages, indexes, types and constraints."""
    for (found,) in tx.execute("PRAGMA integrity_check"):
        if found != "ok":
            yield Damage("sqlite", "", found)


def references(tx: Connection) -> Iterator[Damage]:
    """Every key names a row that is there."""
    for table, row, parent, _ in tx.execute("PRAGMA foreign_key_check"):
        yield Damage("reference", "", f"row {row} of {table} names a row of {parent} that is not there")


DEFINITIONS = "SELECT type || ' ' || name, tbl_name, sql FROM sqlite_schema WHERE name NOT GLOB 'sqlite_stat*'"


def definitions(tx: Connection) -> Iterator[Damage]:
    """Tables, rules and views are those of schema.sql: a dropped rule guards nothing, an added one may do harm."""
    with closing(fresh_registry()) as fresh:
        ours = {name: text for name, *text in fresh.execute(DEFINITIONS)}
    here = {name: text for name, *text in tx.execute(DEFINITIONS)}
    for name in sorted(ours.keys() | here.keys()):
        if name not in here:
            yield Damage("schema", "", f"the {name} is missing")
        elif ours.get(name) != here[name]:
            yield Damage("schema", "", f"the {name} is {'another one' if name in ours else 'not one of ours'}")


def numbers(tx: Connection) -> Iterator[Damage]:
    """The file says that it is a registry, of which schema, and who may read it."""
    told = {
        "application_id": (tx.execute("PRAGMA application_id").fetchall(), APPLICATION_ID),
        "user_version": (tx.execute("PRAGMA user_version").fetchall(), SCHEMA_NUMBER),
        "min_reader": (tx.execute("SELECT min_reader FROM registry").fetchall(), MIN_READER),
    }
    for name, (held, ours) in told.items():
        if held != [(ours,)]:
            yield Damage("schema", "", f"its {name} is {', '.join(str(row[0]) for row in held)}, not {ours}")


def stages(tx: Connection) -> Iterator[Damage]:
    """Every version is in the stage that the log tells."""
    for version, held, told in tx.execute(STAGES_OFF):
        yield Damage("stage", version, f"it is in {held}, but the log says {told}")


CHECKS: dict[str, Check] = {
    "the file": sqlite,
    "references between rows": references,
    "the schema": definitions,
    "the numbers of the schema": numbers,
    "stages": stages,
    "manifests": rows.manifests,
    "parts of versions": rows.parts,
    "schemas, environments and code": rows.bodies,
    "features": rows.features,
    "columns of tables": rows.tables,
    "points of metrics": rows.metrics,
    "generations": rows.generations,
}
FOLDS: dict[str, Callable[[Connection, folds.Told], Iterator[Damage]]] = {
    "versions": folds.versions,
    "runs": folds.runs,
    "records of runs": folds.records,
    "data of runs": folds.data,
    "lineage": folds.lineage,
    "tags and labels": folds.names,
    "metrics": folds.metrics,
}
