"""A feature schema from a table's columns: what a model trained on them may expect as input."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...records import Column
from .features import Feature, FeatureSchema, make_schema

_TYPES = {
    "bool": "boolean",
    "utf8": "string",
    "date": "date",
    "ts[utc]": "timestamp",
    "ts[naive]": "timestamp",
    "duration": "number",  # in seconds
    "time": "number",  # seconds since midnight
    "null": "string",  # nothing is known but that there was nothing
}
_SCALAR = re.compile(r"([iu]|b?f)\d+|(decimal)\[.*")
_ELEMENTS = {"i": "int", "u": "uint", "f": "float", "bf": "bfloat"}
_ROW = re.compile(r"(?:sparse\[)?(?:([iu]|b?f)(\d+)|(\w+))[\[,]([\d,]+)\]")
_LIST = re.compile(r"list\[(?:([iu]|b?f)(\d+)|(\w+))\]")


def infer_schema(columns: Sequence[Column]) -> FeatureSchema:
    """The schema of a table: a feature for each column, in order, with the range or the categories that were seen.

    Decimals and durations (in seconds) are numbers; vectors, lists, bytes and sparse rows are tensors with dtype and shape.
    """
    return make_schema(_feature(column) for column in columns)


def _feature(column: Column) -> Feature:
    position, name, nullable = column.position, column.name, column.nulls > 0
    if column.categorical:
        return Feature(position, name, "category", nullable, categories=column.values)
    type = _type(column.type)
    if type == "tensor":
        dtype, shape = tensor(column.type)
        return Feature(position, name, type, nullable, column.min, column.max, dtype=dtype, shape=shape)
    categories = column.values if type == "string" else None
    return Feature(position, name, type, nullable, column.min, column.max, categories)


def _type(tag: str) -> str:
    if tag in _TYPES:
        return _TYPES[tag]
    scalar = _SCALAR.fullmatch(tag)
    return "tensor" if scalar is None else "integer" if scalar[1] in ("i", "u") else "number"


def tensor(tag: str) -> tuple[str, tuple[int | None, ...]]:
    """The dtype and the shape of one row: 'f32[28,28]' is ('float32', (28, 28)), 'list[i64]' is ('int64', (None,)).

    Bytes are uint8 of any length; what numpy has no type for, such as a structure, is ('object', ()).
    """
    if tag == "bytes":
        return "uint8", (None,)
    if row := _ROW.fullmatch(tag):
        kind, width, other, lengths = row.groups()
        return _dtype(kind, width, other), tuple(int(length) for length in lengths.split(","))
    if items := _LIST.fullmatch(tag):
        return _dtype(*items.groups()), (None,)
    return "object", (None,) if tag.startswith("list[") else ()


def _dtype(kind: str | None, width: str, other: str) -> str:
    return "bool" if other == "bool" else "object" if kind is None else _ELEMENTS[kind] + width
