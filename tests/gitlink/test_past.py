"""A registry as a commit has it: `ifp show REF --at-commit REV`, without checking anything out."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.errors import IfpError
from ifpdb.gitlink.past import past

Cli = Callable[..., Any]
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@pytest.fixture
def commit(folder: Path) -> Callable[[], str]:
    """Commits everything but the blobs; the commit's id."""
    (folder / ".gitignore").write_text("*.cas\n")

    def git(*arguments: str) -> str:
        ada = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
        return subprocess.run(["git", *ada, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout

    def make() -> str:
        git("init", "-q")
        git("add", "--all")
        git("commit", "-q", "--allow-empty", "-m", "x")
        return git("rev-parse", "HEAD").strip()

    return make


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process puts temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, but git's own."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_version_is_shown_as_it_was_and_nothing_is_left_behind(
    two: ifp.Registry, folder: Path, commit: Any, cli: Cli, temporary: Path
) -> None:
    then = {form: cli("show", "fraud", *form).out for form in ((), ("--json",))}
    before = commit()
    two.model("fraud").promote("v2", "production", reason="better")
    two.model("fraud").label("v2", "2025-Q4")
    commit()
    now = tree(folder)
    for form, out in then.items():
        assert cli("show", "fraud", "--at-commit", before, *form).out == out
        assert cli("show", "fraud", "--at-commit", "HEAD~1", *form).out == out
        assert cli("show", "fraud", *form).out != out
    assert tree(folder) == now
    assert not list(temporary.iterdir())


def test_no_blob_folder_is_needed_and_the_work_tree_may_lack_the_file(
    two: ifp.Registry, folder: Path, commit: Any, cli: Cli
) -> None:
    out = cli("show", "fraud@v2", "--json").out
    commit()
    two.close()
    shutil.rmtree(folder / "ifp.cas")
    (folder / "ifp.db").unlink()
    assert cli("--db", "ifp.db", "show", "fraud@v2", "--at-commit", "HEAD", "--json").out == out


def test_a_run_without_a_version_is_shown_too(two: ifp.Registry, commit: Any, cli: Cli) -> None:
    with ifp.track("fraud") as run:
        commit()
        status = json.loads(cli("show", run.id, "--at-commit", "HEAD", "--json").out)["status"]
    assert status == "running"
    assert json.loads(cli("show", run.id, "--json").out)["status"] == "finished"


def test_a_registry_of_schema_1_is_read_through_its_migrated_copy(folder: Path, commit: Any, cli: Cli) -> None:
    with closing(sqlite3.connect(folder / "ifp.db")) as connection:
        for name in ("schema-1.sql", "registry-1.sql"):
            connection.executescript((FIXTURES / name).read_text())
    out = cli("show", json.loads(cli("ls", "--json").out)[0]["latest"], "--json").out
    commit()
    latest = json.loads(out)["digest"]
    assert cli("show", latest, "--at-commit", "HEAD", "--json").out == out


def test_the_file_is_private_alone_and_removed_whatever_happens(two: ifp.Registry, commit: Any, temporary: Path) -> None:
    commit()
    with pytest.raises(KeyboardInterrupt), past(two.path, "HEAD").placed() as path:
        assert path.is_relative_to(temporary)
        assert path.parent.stat().st_mode & 0o777 == 0o700
        with ifp.open(path, readonly=True) as registry:
            assert len(registry.models()) == 1
            assert list(path.parent.iterdir()) == [path]
        raise KeyboardInterrupt
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("harm", ["torn", "another table", "WAL", "nothing"])
def test_what_is_no_sound_registry_is_refused_by_name_before_anything_is_written(
    two: ifp.Registry, commit: Any, cli: Cli, temporary: Path, harm: str
) -> None:
    data = two.path.read_bytes()
    two.close()
    if harm == "another table":
        with closing(sqlite3.connect(two.path)) as other:
            other.execute("ALTER TABLE tag RENAME TO gat")
            other.execute("CREATE VIEW tag AS SELECT 1 AS version, 'x' AS name")
    else:
        broken = {"torn": data[: len(data) // 2], "WAL": data[:18] + b"\2\2" + data[20:], "nothing": b""}
        two.path.write_bytes(broken[harm])
    id = commit()
    said = cli("show", "fraud", "--at-commit", "HEAD")
    assert said.code in (5, 7)
    assert f"ifp.db at {id[:12]} is" in said.err
    assert not list(temporary.iterdir())


def test_what_is_not_there_says_what_to_do(two: ifp.Registry, commit: Any, cli: Cli) -> None:
    assert "git init" in cli("show", "fraud", "--at-commit", "HEAD").err
    commit()
    assert cli("show", "fraud", "--at-commit", "nope").code == 3
    assert cli("show", "churn", "--at-commit", "HEAD").code == 3


def test_a_folder_at_the_registrys_path_has_no_bytes(folder: Path, commit: Any) -> None:
    (folder / "ifp.db").mkdir()
    (folder / "ifp.db" / "file").write_text("x")
    commit()
    with pytest.raises(IfpError, match="no bytes of a file"):
        past(folder / "ifp.db", "HEAD")
