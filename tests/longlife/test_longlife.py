"""The script that builds and measures a registry of many years works, on a tiny one; what it builds is whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import growth
import packing
import pytest
import questions

import ifpdb as ifp
from ifpdb.cli import SECTIONS
from ifpdb.upkeep.chain import verify

VERSIONS = 260


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grown")
    assert list(growth.build(folder / "ifp.db", growth.Size.of(VERSIONS))) == []
    questions.furnish(folder)
    return folder


def test_what_is_built_is_whole(grown: Path) -> None:
    with ifp.open(grown / "ifp.db", readonly=True) as registry:
        found = verify(registry)
        assert found.ok
        assert found.events > 9 * VERSIONS
        assert sum(model.versions for model in registry.models()) == VERSIONS


def test_what_is_built_has_every_trigger_of_the_schema(grown: Path, registry: ifp.Registry) -> None:
    query = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    with ifp.open(grown / "ifp.db", readonly=True) as built, built.reading() as tx, registry.reading() as fresh:
        assert tx.execute(query).fetchall() == fresh.execute(query).fetchall()


def test_every_command_has_a_row_or_a_reason_for_none() -> None:
    asked = {command[0] for command in (*questions.QUESTIONS.values(), *questions.CHANGES.values())}
    commands = {name for section in SECTIONS.values() for name in section}
    assert asked | set(questions.NOT_TIMED) == commands


def test_a_question_is_asked_and_its_rows_are_counted(grown: Path) -> None:
    found = questions.ask(grown, ("ls", questions.MODEL))
    assert (found.rows, found.code) == (VERSIONS // growth.MODELS, 0)
    assert found.seconds > 0


def test_changes_go_to_a_copy(grown: Path, tmp_path: Path) -> None:
    told: Callable[[str], object] = [].append
    before = (grown / "ifp.db").read_bytes()
    found = dict(questions.all_answers(grown, tmp_path / "copy", only="approve", told=told))
    assert found["approve"].code == 0
    assert (grown / "ifp.db").read_bytes() == before


def test_git_is_told_of_each_registration(grown: Path, tmp_path: Path) -> None:
    found = packing.commit_each(grown, tmp_path / "copy", commits=2)
    assert 0 < found.deflated < found.file
    assert found.packed < found.loose
