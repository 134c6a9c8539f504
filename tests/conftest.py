"""Fixtures that every test may use: a private home, a registry on a temporary path, ready-made parts of a version,
the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.cli import run

os.environ["IFP_OUTBOX"] = "off"  # for fixtures of modules as well, which are made before `home`

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
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(folder / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("IFP_DB", "IFP_NOW", "IFP_TRACEBACK", "IFP_SIGNING_KEY", "IFP_ALLOWED_SIGNERS"):
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


@pytest.fixture
def make(registry: ifp.Registry, parts: dict[str, Any], folder: Path) -> Callable[..., ifp.Version]:
    """Registers a whole version whose weights are the given text: `make("a")`, `make("a", "churn", metrics={"f1": 0.9})`."""

    def register(weights: str, model: str = "fraud", **given: Any) -> ifp.Version:
        (folder / "model.bin").write_text(weights)
        return registry.register(model, "model.bin", **parts | given)

    return register


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the time that events bear from now on: `clock("2025-11-14T09:30:00Z")`."""
    return lambda time: monkeypatch.setenv("IFP_NOW", time)


@pytest.fixture(scope="session")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of SSH keys (ada, grace, eve) and `allowed`, which says that the first two are theirs."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ada", "grace", "eve"):
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(made, check=True, stdin=subprocess.DEVNULL)
    keys = [f"{name} {(folder / name).with_suffix('.pub').read_text()}" for name in ("ada", "grace")]
    (folder / "allowed").write_text("".join(keys))
    return folder


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and the code it ended with."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs `ifp` with these arguments in this process: `cli("show", "fraud@v1")`."""

    def call(*arguments: str) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["ifp", *arguments])
        code = run()
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call


@pytest.fixture
def script(folder: Path) -> Callable[..., Said]:
    """Runs the installed console script in a process of its own."""

    def call(*arguments: str, cwd: Path | None = None, **environment: str) -> Said:
        program = Path(sys.executable).with_name("ifp")
        done = subprocess.run(
            [str(program), *arguments], capture_output=True, text=True, cwd=cwd or folder, env={**os.environ, **environment}
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def two(make: Callable[..., ifp.Version], registry: ifp.Registry, parts: dict[str, Any]) -> ifp.Registry:
    """fraud v1 in production, approved by grace, with a policy; its child v2 in staging with a better f1."""
    fraud = registry.model("fraud")
    make("a", metrics={"f1": 0.91}, tags=["q1"], labels=["2025-Q4"])
    fraud.set_policy({"validation": {"min_f1": 0.9}})
    fraud.promote("v1", "production", approved_by="grace", reason="first")
    make("b", metrics={"f1": 0.95}, params={"C": 2.0}, derived_from="fraud@v1")
    return registry
