"""CSV files: the types that cells give a column, files that are no table, and one digest whoever reads them."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ifpdb.capture.data import csvfile, files
from ifpdb.capture.data.csvfile import NotATableError, fields
from ifpdb.capture.data.dataset import describe, hash_data
from ifpdb.digest import sha256


def write(rows: list[list[str]], name: str = "t.csv", **how: Any) -> Path:
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **how).writerows(rows)
    return Path(name)


@pytest.mark.parametrize(
    ("cells", "type"),
    [
        (["1", "-2", "0"], "i64"),
        (["1", "", "NA"], "i64"),
        (["007", "1"], "utf8"),
        (["+1"], "utf8"),
        (["9223372036854775807", "-9223372036854775808"], "i64"),
        (["9223372036854775808"], "utf8"),
        (["1.5", "2"], "f64"),
        (["1.", ".5", "-1e-3", "2E+10"], "f64"),
        (["inf", "-Infinity", "1"], "f64"),
        (["1e999"], "utf8"),
        (["0x1f"], "utf8"),
        (["1_000"], "utf8"),
        (["١"], "utf8"),
        ([" 1"], "utf8"),
        (["True", "false", "TRUE", ""], "bool"),
        (["True", "1"], "utf8"),
        (["", "nan", "null"], "null"),
        (["2025-01-01"], "utf8"),
        (["a, b", 'c "d"', "e\nf"], "utf8"),
    ],
)
def test_a_column_has_the_type_that_all_its_cells_allow(folder: Path, cells: list[str], type: str) -> None:
    path = write([["id", "x"], *(["k", cell] for cell in cells)])
    assert [one.type for one in fields(path)] == ["utf8", type]
    found = describe(path)
    assert (found.kind, found.rows) == ("table", len(cells))
    assert found.columns[1].nulls == sum(cell in csvfile.NULLS for cell in cells)


@pytest.mark.parametrize(
    "data",
    [b"", b"a,b\n", b"a,b\n1\n", b"a,b\n1,2,3\n", b"a,a\n1,2\n", b"a\n\xff\n", b'a\n"x\n', b"\n\n"],
    ids=["empty", "no row", "short row", "long row", "one name twice", "not UTF-8", "an open quote", "blank"],
)
def test_a_file_that_is_no_table_is_known_by_its_bytes(folder: Path, data: bytes) -> None:
    Path("t.csv").write_bytes(data)
    with pytest.raises(NotATableError):
        fields(Path("t.csv"))
    found = describe("t.csv")
    assert (found.kind, found.digest, found.size, found.columns) == ("file", sha256(data), len(data), ())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bom.csv", b"\xef\xbb\xbfa,b\n1,x\n"),
        ("crlf.csv", b"a,b\r\n1,x\r\n"),
        ("quoted.csv", b'"a","b"\n"1","x"\n'),
        ("blank.csv", b"\na,b\n\n1,x\n\n"),
        ("open.csv", b"a,b\n1,x"),
        ("tabs.tsv", b"a\tb\n1\tx\n"),
    ],
)
def test_how_it_is_written_does_not_matter(folder: Path, name: str, data: bytes) -> None:
    Path(name).write_bytes(data)
    Path("plain.csv").write_bytes(b"a,b\n1,x\n")
    assert hash_data(name) == hash_data("plain.csv")
    assert describe(name).file == sha256(data)


CELLS = st.text(max_size=6) | st.integers().map(str) | st.floats().map(repr) | st.sampled_from(["", "NA", "True", "007", "1e5"])
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=8)
)
BARE = """
import sys
for name in ("numpy", "pyarrow", "narwhals"):
    sys.modules[name] = None
from ifpdb.capture.data.dataset import describe
found = describe(sys.argv[1])
print(found.digest, found.rows, [c.nulls for c in found.columns])
"""


def plain(path: Path) -> Any:
    return files._plain_csv(path, role="train", name="t.csv")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TABLES)
def test_without_numpy_the_digest_is_the_same(folder: Path, rows: list[list[str]]) -> None:
    path = write([[f"c{i}" for i in range(len(rows[0]))], *rows])
    found, bare = describe(path), plain(path)
    if bare is None:
        assert found.kind == "file"
    else:
        assert (found.digest, found.rows, found.prefixes) == (bare.digest, bare.rows, bare.prefixes)
        assert [(c.type, c.nulls, c.digest) for c in found.columns] == [(c.type, c.nulls, c.digest) for c in bare.columns]


def test_in_a_process_without_numpy_the_digest_is_the_same(folder: Path) -> None:
    path = write([["a", "b"], *([str(i % 9), "" if i % 5 else "x"] for i in range(70_000))])
    done = subprocess.run([sys.executable, "-c", BARE, str(path)], capture_output=True, text=True, check=True)
    found = describe(path)
    assert done.stdout == f"{found.digest} 70000 {[column.nulls for column in found.columns]}\n"


def test_long_cells_are_read_and_the_limit_is_as_it_was(folder: Path) -> None:
    before = csv.field_size_limit()
    path = write([["a"], ["x" * 200_000]])
    assert describe(path).rows == 1
    assert csv.field_size_limit() == before
