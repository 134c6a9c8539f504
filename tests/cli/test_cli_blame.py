"""ifp blame: since when, as a person and as a program asks."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

import ifpdb as ifp

Cli = Callable[..., Any]


@pytest.fixture
def runs(make: Callable[..., ifp.Version], registry: ifp.Registry, clock: Callable[[str], None]) -> list[str]:
    """The run of v1, and that of v2 in production, which has another C."""
    clock("2026-03-01T09:00:00Z")
    first = make("a")
    clock("2026-03-08T09:00:00Z")
    second = make("b", params={"C": 2.0}, derived_from=first.run)
    registry.model("fraud").promote("v2", "production", reason="first", force=True)
    return [first.run, second.run]


def test_a_table_says_who_brought_what_and_when(cli: Cli, runs: list[str]) -> None:
    said = cli("blame", "fraud")
    heading, *lines = said.out.splitlines()
    assert (said.code, heading.split()) == (0, ["part", "name", "value", "since", "version", "run", "by"])
    assert [line.split()[:2] for line in lines] == [
        ["feature", "amount"],
        ["feature", "country"],
        ["param", "C"],
        ["seed", "seed"],
    ]
    assert lines[2].split()[2:5] == ["2.0", "2026-03-08", "v2"]
    assert lines[2].split()[6:] == [runs[1], "ada"]
    assert lines[3].split()[2:5] == ["7", "2026-03-01", "v1"]


def test_json_has_the_promised_keys(cli: Cli, registry: ifp.Registry, runs: list[str]) -> None:
    [found] = json.loads(cli("blame", "fraud", "--param", "C", "--json").out)
    version = registry.resolve("fraud")
    assert found == {
        "part": "param",
        "name": "C",
        "before": 1.0,
        "after": 2.0,
        "run": runs[1],
        "digest": version.digest,
        "model": "fraud",
        "ordinal": 2,
        "at": version.created_at,
        "actor": "ada",
    }


def test_csv_has_a_line_for_each_value(cli: Cli, runs: list[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(cli("blame", "fraud", "--csv").out)))
    assert [(row["name"], row["run"]) for row in rows] == [
        ("amount", runs[0]),
        ("country", runs[0]),
        ("C", runs[1]),
        ("seed", runs[0]),
    ]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--feature", "country"], ["country"]),
        (["--feature", "country", "--feature", "amount", "--param", "C"], ["amount", "country", "C"]),
        (["--data"], ["train:train.csv"]),
        (["--data", "train"], ["train:train.csv"]),
        (["--data", "train.csv", "--param", "C"], ["C", "train:train.csv"]),
    ],
)
def test_options_narrow_it(cli: Cli, runs: list[str], options: list[str], names: list[str]) -> None:
    assert [one["name"] for one in json.loads(cli("blame", "fraud@v1", "--json", *options).out)] == names


def test_what_is_not_there_is_said_with_the_nearest_name(cli: Cli, runs: list[str]) -> None:
    said = cli("blame", "fraud", "--feature", "amout")
    assert (said.code, said.out) == (ifp.NotFound.exit_code, "")
    assert said.err == "ifp: fraud has no feature 'amout'; did you mean 'amount'? (ifp show fraud --json)\n"


def test_a_model_without_production_says_what_to_do_next(cli: Cli, make: Callable[..., ifp.Version]) -> None:
    make("a")
    said = cli("blame", "fraud")
    assert (said.code, said.err) == (ifp.NotFound.exit_code, "ifp: no version of fraud is in production (ifp ls fraud)\n")


def test_a_version_with_nothing_on_record_says_so(cli: Cli, registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        pass
    said = cli("blame", run.id)
    assert (said.code, said.out) == (0, "")
    assert said.err == f"{run.id} has no features, parameters or seed on record\n"
    assert json.loads(cli("blame", run.id, "--json").out) == []
