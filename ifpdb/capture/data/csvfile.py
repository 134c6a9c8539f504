"""CSV files as tables. CSV has no types, so rules give them, looking at every row: docs/format.md says which.

Two ways read the same: pyarrow, fast, and Python's own csv module, which decides wherever pyarrow gives up.
"""

from __future__ import annotations

import csv
import re
import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from .table import LEAF, Field, leaf_digest

NULLS = frozenset(
    ["", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "-NaN", "-nan", "#N/A", "#N/A N/A", "#NA"]
) | {"-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN"}
"""Cells that hold nothing, as pandas.read_csv has them by default."""
BOOLEANS = {"True": True, "true": True, "TRUE": True, "False": False, "false": False, "FALSE": False}
INTEGER = r"-?(0|[1-9][0-9]{0,18})"
FLOAT = r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?|-?(inf|Inf|INF|infinity|Infinity)"

_INTEGER, _FLOAT = re.compile(INTEGER, re.ASCII), re.compile(FLOAT, re.ASCII)


class NotATableError(Exception):
    """This file is no table: not UTF-8, ragged, without rows, or with one name for two columns."""


def fields(path: Path) -> list[Field]:
    """The columns of a CSV file with the types that its cells have."""
    names, kinds = list[str](), list[str]()
    for header, rows in _blocks(path):
        if not kinds:
            names, kinds = header, ["null"] * len(header)
        kinds = [_wider(kind, cells) for kind, cells in zip(kinds, zip(*rows, strict=True), strict=True)]
    return [Field(name, kind) for name, kind in zip(names, kinds, strict=True)]


def columns(path: Path, found: Sequence[Field]) -> Iterator[list[list[Any]]]:
    """The typed cells of each column, LEAF rows at a time; None for null."""
    for _, rows in _blocks(path):
        yield [_typed(one.type, cells) for one, cells in zip(found, zip(*rows, strict=True), strict=True)]


def plain_leaf(kind: str, cells: Sequence[Any]) -> bytes:
    """The digest of a leaf, by Python alone."""
    if kind == "null":
        return leaf_digest([b"\0"])
    if kind == "f64":
        floats = array("d", [float("nan") if x is None else x + 0.0 for x in cells])
        return leaf_digest([_little(floats)])
    there = [x is not None for x in cells]
    head = b"\1" if all(there) else b"\0" + _bitmap(there)
    if kind == "utf8":
        texts = [b"" if x is None else x.encode() for x in cells]
        return leaf_digest([head, _little(array("q", map(len, texts))), b"".join(texts)])
    return leaf_digest([head, bytes(x or 0 for x in cells) if kind == "bool" else _little(array("q", [x or 0 for x in cells]))])


