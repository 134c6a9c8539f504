"""Fixtures that every test may use: a private home, a registry on a temporary path, ready-made parts of a version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

SCHEMA: dict[str, Any] = {
    "features": [
        {"position": 0, "name": "amount", "type": "number", "nullable": False, "min": 0, "max": 25000},
        {"position": 1, "name": "country", "type": "category", "nullable": True, "categories": ["DE", "FR"]},
    ]
}


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for each test: no user's trust list, git identity or IFP_… variable reaches it."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(folder / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("IFP_DB", "IFP_NOW", "IFP_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IFP_ACTOR", "ada")
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, which is also the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def registry(folder: Path) -> Iterator[ifp.Registry]:
    """An empty registry, ./ifp.db."""
    with ifp.init() as opened:
        yield opened


@pytest.fixture
def parts(folder: Path) -> dict[str, Any]:
    """Everything that a whole version needs, as keyword arguments of `register` besides the model's bytes."""
    (folder / "train.csv").write_text("amount,country\n12.5,DE\n")
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    return {"data": "train.csv", "schema": "schema.json", "params": {"C": 1.0}, "seed": 7}
