"""The digest of a table's first rows: what grew is told from what was replaced, at any number of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from ifpdb.capture.data import arrays, files
from ifpdb.capture.data.dataset import describe
from ifpdb.capture.data.description import Description
from ifpdb.capture.data.table import LEAF, Field
from ifpdb.capture.data.values import part_of
from ifpdb.errors import UsageError
from ifpdb.records import Dataset

ROWS = np.random.default_rng(0).integers(-5, 5, (400, 3))


def grew(old: Any, new: Any) -> bool:
    """Whether the second table is known to be the first one with rows appended."""
    before = describe(old)
    assert before.rows is not None
    return before.prefixes[-1] in describe(new, lengths=[before.rows]).prefixes


def csv(rows: Any, name: str) -> str:
    Path(name).write_text("\n".join(["a,b,c", *(",".join(map(str, row)) for row in np.asarray(rows).tolist())]))
    return name


FORMS: dict[str, Callable[[Any], Any]] = {
    "a matrix": lambda rows: rows,
    "floats": lambda rows: np.where(rows == 0, np.nan, rows),
    "turned over": np.asfortranarray,
    "records": lambda rows: np.rec.fromarrays([rows[:, 0], rows[:, 1] > 0], names="a,b"),
    "times": lambda rows: rows[:, 0].astype("M8[s]"),
    "vectors": lambda rows: rows.reshape(len(rows), 3, 1),
    "sparse rows": sparse.csr_array,
    "rows": lambda rows: rows.tolist(),
    "texts": lambda rows: [None if x == 0 else "é" * abs(x) for x in rows[:, 0].tolist()],
    "integers": lambda rows: [None if x == 0 else x for x in rows[:, 0].tolist()],
    "CSV": lambda rows: csv(rows, f"{len(rows)}.csv"),
    "tabs": lambda rows: csv(rows, f"{len(rows)}.tsv"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_table_with_rows_appended_has_grown(folder: Path, form: str) -> None:
    changed = ROWS.copy()
    changed[:300] = np.roll(ROWS[:300], 1, axis=0)
    assert grew(FORMS[form](ROWS[:300]), FORMS[form](ROWS))
    assert not grew(FORMS[form](ROWS[:300]), FORMS[form](changed))


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: np.vstack([rows[300:], rows[:300]]),
        lambda rows: np.where(np.arange(400)[:, None] == 7, rows + 1, rows),
        lambda rows: np.where(np.arange(400)[:, None] == 299, rows + 1, rows),
        lambda rows: np.delete(rows, 0, axis=0),
        lambda rows: rows[:299],
        lambda rows: rows[:, :2],
        lambda rows: np.hstack([rows, rows[:, :1]]),
        lambda rows: rows.astype(float),
        lambda rows: np.rec.fromarrays(list(rows.T), names="x0,x1,y"),
    ],
    ids=["prepended", "an early value", "the last", "cut off", "shorter", "narrower", "wider", "floats", "a name"],
)
def test_a_table_that_is_another_has_not_grown(change: Callable[[Any], Any]) -> None:
    assert not grew(ROWS[:300], change(ROWS))


def test_a_csv_file_whose_types_widen_has_not_grown(folder: Path) -> None:
    widened = ROWS.astype(object)
    widened[399, 1] = 0.5
    assert not grew(csv(ROWS[:300], "old.csv"), csv(widened, "new.csv"))


def test_rows_without_any_value_are_counted() -> None:
    assert grew([None] * 5, [None] * 6)
    assert describe([None] * 5).prefixes[-1][1] != describe([None] * 6).prefixes[-1][1]


def test_a_table_without_rows_has_no_first_rows_and_lengths_that_it_lacks_are_left_out() -> None:
    with pytest.raises(UsageError, match="no rows"):
        describe(ROWS[:0], lengths=[0, 1])
    found = describe(ROWS, lengths=[0, -1, 400, 401, 300, 300, 10**9])
    assert [rows for rows, _ in found.prefixes] == [300, 400]


def test_the_lengths_change_nothing_else() -> None:
    found, plain = describe(ROWS, lengths=range(0, 400, 50)), describe(ROWS)
    assert (found.digest, found.columns, found.rows) == (plain.digest, plain.columns, plain.rows)


LENGTHS = [1, 300, LEAF - 1, LEAF, LEAF + 1, 2 * LEAF - 1, 2 * LEAF, 2 * LEAF + 1]


@pytest.mark.parametrize("rows", LENGTHS[2:])
@pytest.mark.parametrize("width", [1, 20], ids=["narrow", "two threads"])
def test_around_the_end_of_a_leaf_first_rows_are_a_tables_own(rows: int, width: int) -> None:
    data = np.random.default_rng(rows).normal(size=(rows, width))
    found = dict(describe(data, lengths=LENGTHS, profile=False).prefixes)
    assert sorted(found) == [length for length in LENGTHS if length <= rows]
    for length, digest in found.items():
        assert (length, digest) == describe(data[:length], profile=False).prefixes[-1]


@settings(max_examples=20)
@given(st.lists(st.integers(1, 70_000), min_size=1, max_size=4), st.data())
def test_batches_have_the_first_rows_of_the_whole(sizes: list[int], data: Any) -> None:
    length = data.draw(st.integers(1, sum(sizes)))
    whole = np.random.default_rng(length).integers(0, 100, (sum(sizes), 2))
    described = Description(role="train", name=None, profile=False, lengths=[length])
    for batch in np.split(whole, np.cumsum(sizes)[:-1]):
        described.add(batch.copy(), last=False)
    assert describe(whole[:length], profile=False).prefixes[-1] in described.finish().prefixes


CELLS: dict[str, st.SearchStrategy[Any]] = {
    "i64": st.integers(-(2**63), 2**63 - 1),
    "f64": st.floats(),
    "utf8": st.text(max_size=3),
    "bytes": st.binary(max_size=3),
    "bool": st.booleans(),
    "null": st.none(),
}


@st.composite
def typed_columns(draw: st.DrawFn) -> list[tuple[str, list[Any]]]:
    """(type, cells) of each column, of one length; any cell may be null."""
    rows = draw(st.integers(1, 20))
    kinds = draw(st.lists(st.sampled_from(list(CELLS)), min_size=1, max_size=4))
    return [(kind, draw(st.lists(st.none() | CELLS[kind], min_size=rows, max_size=rows))) for kind in kinds]


def described(columns: Sequence[tuple[str, list[Any]]], *, lengths: Sequence[int] = (), chunk: int = LEAF) -> Dataset:
    whole, rows = [arrays.of_type(kind, cells) for kind, cells in columns], len(columns[0][1])
    description = Description(role="train", name=None, profile=False, lengths=lengths)
    fields = [Field(f"c{i}", kind) for i, (kind, _) in enumerate(columns)]
    starts = range(0, rows, chunk)
    description.add_leaves(fields, ([part_of(one, i, min(i + chunk, rows)) for one in whole] for i in starts))
    return description.finish()


@given(typed_columns(), st.data())
def test_first_rows_of_any_table_are_those_of_the_table_of_just_these(columns: Any, data: Any) -> None:
    length, chunk = (data.draw(st.integers(1, len(columns[0][1]))) for _ in range(2))
    alone = described([(kind, cells[:length]) for kind, cells in columns])
    assert alone.prefixes[-1] in described(columns, lengths=[length], chunk=chunk).prefixes


@pytest.mark.parametrize("rows", [10, LEAF, LEAF + 10])
def test_without_numpy_the_first_rows_of_a_csv_file_are_the_same(folder: Path, rows: int) -> None:
    Path("t.csv").write_text(
        "a,b,c\n" + "".join(f"{i},{'' if i % 3 else 0.5},{'NA' if i == 5 else 'é'}\n" for i in range(rows))
    )
    lengths = [3, 6, LEAF - 1, LEAF + 3]
    bare = files._plain_csv(Path("t.csv"), role="train", name="t.csv", lengths=lengths)
    assert bare is not None
    assert bare.prefixes == describe("t.csv", lengths=lengths).prefixes
    assert len(bare.prefixes) == sum(length < rows for length in lengths) + (rows > LEAF) + 1
