"""The points of one metric as a compressed blob of bytes, 'ifp-series/1'.

zlib over little-endian columns: n values (float64), n steps (int64), n times (int64, microseconds since 1970 UTC); steps
and times as differences to the one before, the first to 0, modulo 2^64. NaN and infinities are kept bit by bit.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from struct import Struct
from typing import Any

_LEVEL = 6
_HALF = 1 << 63
_BITS = Struct(">d")


def pack(values: Sequence[float], steps: Sequence[int], times: Sequence[int]) -> bytes:
    """The series of these points."""
    columns: list[array[Any]] = [array("d", values), array("q", _differences(steps)), array("q", _differences(times))]
    return zlib.compress(b"".join(_little(column).tobytes() for column in columns), _LEVEL)


def unpack(series: bytes) -> tuple[list[float], list[int], list[int]]:
    """The values, steps and times of a series."""
    data = zlib.decompress(series)
    size = len(data) // 3
    values, steps, times = array("d"), array("q"), array("q")
    columns: list[array[Any]] = [values, steps, times]
    for number, column in enumerate(columns):
        column.frombytes(data[number * size : (number + 1) * size])
        _little(column)
    return values.tolist(), list(accumulate(steps, _sum)), list(accumulate(times, _sum))


def unite(a: bytes, b: bytes) -> bytes:
    """Every point of two series, one that both have once, by time, step and value."""
    counted: dict[tuple[int, int, bytes], int] = {}
    for one in (a, b):
        values, steps, times = unpack(one)
        seen = Counter(zip(times, steps, map(_BITS.pack, values), strict=True))
        for point, count in seen.items():
            counted[point] = max(count, counted.get(point, 0))
    points = [point for point in sorted(counted) for _ in range(counted[point])]
    return pack([_BITS.unpack(bits)[0] for _, _, bits in points], [step for _, step, _ in points], [at for at, _, _ in points])


def _differences(numbers: Sequence[int]) -> list[int]:
    return [_sum(after, -before) for before, after in zip([0, *numbers], numbers, strict=False)]


def _sum(a: int, b: int) -> int:
    """a + b as 64-bit integers wrap around."""
    return (a + b + _HALF) % (2 * _HALF) - _HALF


def _little(column: array[Any]) -> array[Any]:
    if sys.byteorder == "big":
        column.byteswap()
    return column
