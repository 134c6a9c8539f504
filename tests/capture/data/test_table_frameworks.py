"""Growth of frames and of the files that hold them: the first rows have one digest, whoever holds the table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ifpdb.capture.data import frames
from ifpdb.capture.data.dataset import describe, hash_data
from ifpdb.capture.data.description import Description
from ifpdb.capture.data.table import LEAF

pytestmark = pytest.mark.frameworks
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")


def frame_of(rows: int) -> Any:
    draw = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "amount": draw.gamma(2, 50, LEAF + 400),
            "merchant": draw.choice(["amazon", "ébay", "店", ""], LEAF + 400),
            "kind": pd.Categorical(draw.choice(list("abc"), LEAF + 400)),
            "items": pd.array(draw.integers(0, 5, LEAF + 400), dtype="Int64"),
        }
    )
    made.loc[::7, "amount"] = np.nan
    made.loc[::11, "items"] = pd.NA
    made.loc[::13, "merchant"] = None
    return made[:rows]


def written(write: Callable[[Any, str], Any], ending: str) -> Callable[[Any], Any]:
    def form(frame: Any) -> str:
        name = f"{len(frame)}.{ending}"
        write(frame, name)
        return name

    return form


FORMS: dict[str, Callable[[Any], Any]] = {
    "pandas": lambda f: f,
    "polars": pl.from_pandas,
    "arrow": lambda f: pa.Table.from_pandas(f, preserve_index=False),
    "parquet": written(lambda f, name: f.to_parquet(name), "parquet"),
    "row groups": written(lambda f, name: f.to_parquet(name, row_group_size=70), "pq"),
    "feather": written(lambda f, name: f.reset_index(drop=True).to_feather(name), "feather"),
}


@pytest.mark.parametrize("old", FORMS)
@pytest.mark.parametrize("new", FORMS)
@pytest.mark.parametrize(("before", "after"), [(300, 400), (LEAF + 300, LEAF + 400)])
def test_a_table_has_grown_whoever_held_it_and_holds_it_now(folder: Path, old: str, new: str, before: int, after: int) -> None:
    was, now = describe(FORMS[old](frame_of(before))), describe(FORMS[new](frame_of(after)), lengths=[before])
    assert was.prefixes[-1] in now.prefixes
    other = frame_of(after).assign(amount=lambda f: f.amount.where(f.index != before - 2, -1.0))
    assert was.prefixes[-1] not in describe(FORMS[new](other), lengths=[before]).prefixes


def test_a_column_that_widens_has_not_grown() -> None:
    was = describe(pd.DataFrame({"a": [1, 2, 3]}))
    assert was.prefixes[-1] not in describe(pd.DataFrame({"a": [1, 2, 3, 4.5]}), lengths=[3]).prefixes


CELLS: dict[Any, st.SearchStrategy[Any]] = {
    pa.int8(): st.integers(-128, 127),
    pa.float32(): st.floats(width=32),
    pa.string(): st.text("aé店", max_size=3),
    pa.date32(): st.dates(date(1900, 1, 1), date(2200, 1, 1)),
    pa.decimal128(5, 2): st.integers(-9999, 9999).map(lambda cents: Decimal(cents) / 100),
    pa.list_(pa.int64()): st.lists(st.none() | st.integers(-9, 9), max_size=3),
    pa.list_(pa.string()): st.lists(st.none() | st.text("ab", max_size=2), max_size=3),
    pa.struct({"x": pa.int64(), "y": pa.string()}): st.fixed_dictionaries(
        {"x": st.none() | st.integers(-9, 9), "y": st.none() | st.text("ab", max_size=2)}
    ),
    pa.list_(pa.float64(), 2): st.lists(st.floats(), min_size=2, max_size=2),
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from("abc"),
    pa.null(): st.none(),
}


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(list(CELLS)), st.data())
def test_first_rows_of_any_arrow_column_are_those_of_the_column_of_just_these(kind: Any, data: Any) -> None:
    cells = data.draw(st.lists(st.none() | CELLS[kind], min_size=1, max_size=20))
    length = data.draw(st.integers(1, len(cells)))
    whole, alone = (pa.table({"a": pa.array(part, kind)}) for part in (cells, cells[:length]))
    assert describe(alone).prefixes[-1] in describe(whole, lengths=[length]).prefixes


def test_a_part_without_nulls_has_no_bitmap_wherever_the_nulls_are(tmp_path: Path) -> None:
    """One null far behind the first leaf: each leaf is hashed as a table of its rows alone would be, by every reader."""
    values = [1] * 132_500 + [None] + [2] * 200_000
    path = tmp_path / "table.csv"
    path.write_text("x,y\n" + "".join(f"{'' if value is None else value},abcdef\n" for value in values))
    table = pa.table({"x": pa.array(values, pa.int64()), "y": pa.array(["abcdef"] * len(values))})
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=70_000)
    found = {hash_data(one) for one in (table, tmp_path / "table.parquet", path, pl.from_arrow(table))}
    for read in (frames.csv_by_arrow, frames.csv_by_python):
        description = Description(role="train", name=None, profile=False)
        description.add_leaves(*read(path))
        found.add(description.finish().digest or "")
    assert len(found) == 1
