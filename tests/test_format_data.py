"""docs/format.md is true about training data: its vectors are computed anew, through ifpdb and by the page alone."""

from __future__ import annotations

import hashlib
import math
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from test_format import VECTORS, sha256

from ifpdb.capture.data import csvfile
from ifpdb.capture.data.dataset import describe, hash_data

LEAF = 65_536


# -- by the page alone


def lp(text: str) -> bytes:
    return struct.pack("<I", len(text.encode())) + text.encode()


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def column_of(kind: str, values: list[Any]) -> bytes:
    leaves = [leaf(kind, values[i : i + LEAF]) for i in range(0, len(values), LEAF)]
    return digest(b"ifp-col/1\0" + lp(kind) + struct.pack("<Q", len(values)) + b"".join(map(digest, leaves)))


def table_of(columns: list[tuple[str, str, list[Any]]]) -> str:
    rows = len(columns[0][2])
    whole = b"".join(lp(name) + lp(kind) + column_of(kind, values) for name, kind, values in columns)
    return sha256(b"ifp-table/1\0" + struct.pack("<QI", rows, len(columns)) + whole)


def prefix_of(columns: list[tuple[str, str, list[Any]]], rows: int) -> str:
    named = b"".join(lp(name) + lp(kind) for name, kind, _ in columns)
    chain = digest(b"ifp-prefix/1\0" + struct.pack("<I", len(columns)) + named)
    for start in range(0, rows, LEAF):
        count = min(LEAF, rows - start)
        leaves = [digest(leaf(kind, values[start : start + count])) for _, kind, values in columns]
        chain = digest(b"ifp-prefix/1\0" + chain + (struct.pack("<I", count) if count < LEAF else b"") + b"".join(leaves))
    return "sha256:" + chain.hex()


def leaf(kind: str, values: list[Any]) -> bytes:
    if kind == "null":
        return b"\0"
    if re.fullmatch(r"f\d+", kind):
        return numbers(kind, values)
    there = [value is not None for value in values]
    bits = bytes(sum(bit << i for i, bit in enumerate(eight)) for eight in in_groups(there, 8))
    return (b"\1" if all(there) else b"\0" + bits) + inside(kind, values)


def inside(kind: str, values: list[Any]) -> bytes:
    if kind in ("utf8", "bytes") or kind.startswith("decimal"):
        texts = [(value or "").encode() for value in values]
        return numbers("i64", list(map(len, texts))) + b"".join(texts)
    if kind.startswith("list"):
        child = kind[5:-1]
        return numbers("i64", [len(value or ()) for value in values]) + leaf(
            child, [x for value in values for x in value or ()]
        )
    if kind.startswith("struct"):
        fields = re.findall(r'"(\w+)":([^,}]+)', kind)
        return b"".join(leaf(one, [None if value is None else value[name] for value in values]) for name, one in fields)
    if kind.startswith("sparse"):
        entries = [entry for row in values for entry in row]
        positions = numbers("i64", [position for position, _ in entries])
        return numbers("i64", list(map(len, values))) + positions + numbers("f64", [value for _, value in entries])
    if vector := re.fullmatch(r"(\w+)\[(\d+)\]", kind):
        return numbers(vector[1], [x for value in values for x in ([0] * int(vector[2]) if value is None else value)])
    fixed = {"bool": "u8", "date": "i32"}.get(kind, kind if kind[0] in "iu" else "i64")
    return numbers(fixed, [int(value or 0) for value in values])


def numbers(kind: str, values: list[Any]) -> bytes:
    codes = {"i8": "b", "i32": "i", "i64": "q", "u8": "B", "f32": "f", "f64": "d"}
    if kind[0] == "f":
        values = [math.nan if value is None else float(value) + 0.0 for value in values]
    return struct.pack(f"<{len(values)}{codes[kind]}", *values)


def in_groups(items: list[Any], size: int) -> list[Any]:
    return [items[i : i + size] for i in range(0, len(items), size)]


# -- the vectors


@pytest.mark.parametrize("column", VECTORS["table"]["columns"], ids=lambda column: column["type"])
def test_a_column_is_the_digest_of_its_leaves(column: dict[str, Any]) -> None:
    data = leaf(column["type"], column["values"])
    assert data.hex() == column["leaf"]
    assert "sha256:" + column_of(column["type"], column["values"]).hex() == column["digest"]
    missing = [value is None or value == "NaN" for value in column["values"]]
    assert column["nulls"] == sum(missing)


def test_a_table_is_the_digest_of_its_columns() -> None:
    columns = [(column["name"], column["type"], column["values"]) for column in VECTORS["table"]["columns"]]
    assert table_of(columns) == VECTORS["table"]["digest"]


def test_sparse_rows_are_their_entries() -> None:
    vector = VECTORS["table-sparse"]
    assert table_of([("x0", vector["type"], vector["rows"])]) == vector["digest"]
    dense = np.zeros((3, 3))
    for row, entries in enumerate(vector["rows"]):
        for position, value in entries:
            dense[row, position] = value
    assert hash_data(sparse.csr_matrix(dense)) == hash_data(sparse.coo_array(dense)) == vector["digest"]


def test_the_first_rows_have_a_digest_of_their_own() -> None:
    vector = VECTORS["table-prefixes"]
    values = [row % vector["modulus"] for row in range(vector["rows"])]
    assert table_of([(vector["name"], vector["type"], values)]) == vector["digest"]
    for rows, expected in vector["prefixes"]:
        assert prefix_of([(vector["name"], vector["type"], values)], rows) == expected
    found = describe(np.array(values), lengths=vector["lengths"])
    assert (found.digest, [list(prefix) for prefix in found.prefixes]) == (vector["digest"], vector["prefixes"])


def test_a_csv_file_has_the_types_that_its_cells_allow(folder: Path) -> None:
    vector = VECTORS["table-csv"]
    Path("v.csv").write_text(vector["text"], newline="")
    found = describe("v.csv")
    assert {column.name: column.type for column in found.columns} == vector["types"]
    assert (found.digest, found.file, found.rows) == (vector["digest"], vector["file"], 3)
    assert found.file == sha256(vector["text"].encode())
    fields = csvfile.fields(Path("v.csv"))
    (columns,) = csvfile.columns(Path("v.csv"), fields)
    by_the_page = [(one.name, one.type, cells) for one, cells in zip(fields, columns, strict=True)]
    assert table_of(by_the_page) == vector["digest"]
    prefixes = tuple((rows, prefix_of(by_the_page, rows)) for rows in (1, 2, 3))
    assert describe("v.csv", lengths=[2, 1, 3, 4]).prefixes == prefixes
    for one, cells in zip(fields, columns, strict=True):
        assert csvfile.plain_leaf(one.type, cells) == digest(leaf(one.type, cells))


def test_the_page_lists_every_cell_that_is_null() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "format.md").read_text()
    listed = re.search(r"A cell is null when it is one of `\"\"`,(.*?), quoted or", page, re.S)
    assert listed is not None
    assert {"", *re.findall(r"`([^`]+)`", listed[1])} == csvfile.NULLS
