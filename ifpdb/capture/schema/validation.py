"""Validation: whether a batch is what a model was trained on, and every way in which it isn't.

A good batch passes by comparing one block of numbers, or a few rows, with what was compiled from the schema. Whatever doesn't
pass is then judged column by column, so that the answer is the same whatever library holds the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..data.table import available
from .batches import Batch, read_batch
from .rules import SHOWN, Break, limits_like, rule_of

if TYPE_CHECKING:
    from .features import Feature, FeatureSchema

FEW_ROWS = 64
"""The most rows of a frame that are judged value by value at first."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which a batch breaks a schema. `code` is missing, extra, order, type, null, range or category."""

    code: str
    feature: str
    detail: str

    def as_dict(self) -> dict[str, Any]:
        return {"code": self.code, "feature": self.feature, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Validation:
    """What validating a batch found. It is true when the batch is as the schema says."""

    problems: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems

    def __bool__(self) -> bool:
        return self.ok

    def as_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, "problems": [problem.as_dict() for problem in self.problems]}


FINE = Validation()


class Validator:
    """A schema, compiled."""

    def __init__(self, schema: FeatureSchema) -> None:
        self._features = schema.features
        self._names = schema.names
        self._rules = [rule_of(feature) for feature in schema.features]
        self._codes = [rule.code_of for rule in self._rules]
        self._by_name = dict(zip(self._names, self._codes, strict=True))
        self._listed = list(self._names)
        self._tensor = len(self._names) == 1 and schema.features[0].type == "tensor"
        self._block = _Block(schema.features) if _is_numeric(schema.features) else None

    def validate(self, batch: Any) -> Validation:
        """Raises UsageError for what is no batch."""
        if self._is_fine(batch):
            return FINE
        return self.validate_blocks([(0, batch)])

    def validate_blocks(self, blocks: Iterable[tuple[int, Any]]) -> Validation:
        """Judge batches that are one, as (number of rows, batch): each problem is told once, rows count through."""
        shapes: dict[tuple[str, str], Problem] = {}
        found: dict[tuple[int, str], Break] = {}
        start = 0
        for rows, data in blocks:
            if not self._is_fine(data):
                batch = read_batch(data, self._names, tensor=self._tensor)
                for problem in self._misshapen(batch):
                    shapes.setdefault((problem.code, problem.feature), problem)
                for place, one in self._breaks(batch):
                    one.row += start
                    found.setdefault((place, one.code), one).join(one)
            start += rows
        broken = [Problem(code, self._names[i], describe(self._features[i], found[i, code])) for i, code in sorted(found)]
        return Validation((*shapes.values(), *broken))

    def _is_fine(self, batch: Any) -> bool:
        """Whether the batch is of a common kind and surely good. False says nothing."""
        if type(batch) is dict:
            return self._is_fine_row(batch)
        kind = type(batch)
        if kind.__name__ == "ndarray":
            return self._block is not None and batch.ndim in (1, 2) and self._block.holds(batch)
        if kind.__name__ not in ("DataFrame", "Table") or len(batch) > FEW_ROWS:
            return False
        if kind.__module__.startswith("pandas"):
            return list(batch.columns) == self._listed and self._is_fine_block(batch.to_numpy())
        if kind.__module__.startswith("polars"):
            return bool(batch.columns == self._listed) and self._are_fine(batch.rows())
        if kind.__module__.startswith("pyarrow"):
            return bool(batch.column_names == self._listed) and self._is_fine_table(batch)
        return False

    def _is_fine_row(self, row: dict[str, Any]) -> bool:
        if len(row) != len(self._names):
            return False
        try:
            return not any(code_of(row[name]) for name, code_of in self._by_name.items())
        except KeyError:
            return False

    def _is_fine_table(self, table: Any) -> bool:
        try:
            columns = [column.to_pylist() for column in table.columns]
        except ValueError:  # a time finer than Python's
            return False
        return not any(code_of(v) for code_of, column in zip(self._codes, columns, strict=True) for v in column)

    def _is_fine_block(self, block: Any) -> bool:
        if self._block is not None and block.dtype.kind in "fiu":
            return self._block.holds(block)
        return self._are_fine(block.tolist())

    def _are_fine(self, rows: list[Any]) -> bool:
        return not any(code_of(value) for row in rows for code_of, value in zip(self._codes, row, strict=True))

    def _misshapen(self, batch: Batch) -> Iterator[Problem]:
        """What is wrong with the names: extra, missing, order."""
        seen = set[str]()
        for place, name in enumerate(batch.names):
            if name in seen:
                yield Problem("extra", name, f"position {place}: {name!r} stands twice in the batch")
            elif name not in self._by_name:
                yield Problem("extra", name, f"position {place}: {name!r} was not in training")
            seen.add(name)
        for feature in self._features:
            if feature.name not in seen:
                detail = f"position {feature.position}: {feature.name!r} ({feature.type}) is not in the batch"
                yield Problem("missing", feature.name, detail)
        got = [name for name in dict.fromkeys(batch.names) if name in self._by_name]
        trained = [feature for feature in self._features if feature.name in seen]
        for name, feature in zip(got, trained, strict=True):
            if batch.ordered and name != feature.name:
                detail = f"position {feature.position}: got {name}, trained with {feature.name}; align(batch) fixes this"
                yield Problem("order", name, detail)
                return

    def _breaks(self, batch: Batch) -> Iterator[tuple[int, Break]]:
        """What is wrong with the values, by the feature's position."""
        places = {name: place for place, name in reversed(list(enumerate(batch.names)))}
        for i, (name, rule) in enumerate(zip(self._names, self._rules, strict=True)):
            if name in places:
                for found in rule.breaks(batch.column(places[name])):
                    yield i, found


