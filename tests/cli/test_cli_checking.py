"""ifp fsck and ifp verify: what they print, and the code they end with."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

Cli = Callable[..., Any]


def damage(registry: ifp.Registry) -> str:
    """Flip a bit of v1's weights; their digest."""
    digest = registry.artifact("fraud@v1").digest
    path = registry.blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]))
    return digest


def test_a_whole_registry_is_told_in_one_line(two: ifp.Registry, cli: Cli) -> None:
    said = cli("fsck")
    assert (said.code, said.out) == (0, "2 blobs of 2 B, all as it was written\n")
    assert cli("fsck", "--fast").out == said.out


def test_a_flipped_bit_is_a_line_with_the_way_on(two: ifp.Registry, cli: Cli) -> None:
    digest = damage(two)
    said = cli("fsck")
    assert said.code == 1
    assert digest.removeprefix("sha256:")[:8] in said.out
    assert "ifp fsck --from" in said.err
    document = json.loads(cli("fsck", "--json").out)
    assert document["ok"] is False
    assert document["problems"][0].keys() == {"kind", "digest", "detail"}


def test_a_copy_elsewhere_mends_it(two: ifp.Registry, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(two.blobs.root, other / "ifp.cas")
    digest = damage(two)
    document = json.loads(cli("fsck", "--from", str(other), "--json").out)
    assert (document["ok"], document["mended"]) == (True, [digest])
    assert cli("fsck").code == 0


def test_what_can_t_be_mended_is_told_with_the_reason(
    two: ifp.Registry, cli: Cli, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    damage(two)
    shutil.copytree(two.blobs.root, other / "ifp.cas")
    said = cli("fsck", "--from", str(other))
    assert (said.code, "not mended" in said.err, "either" in said.err) == (1, True, True)
    assert said.out.splitlines()[-1] == "2 blobs of 2 B, 1 problem; the rest is as it was written"


def test_what_needs_the_missing_bytes_is_named(two: ifp.Registry, cli: Cli) -> None:
    two.blobs.path(two.artifact("fraud@v2").digest).unlink()
    assert "(model of fraud@v2) is not here" in cli("fsck").out


def test_mending_what_is_whole_fetches_nothing(two: ifp.Registry, cli: Cli, folder: Path) -> None:
    assert json.loads(cli("fsck", "--from", "ifp.cas", "--json").out)["mended"] == []


def test_an_event_that_is_gone_shows_against_an_anchor(two: ifp.Registry, cli: Cli) -> None:
    head = two.events()[-1].id
    assert cli("verify", "--anchor", head).code == 0
    said = cli("verify", "--anchor", "sha256:" + "0" * 64)
    assert (said.code, "anchor" in said.out) == (1, True)
    assert cli("verify", "--anchor", "main").code == 2


def test_heads_in_commit_messages_are_held_against_the_log(two: ifp.Registry, cli: Cli, folder: Path) -> None:
    """As the commit hook notes them; here somebody took an older file back without the commit that knew more."""

    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=ada", "-c", "user.email=a@b.c", *words], cwd=folder, check=True, capture_output=True
        )

    older = two.path.read_bytes()
    two.model("fraud").tag("v1", "q2")
    git("init")
    git("add", "ifp.db")
    git("commit", "-m", f"tag\n\nIfp-Heads: {two.events()[-1].id}")
    two.close()
    said = cli("verify")
    assert (said.code, "held against 1 anchor, whole" in said.out) == (0, True)
    two.path.write_bytes(older)
    said = cli("verify")
    assert (said.code, "in commit " in said.out, "ifp verify calls whole" in said.err) == (1, True, True)
    assert json.loads(cli("verify", "--json").out)["anchors"] == 1


def test_a_damaged_page_is_a_problem_and_no_traceback(two: ifp.Registry, cli: Cli) -> None:
    connection = sqlite3.connect(two.path)
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'param'").fetchone()[0]
    connection.close()
    two.close()
    data = bytearray(two.path.read_bytes())
    data[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    two.path.write_bytes(data)
    for command in ("fsck", "verify"):
        said = cli(command)
        assert (said.code, "unreadable" in said.out, "docs/reliability.md" in said.err) == (1, True, True)


def test_control_characters_in_a_row_stay_out_of_the_terminal(two: ifp.Registry, cli: Cli) -> None:
    connection = sqlite3.connect(two.path)
    connection.execute("UPDATE run SET id = 'run-x', status = 'failed' WHERE key = 1")
    connection.execute("CREATE VIEW 'evil \x1b[31m' AS SELECT 1")
    connection.commit()
    said = cli("fsck")
    assert (said.code, "\x1b[31m" in said.out) == (1, False)
