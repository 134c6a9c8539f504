"""What a fit was given, X, y and weights: described as datasets and a feature schema before the call, then let go.

X is the dataset in role 'train', y in role 'target', weights in role 'sample_weight'; the schema is that of X alone.
"""

from __future__ import annotations

from collections.abc import Collection

from ...records import Dataset
from ..data.description import Description
from ..data.sources import Source
from ..schema.features import FeatureSchema
from ..schema.inference import infer_schema

ROLES = (("train", "X"), ("target", "y"), ("sample_weight", "sample_weight"))
"""The role and the name of each argument of a fit, in their order."""


class Inputs:
    """The inputs of one fit, or of several calls of partial_fit whose batches follow one another."""

    def __init__(self, lengths: Collection[int] = ()) -> None:
        """`lengths` are the row counts of tables that these may have grown from."""
        self._lengths = lengths
        self._described: dict[str, Description] = {}
        self._sources: dict[str, Source] = {}
        self._found: list[Dataset] | None = None

    def add(self, X: object, y: object | None, sample_weight: object | None, *, last: bool) -> None:  # noqa: N803
        """Describe what one call is given; more may follow unless it is the last.

        Raises UsageError, naming the column, for what has no digest.
        """
        for (role, name), given in zip(ROLES, (X, y, sample_weight), strict=True):
            if given is None:
                continue
            if role in self._described:
                self._sources.pop(role, None)  # of several batches, none is the whole
            else:
                self._described[role] = Description(role=role, name=name, lengths=self._lengths)
                self._sources[role] = Source(given)
            self._described[role].add(given, last=last)
        self._found = None

    def datasets(self) -> list[Dataset]:
        """The datasets, X first."""
        if self._found is None:
            self._found = [description.finish() for description in self._described.values()]
        return self._found

    def schema(self) -> FeatureSchema | None:
        """The schema of X."""
        table = next((dataset for dataset in self.datasets() if dataset.role == "train"), None)
        return None if table is None else infer_schema(table.columns)

    def changed(self) -> list[str]:
        """The names of the inputs that are still there and are no longer what the fit was given."""
        return [
            dataset.name or dataset.role
            for dataset in self.datasets()
            if dataset.role in self._sources and self._sources[dataset.role].differs_from(dataset.digest)
        ]