def _little(numbers: array[Any]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _bitmap(there: Sequence[bool]) -> bytes:
    whole = sum(1 << i for i, one in enumerate(there) if one)
    return whole.to_bytes((len(there) + 7) // 8, "little")


def _blocks(path: Path) -> Iterator[tuple[list[str], list[list[str]]]]:
    """The header and up to LEAF rows at a time."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            rows = (row for row in reader if row)
            header = next(rows, None)
            if not header or len(set(header)) < len(header):
                raise NotATableError
            empty = True
            while block := list(islice(rows, LEAF)):
                if any(len(row) != len(header) for row in block):
                    raise NotATableError
                yield header, block
                empty = False
            if empty:
                raise NotATableError
    except (UnicodeDecodeError, csv.Error):
        raise NotATableError from None
    finally:
        csv.field_size_limit(limit)


def _wider(kind: str, cells: Sequence[str]) -> str:
    """The type that holds a column's cells so far and these."""
    for cell in cells:
        if kind == "utf8":
            return kind
        if cell in NULLS:
            continue
        kind = _together(kind, _kind(cell))
    return kind


def _kind(cell: str) -> str:
    if _INTEGER.fullmatch(cell) and -(2**63) <= int(cell) < 2**63:
        return "i64"
    if _FLOAT.fullmatch(cell) and not _INTEGER.fullmatch(cell) and (abs(float(cell)) != float("inf") or "n" in cell.lower()):
        return "f64"
    return "bool" if cell in BOOLEANS else "utf8"


def _together(kind: str, other: str) -> str:
    if "null" in (kind, other):
        return other if kind == "null" else kind
    return kind if kind == other else "f64" if {kind, other} == {"i64", "f64"} else "utf8"


def _typed(kind: str, cells: Sequence[str]) -> list[Any]:
    read: Any = {"i64": int, "f64": float, "bool": BOOLEANS.__getitem__, "utf8": str, "null": str}[kind]
    return [None if cell in NULLS else read(cell) for cell in cells]


# -- the same by pyarrow


def arrow_fields(path: Path) -> list[Field]:
    """As `fields`; raises ArrowInvalid where the csv module has to decide."""
    import pyarrow.compute as compute

    names, kinds = list[str](), list[str]()
    for batch in _arrow_batches(path):
        if not kinds:
            names, kinds = batch.schema.names, ["null"] * batch.num_columns
        for i, column in enumerate(batch.columns):
            if kinds[i] == "utf8":
                continue
            present = column.filter(compute.invert(_nulls(column)))
            if len(present):
                kinds[i] = _together(kinds[i], _arrow_kind(present))
    if not kinds or len(set(names)) < len(names):
        raise NotATableError
    return [Field(name, kind) for name, kind in zip(names, kinds, strict=True)]


def arrow_columns(path: Path, found: Sequence[Field]) -> Iterator[Any]:
    """Record batches with the typed columns, in blocks of any size."""
    import pyarrow
    import pyarrow.compute as compute

    types = {"i64": pyarrow.int64(), "f64": pyarrow.float64(), "bool": pyarrow.bool_(), "utf8": pyarrow.string()}
    for batch in _arrow_batches(path):
        typed = []
        for one, column in zip(found, batch.columns, strict=True):
            cells = compute.if_else(_nulls(column), None, column)
            typed.append(pyarrow.nulls(len(cells)) if one.type == "null" else cells.cast(types[one.type]))
        yield pyarrow.RecordBatch.from_arrays(typed, names=[one.name for one in found])


def _arrow_kind(present: Any) -> str:
    import pyarrow
    import pyarrow.compute as compute

    def all_match(pattern: str) -> bool:
        return bool(compute.all(compute.match_substring_regex(present, f"^({pattern})$")).as_py())

    if all_match(INTEGER):
        present.cast(pyarrow.int64())  # ArrowInvalid for one beyond 64 bits
        return "i64"
    if all_match(f"{INTEGER}|{FLOAT}"):
        numbers = present.cast(pyarrow.float64())
        beyond = compute.and_(compute.is_inf(numbers), compute.invert(compute.match_substring(present, "n", ignore_case=True)))
        if compute.any(beyond).as_py() or compute.any(compute.match_substring_regex(present, "^-?[0-9]{19,}$")).as_py():
            raise pyarrow.ArrowInvalid("a number beyond its type")
        return "f64"
    return "bool" if compute.all(compute.is_in(present, pyarrow.array(list(BOOLEANS)))).as_py() else "utf8"


def _nulls(column: Any) -> Any:
    import pyarrow
    import pyarrow.compute as compute

    return compute.is_in(column, pyarrow.array(sorted(NULLS)))


def _arrow_batches(path: Path) -> Iterator[Any]:
    import pyarrow
    from pyarrow import csv as arrow_csv

    tab = path.suffix.lower() == ".tsv"
    parse = arrow_csv.ParseOptions(delimiter="\t" if tab else ",", newlines_in_values=True, ignore_empty_lines=True)
    read = arrow_csv.ReadOptions(block_size=8 << 20)
    with open(path, "rb") as file:
        header = next(_blocks(path))[0]
        types = dict.fromkeys(header, pyarrow.string())
        convert = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
        reader = arrow_csv.open_csv(file, read_options=read, parse_options=parse, convert_options=convert)
        if reader.schema.names != header:
            raise pyarrow.ArrowInvalid("another header")
        yield from (batch for batch in reader if batch.num_rows)
