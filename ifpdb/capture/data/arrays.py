"""Arrays: numpy's, scipy's sparse ones, torch's tensors and datasets, and plain lists, as the leaves of a table.

An array without names has columns x0, x1, …, one for each of its columns up to MOST_COLUMNS; a wider one, and one of more
dimensions, is a single column of vectors. A sparse matrix is a single column of sparse rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import UsageError
from .table import LEAF, Field
from .values import Values

MOST_COLUMNS = 1_000
"""A plain array with more columns than this is one column of vectors."""


def array(data: Any) -> tuple[list[Field], Iterator[list[Values]]]:
    """The fields and leaves of a numpy array, plain or structured.

    Raises UsageError for one of no dimensions, of complex numbers, of mixed objects or with values that are masked.
    """
    import numpy

    if isinstance(data, numpy.ma.MaskedArray):
        data = _unmasked(data)
    data = numpy.asarray(data)
    if data.dtype.names:
        columns = [data[name] for name in data.dtype.names]
        return _of_columns(list(data.dtype.names), columns)
    if data.ndim == 0:
        raise UsageError(f"data is a table or an array of rows, not the single value {data}")
    if data.ndim == 1:
        return _of_columns(["x0"], [data])
    if data.ndim == 2 and (data.shape[1] <= MOST_COLUMNS or data.dtype.hasobject):
        names = [f"x{i}" for i in range(data.shape[1])]
        if data.dtype.hasobject:
            return _of_columns(names, list(data.T))
        kind = type_of(data.dtype, "x0")
        return [Field(name, kind) for name in names], _blocks(data, kind)
    kind, leaves = _vectors(data, "x0")
    return [Field("x0", kind)], ([leaf] for leaf in leaves)


def _unmasked(data: Any) -> Any:
    if not data.mask.any():
        return data.data
    if data.dtype.kind != "f":
        raise UsageError(f"a masked array of {data.dtype} has no digest: fill what is masked, or make it floats")
    return data.filled(float("nan"))


def type_of(dtype: Any, name: str) -> str:
    """The canonical name of a numpy type."""
    if dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize <= 8):
        return f"{dtype.kind}{dtype.itemsize * 8}"
    if dtype.kind == "b":
        return "bool"
    if dtype.kind in "UT":
        return "utf8"
    if dtype.kind == "S":
        return "bytes"
    if dtype.kind == "M":
        return "ts[naive]"
    if dtype.kind == "m":
        return "duration"
    raise UsageError(f"column {name!r} is of type {dtype}, which has no digest: make it numbers, text or times")


def column(data: Any, kind: str) -> Values:
    """A one-dimensional numpy array of this canonical type as Values."""
    import numpy

    count = len(data)
    if kind in ("utf8", "bytes"):
        return texts([str(x) if kind == "utf8" else bytes(x) for x in data.tolist()])
    if kind in ("ts[naive]", "duration"):
        missing = numpy.isnat(data)
        unit = "datetime64[ns]" if kind.startswith("ts") else "timedelta64[ns]"
        whole = in_nanoseconds(data, unit).view("i8")
        return Values(count, whole, ~missing if missing.any() else None)
    return Values(count, data.view("u1") if data.dtype.kind == "b" else data)


def in_nanoseconds(data: Any, unit: str) -> Any:
    """Times in nanoseconds; raises UsageError for one that 64 bits don't hold then."""
    import numpy

    found = data.astype(unit)
    if not (found.astype(data.dtype) == data)[~numpy.isnat(data)].all():
        raise UsageError("a time is beyond what nanoseconds in 64 bits hold, 1677 to 2262")
    return found


def texts(items: Sequence[Any]) -> Values:
    """Strings or bytes, None for null, as Values."""
    import numpy

    missing = numpy.fromiter((item is None for item in items), bool, len(items))
    encoded = [b"" if x is None else x.encode("utf-8", "surrogatepass") if isinstance(x, str) else x for x in items]
    lengths = numpy.fromiter(map(len, encoded), "<i8", len(items))
    return Values(len(items), b"".join(encoded), ~missing if missing.any() else None, lengths)


