"""What is left of a damaged database is saved by the lines that docs/reliability.md shows."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb.store.db import APPLICATION_ID, SCHEMA_NUMBER
from ifpdb.upkeep.chain import verify
from ifpdb.upkeep.fsck import fsck

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"


def zero_first_page(name: str) -> None:
    """Destroy the first page of a table or index."""
    with closing(sqlite3.connect("ifp.db")) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0]
    harmed = bytearray(Path("ifp.db").read_bytes())
    harmed[(page - 1) * 4096 : page * 4096] = bytes(4096)
    Path("ifp.db").write_bytes(harmed)


def follow_the_page() -> None:
    """Run the lines that the page shows, but for the last, which is tried elsewhere."""
    found = re.search(r"```sh\n(\(echo .*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert found is not None
    *lines, check = found[1].strip().splitlines()
    assert check == "ifp --db saved.db fsck"
    for line in lines:
        subprocess.run(line, shell=True, check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 shell is not installed")
@pytest.mark.parametrize(
    ("destroyed", "told"),
    [
        ("run_model", set()),
        ("tag_name", {"tag"}),  # an index that holds all of its table is what SQLite reads
        ("param", {"part", "run"}),
        ("edge", {"lineage"}),
        ("feature", {"feature"}),
        ("metric", {"metric"}),
    ],
)
def test_the_lines_of_the_page_save_what_is_left_and_fsck_names_what_is_lost(
    make: Callable[..., ifp.Version], registry: ifp.Registry, folder: Path, destroyed: str, told: set[str]
) -> None:
    for number in range(5):
        make(f"weights {number}", tags=[f"t{number}"], metrics={"f1": 0.9}, derived_from=[f"fraud@v{number}"][:number])
    registry.model("fraud").promote("v2", "production", force=True, reason="first")
    registry.close()
    zero_first_page(destroyed)
    follow_the_page()
    with ifp.open("saved.db") as saved:
        assert {problem.kind for problem in fsck(saved).problems} == told
        assert verify(saved).problems == ()
        assert saved.resolve("fraud@production").ordinal == 2
        assert saved.blobs.read(saved.artifact("fraud@v5").digest) == b"weights 4"
        saved.model("fraud").promote("v3", "shadow", reason="it goes on")


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 shell is not installed")
def test_lost_tags_can_be_set_again(make: Callable[..., ifp.Version], registry: ifp.Registry) -> None:
    make("weights", tags=["q1", "q2"])
    registry.close()
    zero_first_page("tag_name")
    follow_the_page()
    with ifp.open("saved.db") as saved:
        assert sum("q" in problem.detail for problem in fsck(saved).problems) == 2
        saved.model("fraud").tag("v1", "q1", "q2")
        assert fsck(saved).ok and verify(saved).ok


def test_the_numbers_on_the_page_are_those_of_a_registry() -> None:
    assert f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_NUMBER};" in PAGE.read_text(encoding="utf-8")
