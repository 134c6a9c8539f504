"""The desk: finding and opening a registry, moving it elsewhere, many processes at once, and its small changes."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

Make = Callable[..., ifp.Version]


def processes(script: str, arguments: list[list[str]], folder: Path) -> list[subprocess.CompletedProcess[str]]:
    """The results of one Python process an argument list, all started before any is waited for."""
    file = folder / "job.py"
    file.write_text(script)
    started = [
        subprocess.Popen([sys.executable, str(file), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for words in arguments
    ]
    results = []
    for process in started:
        out, err = process.communicate(timeout=120)
        results.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    return results


CREATE_AND_REGISTER = """
import sys
import ifpdb as ifp
number = sys.argv[1]

for turn in range(5):
    with ifp.init("shared.db") as registry:
        registry.register("fraud", "w" + number, params={"turn": turn}, partial=True)
"""


def test_eight_processes_may_create_and_register_at_once(folder: Path) -> None:
    for number in range(8):
        (folder / f"w{number}").write_text(str(number))
    done = processes(CREATE_AND_REGISTER, [[str(number)] for number in range(8)], folder)
    assert [process.stderr for process in done] == [""] * 8
    with ifp.open("shared.db") as registry:
        found = registry.model("fraud").versions()
        assert sorted(version.ordinal for version in found) == list(range(1, 41))
        assert len(registry.events()) == 40
        assert len(registry.sql("SELECT id FROM head")) == 1


PROMOTE = """
import sys
import ifpdb as ifp
ref, expect = sys.argv[1:]
try:
    ifp.registry("fraud", db="ifp.db").promote(ref, "production", expect=expect)
except ifp.Conflict:
    sys.exit(4)
