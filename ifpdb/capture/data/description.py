"""A table in memory, described as it is handed over, whoever's it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ...errors import IfpError, UsageError
from ...records import Dataset
from . import arrays, frames
from .digesting import Digesting
from .table import Field


class Description:
    """A table in memory, described as it is handed over; several parts with the same columns are one table."""

    def __init__(self, *, role: str, name: str | None, profile: bool = True, lengths: Collection[int] = ()) -> None:
        """`lengths` are row counts of which the first rows are to be known, so that growth from these is seen."""
        self._role, self._name, self._profile, self._lengths = role, name, profile, lengths
        self._digesting: Digesting | None = None

    def add(self, data: object, *, last: bool = True) -> None:
        """Take in a table, or the next rows of it when `last` is false. Raises UsageError for what has no digest."""
        try:
            self.add_leaves(*leaves_of(data), last=last)
        except (IfpError, OSError, MemoryError):
            raise
        except Exception as error:  # every library has its own for what it can't read
            raise UsageError(f"this {type(data).__name__} can't be read ({type(error).__name__}: {error})") from error

    def add_leaves(self, fields: Sequence[Field], leaves: Iterable[Any], *, last: bool = True) -> None:
        """As `add`, for a table that was opened already."""
        if self._digesting is None:
            self._digesting = Digesting(fields, profile=self._profile, lengths=self._lengths)
        self._digesting.add(fields, leaves, last=last)

    def finish(self) -> Dataset:
        """What was taken in, as a dataset. Raises UsageError for a table without rows."""
        assert self._digesting is not None, "nothing was added"
        columns, table = self._digesting.finish(), self._digesting.table
        prefixes = tuple(table.prefixes)
        return Dataset(
            self._role, self._name, table.digest(), None, table.rows, kind="table", columns=columns, prefixes=prefixes
        )


def leaves_of(data: Any) -> tuple[list[Field], Iterable[Any]]:
    """The fields and leaves of a table in memory, whoever's it is. Nothing is imported that its maker didn't import."""
    home = type(data).__module__.partition(".")[0]
    bases = {base.__module__.partition(".")[0] + "." + base.__name__ for base in type(data).__mro__}
    if home == "numpy":
        return arrays.array(data)
    if home == "pandas" or "pandas.DataFrame" in bases or "pandas.Series" in bases:
        return frames.pandas(data)
    if home == "polars":
        return frames.polars(data)
    if home == "pyarrow":
        return frames.of_arrow(data)
    if "datasets.Dataset" in bases or home == "datasets":
        return frames.hugging_face(data)
    if home == "scipy" and hasattr(data, "tocsr"):
        return arrays.sparse(data)
    if "torch.Tensor" in bases:
        return arrays.tensor(data)
    if "torch.Dataset" in bases and hasattr(data, "__len__"):
        return arrays.items(data)
    if isinstance(data, list | tuple | range):
        return arrays.lists(data)
    if home == "torch" or hasattr(data, "__next__") or "torch.IterableDataset" in bases:
        raise UsageError(f"a {type(data).__name__} can't be read without using it up or mixing it: give the data behind it")
    if isinstance(data, int | float | bool | bytes | Mapping | set):
        raise UsageError(
            f"data is a frame, an array, a file or folder, or a pointer 'uri#revision'; not a {type(data).__name__}"
        )
    return frames.narwhals(data)