def objects(items: Sequence[Any], name: str) -> tuple[str, Sequence[Any]]:
    """The canonical type of Python objects, and the objects with None for null.

    Raises UsageError, with two rows and their types, for a mixture.
    """
    import math

    kinds = {str: "utf8", bytes: "bytes", bool: "bool", int: "i64", float: "f64"}
    found, first = None, 0
    cleaned = list[Any]()
    for row, item in enumerate(items):
        if item is None or type(item).__name__ in ("NAType", "NaTType") or (type(item) is float and math.isnan(item)):
            cleaned.append(None)
            continue
        plain = item.item() if type(item).__module__ == "numpy" and hasattr(item, "item") else item
        kind = next((kinds[base] for base in type(plain).__mro__ if base in kinds), None)
        if kind is None:
            raise UsageError(f"column {name!r} holds a {type(item).__name__} in row {row}, which has no digest: {_advice}")
        if found is None:
            found, first = kind, row
        elif kind != found and {kind, found} == {"i64", "f64"}:
            found = "f64"
        elif kind != found:
            one, other = type(items[first]).__name__, type(item).__name__
            raise UsageError(f"column {name!r} mixes {one} (row {first}) and {other} (row {row}): {_advice}")
        cleaned.append(plain)
    return found or "null", cleaned


_advice = "make it one of numbers, text or times"


def from_objects(items: Sequence[Any], name: str, *, empty: str = "null") -> tuple[str, Values]:
    """Python objects as a column: its type, `empty` where all are null, and Values."""
    kind, cleaned = objects(items, name)
    kind = empty if kind == "null" else kind
    try:
        return kind, of_type(kind, cleaned)
    except OverflowError:
        raise UsageError(f"column {name!r} holds an integer beyond 64 bits: keep it as text") from None


def of_type(kind: str, cells: Sequence[Any]) -> Values:
    """Python values of one type, None for null, as Values."""
    import numpy

    if kind == "null":
        return Values(len(cells), valid=numpy.zeros(len(cells), bool))
    if kind in ("utf8", "bytes"):
        return texts(cells)
    if kind == "f64":
        return Values(len(cells), numpy.array([numpy.nan if x is None else x for x in cells], "<f8"))
    there = numpy.fromiter((x is not None for x in cells), bool, len(cells))
    data = numpy.array([x or 0 for x in cells], "u1" if kind == "bool" else "<i8")
    return Values(len(cells), data, None if there.all() else there)


def lists(data: Sequence[Any]) -> tuple[list[Field], Iterator[list[Values]]]:
    """A list of numbers or texts, which is one column, or of rows of one length."""
    import numpy

    if data and isinstance(data[0], list | tuple):
        width = len(data[0])
        for row, one in enumerate(data):
            if not isinstance(one, list | tuple) or len(one) != width:
                raise UsageError(f"row {row} is not {width} values as row 0 is: rows of one length make a table")
        columns = [numpy.array(column, object) for column in zip(*data, strict=True)]
        return _of_columns([f"x{i}" for i in range(width)], columns)
    if data and hasattr(data[0], "__array__"):
        return array(numpy.stack([numpy.asarray(one) for one in data]))
    kind, whole = from_objects(data, "x0")
    return [Field("x0", kind)], ([leaf] for leaf in _cuts(whole))


