"""Arrow tables, and whatever hands out Arrow data: types named as `ifp-table/1` names them, columns as Values."""

from __future__ import annotations

import json
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
    if is_.is_fixed_size_list(type) and is_.is_primitive(type.value_type):
        return f"{type_of(type.value_type, name)}[{type.list_size}]"
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

    array = array.cast(pyarrow.large_string() if kind != "bytes" else pyarrow.large_binary())
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

    width, element = array.type.list_size, kind.partition("[")[0]
    inner = array.values.slice(array.offset * width, len(array) * width)
    if element[0] == "f":
        filled = compute.fill_null(inner, numpy.nan)
    elif inner.null_count and (valid is None or inner.slice().null_count > (len(array) - int(valid.sum())) * width):
        raise UsageError(f"a vector of type {kind} has nulls inside: fill them, or use floats with NaN")
    else:
        filled = compute.fill_null(inner.cast(pyarrow.uint8()) if element == "bool" else inner, 0)
    return Values(len(array), filled.to_numpy(zero_copy_only=False).reshape(len(array), width), valid)


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
