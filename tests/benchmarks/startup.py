"""Starting up (W1), next to a bare Python that does nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from material import MODEL, facts, write_artifact, write_data
from report import Result
from stopwatch import take_turns

import ifpdb as ifp

GOALS = {"import ifpdb": 30.0, "ifp --version": 80.0, "ifp show REF": 120.0}
"""Milliseconds on top of bare Python's."""


def startup(folder: Path, *, turns: int) -> Iterator[Result]:
    """New processes in turn: bare Python, the import, the version, one version shown."""
    data, schema = write_data(folder)
    with ifp.init(folder / "ifp.db") as registry:
        params, metrics, tags = facts(0)
        artifact = write_artifact(folder, 0)
        registry.register(MODEL, artifact, data=data, schema=schema, params=params, metrics=metrics, seed=1, tags=tags)
    ifp_command = str(Path(sys.executable).with_name("ifp"))
    commands = {
        "bare": [sys.executable, "-c", "pass"],
        "import ifpdb": [sys.executable, "-c", "import ifpdb"],
        "ifp --version": [ifp_command, "--version"],
        "ifp show REF": [ifp_command, "--db", str(folder / "ifp.db"), "show", f"{MODEL}@v1"],
    }

    def start(name: str) -> None:
        subprocess.run(commands[name], check=True, stdout=subprocess.DEVNULL)

    for name in commands:
        start(name)  # warms the page cache and the compiled files
    laps = take_turns({name: lambda _, name=name: start(name) for name in commands}, rounds=1, turns=turns)
    bare = laps.seconds("bare")
    for name, limit in GOALS.items():
        taken = laps.seconds(name)
        figures = f"{taken * 1e3:.1f} ms; bare {bare * 1e3:.1f} ms, {taken / bare:.1f} x"
        yield Result(f"{name}, over bare Python (W1)", "ms", (taken - bare) * 1e3, limit, figures)