"""


def test_of_eight_promotions_that_expect_the_same_exactly_one_wins(make: Make, registry: ifp.Registry, folder: Path) -> None:
    fraud = registry.model("fraud")
    fraud.set_policy({"validation": {}})
    for number in range(25):
        make(str(number))
    fraud.promote("v1", "production")
    for turn in range(3):
        held = fraud.production
        assert held is not None
        candidates = [[f"v{2 + turn * 8 + number}", held.digest] for number in range(8)]
        done = processes(PROMOTE, candidates, folder)
        assert sorted(process.returncode for process in done) == [0] + [4] * 7, [process.stderr for process in done]
        winner = candidates[[process.returncode for process in done].index(0)][0]
        assert fraud.get("production").digest == fraud.get(winner).digest
    assert len(fraud.history()) == 4


WRITE = """
import sqlite3
connection = sqlite3.connect("ifp.db", timeout=0, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
"""


def test_opening_the_registry_again_does_not_let_go_of_the_write_lock(make: Make, registry: ifp.Registry, folder: Path) -> None:
    make("a")
    with registry.writing():
        assert "locked" in processes(WRITE, [[]], folder)[0].stderr
        ifp.open().close()  # closing any descriptor of a file drops all POSIX locks that the process has on it
        ifp.init().close()
        assert "locked" in processes(WRITE, [[]], folder)[0].stderr
    assert processes(WRITE, [[]], folder)[0].stderr == ""


def test_the_nearest_registry_is_found_in_a_parent(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch, registry: ifp.Registry
) -> None:
    make("a")
    below = folder / "src" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    with ifp.open() as found:
        assert found.path == registry.path


def test_the_argument_wins_over_ifp_db_and_that_over_the_nearest(
    registry: ifp.Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("named.db", "told.db"):
        ifp.init(name).close()
    monkeypatch.setenv("IFP_DB", "told.db")
    with ifp.open() as one, ifp.open("named.db") as two:
        assert (one.path.name, two.path.name) == ("told.db", "named.db")
    monkeypatch.delenv("IFP_DB")
    with ifp.open() as three:
        assert three.path.name == "ifp.db"


def test_without_a_registry_a_read_names_the_command_that_makes_one(folder: Path) -> None:
    with pytest.raises(ifp.NotFound, match="ifp init"):
        ifp.open()
    with pytest.raises(ifp.NotFound, match="ifp init"):
        ifp.open("other.db")
    assert list(folder.iterdir()) == []


def test_init_finds_what_is_there_already(make: Make, registry: ifp.Registry) -> None:
    make("a")
    before = registry.path.read_bytes()
    with ifp.init() as again:
        assert again.path == registry.path
    assert registry.path.read_bytes() == before


def test_blobs_lie_beside_the_database_under_its_stem(folder: Path, parts: dict[str, Any]) -> None:
    (folder / "model.bin").write_text("a")
    with ifp.init("models.db") as registry:
        version = registry.register("fraud", "model.bin", **parts)
    assert version.weights is not None
    digest = version.weights.digest.removeprefix("sha256:")
    blob = folder / "models.cas" / "sha256" / digest[:2] / digest[2:]
    assert blob.read_bytes() == b"a"
    assert blob.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize(
    ("given", "environment", "git", "expected"),
    [
        ("eve", "grace", True, "eve"),
        (None, "grace", True, "grace"),
        (None, None, True, "Alan <alan@example.org>"),
    ],
)
def test_who_acts_is_stored_with_every_event(
    folder: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    environment: str | None,
    git: bool,
    expected: str,
) -> None:
    (home / "gitconfig").write_text("[user]\n\tname = Alan\n\temail = alan@example.org\n")
    if environment:
        monkeypatch.setenv("IFP_ACTOR", environment)
    else:
        monkeypatch.delenv("IFP_ACTOR")
    (folder / "m").write_text("m")
    with ifp.init(actor=given) as registry:
        registry.register("fraud", "m", partial=True)
        registry.model("fraud").tag("v1", "q1")
        assert {event.actor for event in registry.events()} == {expected}


def test_a_registry_opened_to_read_refuses_to_write(make: Make, registry: ifp.Registry, folder: Path) -> None:
    make("a")
    with ifp.open(readonly=True) as reader:
        assert reader.resolve("fraud@v1").ordinal == 1
        with pytest.raises(ifp.Refused, match="read-only"):
            reader.model("fraud").tag("v1", "q1")


def test_a_folder_moved_to_another_place_and_user_loses_nothing(
    make: Make, registry: ifp.Registry, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make("a", metrics={"f1": 0.9}, tags=["q1"], labels=["2025-Q4"])
    with ifp.track("fraud") as run:
        run.register({"weights": [1, 2]}, partial=True)
    registry.model("fraud").promote("v1", "production", force=True, reason="first", approved_by="grace")
    before = [version.as_dict() for version in registry.model("fraud").versions()]
    history, log = registry.model("fraud").history(), registry.events()
    registry.close()
    place = tmp_path_factory.mktemp("elsewhere") / "project"
    shutil.move(registry.path.parent, place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("XDG_DATA_HOME", str(place / "data-of-somebody-else"))
    with ifp.open() as moved:
        fraud = moved.model("fraud")
        assert [version.as_dict() for version in fraud.versions()] == before
        assert (fraud.history(), moved.events()) == (history, log)
        assert moved.checkout("fraud@v1", "out.bin").read_bytes() == b"a"
        with pytest.raises(ifp.Untrusted):
            moved.run(run.id).load_artifact()
        assert moved.run(run.id).load_artifact(trust=True) == {"weights": [1, 2]}
        fraud.rollback(reason="still works", to="v1")
        assert moved.resolve(made.digest).tags == ("q1",)


def test_a_database_without_its_blobs_answers_all_that_needs_no_bytes(
    make: Make, registry: ifp.Registry, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make("a", metrics={"f1": 0.9})
    make("b")
    fraud = registry.model("fraud")
    fraud.promote("v1", "production", force=True, reason="first")
    expected = [found.as_dict() for found in fraud.versions()]
    place = tmp_path_factory.mktemp("alone")
    shutil.copy(registry.path, place)
    monkeypatch.chdir(place)
    with ifp.open() as alone:
        fraud = alone.model("fraud")
        assert [found.as_dict() for found in fraud.versions()] == expected
        assert [len(fraud.history()), len(alone.at("now")), len(fraud.diff("v1", "v2"))] == [1, 1, 2]  # weights, f1
        assert fraud.promote("v2", "production", force=True, reason="no bytes needed").stage == "production"
        assert version.weights is not None
        with pytest.raises(ifp.NotFound, match=version.weights.digest):
            alone.checkout("fraud@v1", "out")
        assert os.listdir() == ["ifp.db"]


def texts(path: Path) -> list[str]:
    """Every text in every column of every table."""
    connection = sqlite3.connect(path)
    try:
        found = []
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            for row in connection.execute(f"SELECT * FROM {table}"):
                found += [value for value in row if isinstance(value, str)]
        return found
    finally:
        connection.close()


def test_no_absolute_path_is_stored_anywhere(
    make: Make, registry: ifp.Registry, folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    for file in (outside / "data.csv", folder / "inside.csv", outside / "model.pkl", folder / "schema.json"):
        file.write_text(file.name)
    schema = [{"name": "amount", "type": "number"}]
    registry.register("fraud", folder / "inside.csv", data=[folder / "inside.csv", outside / "data.csv"], partial=True)
    registry.measure("fraud@v1", {"f1": 0.5}, dataset=str(folder / "inside.csv"))
    monkeypatch.setattr(sys, "argv", [str(outside / "train.py"), f"--data={outside / 'data.csv'}", str(folder / "inside.csv")])
    with ifp.track("fraud", data=outside) as run:
        run.log_dataset(folder / "inside.csv", role="holdout", uri=str(outside / "data.csv"))
        run.log_artifact(outside / "model.pkl", "notes")
        run.register(folder / "inside.csv", schema=schema)
    assert registry.run(run.id).command == ("train.py", "--data=data.csv", "inside.csv")
    assert {data.uri for data in registry.resolve("fraud@v1").data} == {"data.csv", "inside.csv"}
    stored = texts(registry.path)
    assert len(stored) > 20
    for place in (str(folder), str(outside), str(Path.home()), os.path.realpath(folder)):
        assert [text for text in stored if place in text] == []


def test_a_dataset_record_made_by_hand_brings_no_absolute_path(make: Make, registry: ifp.Registry, folder: Path) -> None:
    data = ifp.Dataset("train", "train.csv", "sha256:" + "0" * 64, str(folder / "train.csv"))
    make("a", data=data)
    assert [text for text in texts(registry.path) if str(folder) in text] == []


def test_models_at_a_glance(make: Make, registry: ifp.Registry) -> None:
    one, two = make("a"), make("b")
    make("z", "churn")
    registry.model("fraud").promote("v1", "production", force=True, reason="first")
    churn, fraud = registry.models()
    assert (churn.model, churn.versions, churn.production) == ("churn", 1, None)
    assert (fraud.versions, fraud.production, fraud.latest) == (2, one.digest, two.digest)
    assert fraud.latest_at == two.created_at


def test_measuring_after_registration_is_an_event(make: Make, registry: ifp.Registry) -> None:
    make("a")
    assert registry.measure("fraud@v1", {"f1": float("nan")}).name == registry.resolve("fraud@v1").name
    event = registry.events()[-1]
    assert (event.kind, event.detail["metrics"]) == ("measured", [{"metric": "f1", "value": "NaN", "dataset": None}])


@pytest.mark.parametrize(
    ("values", "dataset", "error"),
    [
        ({}, None, ifp.UsageError),
        ({"f1": "x"}, None, ifp.UsageError),
        ({"f1": 1.0}, "nowhere", ifp.NotFound),
        ({"f1": 1.0}, "sha256:" + "0" * 64, ifp.NotFound),
        ({"f1": 1.0}, "sha256:abc", ifp.IfpError),
    ],
)
def test_a_bad_measurement_leaves_the_registry_byte_for_byte(
    make: Make, registry: ifp.Registry, values: Any, dataset: str | None, error: type[ifp.IfpError]
) -> None:
    make("a")
    before = registry.path.read_bytes()
    with pytest.raises(error):
        registry.measure("fraud@v1", values, dataset=dataset)
    assert registry.path.read_bytes() == before


def test_queries_only_read(make: Make, registry: ifp.Registry) -> None:
    make("a")
    before = registry.path.read_bytes()
    for query in ("DELETE FROM tag", "UPDATE run SET seed = 1", "ATTACH 'x.db' AS x", "PRAGMA journal_mode = WAL", "VACUUM"):
        with pytest.raises(ifp.Refused):
            registry.sql(query)
    assert registry.sql("SELECT ordinal FROM versions WHERE model = :m", {"m": "fraud"}) == [{"ordinal": "v1"}]
    assert registry.path.read_bytes() == before
    assert json.dumps(registry.sql("SELECT * FROM versions"))
