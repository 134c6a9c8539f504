"""A registry of many years: build it, measure every command on it and on a small one, and keep the table in RESULTS.md.

python tests/longlife build PATH [--versions 100000]   # PATH is a folder; ten minutes, 2 GB of disk
python tests/longlife measure PATH                     # half an hour, 6 GB; writes RESULTS.md here
python tests/longlife measure PATH --only history      # some commands, printed
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

from growth import Size, build
from packing import commit_each
from questions import all_answers
from results import write

SMALL = 1_000


def main() -> None:
    """Do what was asked."""
    parser = argparse.ArgumentParser(prog="tests/longlife", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", choices=["build", "measure"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--versions", type=int, default=100_000)
    parser.add_argument("--only", default="", help="the commands with this in their name; RESULTS.md is not written")
    asked = parser.parse_args()
    if asked.work == "build":
        make(asked.folder, asked.versions)
    else:
        measure(asked.folder, asked.only)


def make(folder: Path, versions: int) -> None:
    """Build a registry, and tell how it goes."""
    folder.mkdir(parents=True)
    begin = time.perf_counter()
    for said in build(folder / "ifp.db", Size.of(versions)):
        print(said, flush=True)
    print(f"built in {time.perf_counter() - begin:,.0f} s: {(folder / 'ifp.db').stat().st_size / 1e6:,.1f} MB")


def measure(folder: Path, only: str) -> None:
    """Ask everything of the small and of the large registry."""
    small, scratch = folder.with_name(f"{folder.name}-small"), folder.with_name(f"{folder.name}-scratch")
    if not small.exists():
        make(small, SMALL)
    found = {}
    for place in (small, folder):
        found[place.name] = dict(all_answers(place, scratch, only=only, told=lambda line: print(line, flush=True)))
    if not only:
        packed = [commit_each(small, scratch / "small", commits=20), commit_each(folder, scratch / "large", commits=1)]
        shutil.rmtree(scratch)
        print(f"{write(folder, small, found[small.name], found[folder.name], packed)} is written")


if __name__ == "__main__":
    main()
