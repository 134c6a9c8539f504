"""Every example runs, and says what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("[0-9]*.py"))


def run(example: Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(example), str(folder)], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SAID: dict[Path, str] = {}
"""What each example printed when it ran here."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(example: Path, tmp_path: Path) -> None:
    SAID[example] = run(example, tmp_path / "demo")
    assert (tmp_path / "demo" / "ifp.db").exists()


def test_an_example_that_is_run_again_takes_a_folder_of_its_own(tmp_path: Path) -> None:
    for _ in range(2):
        run(EXAMPLES[3], tmp_path / "demo")
    assert (tmp_path / "demo" / "ifp.db").exists()
    assert (tmp_path / "demo-2" / "ifp.db").exists()


def said_by(example: Path, folder: Path) -> str:
    return SAID.get(example) or run(example, folder / "demo")


def test_the_november_story_answers_the_auditor(tmp_path: Path) -> None:
    said = said_by(EXAMPLES[0], tmp_path)
    answer = said.partition("$ ifp at 2025-11-14")[2].partition("$ ifp log")[0]
    assert "2025-11-10 15:00:00Z to 2025-11-17 08:00:00Z" in answer
    assert "approved by  grace" in answer
    assert "by linus" in answer
    assert "train: train.csv sha256:" in answer
    assert "logisticregression__C = 1.0" in answer
    assert "didn't pass the gate: min_f1" in said
    assert "24 events, whole" in said


def test_the_regression_is_traced_to_the_version_that_brought_it(tmp_path: Path) -> None:
    said = said_by(EXAMPLES[2], tmp_path)
    bisected = said.partition("$ ifp bisect")[2].partition("$ ifp explain")[0]
    assert "tumour-screen v6" in bisected.partition("is the first bad one")[2]
    assert "registered 2025-10-20 09:00:00Z by linus\napproved by grace" in bisected
    assert "feature mean area changed: min 143.5 → 1.435, max 2499 → 24.99" in bisected
    explained = said.partition("$ ifp explain")[2].partition("$ ifp blame")[0]
    assert [line.split()[2] for line in explained.splitlines() if line.startswith("run-")] == ["v6", "v7", "v8"]
    blamed = said.partition("$ ifp blame")[2].partition("──")[0]
    assert [line.split("2025-")[1][:5] for line in blamed.splitlines() if "mean area" in line and "2025-" in line] == ["10-20"]


def test_each_kind_of_damage_is_told_and_mended(tmp_path: Path) -> None:
    said = said_by(EXAMPLES[3], tmp_path)
    _, whole, bytes_, mended, row, event, cut = said.split("──")
    assert "all as it was written" in whole and "5 events, held against 1 anchor, whole" in whole
    assert "\ndamaged  sha256:" in bytes_ and "\nmissing  sha256:" in bytes_
    assert mended.count("\nmended  ") == 2 and "all as it was written" in mended
    assert "another parameter C than the manifest names" in row
    assert "\nchanged  sha256:" in event
    by_itself, _, anchored = cut.partition("noted elsewhere can:")
    assert "4 events, whole" in by_itself
    assert (
        "\nanchor  sha256:" in anchored and "5 events, held against 1 anchor, whole" in anchored.rpartition("$ ifp verify")[2]
    )


def test_the_jobs_of_a_day_become_one_registry(tmp_path: Path) -> None:
    said = said_by(EXAMPLES[4], tmp_path)
    merged = said.partition("The evening")[2].partition("Which was the best")[0]
    assert merged.count("1 new version, 1 new run, 2 blobs") == 4
    assert "0 new versions, 1 new run" in merged, "the same four parts are one version"
    assert "nothing new: everything was here already" in merged
    assert "17 events, whole" in said
    assert "all as it was written" in said
