"""The run record, in a new process that has imported scikit-learn, in a checkout: nothing is warm but the disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from report import Result

SCRIPT = """
import time, sklearn.linear_model
from pathlib import Path
import ifpdb
from ifpdb.capture.record import environment, randomness
start = time.perf_counter()
observer = environment.Observer(Path.cwd())
observer.code(), observer.environment(), environment.command_line(Path.cwd()), randomness.observe()
print(time.perf_counter() - start)
"""
LIMIT = 60.0
"""Milliseconds."""


def record(folder: Path, *, turns: int) -> Iterator[Result]:
    """Code, packages, machine, git, command line and random state."""
    (folder / "train.py").write_text(SCRIPT)
    for command in (["init"], ["add", "."], ["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-m", "one"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True, capture_output=True)
    taken = [
        float(subprocess.run([sys.executable, "train.py"], cwd=folder, check=True, capture_output=True).stdout)
        for _ in range(turns)
    ]
    yield Result("the whole run record, in a new process", "ms", median(taken) * 1e3, LIMIT, f"least {min(taken) * 1e3:.0f} ms")
