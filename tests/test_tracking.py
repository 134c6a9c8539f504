"""A tracked run: what it records, how it ends, and what is left when its process is killed."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

Make = Callable[..., ifp.Version]


def test_a_run_makes_the_registry_and_registers(folder: Path) -> None:
    with ifp.track("fraud", params={"C": 1.0}, seed=7) as run:
        assert run.status == "running"
        run.log_metric("f1", 0.91)
        version = run.register({"weights": [1, 2]}, stage="staging", tags=["q1-retrain"], partial=True)
    assert (folder / "ifp.db").is_file()
    assert (version.run, version.created, version.tags, version.metrics) == (run.id, True, ("q1-retrain",), {"f1": 0.91})
    found = ifp.get_run(run.id)
    assert (found.status, found.version, found.model, found.seed) == ("finished", version.digest, "fraud", 7)
    assert found.load_artifact() == {"weights": [1, 2]}
    assert found.ended_at is not None and found.started_at < found.ended_at
    assert not (folder / "ifp.cas" / "live" / f"{run.id}.points").exists()


def test_a_runs_id_is_ten_crockford_characters(registry: ifp.Registry) -> None:
    ids = {ifp.track("fraud").id for _ in range(50)}
    assert len(ids) == 50
    assert all(len(id) == 14 and set(id[4:]) <= set("0123456789abcdefghjkmnpqrstvwxyz") for id in ids)


@pytest.mark.parametrize("error", [ValueError("bad data"), RuntimeError("\ud800 \x1b[31m"), SystemExit(3), ZeroDivisionError()])
def test_an_exception_ends_the_run_as_failed_and_is_raised_on(registry: ifp.Registry, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, ifp.track("fraud") as run:
        run.log_metric("loss", 0.5)
        raise error
    assert caught.value is error
    found = registry.run(run.id)
    assert found.error is not None
    assert (found.status, found.metrics) == ("failed", {"loss": 0.5})
    assert found.error.startswith(f"{type(error).__name__}: ")
    assert "bad data" in found.error or not isinstance(error, ValueError)
    event = registry.events()[-1]
    assert (event.kind, event.detail["status"], event.detail["error"]) == ("run_ended", "failed", found.error)


def test_ctrl_c_ends_it_killed(registry: ifp.Registry) -> None:
    with pytest.raises(KeyboardInterrupt), ifp.track("fraud") as run:
        raise KeyboardInterrupt
    assert registry.run(run.id).status == "killed"


def test_a_failed_run_keeps_what_it_registered(registry: ifp.Registry) -> None:
    with pytest.raises(ValueError, match="late"), ifp.track("fraud") as run:
        version = run.register([1], partial=True)
        raise ValueError("late")
    assert registry.run(run.id).version == version.digest
    assert registry.resolve(version.digest).stage == "staging"


DIES = """
import os, signal, sys, time
import ifpdb as ifp
with ifp.track("fraud", params={"C": 1.0}) as run:
    for step in range(100):
        run.log_metric("loss", 1 / (step + 1), step=step)
    run._live.flush()
    print(run.id, flush=True)
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.readline()
"""


def start(folder: Path, how: str) -> tuple[subprocess.Popen[str], str]:
    """A process that tracks a run, and the run's id once 100 points are in its live file."""
    (folder / "dies.py").write_text(DIES)
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "dies.py", how], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_killed_process_shows_and_the_next_writer_seals_its_points(registry: ifp.Registry, make: Make, folder: Path) -> None:
    process, run = start(folder, "kill")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = registry.path.read_bytes()
    assert registry.run(run).status == "killed"
    assert [found.id for found in registry.runs(status="killed")] == [run]
    assert registry.runs(status="running") == []
    assert registry.path.read_bytes() == before  # looking wrote nothing
    make("a")
    found = registry.run(run)
    assert (found.status, found.measurements[0].count) == ("killed", 100)
    assert registry.points(run, "loss")[99][:2] == (99, 0.01)
    assert not (folder / "ifp.cas" / "live" / f"{run}.points").exists()
    assert [event.kind for event in registry.events()] == ["run_started", "run_ended", "registered"]


def test_a_living_process_is_left_alone(registry: ifp.Registry, make: Make, folder: Path) -> None:
    process, run = start(folder, "wait")
    make("a")
    assert registry.run(run).status == "running"
    assert (folder / "ifp.cas" / "live" / f"{run}.points").exists()
    process.communicate("\n")
    found = registry.run(run)
    assert (found.status, found.measurements[0].count) == ("finished", 100)


def test_a_point_cut_off_by_the_kill_is_dropped(registry: ifp.Registry, make: Make, folder: Path) -> None:
    process, run = start(folder, "kill")
    process.communicate()
    with (folder / "ifp.cas" / "live" / f"{run}.points").open("ab") as file:
        file.write(b"loss\t\t0.12")
    make("a")
    assert registry.run(run).measurements[0].count == 100


