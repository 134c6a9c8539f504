"""`ifp validate`: a file held against a version's schema, block by block."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

Cli = Callable[..., Any]


@pytest.fixture
def version(make: Callable[..., ifp.Version]) -> ifp.Version:
    """fraud v1: amount is a number of 0 to 25000, country DE, FR or null."""
    return make("a")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "amount,country\n1,DE\n25000,\n"),
        ("a.tsv", "amount\tcountry\n1\tDE\n"),
        ("a.jsonl", '{"amount": 1, "country": "DE"}\n\n{"country": null, "amount": 2.5}\n'),
        ("a.json", '[{"amount": 1, "country": "DE"}]'),
        ("b.json", '{"amount": 1, "country": "DE"}'),
    ],
)
def test_a_good_file_is_ok(version: ifp.Version, cli: Cli, folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    said = cli("validate", "fraud@v1", name)
    assert (said.code, said.out, said.err) == (0, "ok\n", "")
    assert json.loads(cli("validate", "fraud@v1", name, "--json").out) == {"ok": True, "problems": []}


def test_a_permuted_file_is_refused_with_each_break(version: ifp.Version, cli: Cli, folder: Path) -> None:
    (folder / "bad.csv").write_text("country,extra,amount\nDE,1,-5\nXX,2,\n")
    said = cli("validate", "fraud@v1", "bad.csv", "--json")
    assert said.code == 1
    document = json.loads(said.out)
    assert document["ok"] is False
    assert [(problem["code"], problem["feature"]) for problem in document["problems"]] == [
        ("extra", "extra"),
        ("order", "country"),
        ("null", "amount"),
        ("range", "amount"),
        ("category", "country"),
    ]
    lines = cli("validate", "fraud@v1", "bad.csv").out.splitlines()
    assert lines[1] == "order  country: position 0: got country, trained with amount; align(batch) fixes this"
    assert lines[3] == "range  amount: position 0, row 0: -5 not in [0, 25000], the range in training"


def test_rows_count_through_a_large_file(version: ifp.Version, cli: Cli, folder: Path) -> None:
    rows = ["1,DE"] * 70_000
    rows[66_000] = rows[66_001] = "1,XX"
    (folder / "large.csv").write_text("amount,country\n" + "\n".join(rows))
    said = cli("validate", "fraud@v1", "large.csv")
    assert said.code == 1
    assert said.out == ("category  country: position 1, row 66000: 'XX' not seen in training, which had 'DE', 'FR'; 2 rows\n")


@pytest.mark.parametrize(
    ("name", "content", "code", "why"),
    [
        ("a.csv", None, 2, "there is no file"),
        ("a.txt", "x", 2, "no table by its name"),
        ("a.csv", "", 2, "is no table"),
        ("a.csv", "amount,country\n1\n", 2, "is no table"),
        ("a.json", "{", 2, "is not JSON"),
        ("a.jsonl", "7\n", 2, "one object, a row"),
        ("a.json", "7", 2, "is no batch"),
    ],
)
def test_what_is_no_table_is_an_error(
    version: ifp.Version, cli: Cli, folder: Path, name: str, content: Any, code: int, why: str
) -> None:
    if content is not None:
        (folder / name).write_text(content)
    said = cli("validate", "fraud@v1", name)
    assert (said.code, said.out) == (code, "")
    assert why in said.err


def test_a_version_without_schema_says_so(make: Callable[..., ifp.Version], cli: Cli, folder: Path) -> None:
    make("a", schema=None, partial=True)
    said = cli("validate", "fraud@v1", "train.csv")
    assert said.code == 3
    assert "has no feature schema to validate against" in said.err


@pytest.mark.frameworks
@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_typed_files_are_read_in_blocks(version: ifp.Version, cli: Cli, folder: Path, ending: str) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"amount": [1.5] * 70_000, "country": ["DE", None] * 35_000})
    write = frame.to_parquet if ending == "parquet" else frame.to_feather
    write(f"good.{ending}")
    assert cli("validate", "fraud@v1", f"good.{ending}").out == "ok\n"
    frame.loc[69_999, "amount"] = -1.0
    write(f"bad.{ending}")
    said = cli("validate", "fraud@v1", f"bad.{ending}")
    assert (said.code, said.out) == (1, "range  amount: position 0, row 69999: -1.0 not in [0, 25000], the range in training\n")


def test_a_schema_is_shown_for_frictionless(version: ifp.Version, cli: Cli) -> None:
    document = json.loads(cli("schema", "show", "fraud@v1", "--frictionless").out)
    assert [field["name"] for field in document["fields"]] == ["amount", "country"]
