"""Series: every point comes back bit by bit."""

from __future__ import annotations

import math
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifpdb.store import series

INT64 = st.integers(-(2**63), 2**63 - 1)
POINTS = st.lists(st.tuples(st.floats(allow_subnormal=True), INT64, INT64), max_size=30)


def bits(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


@given(POINTS)
def test_every_point_comes_back_bit_by_bit(points: list[tuple[float, int, int]]) -> None:
    values, steps, times = [p[0] for p in points], [p[1] for p in points], [p[2] for p in points]
    read = series.unpack(series.pack(values, steps, times))
    assert bits(read[0]) == bits(values)
    assert read[1:] == (steps, times)


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf, -0.0, 5e-324])
def test_what_is_no_plain_number_is_kept_as_what_it_is(value: float) -> None:
    assert bits(series.unpack(series.pack([value], [0], [0]))[0]) == bits([value])


def test_steps_may_leap_from_one_end_of_the_integers_to_the_other() -> None:
    steps = [2**63 - 1, -(2**63), 0]
    assert series.unpack(series.pack([0.0] * 3, steps, [0] * 3))[1] == steps


def test_the_bytes_are_those_of_the_format() -> None:
    columns = struct.pack("<2d", 0.5, math.inf) + struct.pack("<2q", 10, -3) + struct.pack("<2q", 1000, 1)
    assert zlib.decompress(series.pack([0.5, math.inf], [10, 7], [1000, 1001])) == columns


def test_an_even_training_curve_takes_few_bytes_a_point() -> None:
    count = 10_000
    packed = series.pack([1.0] * count, range(count), range(0, count * 1000, 1000))
    assert len(packed) < count / 10
