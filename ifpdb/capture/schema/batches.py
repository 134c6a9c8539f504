"""Batches: whatever a model is asked to predict on, as named columns. A batch is read, never changed.

A frame, an Arrow table, a structured array or a mapping of columns has names in an order. A plain array, a tensor, a sparse
matrix or a list of lists has positions. A mapping of values, or a list of them, names its values in no order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import UsageError


@dataclass(frozen=True, slots=True)
class Batch:
    """Columns by name: `column(i)` is the i-th of `names`, an array or a list. Without an order, `names` are a set."""

    names: tuple[str, ...]
    column: Callable[[int], Any]
    ordered: bool = True


def read_batch(data: Any, names: tuple[str, ...], *, tensor: bool) -> Batch:
    """The batch behind `data`, for a schema with these feature names; `tensor` is whether its only one is a tensor.

    Raises UsageError for what is no batch: a generator, a single value, a file's name.
    """
    data = _plain(data)
    if type(data).__module__.partition(".")[0] in ("numpy", "scipy") and hasattr(data, "ndim"):
        return _array(data, names, tensor)
    if isinstance(data, Mapping):
        return _mapping(data)
    if isinstance(data, list | tuple):
        return _rows(data, names)
    if type(data).__name__ == "Series":
        is_row = data.name not in names and hasattr(data, "to_dict")
        return _mapping(data.to_dict()) if is_row else _columns({data.name: data})
    return _frame(data)


def align_batch(data: Any, names: tuple[str, ...]) -> Any:
    """The batch with exactly these columns, in this order, in the library that it came in.

    Raises UsageError that names what is missing, and for what has no names.
    """
    if isinstance(data, list | tuple) and all(isinstance(row, Mapping) for row in data):
        _demand(names, {name for row in data for name in row})
        return [{name: row.get(name) for name in names} for row in data]
    if isinstance(data, Mapping):
        _demand(names, data)
        return {name: data[name] for name in names}
    if getattr(getattr(data, "dtype", None), "names", None):
        _demand(names, data.dtype.names)
        return data[list(names)]
    if not hasattr(data, "columns") and not hasattr(data, "column_names"):
        raise UsageError(f"a {type(data).__name__} has no column names: its columns are taken by position and can't be aligned")
    found = getattr(data, "column_names", None) or list(data.columns)
    labels = {str(label): label for label in reversed(list(found))}
    _demand(names, labels)
    if hasattr(data, "column_names"):
        return data.select_columns(list(names)) if hasattr(data, "select_columns") else data.select(list(names))
    if not type(data).__module__.startswith("pandas"):
        return data.select(list(names)) if hasattr(data, "select") else data[[labels[name] for name in names]]
    first = {label: i for i, label in reversed(list(enumerate(found)))}
    return data.iloc[:, [first[labels[name]] for name in names]]


def _demand(names: tuple[str, ...], found: Any) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        listed = ", ".join(map(repr, missing[:5])) + more
        raise UsageError(f"the batch lacks {listed}: add what is missing, or see validate(batch) for all that is wrong")


def _plain(data: Any) -> Any:
    """The same data as a type that numpy or narwhals knows."""
    module, name = type(data).__module__.partition(".")[0], type(data).__name__
    if module == "torch" and hasattr(data, "detach"):
        data = data.detach().cpu()
        return data.float().numpy() if str(data.dtype) == "torch.bfloat16" else data.numpy()
    if module == "datasets" and hasattr(data, "with_format"):
        return data.with_format("arrow")[:]
    if module == "pyarrow" and name == "RecordBatch":
        import pyarrow

        return pyarrow.Table.from_batches([data])
    if module == "polars" and name == "LazyFrame":
        raise UsageError("a LazyFrame has no values yet: give validate its collect()")
    return data


def _array(data: Any, names: tuple[str, ...], tensor: bool) -> Batch:
    if getattr(data.dtype, "names", None):
        return _columns({name: data[name] for name in data.dtype.names})
    if data.ndim == 0:
        raise UsageError(f"a batch is a table or an array of rows, not the single value {data}")
    if tensor:
        return Batch(names, lambda _: data)
    if data.ndim == 1:
        data = data.reshape(-1, 1) if len(names) == 1 else data.reshape(1, -1)
    elif data.ndim > 2:
        data = data.reshape(len(data), -1)
    if hasattr(data, "tocsc"):
        columns = data.tocsc()
        return Batch(_by_position(data.shape[1], names), lambda i: columns[:, [i]].toarray()[:, 0])
    return Batch(_by_position(data.shape[1], names), lambda i: data[:, i])


def _by_position(count: int, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of so many columns: the schema's, and x30, x31, … beyond them."""
    return names[:count] + tuple(f"x{i}" for i in range(len(names), count))


