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

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 shell is not installed")
def test_the_lines_of_the_page_save_what_is_left(
    make: Callable[..., ifp.Version], registry: ifp.Registry, folder: Path
) -> None:
    for number in range(5):
        make(f"weights {number}", tags=[f"t{number}"])
    registry.model("fraud").promote("v2", "production", force=True, reason="first")
    registry.close()
    with closing(sqlite3.connect("ifp.db")) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'tag_name'").fetchone()[0]
    harmed = bytearray(Path("ifp.db").read_bytes())
    harmed[(page - 1) * 4096 : page * 4096] = bytes(4096)
    Path("ifp.db").write_bytes(harmed)
    found = re.search(r"```sh\n(\(echo .*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert found is not None
    *lines, check = found[1].strip().splitlines()
    for line in lines:
        subprocess.run(line, shell=True, check=True, capture_output=True)
    assert check == "ifp --db saved.db fsck"
    with ifp.open("saved.db") as saved:
        assert verify(saved).problems == ()
        assert saved.resolve("fraud@production").ordinal == 2
        assert saved.artifact("fraud@v5").digest in {row["weights"] for row in saved.sql("SELECT weights FROM versions")}
        saved.model("fraud").promote("v3", "shadow", reason="it goes on")


def test_the_numbers_on_the_page_are_those_of_a_registry() -> None:
    assert f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_NUMBER};" in PAGE.read_text(encoding="utf-8")