def sparse(matrix: Any) -> tuple[list[Field], Iterator[list[Values]]]:
    """A scipy matrix or array as one column of sparse rows: sorted, duplicates summed, zeros left out."""
    kind = type_of(matrix.dtype, "x0")
    rows = matrix.tocsr(copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    rows.sort_indices()

    def leaves() -> Iterator[list[Values]]:
        for start in range(0, rows.shape[0], LEAF):
            stop = min(start + LEAF, rows.shape[0])
            first, last = int(rows.indptr[start]), int(rows.indptr[stop])
            lengths = (rows.indptr[start + 1 : stop + 1] - rows.indptr[start:stop]).astype("<i8")
            inside = slice(first, last)
            data = rows.data[inside].view("u1") if rows.dtype.kind == "b" else rows.data[inside]
            yield [Values(stop - start, data, None, lengths, rows.indices[inside].astype("<i8"))]

    return [Field("x0", f"sparse[{kind},{matrix.shape[1]}]")], leaves()


def tensor(data: Any) -> tuple[list[Field], Iterator[list[Values]]]:
    """A torch tensor, like the array that it is; bfloat16, which numpy lacks, keeps its own type."""
    import torch

    data = data.detach().cpu()
    if data.dtype != torch.bfloat16:
        return array(data.resolve_conj().resolve_neg().numpy())
    bits = data.contiguous().view(torch.uint16).numpy().copy()
    bits[bits == 0x8000] = 0
    bits[(bits & 0x7FFF) > 0x7F80] = 0x7FC0
    found, leaves = array(bits)
    return [Field(one.name, one.type.replace("u16", "bf16")) for one in found], leaves


def items(dataset: Any) -> tuple[list[Field], Iterator[list[Values]]]:
    """A torch dataset with a length: each element of its items is a column.

    Raises UsageError for one that gives another first item when it is asked again: such data are made anew each time.
    """
    import numpy

    if hasattr(dataset, "tensors"):  # a TensorDataset: no need to go row by row
        return _of_columns([f"x{i}" for i in range(len(dataset.tensors))], [_plain(x) for x in dataset.tensors])

    if not len(dataset):
        raise UsageError("the dataset has no items: an empty one trains nothing")
    first, again = _parts(dataset[0]), _parts(dataset[0])
    if first.keys() != again.keys() or not all(map(_same, first.values(), again.values())):
        raise UsageError("the dataset gives other values each time it is read (augmentation?): name the raw data instead")
    names = list(first)

    def block(start: int) -> tuple[list[Field], Iterator[list[Values]]]:
        rows = [_parts(dataset[row]) for row in range(start, min(start + LEAF, len(dataset)))]
        for row, one in enumerate(rows, start):
            if one.keys() != first.keys():
                raise UsageError(f"item {row} of the dataset has the elements {list(one)}, item 0 has {names}")
        try:
            return _of_columns(list(map(str, names)), [numpy.stack([one[name] for one in rows]) for name in names])
        except ValueError as error:
            raise UsageError(f"the items of the dataset differ in shape ({error}): name the raw data instead") from None

    fields, head = block(0)

    def leaves() -> Iterator[list[Values]]:
        yield from head
        for start in range(LEAF, len(dataset), LEAF):
            found, inner = block(start)
            for one, other in zip(fields, found, strict=True):
                if one != other:
                    raise UsageError(f"element {one.name!r} is {one.type} up to item {start - 1}, and {other.type} then")
            yield from inner

    return fields, leaves()


def _parts(item: Any) -> dict[Any, Any]:
    """The elements of a dataset's item as arrays, by name."""
    if not isinstance(item, dict):
        item = {f"x{i}": part for i, part in enumerate(item if isinstance(item, tuple | list) else [item])}
    return {name: _plain(part) for name, part in item.items()}


def _same(one: Any, other: Any) -> bool:
    import numpy

    return numpy.array_equal(one, other, equal_nan=one.dtype.kind == "f" and other.dtype.kind == "f")


def _plain(part: Any) -> Any:
    import numpy

    return numpy.asarray(part.detach().cpu() if hasattr(part, "detach") else part)


def _of_columns(names: list[str], columns: list[Any]) -> tuple[list[Field], Iterator[list[Values]]]:
    """Columns that are arrays of one length, each of one or more dimensions."""
    parts = [_one_column(name, data) for name, data in zip(names, columns, strict=True)]
    fields = [Field(name, kind) for name, (kind, _) in zip(names, parts, strict=True)]
    return fields, (list(leaf) for leaf in zip(*(leaves for _, leaves in parts), strict=True))


def _one_column(name: str, data: Any) -> tuple[str, Iterator[Values]]:
    """The type and the leaves of one column."""
    if data.dtype.hasobject and data.ndim > 1:
        raise UsageError(f"column {name!r} holds objects in {data.ndim} dimensions: make it an array of numbers")
    if data.dtype.hasobject:
        kind, whole = from_objects(data.tolist(), name)
        return kind, _cuts(whole)
    if data.ndim > 1:
        return _vectors(data, name)
    kind = type_of(data.dtype, name)
    return kind, (column(data[i : i + LEAF], kind) for i in range(0, len(data), LEAF))


def _cuts(whole: Values) -> Iterator[Values]:
    from .values import part_of

    return (part_of(whole, i, min(i + LEAF, whole.count)) for i in range(0, whole.count, LEAF))


def _blocks(data: Any, kind: str) -> Iterator[list[Values]]:
    """A matrix, LEAF rows at a time: turned over once where its rows lie together, since columns are what is hashed."""
    import numpy

    by_column = data.T.flags.c_contiguous
    for start in range(0, len(data), LEAF):
        block = data[start : start + LEAF]
        turned = block.T if by_column else numpy.ascontiguousarray(block.T)
        yield [column(one, kind) for one in turned]


def _vectors(data: Any, name: str) -> tuple[str, Iterator[Values]]:
    """A column whose rows are vectors or more: its type and leaves."""
    kind = type_of(data.dtype, name)
    if kind in ("utf8", "bytes") or data.dtype.kind in "mM":
        raise UsageError(f"column {name!r} has {data.ndim} dimensions and holds {data.dtype}: vectors are of numbers")
    blocks = (data[start : start + LEAF] for start in range(0, len(data), LEAF))
    size = ",".join(map(str, data.shape[1:]))
    return f"{kind}[{size}]", (Values(len(one), one.view("u1") if kind == "bool" else one) for one in blocks)
