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


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs_twice_in_folders_of_its_own(example: Path, tmp_path: Path) -> None:
    run(example, tmp_path / "demo")
    run(example, tmp_path / "demo")
    assert (tmp_path / "demo" / "ifp.db").exists()
    assert (tmp_path / "demo-2" / "ifp.db").exists()


def test_the_november_story_answers_the_auditor(tmp_path: Path) -> None:
    said = run(EXAMPLES[0], tmp_path / "demo")
    answer = said.partition("$ ifp at 2025-11-14")[2].partition("$ ifp log")[0]
    assert "2025-11-10 15:00:00Z to 2025-11-17 08:00:00Z" in answer
    assert "approved by  grace" in answer
    assert "by linus" in answer
    assert "train: train.csv sha256:" in answer
    assert "logisticregression__C = 1.0" in answer
    assert "didn't pass the gate: min_f1" in said
    assert "24 events, whole" in said
