"""Strike every work at every point with every fault, cut its power everywhere, and keep the tables in RESULTS.md.

python tests/faults                    # all of it: half an hour of two processors
python tests/faults --points 100       # a sample
python tests/faults --only promote gc  # these works; RESULTS.md stays as it is
"""

from __future__ import annotations

import argparse
import platform
import random
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from controls import CONTROLS
from forks import WITHOUT_STRACE, Forks, has_strace
from power import DISKS, SHOWN, cuts, restart
from sweep import FAULTS, Bench, Reference, sample, strike
from work import WORKS

RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(slots=True)
class Line:
    """What came of the runs of one work under one fault, or of its power cuts."""

    work: str
    fault: str
    runs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        came = ", ".join(f"{outcome} {count}" for outcome, count in sorted(self.outcomes.items()))
        return self.work, self.fault, str(self.runs), came, str(len(self.broken))


def struck(bench: Bench, reference: Reference, limit: int) -> Iterator[Line]:
    """The work under each fault of the sweep, at no more than `limit` points in all."""
    lines = {fault: Line(bench.name, fault) for fault in FAULTS}
    for point in sample(reference, limit, seed=0):
        outcome, broken = strike(bench, reference, point)
        line = lines[point.fault]
        line.runs += 1
        line.outcomes[outcome] += 1
        line.broken += broken
    yield from (line for line in lines.values() if line.runs)


def cut_off(bench: Bench, reference: Reference, limit: int) -> Line:
    """The work with its power cut, at no more than `limit` places."""
    line = Line(bench.name, "power cut")
    found = cuts(bench)
    for cut in random.Random(0).sample(found, min(limit, len(found))):
        broken = restart(bench, reference, cut)
        line.runs += 1
        line.outcomes.update(cut.disks)
        line.broken += broken
    return line


def controlled(bench: Bench, reference: Reference) -> Iterator[Line]:
    """How often each broken promise that shows in this work is noticed: the one about transactions by kills."""
    for control, work, disk, _ in SHOWN:
        if work == bench.name:
            found = [restart(bench, reference, cut) for cut in cuts(bench, control=control, disks=[disk])]
            yield Line(work, control, len(found), Counter(caught=sum(map(bool, found))))
    if bench.name == "tag, label":
        kills = [point for point in reference.points if point.fault == "kill -9" and point.call == "pwrite64"]
        found = [strike(bench, reference, point, control="event apart from change")[1] for point in kills]
        yield Line(bench.name, "event apart from change", len(found), Counter(caught=sum(map(bool, found))))


def examine(name: str, limit: int) -> list[Line]:
    """Everything about one work, with a server of its own."""
    with tempfile.TemporaryDirectory(prefix="ifp-faults-") as folder, Forks() as forks:
        bench = Bench(forks, name, Path(folder))
        reference = bench.reference()
        lines = [*struck(bench, reference, limit), cut_off(bench, reference, limit), *controlled(bench, reference)]
    for line in lines:
        print(" | ".join(line.cells()), *line.broken[:5], sep="\n    ", flush=True)
    return lines


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


TEMPLATE = """\
# Faults

Written by `{command}` on {day}, in {minutes:.0f} minutes.{sample} `pytest -m nightly tests/faults` runs all as tests.

**{runs} faults and {cuts} power cuts, {broken} broken promises.** After each of them a fresh process opened the registry and
asked: are SQLite's integrity check and the log good, is every blob there with its bytes, is the logical digest the one of
before or of after the call that had not returned, and can the same work be done again at once?

## One system call fails, or is the last one

{faults}

Each run is a process in which one system call on the registry's files (the n-th of its name, for every n) fails or is
where `kill -9` strikes. *As before*, *as after*: what a kill left, compared with the call in progress. The errors are what
the caller was told; *went on* means that the failure made no difference, or that SQLite passes over it (a folder that
can't be synced). SQLite reports a read that failed with EIO as a damaged database, hence IntegrityError. *Missed*: the run
ended before it came to that call.

## Power cuts

{powers}

Cuts are the distinct states in which a power cut after any operation can leave a disk that keeps, drops or tears (every
other block of 512 bytes) what wasn't synced, that is strict (names too need an fsync of their folder), or mixed (something
else for each file and folder, seeded). The counts say how many of the cuts each disk can leave.

## Negative controls

{controls}

Each breaks one promise in the process at work; the harness must notice.

{machine}
"""


def write(lines: Sequence[Line], seconds: float, limit: int | None) -> None:
    """Keep the results in RESULTS.md."""
    faults = [line for line in lines if line.fault in FAULTS]
    powers = [line for line in lines if line.fault == "power cut"]
    controls = [line for line in lines if line.fault in CONTROLS]
    version = subprocess.run(["strace", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    RESULTS.write_text(
        TEMPLATE.format(
            command="python tests/faults" + (f" --points {limit}" if limit else ""),
            sample=f" Each work was struck at {limit} points at most, and cut off at as many: a seeded sample."
            if limit
            else "",
            day=time.strftime("%d %B %Y"),
            minutes=seconds / 60,
            runs=sum(line.runs for line in faults),
            cuts=sum(line.runs for line in powers),
            broken=sum(len(line.broken) for line in faults + powers),
            faults=table(("work", "fault", "runs", "outcomes", "broken"), [line.cells() for line in faults]),
            powers=table(
                ("work", "cuts", *DISKS, "broken"),
                [
                    (line.work, str(line.runs), *(str(line.outcomes[d]) for d in DISKS), str(len(line.broken)))
                    for line in powers
                ],
            ),
            controls=table(
                ("promise that is broken", "work", "runs or cuts", "noticed in"),
                [(line.fault, line.work, str(line.runs), str(line.outcomes["caught"])) for line in controls],
            ),
            machine=f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
            f"SQLite {sqlite3.sqlite_version}, {version.replace(' -- version', '')}.",
        ),
        encoding="utf-8",
    )


def main() -> None:
    """Examine the works that were asked for."""
    parser = argparse.ArgumentParser(
        prog="tests/faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=list(WORKS), nargs="+", help="these works; RESULTS.md is not written")
    parser.add_argument("--points", type=int, help="at most this many faults, and as many cuts, a work: a seeded sample")
    parser.add_argument("--jobs", type=int, default=2, help="works examined at the same time")
    asked = parser.parse_args()
    if not has_strace():
        parser.error(WITHOUT_STRACE)
    begun = time.monotonic()
    with ThreadPoolExecutor(asked.jobs) as pool:
        names = asked.only or WORKS
        lines = [line for found in pool.map(examine, names, [asked.points or 10**9] * len(names)) for line in found]
    if not asked.only:
        write(lines, time.monotonic() - begun, asked.points)
        print(f"{RESULTS.name} is written")


if __name__ == "__main__":
    main()