def _mapping(data: Mapping[Any, Any]) -> Batch:
    """A mapping of columns, or of the values of one row."""
    values = list(data.values())
    if values and all(_is_column(value) for value in values):
        return _columns(data)
    return Batch(tuple(map(str, data)), lambda i: [values[i]], ordered=False)


def _is_column(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        or getattr(value, "ndim", 0) > 0
        or hasattr(value, "to_list")
        or hasattr(value, "to_pylist")
    )


def _columns(data: Mapping[Any, Any]) -> Batch:
    values = [_column(value) for value in data.values()]
    return Batch(tuple(map(str, data)), lambda i: values[i])


def _column(value: Any) -> Any:
    """An array or a list of one column's values."""
    value = _plain(value)
    if isinstance(value, list | tuple) or type(value).__module__.partition(".")[0] in ("numpy", "scipy"):
        return value
    if hasattr(value, "to_pylist"):
        return value.to_pylist()
    import narwhals as nw

    return _values(nw.from_native(value, series_only=True))


def _rows(data: Sequence[Any], names: tuple[str, ...]) -> Batch:
    if all(isinstance(row, Mapping) for row in data):
        found = dict.fromkeys(str(name) for row in data for name in row) if data else dict.fromkeys(names)
        keys = list(found)
        return Batch(tuple(keys), lambda i: [row.get(keys[i]) for row in data], ordered=False)
    if not any(isinstance(row, list | tuple) or getattr(row, "ndim", 0) for row in data):
        data = [data] if len(names) != 1 else [[value] for value in data]
    try:
        columns = list(zip(*data, strict=True))
    except (TypeError, ValueError):
        raise UsageError("a batch of rows has as many values in each: these differ in length") from None
    return Batch(_by_position(len(columns), names), lambda i: list(columns[i]))


def _frame(data: Any) -> Batch:
    try:
        import narwhals as nw
    except ImportError:
        raise UsageError(
            f"a {type(data).__name__} can't be read without narwhals: pip install narwhals, or give a numpy array"
        ) from None
    if hasattr(data, "iloc") and hasattr(data, "columns"):  # pandas: its names may stand twice, or be no text
        names = tuple(map(str, data.columns))
        return Batch(names, lambda i: _values(nw.from_native(data.iloc[:, i], series_only=True)))
    try:
        frame = nw.from_native(data, eager_only=True)
    except TypeError:
        raise UsageError(
            f"a {type(data).__name__} is no batch: give a frame, an Arrow table, an array, a list of dicts or a dict"
        ) from None
    return Batch(tuple(frame.columns), lambda i: _values(frame[frame.columns[i]]))


def _values(series: Any) -> Any:
    """A numpy array where one holds the values with their nulls, else a list."""
    import narwhals as nw

    kind = series.dtype
    if kind == nw.Datetime:
        import numpy as np

        counts = series.dt.timestamp("ns")
        if not series.null_count():
            return counts.to_numpy().astype("i8").view("M8[ns]")
        return np.array([None if count is None or count != count else int(count) for count in counts.to_list()], "M8[ns]")
    if kind.is_float() or ((kind.is_integer() or kind == nw.Boolean) and not series.null_count()):
        return series.to_numpy()
    return series.to_list()
