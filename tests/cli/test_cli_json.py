"""--json: one document from every command, with the keys that outside tools rely on."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

Cli = Callable[..., Any]

VERSION = {
    "model",
    "digest",
    "run",
    "ordinal",
    "stage",
    "partial",
    "missing",
    "weights",
    "data",
    "schema",
    "params",
    "seed",
    "metrics",
    "code",
    "environment",
    "tags",
    "labels",
    "parents",
    "created_at",
    "actor",
}
INTERVAL = {"model", "run", "digest", "stage", "since", "until", "actor", "approved_by", "reason"}
EVENT = {"id", "parents", "at", "actor", "kind", "model", "run", "from_stage", "to_stage", "reason", "detail"}
RUN = {
    "run",
    "model",
    "status",
    "digest",
    "params",
    "metrics",
    "seed",
    "data",
    "code",
    "environment",
    "artifacts",
    "parents",
    "started_at",
    "ended_at",
}
NODE = {"run", "digest", "model", "parents"}

KEYS: dict[str, tuple[type[list[Any] | dict[str, Any]], set[str]]] = {
    "init": (dict, {"path", "created"}),
    "register fraud model.bin --data train.csv --partial": (dict, VERSION | {"created"}),
    "ls": (list, {"model", "versions", "production", "latest", "latest_at"}),
    "ls fraud": (list, VERSION),
    "runs": (list, RUN),
    "show fraud@v1": (dict, VERSION | {"runs"}),
    "log fraud@v2": (list, NODE),
    "log fraud@v2 --graph": (list, NODE),
    "diff fraud@v1 fraud@v2": (dict, {"a", "b", "changes"}),
    "schema show fraud@v1": (dict, {"digest", "features"}),
    "promote fraud@v2 production": (dict, VERSION),
    "rollback fraud --reason x --to fraud@v1": (dict, VERSION),
    "approve fraud@v1": (dict, VERSION),
    "gate fraud@v2": (dict, {"passed", "checks"}),
    "policy set fraud policy.yaml": (dict, {"validation", "digest"}),
    "policy show fraud": (dict, {"validation", "digest"}),
    "metric fraud@v1 f1=nan": (dict, VERSION),
    "tag fraud@v1 x": (dict, VERSION),
    "label fraud@v1 x": (dict, VERSION),
    "link fraud@v2 fraud@v1": (dict, RUN),
    "history fraud": (list, INTERVAL),
    "history fraud --stage all": (list, INTERVAL),
    "at now": (list, VERSION | {"since", "until", "approved_by"}),
    "at now fraud": (list, VERSION | {"since", "until", "approved_by"}),
    "exposure fraud@v1": (list, INTERVAL),
    "events": (list, EVENT),
    "sql 'SELECT model, stage FROM versions'": (list, {"model", "stage"}),
    "verify": (dict, {"ok", "events", "heads", "digest", "problems"}),
    "checkout fraud@v1 out": (dict, {"path", "digest"}),
    "trust fraud@v1": (dict, {"digest", "imports"}),
    "data hash train.csv": (dict, {"path", "digest"}),
    "resolve fraud": (dict, {"model", "digest", "run", "stage", "weights", "path", "schema", "gate"}),
    "deployed fraud@v1 --environment prod-eu": (dict, VERSION),
}


@pytest.mark.parametrize("line", KEYS)
def test_a_command_prints_one_document_with_its_keys(cli: Cli, two: ifp.Registry, folder: Path, line: str) -> None:
    (folder / "policy.yaml").write_text("validation:\n  min_f1: 0.9\n")
    said = cli(*shlex.split(line), "--json")
    assert said.code == 0, said.err
    kind, keys = KEYS[line]
    document = json.loads(said.out, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
    assert isinstance(document, kind)
    for one in document if isinstance(document, list) else [document]:
        assert keys <= one.keys()
    assert document


@pytest.fixture
def shown(cli: Cli, two: ifp.Registry) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(cli("show", "fraud@v2", "--json").out)
    return document


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        ("weights", "digest size format kind"),
        ("data", "role name digest uri rows"),
        ("schema", "digest features"),
        ("code", "commit dirty diff"),
        ("parents", "run kind"),
    ],
)
def test_the_parts_of_a_version_have_their_keys(shown: dict[str, Any], part: str, keys: str) -> None:
    found = shown[part][0] if isinstance(shown[part], list) else shown[part]
    assert set(keys.split()) <= found.keys()


def test_a_version_tells_its_values(shown: dict[str, Any], two: ifp.Registry) -> None:
    version = two.resolve("fraud@v2")
    assert (shown["digest"], shown["run"], shown["ordinal"], shown["stage"]) == (version.digest, version.run, 2, "staging")
    assert (shown["partial"], shown["missing"], shown["params"], shown["metrics"]) == (False, [], {"C": 2.0}, {"f1": 0.95})
    assert shown["schema"]["features"][0] == {
        "position": 0, "name": "amount", "type": "number", "nullable": False, "min": 0, "max": 25000, "categories": None,
    }  # fmt: skip
    assert shown["runs"][0]["run"] == version.run


def test_show_lists_every_run_that_gave_the_version(cli: Cli, two: ifp.Registry, make: Callable[..., ifp.Version]) -> None:
    make("a")
    document = json.loads(cli("show", "fraud@v1", "--json").out)
    assert [run["run"] for run in document["runs"]] == list(two.resolve("fraud@v1").runs)
    assert len(document["runs"]) == 2 and document["runs"][1].keys() >= RUN


def test_register_says_whether_it_was_created(cli: Cli, two: ifp.Registry) -> None:
    line = ["register", "fraud", "model.bin", "--partial", "--json"]
    assert [json.loads(cli(*line).out)["created"] for _ in range(2)] == [True, False]


def test_a_failing_gate_still_prints_its_document(cli: Cli, two: ifp.Registry, make: Callable[..., ifp.Version]) -> None:
    make("c", metrics={"f1": 0.2})
    said = cli("gate", "fraud@v3", "--json")
    document = json.loads(said.out)
    assert (said.code, document["passed"]) == (1, False)
    keys = {"name", "metric", "op", "threshold", "value", "dataset", "passed", "why"}
    assert all(keys <= check.keys() for check in document["checks"])
    assert {"name": "min_f1", "metric": "f1", "op": ">=", "threshold": 0.9, "value": 0.2}.items() <= document["checks"][
        1
    ].items()


def test_changes_and_features_have_their_keys(cli: Cli, two: ifp.Registry) -> None:
    changes = json.loads(cli("diff", "fraud@v1", "fraud@v2", "--json").out)["changes"]
    assert {change["part"] for change in changes} == {"param", "weights", "metric"}
    assert all({"part", "name", "change", "before", "after"} <= change.keys() for change in changes)


def test_lists_are_never_cut_short(cli: Cli, two: ifp.Registry, make: Callable[..., ifp.Version]) -> None:
    for number in range(60):
        make(str(number))
    for line, count in [("ls fraud", 62), ("runs", 62), ("events", 64)]:
        assert len(json.loads(cli(*line.split(), "--json").out)) == count


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("ls nobody-here-yet --stage shadow", None),
        ("ls fraud --stage shadow", 0),
        ("exposure fraud@v2", 0),
        ("at 2001-01-01", 0),
    ],
)
def test_nothing_found_is_an_empty_array(cli: Cli, two: ifp.Registry, line: str, count: int | None) -> None:
    said = cli(*line.split(), "--json")
    if count is None:
        assert (said.code, said.out) == (3, "")
    else:
        assert json.loads(said.out) == []


@pytest.mark.parametrize(
    "line", ["ls", "ls fraud", "runs", "log fraud@v2", "diff fraud@v1 fraud@v2", "schema show fraud", "history fraud",
             "exposure fraud", "events", "sql 'SELECT * FROM versions'"]
)  # fmt: skip
def test_csv_has_the_columns_of_the_document(cli: Cli, two: ifp.Registry, line: str) -> None:
    words = shlex.split(line)
    document = json.loads(cli(*words, "--json").out)
    rows = document if isinstance(document, list) else document.get("changes", document.get("features"))
    parsed = list(csv.DictReader(io.StringIO(cli(*words, "--csv").out)))
    assert len(parsed) == len(rows)
    assert list(parsed[0]) == list(rows[0])
