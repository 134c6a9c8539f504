"""Column profiles: what a column's values look like, taken while they stream by; kept for range checks and drift.

A profile says the same of equal columns, whatever the blocks they came in. Minimum and maximum are of all values, the bins
of a sample: of N values every s-th, beginning with the first, s being the least power of two that leaves at most SAMPLE.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ...digest import MAX_SAFE_INTEGER

SAMPLE = 16_384
"""The most values that bins are made of."""
BINS = 20
"""The most bins."""
FEW_TEXTS = 100
"""The most distinct values that a text column may have for them to be listed; and no more than half as many as values."""
FEW_CATEGORIES = 1_000
"""The most that a column declared categorical may have."""

_NUMBER = re.compile(r"[iuf]\d+")
_BLOCK = 4_096


class Profiler:
    """The profile of one column: `add` its values block by block in their order, then `finish`.

    `tag` is the column's type in `ifp-table/1`: 'i64', 'utf8', 'ts[utc]', 'f32[28,28]', …
    """

    def __init__(self, tag: str, *, categorical: bool = False) -> None:
        self._kind = _kind(tag, categorical)

    def add(self, values: Any) -> None:
        """Take in a block of values; nulls are left out (NaN counts as one).

        Numbers, booleans, times (int64 nanoseconds) and dates (int32 days) come as numpy arrays; vectors as arrays of more
        dimensions; a sparse block as its stored values; texts and decimals as lists or pyarrow arrays.
        """
        if len(values):
            self._kind.add(values)

    def finish(self) -> dict[str, Any]:
        """`min`, `max`, `values`, `edges` and `counts`, as `ifpdb.records.Column` has them.

        Times are RFC 3339 text with nanoseconds, their edges seconds since 1970; durations and times of day are seconds. A
        limit is None where JSON has no number for it: an infinity, so that no value is beyond it, and an integer beyond
        ±(2^53-1).
        """
        return {"min": None, "max": None, "values": None, "edges": (), "counts": ()} | self._kind.finish()


class _Kind(Protocol):
    def add(self, values: Any) -> None: ...

    def finish(self) -> dict[str, Any]: ...


def _kind(tag: str, categorical: bool) -> _Kind:
    if tag == "utf8":
        return _Texts(FEW_CATEGORIES, 1) if categorical else _Texts(FEW_TEXTS, 2)
    if tag == "bool":
        return _Booleans()
    if _NUMBER.fullmatch(tag):
        return _Categories() if categorical else _Numbers(number_limit)
    if tag == "date":
        return _Numbers(date_limit, lambda days: days * 86_400)
    if tag.startswith("ts["):
        return _Numbers(time_limit if tag == "ts[naive]" else lambda ns: time_limit(ns, "Z"), _seconds)
    if tag in ("duration", "time"):
        return _Numbers(_seconds, _seconds)
    if tag.startswith("decimal"):
        return _Decimals()
    if tag.startswith(("bytes", "list", "null", "struct", "bf16")):
        return _Nothing()
    return _Elements(tag.startswith("sparse"))


Limit = Callable[[Any], float | str | None]
"""A least or greatest value as JSON can hold it."""


def number_limit(value: Any) -> float | None:
    """A finite float or a safe integer itself, else None."""
    if isinstance(value, int):
        return value if abs(value) <= MAX_SAFE_INTEGER else None
    return value + 0.0 if abs(value) < float("inf") else None


def _seconds(nanoseconds: Any) -> Any:
    return nanoseconds / 1e9


def time_limit(nanoseconds: int, zone: str = "") -> str:
    """'2025-11-14T09:30:00.000000000' and the zone: of one length, so that text order is time order."""
    import numpy as np

    return f"{np.datetime64(nanoseconds, 'ns')}{zone}"


def date_limit(days: int) -> str | None:
    """'2025-11-14'; None beyond the years that RFC 3339 can write."""
    import numpy as np

    text = str(np.datetime64(days, "D"))
    return text if len(text) == 10 and text[4] == "-" else None


class _Range:
    """The least and the greatest of all values. `keep` gives them as Python numbers, NaN left out."""

    def __init__(self) -> None:
        self.low: Any = None
        self.high: Any = None

    def keep(self, values: Any) -> Any:
        """Widen the range; the values that are not NaN."""
        low, high = values.min().item(), values.max().item()
        if low != low:
            values = values[values == values]
            if not values.size:
                return values
            low, high = values.min().item(), values.max().item()
        self.low = low if self.low is None or low < self.low else self.low
        self.high = high if self.high is None or high > self.high else self.high
        return values

    def finish(self, limit: Limit) -> dict[str, Any]:
        return {} if self.low is None else {"min": limit(self.low), "max": limit(self.high)}


class _Numbers:
    """Numbers, or what is counted like them: `limit` writes the range, `scale` turns the sample into what edges are in."""

    def __init__(self, limit: Limit, scale: Callable[[Any], Any] = lambda sample: sample) -> None:
        self._limit, self._scale = limit, scale
        self._range, self._sample = _Range(), _Sample()

    def add(self, values: Any) -> None:
        self._sample.add(self._range.keep(values))

    def finish(self) -> dict[str, Any]:
        return self._range.finish(self._limit) | _bins(self._scale(self._sample.values()))


class _Decimals(_Numbers):
    """Decimals, as the doubles nearest to them."""

    def __init__(self) -> None:
        super().__init__(number_limit)

    def add(self, values: Any) -> None:
        import numpy as np

        super().add(np.array([float(value) for value in _listed(values)]))


class _Elements:
    """The range of a vector's elements. A sparse one has zeros that are not stored."""

    def __init__(self, sparse: bool) -> None:
        self._range, self._sparse = _Range(), sparse

    def add(self, values: Any) -> None:
        if values.dtype.kind in "iuf" and values.size:
            self._range.keep(values)

    def finish(self) -> dict[str, Any]:
        import numpy as np

        if self._sparse:
            self._range.keep(np.zeros(1))
        return self._range.finish(number_limit)


