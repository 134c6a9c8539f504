"""The table of what was measured, and of the sizes, in RESULTS.md."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from packing import Packed
from questions import Answer

RESULTS = Path(__file__).with_name("RESULTS.md")
SOON, A_ROW, A_BYTE = 0.15, 300e-6, 100e-9
"""Seconds that anything may take more than on the small registry, and those that it may take a row and a byte it says."""

COUNTS = {
    "versions": "SELECT count(*) FROM version",
    "runs": "SELECT count(*) FROM run",
    "events": "SELECT count(*) FROM event",
    "metric points": "SELECT sum(count) FROM metric",
    "parameters": "SELECT count(*) FROM param",
    "datasets": "SELECT count(*) FROM dataset",
}
WHY = {
    "verify": "it hashes every event: that is its work",
    "fsck": "it reads every blob and row: that is its work",
    "gc": "it lists the blob folder: that is its work",
    "backup": "it copies everything: that is its work",
    "backup again": "it compares everything: that is its work",
    "doctor": "it looks at the whole file: that is its work",
    "events --kind promoted": "no index has the kind: the whole log is read",
    "sql: count of versions": "a count of all versions goes through all of them",
    "sql: promotions with their versions": "no index has the kind: the whole log is read",
    "runs": "its rows are large and many",
    "events": "it tells the whole log",
    "sql: events with their versions": "the answer is one row about a million events",
    "at DAY --stage staging": "every move of every version is read",
    "bisect by a command, 9 back": "its candidates are found among all that the bad one came from",
    "at DAY --as-known-on": "when this file learned of a measurement is in the events, all those of the models named",
    "merge-base with v8": "it walks from the newer one down to the older one's generation",
}
TEMPLATE = """\
# A long life

Written by `python tests/longlife measure PATH` on {day}; PATH was made by `python tests/longlife build PATH`.

| | small | large |
| --- | ---: | ---: |
{counts}

## Every command

{table}

- **s** is processor time of the whole process, asked with `--json` (the best of three where it is quick); **table** the same
  as a table into a pipe; **cold** the seconds by the clock of a first call with nothing of the file in memory, on a machine
  where others worked. Starting up alone takes {start:.2f} s. Commands that change something ran once, on a copy.
- **rows** is how many records the answer has, **of its answer** whether the time is proportional to it: at most {soon:g} s more
  than of the small registry, or {row:.0f} µs for each row, or {megabyte:.1g} s for each MB of JSON.

## What git makes of it

{packed}

A commit is one registration: 10 parameters, 5 metrics, 3 tags, 30 features. Git keeps each revision of a file beyond 512 MB
whole (core.bigFileThreshold): no `git gc` makes the large one's history small.

Machine: {machine}.
"""


def write(
    large: Path, small: Path, of_small: Mapping[str, Answer], of_large: Mapping[str, Answer], packed: Sequence[Packed]
) -> Path:
    """Write RESULTS.md; its path."""
    start = min(answer.seconds for answer in of_small.values())
    RESULTS.write_text(
        TEMPLATE.format(
            day=time.strftime("%d %B %Y"),
            counts=_counts(small, large),
            table=_table(of_small, of_large),
            start=start,
            soon=SOON,
            row=A_ROW * 1e6,
            megabyte=A_BYTE * 1e6,
            packed=_packed(packed),
            machine=f"{os.cpu_count()} processors ({platform.machine()}), Python {platform.python_version()}, "
            f"SQLite {sqlite3.sqlite_version}",
        ),
        encoding="utf-8",
    )
    return RESULTS


def _counts(*folders: Path) -> str:
    lines = []
    for what, query in COUNTS.items():
        lines.append([what, *(f"{_one(folder, query):,}" for folder in folders)])
    lines.append(["the .db, MB", *(f"{(folder / 'ifp.db').stat().st_size / 1e6:,.0f}" for folder in folders)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _one(folder: Path, query: str) -> int:
    with closing(sqlite3.connect(folder / "ifp.db")) as connection:
        return int(connection.execute(query).fetchone()[0])


def _table(small: Mapping[str, Answer], large: Mapping[str, Answer]) -> str:
    lines = ["| command | s, small | s, large | table | cold | rows, small | rows, large | of its answer |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for name, found in large.items():
        fits = found.seconds - small[name].seconds <= max(SOON, A_ROW * found.rows, A_BYTE * found.bytes)
        figures = [f"{small[name].seconds:.2f}", f"{found.seconds:.2f}", f"{found.table:.2f}", f"{found.cold:.2f}"]
        figures += [f"{small[name].rows:,}", f"{found.rows:,}", "yes" if fits else f"no: {WHY.get(name, '?')}"]
        lines.append(f"| `{name}` | {' | '.join(figures)} |")
    return "\n".join(lines)


def _packed(found: Sequence[Packed]) -> str:
    lines = ["| the .db | deflated | commits | a commit adds | after `git gc` |", "| ---: | ---: | ---: | ---: | ---: |"]
    for one in found:
        before, after = one.per_commit
        sizes = [f"{size / 1e6:,.2f} MB" for size in (one.file, one.deflated, before, after)]
        lines.append(f"| {sizes[0]} | {sizes[1]} | {one.commits} | {sizes[2]} | {sizes[3]} |")
    return "\n".join(lines)
