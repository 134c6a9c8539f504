"""Values of one column as numpy holds them, and the bytes that `ifp-table/1` hashes for them.

Every reader turns what it reads into Values: fixed-width values in one array, texts as lengths and bytes, lists as lengths
and a child, structures as children. What is null holds anything here and nothing in the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .table import leaf_digest

FIXED = re.compile(r"[iu](8|16|32|64)|f(16|32|64)|bf16|bool|date|time|duration|ts\[(utc|naive)\]")
TENSOR = re.compile(r"([iuf](?:8|16|32|64)|bf16|bool)\[([0-9]+(?:,[0-9]+)*)\]")
SPARSE = re.compile(r"sparse\[([a-z0-9]+),([0-9]+)\]")


@dataclass(slots=True)
class Values:
    """`count` values; `valid` is a boolean array, or None where none is null. A null among floats is a NaN.

    `data` are the values: an array whose first axis is the row, or, of texts and sparse rows, all of them in one.
    `lengths` (int64) say how much of `data` or of the one child belongs to each row; sparse rows have `indices` besides.
    """

    count: int
    data: Any = None
    valid: Any = None
    lengths: Any = None
    indices: Any = None
    children: tuple[Values, ...] = ()

    @property
    def nulls(self) -> int:
        """How many are null; a NaN among floats counts as one."""
        if self.valid is not None:
            return self.count - int(self.valid.sum())
        if self.lengths is None and getattr(self.data, "ndim", 0) == 1 and self.data.dtype.kind == "f":
            import numpy

            return int(numpy.count_nonzero(numpy.isnan(self.data)))
        return 0


def digest(type: str, values: Values) -> bytes:
    """The digest of a leaf with these values."""
    return leaf_digest(_bytes(piece) for piece in pieces(type, values))


def pieces(type: str, values: Values) -> Iterator[Any]:
    """The bytes of a leaf, piece by piece."""
    import numpy

    if type[0] == "f" and FIXED.fullmatch(type):
        yield _canonical_floats(values.data, values.valid)
        return
    if type == "null":
        yield b"\0"
        return
    yield b"\1" if values.valid is None else b"\0" + numpy.packbits(values.valid, bitorder="little").tobytes()
    if match := SPARSE.fullmatch(type):
        floats = match[1][0] == "f"
        yield from (values.lengths, values.indices, _canonical_floats(values.data, None) if floats else values.data)
    elif match := TENSOR.fullmatch(type):
        data = values.data if values.valid is None else _blanked(values.data, values.valid)
        yield _canonical_floats(data, None) if match[1][0] == "f" else data
    elif FIXED.fullmatch(type):
        yield values.data if values.valid is None else _blanked(values.data, values.valid)
    elif type.startswith("list["):
        yield values.lengths
        yield from pieces(type[5:-1], values.children[0])
    elif type.startswith("struct{"):
        for (_, inner), child in zip(struct_fields(type), values.children, strict=True):
            yield from pieces(inner, child)
    else:
        yield from (values.lengths, values.data)


def struct_fields(type: str) -> list[tuple[str, str]]:
    """(name, type) of each field of a `struct{…}`; a name is a JSON string, since it may hold anything."""
    import json

    found, rest, decoder = [], type[7:-1], json.JSONDecoder()
    while rest:
        name, end = decoder.raw_decode(rest)
        depth, stop = 0, end + 1
        while stop < len(rest) and (depth or rest[stop] != ","):
            depth += (rest[stop] in "[{") - (rest[stop] in "]}")
            stop = decoder.raw_decode(rest, stop)[1] if rest[stop] == '"' else stop + 1
        found.append((name, rest[end + 1 : stop]))
        rest = rest[stop + 1 :]
    return found


def joined(parts: Sequence[Values]) -> Values:
    """Values that follow one another, as one."""
    import numpy

    if len(parts) == 1:
        return parts[0]

    def together(arrays: list[Any]) -> Any:
        if arrays[0] is None:
            return None
        if isinstance(arrays[0], numpy.ndarray):
            return numpy.concatenate(arrays)
        return b"".join(map(bytes, arrays))

    valid = None
    if any(part.valid is not None for part in parts):
        ones = [numpy.ones(part.count, bool) if part.valid is None else part.valid for part in parts]
        valid = numpy.concatenate(ones)
    return Values(
        sum(part.count for part in parts),
        together([part.data for part in parts]),
        valid,
        together([part.lengths for part in parts]),
        together([part.indices for part in parts]),
        tuple(joined(children) for children in zip(*(part.children for part in parts), strict=True)),
    )


def part_of(values: Values, start: int, stop: int) -> Values:
    """The values of rows `start` to `stop`, as a table of these alone holds them: without a bitmap where none is null."""
    return _unmarked(_part(values, start, stop))


def _part(values: Values, start: int, stop: int) -> Values:
    def cut(array: Any) -> Any:
        return None if array is None else array[start:stop]

    if values.lengths is None:
        children = tuple(_part(child, start, stop) for child in values.children)
        return Values(stop - start, cut(values.data), cut(values.valid), children=children)
    first, count = int(values.lengths[:start].sum()), int(values.lengths[start:stop].sum())
    inner = slice(first, first + count)
    return Values(
        stop - start,
        None if values.data is None else values.data[inner],
        cut(values.valid),
        cut(values.lengths),
        None if values.indices is None else values.indices[inner],
        tuple(_part(child, first, first + count) for child in values.children),
    )


def _unmarked(values: Values) -> Values:
    valid = None if values.valid is None or values.valid.all() else values.valid
    return replace(values, valid=valid, children=tuple(map(_unmarked, values.children)))


def taken(values: Values, positions: Any) -> Values:
    """The values at these positions; what stands at -1 is null. Not for nested ones."""
    import numpy

    there = positions >= 0
    valid = None if there.all() else there
    if values.lengths is not None:
        ends, data = numpy.cumsum(values.lengths), bytes(values.data)
        words = [data[end - length : end] for end, length in zip(ends, values.lengths, strict=True)] + [b""]
        lengths = numpy.append(values.lengths, 0)[positions]
        return Values(len(positions), b"".join([words[i] for i in positions]), valid, lengths)
    if values.data is None:
        return Values(len(positions), valid=there)
    floats = values.data.dtype.kind == "f"
    blank = numpy.array([numpy.nan if floats else 0], values.data.dtype)
    return Values(len(positions), numpy.concatenate([values.data, blank])[positions], None if floats else valid)


def copied(values: Values) -> Values:
    """The same values in memory of their own."""

    def copy(array: Any) -> Any:
        return None if array is None else array.copy() if hasattr(array, "copy") else bytes(array)

    arrays = (copy(values.data), copy(values.valid), copy(values.lengths), copy(values.indices))
    return Values(values.count, *arrays, tuple(map(copied, values.children)))


def present(type: str, values: Values) -> Any:
    """The values that are there, as a profile takes them: an array, or a list of texts."""
    if type in ("utf8",) or type.startswith("decimal["):
        texts = _texts(values)
        return texts if values.valid is None else [text for text, there in zip(texts, values.valid, strict=True) if there]
    if values.data is None or values.children or type == "bytes":
        return ()
    data = values.data if values.valid is None or values.lengths is not None else values.data[values.valid]
    if data.dtype.kind == "f" and data.ndim == 1:
        import numpy

        missing = numpy.isnan(data)
        return data[~missing] if missing.any() else data
    return data


def _texts(values: Values) -> list[str]:
    import numpy

    ends = numpy.cumsum(values.lengths)
    data = bytes(values.data)
    return [data[end - length : end].decode("utf-8", "replace") for end, length in zip(ends, values.lengths, strict=True)]


def _canonical_floats(data: Any, valid: Any) -> Any:
    """Little-endian floats with one zero and one NaN, which is null too."""
    import numpy

    with numpy.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        data = data + data.dtype.type(0)  # -0.0 becomes 0.0, and the caller's array stays as it is
    missing = numpy.isnan(data)
    if valid is not None:
        missing |= ~valid
    if missing.any():
        data[missing] = numpy.nan
    return data


def _blanked(data: Any, valid: Any) -> Any:
    import numpy

    data = data.copy()
    data[~valid] = numpy.zeros((), data.dtype)
    return data


def _bytes(piece: Any) -> bytes | memoryview:
    if isinstance(piece, bytes | bytearray | memoryview):
        return memoryview(piece)
    import numpy

    little = piece.astype(piece.dtype.newbyteorder("<"), copy=False)
    return memoryview(numpy.ascontiguousarray(little).reshape(-1).view("u1")) if little.size else b""
