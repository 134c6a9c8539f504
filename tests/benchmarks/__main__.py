"""Measure ifpdb next to sqlite3 by hand and to bare Python, in one run, and keep the results in RESULTS.md.

python tests/benchmarks                          # all of it
python tests/benchmarks --only promote --quick   # one part, small; RESULTS.md stays as it is
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bigfile import bigfile
from capture import captured
from datadigest import datadigest
from lineage import lineage
from lookups import lookups
from points import points
from record import record
from report import RESULTS, Result, table, write
from sharing import sharing
from snippet import snippet
from startup import startup
from telling import telling
from validation import validation
from writes import promote, register, together

Part = Callable[[Path], Iterator[Result]]

FULL: dict[str, Part] = {
    "datadigest": lambda folder: datadigest(folder, rounds=5, rows=1_000_000),
    "record": lambda folder: record(folder, turns=9),
    "snippet": lambda folder: snippet(folder, rounds=7, turns=9),
    "startup": lambda folder: startup(folder, turns=25),
    "register": lambda folder: register(folder, rounds=9, turns=40),
    "promote": lambda folder: promote(folder, rounds=9, turns=60),
    "points": lambda folder: points(folder, rounds=7, count=100_000),
    "together": lambda folder: together(folder, rounds=5),
    "bigfile": lambda folder: bigfile(folder, rounds=5, size=1 << 30),
    "capture": lambda folder: captured(folder, rounds=7, turns=15),
    "lookups": lambda folder: lookups(folder, rounds=5, turns=40, sizes=(1_000, 100_000)),
    "lineage": lambda folder: lineage(folder, rounds=5, sizes=(100_000, 1_000_000)),
    "validation": lambda folder: validation(folder, rounds=7, turns=500, rows=1_000_000),
    "sharing": lambda folder: sharing(folder, rounds=3, sizes=(10_000, 100_000), new=1_000, commits=200),
    "telling": lambda folder: telling(folder, turns=100, seconds=20),
}
QUICK: dict[str, Part] = {
    "datadigest": lambda folder: datadigest(folder, rounds=3, rows=200_000),
    "record": lambda folder: record(folder, turns=3),
    "snippet": lambda folder: snippet(folder, rounds=3, turns=5),
    "startup": lambda folder: startup(folder, turns=5),
    "register": lambda folder: register(folder, rounds=3, turns=20),
    "promote": lambda folder: promote(folder, rounds=3, turns=30),
    "points": lambda folder: points(folder, rounds=3, count=100_000),
    "together": lambda folder: together(folder, rounds=1),
    "bigfile": lambda folder: bigfile(folder, rounds=2, size=1 << 26),
    "capture": lambda folder: captured(folder, rounds=3, turns=10),
    "lookups": lambda folder: lookups(folder, rounds=3, turns=10, sizes=(1_000, 5_000)),
    "lineage": lambda folder: lineage(folder, rounds=3, sizes=(20_000, 100_000)),
    "validation": lambda folder: validation(folder, rounds=3, turns=100, rows=100_000),
    "sharing": lambda folder: sharing(folder, rounds=1, sizes=(1_000, 5_000), new=200, commits=20),
    "telling": lambda folder: telling(folder, turns=30, seconds=5),
}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(
        prog="tests/benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", choices=list(FULL), nargs="+", help="these parts; RESULTS.md is not written")
    parser.add_argument("--quick", action="store_true", help="small and rough; RESULTS.md is not written")
    parser.add_argument("--folder", type=Path, help="work in a new folder inside this one (default: the system's)")
    asked = parser.parse_args()
    os.environ |= {"IFP_ACTOR": "benchmark"}
    load_before = os.getloadavg()[0]
    parts, results = QUICK if asked.quick else FULL, list[Result]()
    for name in asked.only or parts:
        with tempfile.TemporaryDirectory(prefix="ifp-benchmark-", dir=asked.folder) as folder:
            for result in parts[name](Path(folder)):
                print(" | ".join(result.cells()), flush=True)
                results.append(result)
    if not asked.only and not asked.quick:
        write(results, load_before=load_before)
        print(f"{RESULTS.name} is written")
    elif len(results) > 1:
        print(table(results))


if __name__ == "__main__":
    main()
