"""What the shell around us says: which registry, who acts, what time it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ifpdb import settings, times
from ifpdb.errors import NotFound, UsageError


def test_the_nearest_registry_above_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    (folder / "ifp.db").touch()
    monkeypatch.chdir(deep)
    assert settings.find_registry() == folder / "ifp.db"
    (deep.parent / "ifp.db").touch()
    assert settings.find_registry() == deep.parent / "ifp.db"


def test_the_argument_wins_over_the_environment_and_that_over_what_is_near(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "ifp.db").touch()
    monkeypatch.setenv("IFP_DB", "other.db")
    assert settings.find_registry() == folder / "other.db"
    assert settings.find_registry("third.db") == folder / "third.db"


def test_a_folder_that_is_named_stands_for_the_registry_in_it(folder: Path) -> None:
    (folder / "project").mkdir()
    assert settings.find_registry("project") == folder / "project" / "ifp.db"


def test_none_found_says_how_to_make_one(folder: Path) -> None:
    with pytest.raises(NotFound, match="ifp init"):
        settings.find_registry()
    assert settings.find_or_place_registry() == folder / "ifp.db"
    assert not (folder / "ifp.db").exists()


@pytest.mark.parametrize(
    ("db", "blobs"), [("ifp.db", "ifp.cas"), ("a.b.db", "a.b.cas"), ("registry", "registry.cas"), ("x.sqlite", "x.cas")]
)
def test_the_blobs_lie_beside_the_registry(db: str, blobs: str) -> None:
    assert settings.blob_folder(Path("/somewhere") / db) == Path("/somewhere") / blobs


def test_the_project_is_the_git_checkout_or_the_registrys_own_folder(folder: Path) -> None:
    inner = folder / "models"
    inner.mkdir()
    assert settings.project_folder(inner / "ifp.db") == inner.resolve()
    (folder / ".git").mkdir()
    assert settings.project_folder(inner / "ifp.db") == folder.resolve()


def test_who_acts_is_the_argument_else_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IFP_ACTOR", "ci")
    assert settings.who() == "ci"
    assert settings.who("bob") == "bob"


def test_who_acts_is_else_gits_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IFP_ACTOR")
    for key, value in (("user.name", "Grace Hopper"), ("user.email", "grace@navy.mil")):
        subprocess.run(["git", "config", "--file", os.environ["GIT_CONFIG_GLOBAL"], key, value], check=True)
    assert settings.who() == "Grace Hopper <grace@navy.mil>"


def test_who_acts_is_at_last_the_user_of_this_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IFP_ACTOR")
    user, at, host = settings.who().partition("@")
    assert user
    assert at
    assert host


@pytest.mark.parametrize("actor", ["two\nlines", "tab\there", "x" * 251])
def test_an_actor_that_would_break_a_line_is_refused(actor: str) -> None:
    with pytest.raises(UsageError, match="actor"):
        settings.who(actor)


def test_the_time_is_the_clocks() -> None:
    before = times.now()
    told, clock = settings.time_now()
    assert before <= told <= times.now()
    assert clock is None


def test_a_time_that_is_told_leaves_the_clocks_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IFP_NOW", "2025-11-14T09:30:00Z")
    told, clock = settings.time_now()
    assert told == "2025-11-14T09:30:00.000000Z"
    assert clock is not None
    assert clock > told


@pytest.mark.parametrize("told", ["9000-01-01T00:00:00Z", "soon"])
def test_a_time_to_come_or_none_at_all_is_refused(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IFP_NOW", told)
    with pytest.raises(UsageError):
        settings.time_now()
