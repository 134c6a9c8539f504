"""gc, backup and doctor on the command line: what they print, and their exit codes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

CLI = Callable[..., Any]
Make = Callable[..., ifp.Version]


@pytest.fixture
def orphan(registry: ifp.Registry) -> str:
    """The digest of a blob that nothing names."""
    return registry.blobs.put_bytes(b"nobody's", name="x", format="bytes").digest


def test_gc_lists_what_would_go_and_removes_it_with_yes(cli: CLI, make: Make, registry: ifp.Registry, orphan: str) -> None:
    make("a")
    said = cli("gc", "--grace", "0")
    assert said.code == 0
    assert orphan.removeprefix("sha256:")[:8] in said.out
    assert "1 files of 8 B would go, 1 named blobs stay" in said.err and "ifp gc --yes" in said.err
    assert registry.blobs.has(orphan)
    said = cli("gc", "--grace", "0", "--yes", "--json")
    found = json.loads(said.out)
    assert found["deleted"] is True
    assert [one["digest"] for one in found["garbage"]] == [orphan]
    assert not registry.blobs.has(orphan)
    assert cli("gc").out == ""


def test_gc_keeps_what_is_young(cli: CLI, registry: ifp.Registry, orphan: str) -> None:
    said = cli("gc", "--yes")
    assert (said.code, said.out) == (0, "")
    assert "1 unnamed are younger than 14 days" in said.err
    assert registry.blobs.has(orphan)


@pytest.mark.parametrize("options", [["--grace", "-1"], ["--grace", "nan"], ["--forget", "abc"]])
def test_gc_refuses_what_makes_no_sense(cli: CLI, registry: ifp.Registry, options: list[str]) -> None:
    assert cli("gc", *options).code == 2


def test_gc_that_can_not_see_everything_exits_7(cli: CLI, registry: ifp.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "elsewhere")
    said = cli("gc")
    assert said.code == 7
    assert "GIT_DIR" in said.err


def test_backup_says_what_it_copied(cli: CLI, make: Make, registry: ifp.Registry) -> None:
    weights = make("a").weights
    assert weights
    said = cli("backup", "safe")
    assert said.code == 0
    assert "1 events, 1 blobs of 1 B, 1 of 1 B copied now" in said.out
    assert cli("--db", "safe/ifp.db", "verify").code == 0
    registry.blobs.path(weights.digest).unlink()
    said = cli("backup", "other", "--json")
    assert said.code == 1
    assert json.loads(said.out)["problems"][0]["kind"] == "missing"
    assert cli("backup", "other").out.startswith("missing  ")


def test_doctor_exits_1_only_on_problems(cli: CLI, make: Make, registry: ifp.Registry, folder: Path) -> None:
    said = cli("doctor")
    assert (said.code, said.err) == (0, "")
    assert "nothing to mend" in said.out
    weights = make("a").weights
    assert weights
    (folder / "copy.db").write_bytes(registry.path.read_bytes())
    said = cli("doctor")
    assert said.code == 0
    assert said.out.startswith("hint     copy: copy.db looks like a copy")
    registry.blobs.path(weights.digest).unlink()
    said = cli("doctor", "--json")
    assert said.code == 1
    assert [one["severity"] for one in json.loads(said.out)["findings"]] == ["problem", "hint"]


def test_doctor_fixes(cli: CLI, registry: ifp.Registry) -> None:
    registry.close()
    subprocess.run(
        ["python3", "-c", "import sqlite3; sqlite3.connect('ifp.db').execute('PRAGMA journal_mode=WAL')"], check=True
    )
    assert cli("ls").code == 7
    assert cli("doctor").code == 1
    said = cli("doctor", "--fix")
    assert (said.code, said.out.splitlines()[0]) == (0, "mended   wal")
    assert cli("ls").code == 0


def test_doctor_needs_a_registry(cli: CLI, folder: Path) -> None:
    assert cli("doctor", "--db", "none.db").code == 3
