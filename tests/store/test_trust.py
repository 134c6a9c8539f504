"""The trust list: a user's own, whole whatever else writes to it, and taken back one digest at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from ifpdb.digest import sha256
from ifpdb.errors import StorageError
from ifpdb.store import trust

DIGEST = sha256(b"model")


def test_nothing_is_trusted_at_first(home: Path) -> None:
    assert not trust.is_trusted(DIGEST, "pickle")
    assert trust.trusted() == []


def test_bytes_are_trusted_as_one_format(home: Path) -> None:
    trust.trust(DIGEST, "joblib", "read as joblib it is harmless")
    assert not trust.is_trusted(DIGEST, "pickle")
    trust.trust(DIGEST, "pickle", "and so it is as a pickle")
    assert [entry.format for entry in trust.trusted()] == ["joblib", "pickle"]
    assert trust.distrust(DIGEST)
    assert trust.trusted() == []


def test_what_is_trusted_stays_so_with_the_reason(home: Path) -> None:
    trust.trust(DIGEST, "pickle", "serialized here")
    trust.trust(sha256(b"other"), "pickle", "ifp trust")
    assert trust.is_trusted(DIGEST, "pickle")
    assert not trust.is_trusted(sha256(b"third"), "pickle")
    assert [(entry.digest, entry.why) for entry in trust.trusted()] == [
        (DIGEST, "serialized here"),
        (sha256(b"other"), "ifp trust"),
    ]


def test_trust_does_not_travel_to_another_home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust.trust(DIGEST, "pickle", "here")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    assert not trust.is_trusted(DIGEST, "pickle")


def test_a_list_that_cannot_be_written_is_told(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="trust list"):
        trust.trust(DIGEST, "pickle", "here")


def test_trust_can_be_taken_back(home: Path) -> None:
    trust.trust(DIGEST, "pickle", "here")
    trust.trust(sha256(b"other"), "pickle", "there")
    assert trust.distrust(DIGEST)
    assert not trust.is_trusted(DIGEST, "pickle")
    assert not trust.distrust(DIGEST)
    assert [entry.why for entry in trust.trusted()] == ["there"]


def place(digest: str) -> Path:
    """Where the list keeps a digest."""
    trust.trust(digest, "pickle", "here")
    return next(Path(platformdirs.user_data_path("ifp", appauthor=False)).rglob(digest.removeprefix("sha256:") + ".pickle"))


@pytest.mark.parametrize(
    "name", ["junk", ".DS_Store", "A" * 64 + ".pickle", "a" * 63 + ".pickle", "a" * 64, "a" * 64 + ".pickle~"]
)
def test_what_else_lies_in_the_folder_is_passed_over(home: Path, name: str) -> None:
    (place(DIGEST).parent / name).write_bytes(b"\xff\x00")
    (place(DIGEST).parent / ("b" * 64 + ".pickle")).mkdir()
    assert [entry.digest for entry in trust.trusted()] == [DIGEST]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"no-time"])
def test_an_entry_that_says_nothing_sensible_still_counts(home: Path, content: bytes) -> None:
    place(DIGEST).write_bytes(content)
    assert trust.is_trusted(DIGEST, "pickle")
    assert trust.trusted()[0].digest == DIGEST


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../x", "junk", "sha256:" + "A" * 64])
def test_only_digests_can_be_trusted(home: Path, digest: str) -> None:
    with pytest.raises(AssertionError, match="no digest"):
        trust.trust(digest, "pickle", "x")


MANY = """
import sys
from ifpdb.store import trust
for n in range(100):
    trust.trust("sha256:" + f"{n:064x}", "pickle", "by process " + sys.argv[1] * 1000)
    assert all(entry.why.startswith("by process ") and len(entry.why) > 1000 for entry in trust.trusted())
"""


def test_processes_that_write_at_once_leave_whole_entries(home: Path) -> None:
    running = [subprocess.Popen([sys.executable, "-c", MANY, str(n)], stderr=subprocess.PIPE, text=True) for n in range(3)]
    assert [process.communicate()[1] for process in running] == ["", "", ""]
    assert len(trust.trusted()) == 100
    assert not [entry for entry in place(DIGEST).parent.iterdir() if entry.name.startswith(".")]