class _Nothing:
    """Values without an order worth telling, or that numpy has no type for: bytes, lists, structures, nothing but nulls."""

    def add(self, values: Any) -> None:
        pass

    def finish(self) -> dict[str, Any]:
        return {}


class _Sample:
    """Every s-th of the values that stream by; s doubles as long as more than SAMPLE are left."""

    def __init__(self) -> None:
        self._seen = 0
        self._stride = 1
        self._kept: list[Any] = []

    def add(self, values: Any) -> None:
        import numpy as np

        before, self._seen = self._seen, self._seen + len(values)
        thinner = 1
        while self._seen > SAMPLE * self._stride * thinner:
            thinner *= 2
        if thinner > 1 and self._kept:
            self._kept = [np.concatenate(self._kept)[::thinner]]
        self._stride *= thinner
        self._kept.append(values[-before % self._stride :: self._stride].copy())

    def values(self) -> Any:
        import numpy as np

        return np.concatenate(self._kept) if self._kept else np.empty(0)


def _bins(sample: Any) -> dict[str, Any]:
    """Bins that hold their upper edge: one for each value where they are few, else of nearly equal counts."""
    import numpy as np

    ordered = sample.astype("f8")
    ordered += 0.0  # no -0.0, which equals 0.0 in a column's digest too
    ordered.sort()
    if ordered.size and not np.isfinite(ordered[[0, -1]]).all():
        ordered = ordered[np.isfinite(ordered)]
    count = ordered.size
    if not count:
        return {}
    last: Any = np.append(ordered[1:] != ordered[:-1], True)  # the last of each run of equal values
    if np.count_nonzero(last) < BINS:
        ends = np.flatnonzero(last)
    else:
        ranks = -(-count * np.arange(1, BINS) // BINS) - 1
        ends = np.unique(np.searchsorted(ordered, ordered[ranks], side="right")) - 1
    counts: Any = np.diff(ends + 1, prepend=0, append=count)
    return {"edges": tuple(ordered[ends].tolist()), "counts": tuple(counts.tolist())}


class _Booleans:
    def __init__(self) -> None:
        self._total = self._true = 0

    def add(self, values: Any) -> None:
        import numpy as np

        self._total += len(values)
        self._true += int(np.count_nonzero(values))

    def finish(self) -> dict[str, Any]:
        return {"values": (False, True), "counts": (self._total - self._true, self._true)} if self._total else {}


class _Few:
    """Distinct values and how often each occurs, until they are more than `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[Any] | None = Counter()

    def count(self, values: Iterable[Any]) -> None:
        if self._counts is not None:
            self._counts.update(values)
            if len(self._counts) > self._most:
                self._counts = None

    def finish(self) -> dict[str, Any]:
        if not self._counts:
            return {}
        values = sorted(self._counts)
        return {"values": tuple(values), "counts": tuple(self._counts[value] for value in values)}

    @property
    def given_up(self) -> bool:
        return self._counts is None


class _Texts:
    """Texts, listed where there are few. `repeated` is how often a value must occur on average."""

    def __init__(self, most: int, repeated: int) -> None:
        self._few, self._repeated, self._seen = _Few(most), repeated, 0

    def add(self, values: Any) -> None:
        self._seen += len(values)
        for start in range(0, len(values), _BLOCK):
            if self._few.given_up:
                return
            self._few.count(_counted(values[start : start + _BLOCK]))

    def finish(self) -> dict[str, Any]:
        found = self._few.finish()
        return found if len(found.get("values", ())) * self._repeated <= self._seen else {}


class _Categories(_Numbers):
    """Numbers that stand for categories: listed where they are few and JSON can hold them, else binned."""

    def __init__(self) -> None:
        super().__init__(number_limit)
        self._few = _Few(FEW_CATEGORIES)

    def add(self, values: Any) -> None:
        import numpy as np

        super().add(values)
        for start in range(0, len(values), _BLOCK):
            if self._few.given_up:
                return
            block = values[start : start + _BLOCK]
            distinct, counts = np.unique(block[block == block], return_counts=True)
            self._few.count(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))

    def finish(self) -> dict[str, Any]:
        listed = self._few.finish()
        safe = all(number_limit(value) is not None for value in listed.get("values", ()))
        return super().finish() | (listed | {"edges": ()} if listed and safe else {})


def _counted(texts: Any) -> Any:
    """The texts, or, of a pyarrow array, how often each occurs."""
    if not hasattr(texts, "value_counts"):
        return texts
    pairs = texts.value_counts()
    return dict(zip(pairs.field(0).to_pylist(), pairs.field(1).to_pylist(), strict=True))


def _listed(values: Any) -> list[Any]:
    return list(values.to_pylist() if hasattr(values, "to_pylist") else values)
