"""Arrays and lists as tables: whatever their layout, equal values have equal digests, and what has none says why."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from ifpdb.capture.data import arrays
from ifpdb.capture.data.dataset import describe, hash_data
from ifpdb.capture.data.description import Description
from ifpdb.capture.data.table import LEAF
from ifpdb.errors import UsageError

NUMBERS = np.random.default_rng(0).normal(size=(100, 7))


@pytest.mark.parametrize(
    "same",
    [
        np.asfortranarray(NUMBERS),
        NUMBERS.astype(">f8"),
        np.repeat(NUMBERS, 2, axis=0)[::2],
        np.hstack([NUMBERS, NUMBERS])[:, :7],
        NUMBERS.view(np.matrix) if hasattr(np, "matrix") else NUMBERS,
        np.ma.masked_array(NUMBERS),
        NUMBERS.tolist(),
        [tuple(row) for row in NUMBERS.tolist()],
        list(NUMBERS),
        np.rec.fromarrays(list(NUMBERS.T), names=[f"x{i}" for i in range(7)]),
    ],
    ids=["fortran", "big-endian", "strided", "a view", "a matrix", "unmasked", "lists", "tuples", "arrays", "records"],
)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_the_layout_does_not_matter(same: Any) -> None:
    assert hash_data(same) == hash_data(NUMBERS)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[::-1],
        lambda a: a[:, ::-1],
        lambda a: a[:-1],
        lambda a: a[:, :-1],
        lambda a: a.astype("f4"),
        lambda a: np.where(a == a[3, 4], np.nextafter(a, 9), a),
        lambda a: np.where(a == a[3, 4], np.nan, a),
    ],
    ids=["rows", "columns", "a row less", "a column less", "type", "a value", "a null"],
)
def test_values_order_and_type_do(change: Callable[[Any], Any]) -> None:
    assert hash_data(change(NUMBERS)) != hash_data(NUMBERS)


def test_looking_at_an_array_leaves_it_as_it_is() -> None:
    data = np.array([-0.0, np.nan, 1.0])
    before = data.tobytes()
    describe(data)
    assert data.tobytes() == before


def test_zeros_and_nans_are_one() -> None:
    other = np.array([0x7FF8000000000123], "u8").view("f8")
    assert hash_data(np.array([-0.0, math.nan])) == hash_data(np.concatenate([[0.0], other]))
    assert hash_data(np.array([math.inf])) != hash_data(np.array([-math.inf]))


@pytest.mark.parametrize(
    ("data", "types"),
    [
        (np.zeros((2, 3), "f4"), ["f32"] * 3),
        (np.zeros(2, "?"), ["bool"]),
        (np.zeros((2, 28, 28), "u1"), ["u8[28,28]"]),
        (np.zeros((2, 1001)), ["f64[1001]"]),
        (np.array(["a", "ü"]), ["utf8"]),
        (np.array([b"a", b"bc"]), ["bytes"]),
        (np.array(["2025-01-01", "NaT"], "M8[D]"), ["ts[naive]"]),
        (np.array([1, 2], "m8[s]"), ["duration"]),
        (np.array([(1, 2.0, "x", [1, 2])], "i4, f8, U1, 2i2"), ["i32", "f64", "utf8", "i16[2]"]),
        (np.array(["a", None, float("nan")], object), ["utf8"]),
        (["some", "texts"], ["utf8"]),
        ([1, 2.5, None], ["f64"]),
        ([True, False], ["bool"]),
        (range(3), ["i64"]),
        ([None, None], ["null"]),
        (sparse.csr_matrix((3, 5), dtype="f4"), ["sparse[f32,5]"]),
        (sparse.coo_array(np.eye(2, dtype="?")), ["sparse[bool,2]"]),
    ],
)  # fmt: skip
def test_each_column_has_its_type(data: Any, types: list[str]) -> None:
    found = describe(data)
    assert [column.type for column in found.columns] == types
    assert (found.kind, found.rows) == ("table", data.shape[0] if hasattr(data, "shape") else len(data))


def test_nulls_are_counted() -> None:
    data = np.array([(1.0, "x"), (np.nan, None), (np.nan, "y")], [("a", "f8"), ("b", "O")])
    assert [column.nulls for column in describe(data).columns] == [2, 1]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (np.float64(3), "single value"),
        (np.array(3), "single value"),
        (np.zeros((0, 3)), "no rows"),
        (np.zeros((3, 0)), "no columns"),
        ([], "no rows"),
        (np.array([1 + 2j]), "complex"),
        (np.array([1, "x", None], object), r"mixes int \(row 0\) and str \(row 1\)"),
        (np.array([None, {"a": 1}], object), r"column 'x0' holds a dict in row 1"),
        ([{"a": 1}], "holds a dict in row 0"),
        ([[1, 2], [3]], "row 1 is not 2 values"),
        ([1, 2**70], "beyond 64 bits"),
        (np.array([[["a"]]]), "vectors are of numbers"),
        (np.array(["1600-01-01"], "M8[D]"), "1677 to 2262"),
        (np.ma.masked_array([1, 2], [True, False]), "masked"),
        (np.zeros(1, "i4, V2"), "has no digest"),
        ((x for x in [1, 2]), "using it up"),
        (iter([1]), "using it up"),
        (3, "not a int"),
        ({"a": [1]}, "not a dict"),
        (object(), "has a digest"),
        ([datetime.date(2025, 1, 1)], "holds a date in row 0"),
    ],
)
def test_what_has_no_digest_says_why(data: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Description(role="train", name=None).add(data) or hash_data(data)


def test_sparse_matrices_are_the_same_whatever_their_form() -> None:
    matrix = sparse.random(300, 40, 0.1, random_state=0)
    doubled = sparse.coo_array(
        (np.concatenate([matrix.data, matrix.data]) / 2, (np.tile(matrix.row, 2), np.tile(matrix.col, 2))), matrix.shape
    )
    with_zeros = matrix.tocsr(copy=True)
    with_zeros.data[0] = 0.0
    same = {hash_data(form) for form in (matrix, matrix.tocsr(), matrix.tocsc(), matrix.tolil(), sparse.csr_array(matrix))}
    assert len(same) == 1
    assert hash_data(doubled) in same
    assert hash_data(with_zeros) not in same


@given(st.lists(st.integers(1, 70_000), min_size=1, max_size=5), st.integers(0, 2**32))
def test_batches_of_any_sizes_are_the_whole(sizes: list[int], seed: int) -> None:
    whole = np.random.default_rng(seed).integers(0, 100, (sum(sizes), 2))
    described = Description(role="train", name=None)
    start = 0
    for size in sizes:
        batch = whole[start : start + size].copy()
        described.add(batch, last=False)
        batch[:] = -1
        start += size
    found, told = described.finish(), describe(whole)
    assert (found.digest, found.rows, found.columns, found.prefixes) == (told.digest, told.rows, told.columns, told.prefixes)


def test_texts_in_batches_are_the_whole() -> None:
    texts = [str(i) * (i % 7) if i % 11 else None for i in range(LEAF + 1_000)]
    described = Description(role="train", name=None)
    for start in range(0, len(texts), 30_000):
        described.add(texts[start : start + 30_000], last=False)
    assert described.finish().digest == hash_data(texts)


def test_batches_of_other_columns_are_refused() -> None:
    described = Description(role="train", name=None)
    described.add(np.zeros((2, 3)), last=False)
    with pytest.raises(UsageError, match=r"columns x0 f64, x1 f64, the one before x0 f64, x1 f64, x2 f64"):
        described.add(np.zeros((2, 2)), last=False)


def test_the_first_rows_of_what_grew_are_those_of_what_was() -> None:
    data = np.arange(3 * LEAF + 5)
    small, large = describe(data[: 2 * LEAF + 7]), describe(data)
    assert large.prefixes[:2] == small.prefixes[:2]
    assert [rows for rows, _ in small.prefixes] == [LEAF, 2 * LEAF, 2 * LEAF + 7]
    data[LEAF] = -1
    assert describe(data).prefixes[0] == small.prefixes[0]
    assert describe(data).prefixes[1] != small.prefixes[1]


def test_many_categories_are_quick_and_not_listed() -> None:
    texts = np.char.mod("%d", np.arange(300_000)).astype(object)
    (column,) = describe(texts).columns
    assert column.values is None


def test_a_signalling_nan_is_a_nan_like_others() -> None:
    signalling = np.array([0x7FF0000000000001], "u8").view("f8")
    assert hash_data(signalling) == hash_data(np.array([np.nan]))


@pytest.mark.parametrize(
    ("items", "same"),
    [
        (
            [(np.array([1.0, np.nan]), 0), (np.array([2.0, 3.0]), 1)],
            np.array([([1.0, np.nan], 0), ([2.0, 3.0], 1)], [("x0", "f8", 2), ("x1", "i8")]),
        ),
        ([{"x": 1, "y": 2}, {"y": 4, "x": 3}], np.array([(1, 2), (3, 4)], [("x", "i8"), ("y", "i8")])),
        ([(1,), (1.5,)], np.array([1.0, 1.5])),
    ],
    ids=["a NaN in the first item", "elements by name", "integers and floats"],
)
def test_a_datasets_items_are_the_rows_of_a_table(items: list[Any], same: Any) -> None:
    assert digest_of(arrays.items(items)) == hash_data(same)


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([(1,)] * LEAF + [(1.5,)], "'x0' is i64 up to item 65535, and f64 then"),
        ([{"x": 1}, {"y": 1}], r"item 1 of the dataset has the elements \['y'\], item 0 has \['x'\]"),
        ([(1, 2), (1,)], "item 1"),
    ],
    ids=["a type that changes", "other names", "fewer elements"],
)
def test_items_that_do_not_go_together_are_refused(items: list[Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        digest_of(arrays.items(items))


def digest_of(opened: Any) -> str | None:
    description = Description(role="train", name=None, profile=False)
    description.add_leaves(*opened)
    return description.finish().digest


def test_many_small_batches_wait_in_few_parts() -> None:
    numbers = np.arange(4096.0).reshape(-1, 2)
    description = Description(role="train", name=None, profile=False)
    most = 0
    for row in numbers:
        description.add(row[None], last=False)
        assert description._digesting is not None
        most = max(most, len(description._digesting._waiting))
    assert most <= 12, "each batch copies few of the rows before it"
    assert description.finish().digest == hash_data(numbers)
