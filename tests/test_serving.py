"""The examples in examples/serving: an endpoint that swaps, a loop that deploys, a job that commits what it deployed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from transcript import free_port

import ifpdb as ifp

SERVING = Path(__file__).resolve().parent.parent / "examples" / "serving"
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


class Doubling:
    """A model without a framework, which pickle can keep."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def predict(self, rows: list[list[float]]) -> list[float]:
        return [self.factor * row[0] for row in rows]


def until(true: Callable[[], Any], seconds: float = 20) -> Any:
    """What `true` gives as soon as it is something."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it didn't come"
        time.sleep(0.05)
    return found


# -- the endpoint


@dataclass
class Web:
    """A running endpoint."""

    url: str
    log: Path

    def ask(self, path: str = "/", body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except urllib.error.URLError:
            return 0, None

    def serves(self, version: ifp.Version) -> bool:
        return bool(self.ask()[1]["version"] == version.name)


@pytest.fixture
def fraud(registry: ifp.Registry, parts: dict[str, Any]) -> ifp.Model:
    """v1, which times 2, and v2, which times 3: models that scikit-learn has nothing to do with."""
    sys.modules.setdefault("doubling", sys.modules[__name__])
    (registry.path.parent / "doubling.py").write_text(
        "class Doubling:\n    def __init__(self, factor):\n        self.factor = factor\n"
        "    def predict(self, rows):\n        return [self.factor * row[0] for row in rows]\n"
    )
    Doubling.__module__, Doubling.__qualname__ = "doubling", "Doubling"
    for factor in (2.0, 3.0):
        registry.register("fraud", Doubling(factor), **parts, metrics={"f1": 0.95})
    return registry.model("fraud")


@contextmanager
def endpoint(fraud: ifp.Model) -> Iterator[Web]:
    folder, port = fraud.registry.path.parent, free_port()
    web = Web(f"http://127.0.0.1:{port}", folder / "endpoint.log")
    with web.log.open("w") as log:
        running = subprocess.Popen(
            [sys.executable, str(SERVING / "endpoint.py"), "fraud", "prod-eu", "--port", str(port)],
            cwd=folder,
            env=os.environ | {"IFP_ACTOR": "endpoint", "PYTHONPATH": str(folder)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: running.poll() is not None or web.ask()[0])
            assert running.poll() is None, web.log.read_text()
            yield web
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(10)


ROWS = {"rows": [{"country": "DE", "amount": 10.0}, {"amount": 2.5, "country": None}]}


def test_the_endpoint_serves_swaps_validates_and_acknowledges(fraud: ifp.Model) -> None:
    with endpoint(fraud) as web:
        assert web.ask("/predict", ROWS)[0] == 503
        first = fraud.promote("v1", "production", force=True, reason="first")
        until(lambda: web.serves(first))
        assert web.ask("/predict", ROWS) == (200, {"version": first.name, "predictions": [20.0, 5.0]})
        second = fraud.promote("v2", "production", force=True, reason="second")
        until(lambda: web.serves(second))
        assert web.ask("/predict", ROWS) == (200, {"version": second.name, "predictions": [30.0, 7.5]})
        for rows, said in (
            ([{"amount": "much", "country": "DE"}], "amount: "),
            ([{"amount": 1.0, "country": "US"}], "country: "),
            ([{"country": "DE"}], "amount"),
            ([{"amount": 1.0, "country": "DE", "x": 1}], "x"),
        ):
            code, told = web.ask("/predict", {"rows": rows})
            assert (code, said in str(told["detail"])) == (422, True), told
        assert [web.ask("/predict", body)[0] for body in ({"rows": []}, {"rows": [3]}, {}, [])] == [422] * 4
        fraud.promote("v2", "archived")
        until(lambda: web.ask()[1]["version"] is None)
        assert web.ask("/predict", ROWS)[0] == 503
        deployed = until(lambda: (told := fraud.registry.events(kind="deployed"))[2:] and told)
    said = [(event.version, event.actor, event.detail.get("stopped", False)) for event in deployed]
    assert said == [(first.digest, "endpoint", False), (second.digest, "endpoint", False), (second.digest, "endpoint", True)]


def test_a_version_that_cannot_be_loaded_displaces_nothing(fraud: ifp.Model) -> None:
    first = fraud.promote("v1", "production", force=True, reason="first")
    weights = fraud.get("v2").weights
    assert weights is not None
    fraud.registry.blobs.path(weights.digest).unlink()
    with endpoint(fraud) as web:
        until(lambda: web.serves(first))
        fraud.promote("v2", "production", force=True, reason="its bytes are gone")
        trouble = until(lambda: web.ask()[1]["trouble"])
        assert weights.digest[:19] in trouble
        assert web.serves(first)
        assert web.ask("/predict", ROWS)[0] == 200
    assert [event.version for event in fraud.registry.events(kind="deployed")] == [first.digest]


def test_what_was_promoted_while_it_was_down_is_served_when_it_comes_back(fraud: ifp.Model) -> None:
    for ref in ("v1", "v2"):
        wanted = fraud.promote(ref, "production", force=True, reason="now")
        with endpoint(fraud) as web:
            until(partial(web.serves, wanted))
    assert len(fraud.registry.events(kind="deployed")) == 2


# -- the shell loop


def test_the_loop_deploys_what_enters_production_and_stops_where_that_fails(
    make: Callable[..., ifp.Version], registry: ifp.Registry, folder: Path
) -> None:
    fraud = registry.model("fraud")
    for weights in ("one", "two", "three"):
        make(weights)
    (folder / "deploy.sh").write_text('#!/bin/sh\ngrep -qv three "$2" && cat "$2" >> "$1" && echo >> "$1"\n')
    (folder / "deploy.sh").chmod(0o755)
    fraud.promote("v1", "production", force=True, reason="first")
    running = subprocess.Popen(
        [str(SERVING / "deploy-loop.sh"), "fraud", "prod-eu", "./deploy.sh", "served.txt"],
        cwd=folder,
        env=os.environ | {"PATH": PATH},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        served = folder / "served.txt"
        until(lambda: served.exists() and served.read_text() == "one\n")
        fraud.tag("v1", "nothing-to-deploy")
        fraud.promote("v2", "production", force=True, reason="second")
        until(lambda: served.read_text() == "one\ntwo\n")
        until(lambda: len(registry.events(kind="deployed")) == 2)
        fraud.promote("v3", "production", force=True, reason="its deployment fails")
        assert running.wait(20) != 0
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGTERM)
        assert running.stderr is not None
        running.stderr.close()
    assert served.read_text() == "one\ntwo\n"
    said = [(event.version, event.detail["environment"]) for event in registry.events(kind="deployed")]
    assert said == [(fraud.get(ref).digest, "prod-eu") for ref in ("v1", "v2")]


# -- the job


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_the_job_deploys_and_commits_even_where_somebody_pushed_meanwhile(
    make: Callable[..., ifp.Version], registry: ifp.Registry, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    workflow = yaml.safe_load((SERVING / "github-actions-deploy.yml").read_text())
    steps = {step["name"]: step["run"] for step in workflow["jobs"]["deploy"]["steps"] if "name" in step}
    for name, value in (("user.name", "ada"), ("user.email", "ada@example.org"), ("init.defaultBranch", "main")):
        git(folder, "config", "--global", name, value)
    make("one")
    make("two")
    registry.model("fraud").promote("v1", "production", force=True, reason="first")
    git(folder, "init", "-q")
    (folder / "deploy").write_text('#!/bin/sh\ncp "$1" served\n')
    (folder / "deploy").chmod(0o755)
    ifp_command = str(Path(sys.executable).with_name("ifp"))
    subprocess.run([ifp_command, "git", "install", "--with-blobs"], cwd=folder, check=True, capture_output=True)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    place = tmp_path_factory.mktemp("forge")
    git(place, "clone", "-q", "--bare", str(folder), "origin.git")
    git(place, "clone", "-q", "origin.git", "job")
    git(folder, "remote", "add", "origin", str(place / "origin.git"))
    git(folder, "fetch", "-q")
    git(folder, "branch", "-q", "-u", "origin/main")
    registry.model("fraud").tag("v1", "meanwhile")
    git(folder, "commit", "-qam", "meanwhile")
    git(folder, "push", "-q")
    environment = {name: value for name, value in os.environ.items() if name != "IFP_ACTOR"}
    environment |= workflow["env"] | {"GITHUB_WORKFLOW": "deploy", "PATH": PATH}
    for _ in range(2):  # the second finds all on record
        for name in ("Deploy", "Acknowledge"):
            done = subprocess.run(
                ["bash", "-e", "-c", steps[name]], cwd=place / "job", env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        shutil.rmtree(place / "job" / "served-model", ignore_errors=True)
        (place / "job" / "served-model").unlink(missing_ok=True)
    assert (place / "job" / "served").read_text() == "one"
    registry.close()
    git(folder, "pull", "-q", "--no-rebase", "--no-edit")
    with ifp.open(folder / "ifp.db") as pulled:
        (told,) = pulled.events(kind="deployed")
        assert (told.actor, told.detail) == ("deploy", {"environment": "prod-eu"})
        assert pulled.resolve("fraud@v1").tags == ("meanwhile",)
