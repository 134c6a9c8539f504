"""Arrow tables, and whatever hands out Arrow data: types named as `ifp-table/1` names them, columns as Values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ...errors import UsageError
from .table import LEAF, Field
from .values import Values


def fields(schema: Any) -> list[Field]:
    """The fields of a pyarrow schema. Raises UsageError, naming the column, for a type that has no canonical form."""
    import pyarrow

    return [Field(one.name, type_of(one.type, one.name), pyarrow.types.is_dictionary(one.type)) for one in schema]


def leaves(table: Any) -> Iterator[list[Values]]:
    """The columns of a pyarrow Table, LEAF rows at a time."""
    kinds = [type_of(one.type, one.name) for one in table.schema]
    for start in range(0, table.num_rows, LEAF):
        block = table.slice(start, LEAF)
        yield [values(_one_array(column), kind) for column, kind in zip(block.columns, kinds, strict=True)]


def row_labels(schema: Any) -> set[str]:
    """The columns that hold an index which pandas wrote: labels of rows, no data."""
    written = (schema.metadata or {}).get(b"pandas")
    labels = json.loads(written).get("index_columns", []) if written else []
    return {label for label in labels if isinstance(label, str)}


def type_of(type: Any, name: str) -> str:
    """The canonical name of an Arrow type."""
    import pyarrow.types as is_

    simple: list[tuple[Any, str]] = [
        (is_.is_boolean, "bool"),
        (is_.is_date, "date"),
        (is_.is_time, "time"),
        (is_.is_duration, "duration"),
        (is_.is_null, "null"),
    ]
    for test, found in simple:
        if test(type):
            return found
    if is_.is_dictionary(type):
        return type_of(type.value_type, name)
    if is_.is_integer(type):
        return f"{'i' if is_.is_signed_integer(type) else 'u'}{type.bit_width}"
    if is_.is_floating(type):
        return f"f{type.bit_width}"
    if is_.is_timestamp(type):
        return "ts[utc]" if type.tz else "ts[naive]"
    if str(type) in ("string", "large_string", "string_view"):
        return "utf8"
    if str(type) in ("binary", "large_binary", "binary_view") or is_.is_fixed_size_binary(type):
        return "bytes"
    if is_.is_decimal(type):
        return f"decimal[{type.scale}]"
    if is_.is_fixed_size_list(type):
        element, _, shape = type_of(type.value_type, name).partition("[")
        if re.fullmatch(r"bool|[iuf]\d+", element):
            return f"{element}[{type.list_size}{',' + shape if shape else ']'}"
    if is_.is_list(type) or is_.is_large_list(type) or is_.is_fixed_size_list(type):
        return f"list[{type_of(type.value_type, name)}]"
    if is_.is_struct(type):
        inner = ",".join(f"{json.dumps(one.name)}:{type_of(one.type, name)}" for one in type)
        return "struct{" + inner + "}"
    raise UsageError(f"column {name!r} is of Arrow type {type}, which has no digest: cast it to numbers, text or times")


def values(array: Any, kind: str) -> Values:
    """An Arrow array as Values of this canonical type."""
    import numpy
    import pyarrow
    import pyarrow.compute as compute

    if pyarrow.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    count = len(array)
    valid = array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else None
    if kind == "null":
        return Values(count, valid=numpy.zeros(count, bool))
    if kind in ("utf8", "bytes") or kind.startswith("decimal["):
        return _texts(array, kind, valid)
    if kind.startswith("list["):
        return _lists(array, kind, valid)
    if kind.startswith("struct{"):
        flat = [type_of(one.type, one.name) for one in array.type]
        children = tuple(values(child, inner) for child, inner in zip(array.flatten(), flat, strict=True))
        return Values(count, valid=valid, children=children)
    if "[" in kind and not kind.startswith("ts["):
        return _vectors(array, kind, valid)
    casts = {
        "bool": pyarrow.uint8(),
        "date": pyarrow.int32(),
        "time": pyarrow.int64(),
        "duration": pyarrow.int64(),
        "ts[utc]": pyarrow.int64(),
        "ts[naive]": pyarrow.int64(),
    }
    if kind in casts:
        array = _in_nanoseconds(array, kind).cast(casts[kind])
    if array.null_count:
        array = compute.fill_null(array, pyarrow.scalar(numpy.nan if kind[0] == "f" else 0, array.type))
    return Values(count, array.to_numpy(zero_copy_only=False), None if kind[0] == "f" else valid)


def _in_nanoseconds(array: Any, kind: str) -> Any:
    import pyarrow

    try:
        if kind == "date":
            return array.cast(pyarrow.date32())
        if kind == "time":
            return array.cast(pyarrow.time64("ns"))
        if kind == "duration":
            return array.cast(pyarrow.duration("ns"))
        if kind.startswith("ts["):
            return array.cast(pyarrow.timestamp("ns", array.type.tz))
    except pyarrow.ArrowInvalid as error:
        raise UsageError(f"a time is beyond what nanoseconds in 64 bits hold, 1677 to 2262: {error}") from None
    return array


def _texts(array: Any, kind: str, valid: Any) -> Values:
    import numpy
    import pyarrow
    import pyarrow.compute as compute

    texts = array.cast(pyarrow.large_string() if kind != "bytes" else pyarrow.large_binary())
    if kind.startswith("decimal[") and compute.any(compute.match_substring(texts, "E")).as_py():
        texts = pyarrow.array([None if x is None else f"{x:f}" for x in array.to_pylist()], texts.type)
    array = texts
    if array.null_count:
        array = compute.fill_null(array, "" if kind != "bytes" else b"")
    offsets = numpy.frombuffer(array.buffers()[1], "<i8", len(array) + 1, array.offset * 8)
    buffer = array.buffers()[2]
    data = memoryview(buffer)[offsets[0] : offsets[-1]] if buffer is not None else b""
    return Values(len(array), data, valid, numpy.diff(offsets))


def _lists(array: Any, kind: str, valid: Any) -> Values:
    import numpy
    import pyarrow
    import pyarrow.compute as compute

    lengths = numpy.asarray(compute.fill_null(compute.list_value_length(array), 0).cast(pyarrow.int64()))
    child = array.flatten()  # what a null row points to is left out
    return Values(len(array), None, valid, lengths, children=(values(_one_array(child), kind[5:-1]),))


def _vectors(array: Any, kind: str, valid: Any) -> Values:
    import numpy
    import pyarrow
    import pyarrow.compute as compute

    inner, shape = array.flatten(), [array.type.list_size]  # what a null row points to is left out
    while pyarrow.types.is_fixed_size_list(inner.type) and not inner.null_count:
        shape.append(inner.type.list_size)
        inner = inner.flatten()
    if inner.null_count and (kind[0] != "f" or not pyarrow.types.is_floating(inner.type)):
        raise UsageError(f"a vector of type {kind} has nulls inside: fill them, or use floats with NaN")
    inner = compute.fill_null(inner, numpy.nan) if inner.null_count else inner
    inner = inner.cast(pyarrow.uint8()) if kind.startswith("bool") else inner
    there = inner.to_numpy(zero_copy_only=False).reshape(-1, *shape)
    if valid is None:
        return Values(len(array), there)
    data = numpy.zeros((len(array), *shape), there.dtype)
    data[valid] = there
    return Values(len(array), data, valid)


def _one_array(column: Any) -> Any:
    import pyarrow

    if not isinstance(column, pyarrow.ChunkedArray):
        return column
    return (
        column.chunk(0)
        if column.num_chunks == 1
        else pyarrow.concat_arrays(column.chunks)
        if column.num_chunks
        else (pyarrow.array([], column.type))
    )
