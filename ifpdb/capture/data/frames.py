"""Data frames of every library as the leaves of a table: by way of Arrow where pyarrow is there, else by numpy alone.

Both ways give the same digest. Row labels don't count; column names, their order, types and values do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...errors import UsageError
from . import arrays, arrow, csvfile
from .table import LEAF, Field, available
from .values import Values, part_of, taken

Leaves = tuple[list[Field], Iterator[list[Values]]]


def pandas(frame: Any) -> Leaves:
    """A pandas DataFrame or Series. Raises UsageError, naming the column, for mixed objects and names used twice."""
    if frame.ndim == 1:
        frame = frame.to_frame("x0" if frame.name is None else frame.name)
    names = [str(name) for name in frame.columns]
    kinds = set(map(str, frame.dtypes))
    if len(kinds) == 1 and frame.dtypes.iloc[0].__class__.__module__.startswith("numpy") and len(names) <= arrays.MOST_COLUMNS:
        matrix = frame.to_numpy()
        if matrix.dtype.kind in "iufb":
            fields, leaves = arrays.array(matrix)
            return [Field(name, one.type) for name, one in zip(names, fields, strict=True)], leaves
    columns = [_pandas_column(frame.iloc[:, i], name) for i, name in enumerate(names)]
    fields = [Field(name, kind, categorical) for name, (kind, categorical, _) in zip(names, columns, strict=True)]
    return fields, _side_by_side(len(frame), [cut for _, _, cut in columns])


def _side_by_side(rows: int, columns: Sequence[Any]) -> Iterator[list[Values]]:
    for start in range(0, rows, LEAF):
        yield [cut(start, min(start + LEAF, rows)) for cut in columns]


def _pandas_column(series: Any, name: str) -> tuple[str, bool, Any]:
    """The type of a column, whether it is categorical, and what cuts Values out of it."""
    kind = str(series.dtype)
    if kind == "category":
        inner, _, cut = _pandas_column(series.dtype.categories.to_series(), name)
        categories, codes = cut(0, len(series.dtype.categories)), series.cat.codes.to_numpy()
        return inner, True, lambda a, b: taken(categories, codes[a:b])
    dtype = series.dtype
    if dtype.__class__.__module__.startswith("numpy") and dtype.kind != "O":
        data = series.to_numpy()
        found = arrays.type_of(data.dtype, name)
        return found, False, lambda a, b: arrays.column(data[a:b], found)
    if kind.startswith("datetime64[") and getattr(dtype, "tz", None) is not None:
        data = series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return "ts[utc]", False, lambda a, b: arrays.column(data[a:b], "ts[naive]")
    if dtype.kind in "iufb" and hasattr(series.array, "_mask"):  # Int64 and its like
        return _masked(series, name)
    if available("pyarrow") and kind != "object":
        return _by_arrow(series, name)
    if kind == "object" and available("pyarrow") and not _is_plain(series):
        return _by_arrow(series, name)
    empty = "utf8" if type(dtype).__name__ == "StringDtype" else "null"
    found, whole = arrays.from_objects(series.tolist(), name, empty=empty)
    return found, False, lambda a, b: part_of(whole, a, b)


def _masked(series: Any, name: str) -> tuple[str, bool, Any]:
    import numpy

    missing = series.isna().to_numpy()
    plain = series.dtype.numpy_dtype
    data = series.to_numpy(plain, na_value=numpy.nan if plain.kind == "f" else 0)
    found = arrays.type_of(plain, name)

    def cut(start: int, stop: int) -> Values:
        values = arrays.column(data[start:stop], found)
        if plain.kind != "f" and missing[start:stop].any():
            values.valid = ~missing[start:stop]
        return values

    return found, False, cut


def _is_plain(series: Any) -> bool:
    """Whether objects are of the kinds that this package reads by itself; Arrow reads dates, decimals and lists."""
    from pandas.api.types import infer_dtype

    return infer_dtype(series, skipna=True) not in ("date", "decimal", "time", "mixed", "datetime", "timedelta", "datetime64")


def _by_arrow(series: Any, name: str) -> tuple[str, bool, Any]:
    import pyarrow

    try:
        whole = pyarrow.Array.from_pandas(series)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError):
        arrays.from_objects(series.tolist(), name)  # names the rows that don't go together
        raise UsageError(f"column {name!r} holds objects without a digest: make it numbers, text or times") from None
    found = arrow.type_of(whole.type, name)
    if isinstance(whole, pyarrow.ChunkedArray):
        whole = pyarrow.concat_arrays(whole.chunks) if whole.num_chunks else pyarrow.array([], whole.type)
    return found, pyarrow.types.is_dictionary(whole.type), lambda a, b: arrow.values(whole.slice(a, b - a), found)


def polars(frame: Any) -> Leaves:
    """A polars DataFrame, LazyFrame (which is collected) or Series."""
    if hasattr(frame, "collect"):
        frame = frame.collect()
    if not hasattr(frame, "columns"):
        frame = frame.to_frame(frame.name or "x0")
    if objects := [name for name, dtype in frame.schema.items() if str(dtype) == "Object"]:
        raise UsageError(f"column {objects[0]!r} holds Python objects, which have no digest: make it numbers, text or times")
    if available("pyarrow"):
        return of_arrow(frame.to_arrow())
    return narwhals(frame)


def of_arrow(table: Any) -> Leaves:
    """A pyarrow Table, RecordBatch or dataset, without the row labels that pandas wrote into it."""
    import pyarrow

    if hasattr(table, "to_table"):
        table = table.to_table()
    elif hasattr(table, "read_all"):
        raise UsageError("a reader of batches can be read only once: name its file, or read it into a table")
    elif isinstance(table, pyarrow.RecordBatch):
        table = pyarrow.Table.from_batches([table])
    elif isinstance(table, pyarrow.Array | pyarrow.ChunkedArray):
        table = pyarrow.table({"x0": table})
    if labels := arrow.row_labels(table.schema):
        table = table.select([name for name in table.schema.names if name not in labels])
    return arrow.fields(table.schema), arrow.leaves(table)


def hugging_face(dataset: Any) -> Leaves:
    """A Hugging Face Dataset, as the Arrow table behind it."""
    if isinstance(dataset, dict):
        raise UsageError("this is several datasets by split: name one, as in data['train'], or give a mapping of role to data")
    if not hasattr(dataset, "__len__"):
        raise UsageError(f"a {type(dataset).__name__} can't be read without using it up: load the dataset without streaming")
    return of_arrow(dataset.with_format("arrow")[:])


def narwhals(frame: Any) -> Leaves:
    """Any frame that narwhals knows, with numpy alone. Raises UsageError for what is no eager frame."""
    import narwhals as nw

    try:
        known = nw.from_native(frame, eager_only=True)
    except TypeError:
        raise UsageError(f"a {type(frame).__name__} is no data that has a digest: give a frame, an array or a file") from None
    columns = [_narwhals_column(known[name], name) for name in known.columns]
    fields = [Field(name, kind, categorical) for name, (kind, categorical, _) in zip(known.columns, columns, strict=True)]
    return fields, _side_by_side(len(known), [cut for _, _, cut in columns])


def _narwhals_column(series: Any, name: str) -> tuple[str, bool, Any]:
    import narwhals as nw
    import numpy

    dtype, categorical = series.dtype, False
    if dtype in (nw.Categorical, nw.Enum):
        series, categorical = series.cast(nw.String), True
        dtype = series.dtype
    if dtype in (nw.String, nw.Object, nw.Binary) or dtype == nw.Unknown:
        empty = "utf8" if dtype == nw.String else "bytes" if dtype == nw.Binary else "null"
        found, whole = arrays.from_objects(series.to_list(), name, empty=empty)
        return found, categorical, lambda a, b: part_of(whole, a, b)
    missing = series.is_null().to_numpy().astype(bool)
    valid = ~missing if missing.any() else None
    if dtype == nw.Boolean:
        found, data = "bool", series.fill_null(False).to_numpy().astype("u1")
    elif dtype.is_integer():
        data = series.fill_null(0).to_numpy()
        data = data.astype(str(dtype).lower(), copy=False)
        found = arrays.type_of(data.dtype, name)
    elif dtype.is_float():
        data, valid = series.to_numpy().astype(str(dtype).lower(), copy=False), None
        found = arrays.type_of(data.dtype, name)
    elif dtype == nw.Date:
        found, data = "date", series.to_numpy().astype("datetime64[D]").astype("<i8").astype("<i4")
    elif dtype == nw.Datetime or dtype == nw.Duration:
        zone = getattr(dtype, "time_zone", None)
        plain = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else series
        unit = "datetime64[ns]" if dtype == nw.Datetime else "timedelta64[ns]"
        data = arrays.in_nanoseconds(plain.to_numpy().astype(unit[:-4] + f"[{dtype.time_unit}]"), unit).view("i8")
        found = "duration" if dtype == nw.Duration else "ts[utc]" if zone else "ts[naive]"
    else:
        raise UsageError(f"column {name!r} is {dtype}, which takes pyarrow to read: pip install 'ifpdb[data]'")
    whole = Values(len(data), numpy.asarray(data), valid)
    return found, categorical, lambda a, b: part_of(whole, a, b)


def csv_by_arrow(path: Path) -> Leaves:
    """A CSV file, read by pyarrow; raises ArrowInvalid where it gives up."""
    import pyarrow

    fields = csvfile.arrow_fields(path)
    batches = csvfile.arrow_columns(path, fields)
    return fields, (leaf for batch in batches for leaf in arrow.leaves(pyarrow.Table.from_batches([batch])))


def csv_by_python(path: Path) -> Leaves:
    """A CSV file, read by Python's csv module."""
    fields = csvfile.fields(path)
    blocks = csvfile.columns(path, fields)
    return fields, ([arrays.of_type(one.type, cells) for one, cells in zip(fields, columns, strict=True)] for columns in blocks)
