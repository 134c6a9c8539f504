"""A registry to harm: one with something of everything and pages of every kind, what its rows are, and where its pages lie."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.store import series

PAGE = 4096
KINDS = {2: "index, inner", 5: "table, inner", 10: "index, leaf", 13: "table, leaf"}

Rows = dict[str, list[tuple[Any, ...]]]


def build(place: Path) -> Path:
    """Make the registry in an empty folder; its path."""
    with pytest.MonkeyPatch.context() as patch, ifp.init(place / "ifp.db", actor="ada") as registry:
        patch.chdir(place)
        patch.setenv("IFP_ACTOR", "ada")
        Path("train.csv").write_text("amount,country\n" + "".join(f"{n},DE\n" for n in range(50)))
        Path("folder").mkdir()
        for name in ("one", "two"):
            Path("folder", name).write_text(name)
        _fill(registry)
    with closing(sqlite3.connect(place / "ifp.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE gone (bytes)")  # leaves pages that nothing uses
        connection.execute("INSERT INTO gone VALUES (zeroblob(20000))")
        connection.execute("DROP TABLE gone")
    return place / "ifp.db"


def _fill(registry: ifp.Registry) -> None:
    schema = {"features": [{"position": 0, "name": "amount", "type": "number", "min": 0, "max": 50}]}
    fraud = registry.model("fraud")
    for number in range(14):
        Path("model.bin").write_text(f"weights {number}")
        registry.register(
            "fraud",
            "folder" if number == 5 else "model.bin",
            data="train.csv",
            schema=schema,
            params={"C": number, "why": "x" * 40},
            seed=number,
            metrics={"f1": 0.9, "auc": number / 30},
            tags=[f"t{number}"],
            derived_from=[f"fraud@v{number}"][:number],
        )
    with ifp.track("fraud", derived_from=[("fraud@v1", "forked_from"), "fraud@v2"], params={"C": 0.5}, seed=1) as run:
        for step in range(40):
            run.log_metric("loss", 1 / (step + 1), step=step)
        run.log_artifact("model.bin")
        run.register(data="train.csv", schema=schema)
    with pytest.raises(ZeroDivisionError), ifp.track("fraud"):
        raise ZeroDivisionError
    fraud.set_policy({"validation": {"min_f1": 0.8}})
    for number in range(1, 5):
        fraud.promote(f"v{number}", "production", approved_by="grace", reason="long " * 1900)
    fraud.label("v3", "2025-Q4")
    fraud.untag("v1", "t0")
    for number in range(120):
        fraud.tag("v2", f"x{number}")


def connected(data: bytes | bytearray) -> sqlite3.Connection:
    """A database of these bytes, in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(bytes(data))
    connection.text_factory = bytes
    return connection


def rows_of(connection: sqlite3.Connection) -> Rows:
    """Every row of every table, and of the schema; a series as its points, since compressed bytes have idle bits."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")]
    found = {
        name.decode(): sorted(connection.execute(f"SELECT * FROM {name.decode()}"), key=repr)
        for name in [*tables, b"sqlite_schema"]
    }
    return found | {"metric": [(*row, series.unpack(packed)) for *row, packed in found["metric"]]}


def columns_of(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """The names of what stands in the rows of each table."""
    return {
        table: [row[1].decode() for row in connection.execute(f"PRAGMA table_xinfo({table})")] for table in rows_of(connection)
    }


def regions(data: bytes) -> dict[str, list[int]]:
    """Every byte of the file, as an offset, by what lies there: the file's header, the schema's first page, kinds of pages."""
    free = _free(data)
    found: dict[str, list[int]] = {"header": list(range(100)), "schema": list(range(100, PAGE))}
    for start in range(PAGE, len(data), PAGE):
        kind = "free" if start in free else KINDS.get(data[start], "overflow")
        found.setdefault(kind, []).extend(range(start, start + PAGE))
    return found


def _free(data: bytes) -> set[int]:
    """The pages that SQLite doesn't use: trunks, each with a list of leaves (https://www.sqlite.org/fileformat2.html §1.5)."""
    found, trunk = set[int](), int.from_bytes(data[32:36], "big")
    while trunk:
        start = (trunk - 1) * PAGE
        numbers = [int.from_bytes(data[start + at : start + at + 4], "big") for at in range(0, PAGE, 4)]
        found |= {start, *((leaf - 1) * PAGE for leaf in numbers[2 : 2 + numbers[1]])}
        trunk = numbers[0]
    return found
