"""What a feature accepts, value by value or a column at a time.

Values decide, not the types that libraries give their columns, so that the same data get the same answer wherever they are
held: a whole float is an integer, 0 and 1 are booleans, an ISO 8601 text is a time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .features import Feature

SHOWN = 5
"""The most values that a problem names."""
_DAY = 86_400_000_000_000
_INFINITY = float("inf")
_FOREVER = 1 << 80  # nanoseconds


@dataclass(slots=True)
class Break:
    """A way in which a column breaks its rule: the first row that does, the first values, and how many rows in all."""

    code: str
    row: int
    values: list[Any] = field(default_factory=list)
    count: int = 0

    def add(self, value: Any) -> None:
        self.count += 1
        if len(self.values) < SHOWN and value not in self.values:
            self.values.append(value)

    def join(self, later: Break) -> None:
        """Take in the same way of breaking the rule, in later rows."""
        if later is not self:
            self.values = list(dict.fromkeys([*self.values, *later.values]))[:SHOWN]
            self.count += later.count


class Rule:
    """What one feature accepts. `code_of` judges a value, `breaks` a column: an array, a list, or a sparse matrix."""

    kinds = ""
    """The numpy kinds that `masks` can judge; arrays of other kinds are judged value by value."""

    def __init__(self, feature: Feature) -> None:
        self.nullable = feature.nullable

    def code_of(self, value: Any) -> str | None:
        """What is wrong with it: 'null', 'type', 'range' or 'category'; None when nothing is."""
        if is_null(value):
            return None if self.nullable else "null"
        return self.code_of_present(value)

    def code_of_present(self, value: Any) -> str | None:
        raise NotImplementedError

    def breaks(self, values: Any) -> list[Break]:
        """Each way in which the column breaks this rule."""
        if getattr(values, "ndim", 0) == 1 and values.dtype.kind in self.kinds:
            return self._breaks_in_array(values)
        found: dict[str, Break] = {}
        for row, value in enumerate(_listed(values)):
            code = self.code_of(value)
            if code is not None:
                found.setdefault(code, Break(code, row)).add(_shown(value))
        return list(found.values())

    def masks(self, values: Any) -> dict[str, Any]:
        """By code, which values of an array break the rule; a null breaks only 'null'."""
        raise NotImplementedError

    def _breaks_in_array(self, values: Any) -> list[Break]:
        import numpy as np

        found = []
        for code, mask in self.masks(values).items():
            rows = np.flatnonzero(mask)
            if rows.size and not (code == "null" and self.nullable):
                shown = list(dict.fromkeys(_shown(value) for value in values[rows[:SHOWN]]))
                found.append(Break(code, int(rows[0]), shown, int(rows.size)))
        return found


class Number(Rule):
    """A number within the range of training. Durations and times of day count in seconds."""

    kinds = "iuf"

    def __init__(self, feature: Feature) -> None:
        super().__init__(feature)
        self.low = float(feature.min) if isinstance(feature.min, int | float) else -_INFINITY
        self.high = float(feature.max) if isinstance(feature.max, int | float) else _INFINITY

    def code_of(self, value: Any) -> str | None:
        if (type(value) is float or type(value) is int) and self.low <= value <= self.high:
            return None
        return super().code_of(value)

    def code_of_present(self, value: Any) -> str | None:
        number = _number(value)
        return "type" if number is None else None if self.low <= number <= self.high else "range"

    def masks(self, values: Any) -> dict[str, Any]:
        low, high = limits_like(values.dtype, self.low, self.high)
        return {"null": values != values, "range": (values < low) | (values > high)}


class Integer(Number):
    """A whole number within the range of training."""

    def code_of(self, value: Any) -> str | None:
        if type(value) is int and self.low <= value <= self.high:
            return None
        return Rule.code_of(self, value)

    def code_of_present(self, value: Any) -> str | None:
        number = _number(value)
        if isinstance(number, float) and not number.is_integer():
            return "type"
        return super().code_of_present(value)

    def masks(self, values: Any) -> dict[str, Any]:
        if values.dtype.kind != "f":
            return super().masks(values)
        import numpy as np

        found = super().masks(values)
        found["type"] = (np.floor(values) != values) & ~found["null"] | np.isinf(values)
        found["range"] &= ~found["type"]
        return found


class Boolean(Rule):
    """True or false, also as 1 and 0."""

    kinds = "biuf"

    def code_of_present(self, value: Any) -> str | None:
        if isinstance(value, bool) or _scalar_kind(value) == "b":
            return None
        return None if _number(value) in (0, 1) else "type"

    def masks(self, values: Any) -> dict[str, Any]:
        nulls = values != values
        return {"null": nulls, "type": (values != 0) & (values != 1) & ~nulls}


class Text(Rule):
    """A text or category, one of those seen in training where they are on record."""

    def __init__(self, feature: Feature) -> None:
        super().__init__(feature)
        self.known = None if feature.categories is None else frozenset(feature.categories)
        self.types: tuple[type, ...] = (str,)
        if feature.type == "category":
            self.types = (str, int, float, bool, date, timedelta) if self.known is None else _types(self.known)

    def code_of_present(self, value: Any) -> str | None:
        if kind := _scalar_kind(value):
            value = datetime(1970, 1, 1) if kind == "M" else value.item()  # any time stands for this one's type
        if not isinstance(value, self.types):
            return "type"
        return None if self.known is None or value in self.known else "category"


class Time(Rule):
    """A time within the range of training. One without a zone is UTC."""

    kinds = "M"
    unit = "ns"
    nanoseconds = 1

    def __init__(self, feature: Feature) -> None:
        super().__init__(feature)
        low, high = nanoseconds(feature.min), nanoseconds(feature.max)
        self.low = -_FOREVER if low is None else low
        self.high = _FOREVER if high is None else high

    def code_of_present(self, value: Any) -> str | None:
        count = nanoseconds(value)
        if count is None or count % self.nanoseconds:
            return "type"
        return None if self.low <= count <= self.high else "range"

    def masks(self, values: Any) -> dict[str, Any]:
        import numpy as np

        whole = values.astype(f"M8[{self.unit}]")
        nulls = np.isnat(values)
        kind = (whole.astype(values.dtype) != values) & ~nulls
        counts = whole.view("i8")
        outside = (counts < self.low // self.nanoseconds) | (counts > self.high // self.nanoseconds)
        return {"null": nulls, "type": kind, "range": outside & ~nulls & ~kind}


class Date(Time):
    """A day, also as the time at which it begins."""

    unit = "D"
    nanoseconds = _DAY


class Tensor(Rule):
    """An array of one dtype and shape; a length of None is any."""

    def __init__(self, feature: Feature) -> None:
        super().__init__(feature)
        self.shape, self.dtype = feature.shape, feature.dtype
        self.kind = None if feature.dtype in (None, "object") else _kind(feature.dtype)
        self.low = feature.min if isinstance(feature.min, int | float) else -_INFINITY
        self.high = feature.max if isinstance(feature.max, int | float) else _INFINITY

    def code_of_present(self, value: Any) -> str | None:
        if self.kind is None:
            return None
        import numpy as np

        typed = hasattr(value, "dtype")
        try:
            found = np.frombuffer(value, "u1") if isinstance(value, bytes | bytearray) else np.asarray(value)
        except (TypeError, ValueError):
            return "type"
        kind = _kind(str(found.dtype))
        if not self._fits(found.shape) or (found.size and kind != self.kind and (typed or (kind, self.kind) != ("i", "f"))):
            return "type"
        low, high = limits_like(found.dtype, self.low, self.high)
        return "range" if ((found < low) | (found > high)).any() else None

    def breaks(self, values: Any) -> list[Break]:
        if hasattr(values, "indptr") or getattr(values, "ndim", 0) > 1:
            return self._breaks_in_block(values)
        return super().breaks(values)

    def _breaks_in_block(self, block: Any) -> list[Break]:
        import numpy as np

        rows = int(block.shape[0])
        if self.kind is None or not rows:
            return []
        if not self._fits(block.shape[1:]) or _kind(str(block.dtype)) != self.kind:
            return [Break("type", 0, [_shown(block[0])], rows)]
        low, high = limits_like(block.dtype, self.low, self.high)
        if hasattr(block, "indptr"):
            matrix = block.tocsr()
            wrong = np.flatnonzero((matrix.data < low) | (matrix.data > high))
            outside = np.unique(np.searchsorted(matrix.indptr, wrong, side="right") - 1)
            values = matrix.data[wrong[:SHOWN]]
        else:
            mask = (block < low) | (block > high)
            outside = np.flatnonzero(mask.reshape(rows, -1).any(axis=1))
            values = block[mask][:SHOWN]
        shown = list(dict.fromkeys(_shown(value) for value in values))
        return [Break("range", int(outside[0]), shown, int(outside.size))] if outside.size else []

    def _fits(self, shape: tuple[int, ...]) -> bool:
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(want in (None, got) for want, got in zip(self.shape, shape, strict=True))


_RULES: dict[str, type[Rule]] = {
    "number": Number,
    "integer": Integer,
    "boolean": Boolean,
    "string": Text,
    "category": Text,
    "timestamp": Time,
    "date": Date,
    "tensor": Tensor,
}


def rule_of(feature: Feature) -> Rule:
    """The rule of a feature's type."""
    return _RULES[feature.type](feature)


