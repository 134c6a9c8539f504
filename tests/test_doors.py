"""The short way in: registry, get_run and register, and which file they use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

Make = Callable[..., ifp.Version]


def test_register_makes_the_registry_where_there_is_none(parts: dict[str, Any], folder: Path) -> None:
    (folder / "model.bin").write_text("a")
    version = ifp.register("fraud", "model.bin", metrics={"f1": 0.9}, tags=["q1"], labels=["2025-Q4"], **parts)
    assert (folder / "ifp.db").is_file()
    assert (version.created, version.metrics, version.labels) == (True, {"f1": 0.9}, ("2025-Q4",))
    assert ifp.get_run(version.run).version == version.digest


def test_register_does_not_make_a_registry_that_was_named(parts: dict[str, Any], folder: Path) -> None:
    (folder / "model.bin").write_text("a")
    with pytest.raises(ifp.NotFound, match="ifp init"):
        ifp.register("fraud", "model.bin", db="other.db", **parts)
    assert not (folder / "other.db").exists() and not (folder / "ifp.db").exists()


def test_registry_and_get_run_need_a_registry(folder: Path) -> None:
    for ask in (lambda: ifp.registry("fraud"), lambda: ifp.get_run("run-8832")):
        with pytest.raises(ifp.NotFound, match="ifp init"):
            ask()
    assert list(folder.iterdir()) == []


def test_register_records_what_it_is_given_and_never_this_process(make: Make, parts: dict[str, Any], folder: Path) -> None:
    (folder / "m").write_text("m")
    version = ifp.register("fraud", "m", **parts)
    run = ifp.get_run(version.run)
    assert (run.command, run.environment, run.code) == (None, {}, ifp.Code())


def test_the_actor_is_named_by_argument(make: Make) -> None:
    make("a")
    fraud = ifp.registry("fraud", actor="grace")
    fraud.tag("v1", "q1")
    assert fraud.registry.events()[-1].actor == "grace"


def test_the_flow_of_the_promise_works_as_written(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("a")
    make("b")
    registry = ifp.registry("fraud")
    registry.set_policy({"validation": {}})
    registry.promote("v1", to_stage="production")
    registry.promote("v2", to_stage="production")
    back = registry.get("v1").run
    registry.promote(back, to_stage="production", reason="accuracy regression in v8")
    assert registry.production is not None and registry.production.run == back
    assert [interval.reason for interval in registry.history()][-1] == "accuracy regression in v8"
    assert [version.ordinal for version in registry.at("now")] == [1]


def test_a_bad_registration_makes_no_registry(folder: Path) -> None:
    with pytest.raises(ifp.UsageError):
        ifp.register("fraud_final", "nowhere.bin")
    assert [path.name for path in folder.iterdir() if path.suffix == ".db" and path.stat().st_size == 0] == []


@pytest.mark.parametrize("name", ifp.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(ifp, name) is not None