def test_nan_and_infinities_are_what_they_are(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        for key, value in {"a": math.nan, "b": math.inf, "c": -math.inf}.items():
            run.log_metric(key, value)
    found = registry.run(run.id)
    assert math.isnan(found.metrics["a"])
    assert (found.metrics["b"], found.metrics["c"]) == (math.inf, -math.inf)
    assert found.as_dict()["metrics"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}


def test_points_keep_their_steps_and_order(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        for step, value in [(10, 0.5), (20, 0.7), (15, 0.6)]:
            run.log_metrics({"f1": value, "loss": 1 - value}, step=step)
    assert [point[:2] for point in registry.points(run.id, "f1")] == [(10, 0.5), (20, 0.7), (15, 0.6)]
    measured = {found.metric: (found.value, found.min, found.max, found.count) for found in registry.run(run.id).measurements}
    assert measured["f1"] == (0.6, 0.5, 0.7, 3)


@pytest.mark.parametrize("value", ["0.9", None, b"1", [1.0], {}])
def test_a_metric_that_is_no_number_is_refused(registry: ifp.Registry, value: Any) -> None:
    with ifp.track("fraud") as run, pytest.raises(ifp.UsageError, match="not a number"):
        run.log_metric("f1", value)
    assert registry.run(run.id).metrics == {}


@pytest.mark.parametrize("call", [("f1\n", 1.0), ("", 1.0), ("f1", 1.0, 1.5), ("f1", 1.0, 2**63), ("f1", 1.0, "3")])
def test_a_bad_point_is_refused_and_the_run_goes_on(registry: ifp.Registry, call: tuple[Any, ...]) -> None:
    with ifp.track("fraud") as run:
        with pytest.raises(ifp.UsageError):
            run.log_metric(*call)
        run.log_metric("fine", 1)
    assert registry.run(run.id).metrics == {"fine": 1.0}


def test_a_metric_names_its_dataset_by_name_role_or_digest(registry: ifp.Registry, folder: Path) -> None:
    (folder / "h.csv").write_text("h")
    with ifp.track("fraud") as run:
        logged = run.log_dataset("h.csv", role="holdout", name="holdout-2025q4")
        for dataset in ("holdout-2025q4", "holdout", logged.digest):
            run.log_metric("f1", 0.9, dataset=dataset)
        with pytest.raises(ifp.NotFound, match="nowhere"):
            run.log_metric("f1", 0.9, dataset="nowhere")
    (found,) = registry.run(run.id).measurements
    assert (found.dataset, found.count) == (logged.digest, 3)


@pytest.mark.parametrize("dataset", ["sha256:abc", "sha256:" + "z" * 64, "sha256:" + "0" * 64])
def test_a_metric_on_a_digest_that_is_not_known_is_refused(registry: ifp.Registry, dataset: str) -> None:
    with ifp.track("fraud") as run, pytest.raises(ifp.IfpError):
        run.log_metric("f1", 0.9, dataset=dataset)
    assert registry.run(run.id).metrics == {}


def test_parameters_can_be_logged_later_and_are_part_of_the_version(registry: ifp.Registry) -> None:
    with ifp.track("fraud", params={"C": 1.0}, autocapture=False) as run:
        run.log_param("C", 2.0)
        run.log_params({"penalty": "l2", "nested": {"a": [1, None]}})
        version = run.register([1], partial=True)
        with pytest.raises(ifp.UsageError, match="not JSON"):
            run.log_param("bad", object())
    assert version.params == {"C": 2.0, "penalty": "l2", "nested": {"a": [1, None]}}
    assert registry.run(run.id).params == version.params


def test_what_is_captured_can_be_switched_off(registry: ifp.Registry) -> None:
    with ifp.track("fraud", autocapture=False) as bare:
        pass
    with ifp.track("fraud") as full:
        pass
    assert (registry.run(bare.id).command, registry.run(bare.id).environment) == (None, {})
    assert registry.run(full.id).command is not None
    assert registry.run(full.id).environment["python"] == sys.version.split()[0]


def test_register_and_track_agree_on_the_same_four_parts(registry: ifp.Registry, parts: dict[str, Any], folder: Path) -> None:
    (folder / "model.bin").write_text("a")
    (folder / "copy.csv").write_bytes((folder / "train.csv").read_bytes())
    data = ["train.csv", "copy.csv"]
    with ifp.track("fraud", data=data, params=parts["params"], seed=parts["seed"], autocapture=False) as run:
        tracked = run.register("model.bin", schema=parts["schema"])
    registered = registry.register("fraud", "model.bin", **parts | {"data": data})
    assert (registered.digest, registered.created) == (tracked.digest, False)


def test_registering_twice_gives_the_version_back(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        one, two = run.register([1], partial=True), run.register([1], partial=True, tags=["again"])
        assert (two.created, two.digest, two.tags) == (False, one.digest, ("again",))
        with pytest.raises(ifp.Conflict, match="track another run"):
            run.register([2], partial=True)
    assert registry.run(run.id).version == one.digest
    assert registry.run(run.id).load_artifact() == [1]


@pytest.mark.parametrize(
    "wish",
    [
        {"stage": "production"},
        {"tags": ["Bad Tag"]},
        {"labels": ["latest"]},
        {"derived_from": "run-0000000000"},
        {"schema": "nowhere.json"},
        {"data": "nowhere.csv"},
        {"partial": False},
    ],
    ids=str,
)
def test_a_refused_registration_leaves_the_registry_as_it_was(registry: ifp.Registry, wish: dict[str, Any]) -> None:
    with ifp.track("fraud") as run:
        before = registry.path.read_bytes()
        with pytest.raises(ifp.IfpError):
            run.register([1], **{"partial": True} | wish)
        assert registry.path.read_bytes() == before
        assert run.register([1], partial=True).created


def test_the_artifact_logged_as_model_is_registered_by_default(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        kept = run.log_artifact({"a": 1})
        run.log_artifact([1], "encoder")
        version = run.register(partial=True)
    assert version.weights is not None and version.weights.digest == kept.digest
    found = registry.run(run.id)
    assert set(found.artifacts) == {"model", "encoder", "random-state"}
    assert found.load_artifact("encoder") == [1]
    with pytest.raises(ifp.NotFound, match="it kept encoder, model, random-state"):
        found.load_artifact("nothing")


def test_nothing_can_be_logged_before_or_after_the_block(registry: ifp.Registry) -> None:
    run = ifp.track("fraud")
    with pytest.raises(ifp.UsageError, match="with block"):
        run.log_metric("f1", 0.9)
    with run:
        pass
    for call in (
        lambda: run.log_metric("f1", 0.9),
        lambda: run.log_param("C", 1),
        lambda: run.log_dataset("train.csv"),
        lambda: run.log_artifact([1]),
        lambda: run.register([1]),
    ):
        with pytest.raises(ifp.UsageError, match="has ended"):
            call()
    with pytest.raises(ifp.UsageError, match="tracked already"), run:
        pass
    assert (run.status, run.metrics) == ("finished", {})


def test_nested_runs_are_two_runs(registry: ifp.Registry) -> None:
    with ifp.track("outer") as outer:
        with ifp.track("inner", derived_from=outer.id) as inner:
            inner.log_metric("f1", 0.1)
        outer.log_metric("f1", 0.2)
    assert registry.run(outer.id).metrics == {"f1": 0.2}
    assert registry.run(inner.id).metrics == {"f1": 0.1}
    assert registry.run(inner.id).parents == (ifp.Parent(outer.id, "derived_from"),)


def test_threads_log_every_point_once(registry: ifp.Registry) -> None:
    def log(name: str) -> None:
        for value in range(500):
            run.log_metric(name, value)

    with ifp.track("fraud") as run:
        threads = [threading.Thread(target=log, args=(name,)) for name in ("a", "b", "a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {found.metric: found.count for found in registry.run(run.id).measurements} == {"a": 1000, "b": 1000}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"model": "fraud_final"}, ifp.UsageError),
        ({"derived_from": "run-0000000000"}, ifp.NotFound),
        ({"derived_from": ("fraud", "stolen_from")}, ifp.IfpError),
        ({"data": "nowhere.csv"}, ifp.UsageError),
        ({"seed": "7"}, ifp.UsageError),
        ({"params": {"C": {1}}}, ifp.UsageError),
    ],
)
def test_a_run_that_cannot_start_leaves_nothing_behind(
    make: Make, registry: ifp.Registry, folder: Path, wrong: dict[str, Any], error: type[ifp.IfpError]
) -> None:
    make("a")
    before = registry.path.read_bytes()
    with pytest.raises(error):
        ifp.track(**{"model": "fraud"} | wrong).__enter__()
    assert registry.path.read_bytes() == before
    assert list((folder / "ifp.cas").glob("live/*")) == []


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ("fraud@v1", ["derived_from"]),
        (("fraud@v1", "forked_from"), ["forked_from"]),
        ([("fraud@v1", "merged_from"), "fraud@v2"], ["merged_from", "derived_from"]),
        ((), []),
    ],
)
def test_where_it_came_from(make: Make, registry: ifp.Registry, given: Any, kinds: list[str]) -> None:
    make("a")
    make("b")
    with ifp.track("fraud", derived_from=given) as run:
        pass
    assert [parent.kind for parent in registry.run(run.id).parents] == kinds
    assert [parent["kind"] for parent in registry.events(kind="run_started")[0].detail["parents"]] == kinds


def test_an_error_that_quotes_a_password_is_kept_without_it(registry: ifp.Registry) -> None:
    with pytest.raises(ConnectionError), ifp.track("fraud") as run:
        raise ConnectionError("no answer from postgresql://ada:hunter2@db/x")
    assert registry.run(run.id).error == "ConnectionError: no answer from postgresql://<redacted>@db/x"
