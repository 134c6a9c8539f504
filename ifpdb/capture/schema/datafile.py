"""Batches that lie in files, CSV, Parquet, Feather, Arrow or JSON, judged some 65,536 rows at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ..data import csvfile, tablefile
from ..data.table import LEAF
from ..data.values import Values, present
from .features import FeatureSchema
from .validation import Validation, Validator

_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", *tablefile.ENDINGS)


def validate_file(schema: FeatureSchema, path: str | os.PathLike[str]) -> Validation:
    """Whether the table in a file is what a model was trained on. CSV cells have the types that their digest gives them.

    Raises UsageError for a file that can't be read or holds no table.
    """
    return Validator(schema).validate_blocks(blocks(Path(path)))


def blocks(path: Path) -> Iterator[tuple[int, Any]]:
    """The rows of a file as (number of rows, batch). Raises UsageError for what is no table."""
    ending = path.suffix.lower()
    if ending not in _ENDINGS:
        raise UsageError(f"{path} is no table by its name: give a file that ends in {', '.join(_ENDINGS)}")
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    try:
        if ending in (".csv", ".tsv"):
            yield from _csv(path)
        elif ending in tablefile.ENDINGS:
            yield from _typed(path)
        elif ending == ".json":
            document = json.loads(path.read_bytes())
            yield len(document) if isinstance(document, list) else 1, document
        else:
            yield from _json_lines(path)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}") from None
    except csvfile.NotATableError:
        raise UsageError(f"{path} is no table: it is empty or not UTF-8, or its rows differ in length") from None
    except ValueError as error:  # of json
        raise UsageError(f"{path} is not JSON: {error}") from None


def _csv(path: Path) -> Iterator[tuple[int, Any]]:
    fields = csvfile.fields(path)
    for columns in csvfile.columns(path, fields):
        yield len(columns[0]), {field.name: cells for field, cells in zip(fields, columns, strict=True)}


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    with open(path, encoding="utf-8-sig") as file:
        rows = (json.loads(line) for line in file if line.strip())
        while block := list(islice(rows, LEAF)):
            if not all(isinstance(row, dict) for row in block):
                raise ValueError("each line has to be one object, a row")
            yield len(block), block


def _typed(path: Path) -> Iterator[tuple[int, Any]]:
    fields, leaves = tablefile.leaves(path)
    for leaf in leaves:
        yield leaf[0].count, {field.name: cells(field.type, one) for field, one in zip(fields, leaf, strict=True)}


_UNITS = {"ts[utc]": "M8[ns]", "ts[naive]": "M8[ns]", "date": "M8[D]", "duration": "m8[ns]", "time": "m8[ns]"}


def cells(type: str, values: Values) -> Any:
    """Values as a batch's column: an array, or a list with None for null."""
    if type == "utf8" or type.startswith("decimal["):
        there = present(type, values)
        return _spread(there if type == "utf8" else [Decimal(text) for text in there], values)
    if values.data is None or values.lengths is not None:
        return _lists(type, values)
    data = values.data
    if type in _UNITS:
        data = data.astype("i8").astype(_UNITS[type])
    elif type == "bool":
        data = data.astype("?")
    return data if values.valid is None else _spread(list(data[values.valid]), values)


def _lists(type: str, values: Values) -> list[Any]:
    """Rows of different lengths: bytes, and lists of values; what numpy has no type for is itself only where it is null."""
    there = [True] * values.count if values.valid is None else values.valid.tolist()
    if values.lengths is None:
        return [() if one and type != "null" else None for one in there]
    inner = values.data if type == "bytes" else cells(type[5:-1], values.children[0])
    ends = values.lengths.cumsum().tolist()
    rows = (inner[end - length : end] for end, length in zip(ends, values.lengths.tolist(), strict=True))
    return [(bytes(row) if type == "bytes" else row) if one else None for row, one in zip(rows, there, strict=True)]


def _spread(found: list[Any], values: Values) -> list[Any]:
    """What is there, with None in between."""
    if values.valid is None:
        return found
    following = iter(found)
    return [next(following) if there else None for there in values.valid.tolist()]
