"""What a pipeline reads and says: resolve, as JSON and for a shell, and deployed; and what events says to a program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

Cli = Callable[..., Any]
NAMES = ("MODEL", "DIGEST", "RUN", "STAGE", "WEIGHTS", "PATH", "SCHEMA", "GATE")
PRINT = "".join(f"printf '%s\\0' \"$IFP_{name}\"; " for name in NAMES)


def evaluated(folder: Path, ref: str, *, shell: str = "bash") -> dict[str, bytes]:
    """The variables that a shell has after it evaluated what `ifp resolve` printed in that folder."""
    ifp_there = Path(sys.executable).with_name("ifp")
    script = f'set -eu; said=$("{ifp_there}" resolve "$1" --shell); eval "$said"; {PRINT}'
    done = subprocess.run([shell, "-c", script, shell, ref], cwd=folder, capture_output=True, check=True)
    assert done.stderr == b""
    return dict(zip(NAMES, done.stdout.split(b"\0"), strict=False))


def test_a_shell_gets_the_variables_that_a_deployment_needs(two: ifp.Registry, folder: Path) -> None:
    version = two.resolve("fraud")
    assert version.weights is not None and version.schema is not None
    assert evaluated(folder, "fraud") == {
        "MODEL": b"fraud",
        "DIGEST": version.digest.encode(),
        "RUN": version.run.encode(),
        "STAGE": b"production",
        "WEIGHTS": version.weights.digest.encode(),
        "PATH": os.fsencode(two.blobs.path(version.weights.digest)),
        "SCHEMA": version.schema.digest.encode(),
        "GATE": b"passed",
    }
    two.model("fraud").set_policy({"validation": {"min_f1": 0.99}})
    assert evaluated(folder, "fraud@v2")["GATE"] == b"failed"


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize(
    "name",
    [
        b"it's a folder",
        b"$(touch pwned)`touch pwned`",
        b"'; touch pwned; '",
        b"line\nbreak; touch pwned\n",
        b'back\\slash "quoted" !! * ~ #',
        "größe ☃".encode(),
        b"-n",
    ],
)
def test_no_name_can_run_anything_when_a_shell_evaluates_it(two: ifp.Registry, folder: Path, name: bytes, shell: str) -> None:
    two.close()
    nasty = folder / os.fsdecode(name)
    nasty.mkdir()
    shutil.move("ifp.db", nasty)
    shutil.move("ifp.cas", nasty)
    found = Path(os.fsdecode(evaluated(nasty, "fraud", shell=shell)["PATH"]))
    assert found.is_absolute()
    assert found.is_relative_to(nasty)
    assert found.read_text() == "a"
    assert not list(folder.rglob("pwned"))


def test_a_version_without_weights_or_schema_has_empty_variables(registry: ifp.Registry, folder: Path) -> None:
    with ifp.track("fraud", params={"C": 1}) as run:
        run.register(partial=True)
    found = evaluated(folder, "fraud@v1")
    assert (found["WEIGHTS"], found["PATH"], found["SCHEMA"], found["GATE"]) == (b"", b"", b"", b"failed")


def test_what_can_not_be_resolved_prints_nothing_that_a_shell_would_evaluate(two: ifp.Registry, cli: Cli) -> None:
    for line, code in (("resolve nobody --shell", 3), ("resolve fraud --shell --json", 2), ("resolve", 2)):
        said = cli(*line.split())
        assert (said.code, said.out) == (code, "")


def test_the_path_is_absolute_wherever_the_registry_was_named_from(two: ifp.Registry, cli: Cli, folder: Path) -> None:
    for arguments in ((), ("--db", "ifp.db"), ("--db", "./ifp.db")):
        path = json.loads(cli("resolve", "fraud", "--json", *arguments).out)["path"]
        assert Path(path).is_absolute()
        assert Path(path).read_text() == "a"


def test_deployed_is_recorded_with_its_time_and_refused_where_another_version_is_served(two: ifp.Registry, cli: Cli) -> None:
    assert cli("deployed", "fraud", "--environment", "eu", "--at", "0 seconds ago").code == 0
    assert two.events()[-1].detail.keys() == {"environment", "since"}
    said = cli("deployed", "fraud@v2", "--environment", "eu", "--replaces", "fraud@v2")
    assert (said.code, said.out) == (4, "")
    assert cli("deployed", "fraud@v2", "--environment", "eu", "--replaces", "fraud@v1").out.endswith("  deployed in eu\n")
    assert cli("deployed", "fraud@v2", "--environment", "eu", "--stopped").out.endswith("  no longer deployed in eu\n")
    assert cli("deployed", "fraud@v2").code == 2


def test_at_and_exposure_say_where_a_version_was_served(two: ifp.Registry, cli: Cli) -> None:
    two.model("fraud").deployed("v2", "eu")
    two.model("fraud").deployed("v1", "us")
    told = cli("at", "now").out
    assert "\ndeployed     in us, " in told
    assert f"\nalso served  {two.resolve('fraud@v2').digest[:19]} in eu, " in told
    heading, *rows = cli("exposure", "fraud").out.splitlines()
    assert "environment" in heading
    assert ["us" in row for row in rows] == [False, True]


def test_events_since_an_event_and_since_several(two: ifp.Registry, cli: Cli) -> None:
    log = two.events()
    assert [event["id"] for event in json.loads(cli("events", "--since", log[-2].id, "--json").out)] == [log[-1].id]
    line = ("events", "--since", log[-2].id[:19], "--since", log[0].id, "--json")
    assert len(json.loads(cli(*line).out)) == 1
    assert cli("events", "--since", "2025-01-01", "--since", "2025-01-02").code == 2
    assert cli("events", "--since", "sha256:0000000").code == 3