def is_null(value: Any) -> bool:
    """Whether it is None, NaN, NaT or NA."""
    if value is None or getattr(value, "shape", None):
        return value is None
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # pandas' NA has no truth
        return type(value).__name__ == "NAType"


def limits_like(dtype: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """Limits in the precision of the values that they are compared with: 0.1 in float32 is not beyond 0.1 in float64."""
    if dtype.kind != "f" or dtype.itemsize >= 8:
        return low, high
    import numpy as np

    with np.errstate(over="ignore"):
        return np.asarray(low).astype(dtype), np.asarray(high).astype(dtype)


_FINE_FRACTION = re.compile(r"\.\d{6}(\d{1,3})")


def nanoseconds(value: Any) -> int | None:
    """From the beginning of 1970 to a time, a date or an ISO 8601 text; None for what is none of these."""
    fine = 0
    if isinstance(value, str):
        if match := _FINE_FRACTION.search(value):
            fine = int(match[1].ljust(3, "0"))
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        fine = fine or int(getattr(value, "nanosecond", 0))  # a pandas Timestamp
        since = (value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)) - datetime(1970, 1, 1)
    elif isinstance(value, date):
        since = value - date(1970, 1, 1)
    elif _scalar_kind(value) == "M":
        return int(value.astype("M8[ns]").astype("i8"))
    else:
        return None
    return (since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds) * 1_000 + fine


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, time):
        return value.hour * 3_600 + value.minute * 60 + value.second + value.microsecond / 1e6
    kind = _scalar_kind(value)
    if kind == "m":
        return float(value / value.dtype.type(1, "s"))
    number = value.item() if kind and kind in "iuf" else None
    return number if isinstance(number, int | float) else None


def _scalar_kind(value: Any) -> str:
    """The kind of a numpy scalar; '' for what is none."""
    if getattr(value, "ndim", None) != 0:
        return ""
    return str(getattr(value.dtype, "kind", ""))


def _kind(dtype: str) -> str:
    return {"int": "i", "uint": "i", "float": "f", "bfloat": "f", "bool": "b"}.get(dtype.rstrip("0123456789"), "O")


def _types(values: frozenset[Any]) -> tuple[type, ...]:
    found = {type(value) for value in values}
    return (*found, int, float) if found & {int, float} else tuple(found)


def _listed(values: Any) -> Any:
    if not hasattr(values, "dtype"):
        return values
    return list(values) if values.dtype.kind in "Mm" or values.ndim > 1 else values.tolist()


def _shown(value: Any) -> Any:
    """A value as a problem names it: numbers and texts themselves, arrays by their dtype and shape."""
    if getattr(value, "shape", None):
        return f"{value.dtype} {tuple(value.shape)}"
    kind = _scalar_kind(value)
    if kind and kind in "biuf":
        return value.item()
    return value if isinstance(value, str | int | float) or value is None else str(value)
