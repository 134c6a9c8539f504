"""Let crowds loose on a registry, with a line of writers and without, and keep the tables in RESULTS.md.

python tests/concurrency               # eight minutes or so
python tests/concurrency --seconds 10  # shorter; RESULTS.md stays as it is
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crowd import MODEL, Did, Plan, broken, crowd

RESULTS = Path(__file__).with_name("RESULTS.md")
RUSH = ("register", "promote", "tag")
LARGE = 16, 8
SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Result:
    """A crowd, what each of its processes did, and what it was promised and didn't get."""

    plan: Plan
    did: list[Did]
    broken: list[str]


def run(plan: Plan) -> Result:
    """Let one crowd loose in a folder and a home of its own."""
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"HOME": name, "XDG_DATA_HOME": name, "IFP_ACTOR": "ada"}
        did = crowd(Path(name), plan)
        return Result(plan, did, broken(Path(name), did))


def fairness(results: Sequence[Result]) -> str:
    """How even the writes were among processes, and how long the longest of them took."""
    rows = []
    for result in results:
        counts, writes = sorted(len(part.writes) for part in result.did), waits(result.did)
        line = "in line" if result.plan.line else "by SQLite's busy handler"
        rows.append((result.plan.processes, line, sum(counts), counts[0], counts[-1], *spread(writes), len(result.broken)))
    return table(("processes", "wait", "writes", "fewest", "most", "p50", "p99", "longest", "broken"), rows)


def verbs(result: Result) -> str:
    """Each verb of a crowd: how many calls returned, and how long they took."""
    rows = []
    for verb in sorted({verb for part in result.did for verb in part.calls}):
        counts = [len(part.calls.get(verb, ())) for part in result.did]
        seconds = sorted(seconds for part in result.did for seconds in part.calls.get(verb, ()))
        each = "" if verb == "collect" else f"{min(counts)}-{max(counts)}"
        rows.append((verb, sum(counts), each, *spread(seconds)))
    return table(("call", "returned", "per process", "p50", "p99", "longest"), rows)


def waits(did: Sequence[Did]) -> list[float]:
    """The seconds of all writes, sorted."""
    return sorted(seconds for part in did for seconds in part.writes)


def spread(seconds: Sequence[float]) -> tuple[str, str, str]:
    """Median, 99th percentile and maximum of sorted seconds."""
    return tuple(f"{seconds[int(share * (len(seconds) - 1))]:.3f} s" for share in (0.5, 0.99, 1.0))  # type: ignore[return-value]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers stand to the right."""
    marks = "|".join(" --- " if index < 2 else " ---: " for index in range(len(head)))
    lines = [f"| {' | '.join(head)} |", f"|{marks}|", *(f"| {' | '.join(map(str, row))} |" for row in rows)]
    return "\n".join(lines)


def report(rushes: Sequence[Result], large: Result) -> str:
    """The page."""
    plan = large.plan
    problems = "".join(f"- {line}\n" for result in (*rushes, large) for line in result.broken[:20])
    return f"""# Many at once

`python tests/concurrency`, {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} processors, Linux {platform.release()}, \
{disk()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}.
Seconds are those of whole calls, with the work that each does besides waiting.

## The line of writers

Processes of one thread register a small version, promote it and tag it, over and over, for {rushes[0].plan.seconds:g} seconds.
*fewest* and *most* are writes that one process finished.

{fairness(rushes)}

## A large crowd

{plan.processes} processes of {plan.threads} threads, for {plan.seconds:g} seconds: they register versions of `{MODEL}`, \
promote them to production, tag and measure
them and track runs, while readers look and one thread collects garbage with no grace. After it each call that returned is
in the log exactly once, `ifp verify` and `ifp fsck` find nothing, no metric point is missing, and every reader saw exactly
one version in production, the one that the log tells. **Errors and broken promises: {len(large.broken)}.**

{verbs(large)}

{problems}"""


def disk() -> str:
    """The file system that temporary files lie on."""
    done = subprocess.run(["df", "--output=fstype", tempfile.gettempdir()], capture_output=True, text=True, check=False)
    return (done.stdout.split() or ["?"])[-1]


def main() -> None:
    """Run all crowds; print the page, and keep it when they were as large as they should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the large crowd; the others take a sixth")
    seconds = parser.parse_args().seconds
    rushes = [run(Plan(count, 1, seconds / 6, RUSH, line)) for count in (8, 16) for line in (False, True)]
    page = report(rushes, run(Plan(*LARGE, seconds))).rstrip() + "\n"
    print(page)
    if seconds >= SECONDS:
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
