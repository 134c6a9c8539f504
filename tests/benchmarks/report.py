"""What was measured, as a table: the work, its goal, the figure, the ratio, met or missed by how much."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True, slots=True)
class Result:
    """One line. `value` is held to `limit`; both are in `unit` ('x': times the baseline). No limit: for comparison."""

    work: str
    unit: str
    value: float
    limit: float | None
    figure: str

    @property
    def verdict(self) -> str:
        if self.limit is None:
            return "–"
        if self.value <= self.limit:
            return "met"
        return f"missed by {self.value - self.limit:.2g} {self.unit} ({self.value / self.limit - 1:.0%})"

    def cells(self) -> tuple[str, ...]:
        goal = "–" if self.limit is None else f"≤ {self.limit:g} {self.unit}"
        return self.work, goal, f"{self.value:.3g} {self.unit}", self.figure, self.verdict


HEADER = ("work", "goal", "measured", "figures", "verdict")


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    rows = [HEADER, tuple("---" for _ in HEADER), *(result.cells() for result in results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


TEMPLATE = """\
# Benchmarks

Written by `python tests/benchmarks` on {day} (six minutes on a quiet machine, 3 GB of disk in `--folder`).

{table}

- **x** is times the baseline in the same run, the median of rounds in which both took turns. The baseline is `raw.py`
  (sqlite3 by hand: rollback journal, synchronous=FULL, artifact and folder fsynced; no log, no checks), unless the line
  names another. In brackets: the lowest and the highest round.
- Lines without a goal say what part of a ratio is a choice: `raw, EXTRA` is the same baseline with the fsync of the folder
  after the commit that ifpdb asks for, so that no acknowledged commit is lost to a power cut.
- A look-up reads the version whole (parameters, metrics, tags; ifpdb: its data, schema, runs and parents too), in both.

Machine: {machine}.
"""


def write(results: Sequence[Result], *, load_before: float) -> None:
    """Keep the results in RESULTS.md."""
    RESULTS.write_text(
        TEMPLATE.format(day=time.strftime("%d %B %Y"), table=table(results), machine=machine(load_before)), encoding="utf-8"
    )


def machine(load_before: float) -> str:
    """This machine in words; its load says whether others worked on it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} processors ({platform.machine()}), {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; "
        f"load {load_before:.1f} before, {load:.1f} at the end"
    )