class _Block:
    """The limits of features that are all numbers, for a whole block at once."""

    def __init__(self, features: tuple[Feature, ...]) -> None:
        import numpy as np

        lows, highs = [_limits(feature)[0] for feature in features], [_limits(feature)[1] for feature in features]
        self._limits = np.array(lows, "f8"), np.array(highs, "f8")
        self._nullable = np.array([feature.nullable for feature in features])
        self._whole = np.array([i for i, feature in enumerate(features) if feature.type != "number"], int)
        self._shapes = (len(features),), (1, len(features))

    def holds(self, values: Any) -> bool:
        """Whether each value, of one row or of many, is surely good."""
        if values.shape[-1:] != self._shapes[0] or values.dtype.kind not in "fiu":
            return False
        low, high = limits_like(values.dtype, *self._limits)
        good = values >= low
        good &= values <= high
        if not good.all():
            good |= (values != values) & self._nullable
            if not good.all():
                return False
        if self._whole.size and values.dtype.kind == "f":
            whole = values[..., self._whole]
            return bool(((whole % 1 == 0) | (whole != whole)).all())
        return True


def _limits(feature: Feature) -> tuple[Any, Any]:
    if feature.type == "boolean":
        return 0, 1
    low = feature.min if isinstance(feature.min, int | float) else float("-inf")
    return low, feature.max if isinstance(feature.max, int | float) else float("inf")


def _is_numeric(features: tuple[Feature, ...]) -> bool:
    return all(feature.type in ("number", "integer", "boolean") for feature in features) and available("numpy")


def describe(feature: Feature, found: Break) -> str:
    """'position 0, row 17: -4.0 not in [0, 99], the range in training; 3 rows'."""
    values = ", ".join(repr(value) for value in found.values)
    if found.code == "null":
        why = "a null, and there was none in training"
    elif found.code == "type":
        why = f"{values} is no {_wanted(feature)}"
    elif found.code == "range":
        low = "-∞" if feature.min is None else feature.min
        why = f"{values} not in [{low}, {'∞' if feature.max is None else feature.max}], the range in training"
    else:
        known = feature.categories or ()
        listed = ", ".join(repr(value) for value in known[:SHOWN]) + (", …" if len(known) > SHOWN else "")
        why = f"{values} not seen in training, which had {listed or 'none'}"
    return f"position {feature.position}, row {found.row}: {why}" + (f"; {found.count} rows" if found.count > 1 else "")


def _wanted(feature: Feature) -> str:
    if feature.shape is None:
        return feature.type
    lengths = ["any" if length is None else str(length) for length in feature.shape]
    return f"{feature.dtype} of shape ({', '.join(lengths)}{',' if len(lengths) == 1 else ''})"
