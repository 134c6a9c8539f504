"""The same work by ifpdb, by sqlite3 by hand and by what people use today, each in a virtual environment of its own.

python tests/benchmarks/peers --folder SCRATCH                      # makes the environments there, 2 GB, and writes PEERS.md
python tests/benchmarks/peers --folder SCRATCH --only promote trackio   # parts and tools by name; PEERS.md stays as it is
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE.with_name("PEERS.md")
PACKAGES = {
    "raw": (),
    "ifpdb": (f"{HERE.parents[2]}[data]",),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
    "pins": ("pins",),
}
PARTS = ("cold", "register", "promote", "points", "large", "together")
HEADER = (
    *("tool", "import beyond Python", "command line beyond Python", "register 100 KB", "promote", "a metric point"),
    *("1 GiB", "1 GiB again", "8 × 25 at once"),
)


def environment(folder: Path, tool: str) -> Path:
    """The Python of a tool's own virtual environment, made where there is none."""
    python = folder / tool / "bin" / "python"
    if not python.exists():
        print(f"making an environment for {tool} …", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder / tool], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "xxhash", *PACKAGES[tool]], check=True)
    return python


def row(tool: str, said: dict[str, Any]) -> tuple[str, ...]:
    def milliseconds(value: float | None) -> str:
        return "–" if value is None else f"{value * 1e3:,.3g} ms" if value < 1 else f"{value:,.2f} s"

    start, large, crew = said.get("cold") or {}, said.get("large") or {}, said.get("together")
    beyond = {name: start[name] - start["bare"] if name in start else None for name in ("import", "version")}
    points = said.get("points")
    return (
        tool,
        milliseconds(beyond["import"]),
        milliseconds(beyond["version"]),
        milliseconds(said.get("register")),
        milliseconds(said.get("promote")),
        "–" if points is None else f"{points * 1e6:,.3g} µs",
        milliseconds(large.get("first")),
        milliseconds(large.get("again")),
        "–" if crew is None else f"{crew['seconds']:.1f} s, {crew['versions']} of {crew['of']}",
    )


def versions(python: Path) -> dict[str, str]:
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True)
    return {one["name"].lower(): one["version"] for one in json.loads(listed.stdout)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where environments and registries go; 8 GB")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[*PARTS, *PACKAGES], default=[])
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    tools = [tool for tool in PACKAGES if tool in asked.only] or list(PACKAGES)
    parts = [part for part in PARTS if part in asked.only] or list(PARTS)
    rows, used = [HEADER, tuple("---" for _ in HEADER)], []
    for tool in tools:
        python = environment(folder, tool)
        place = folder / f"work-{tool}"
        shutil.rmtree(place, ignore_errors=True)
        done = subprocess.run([python, HERE / "work.py", tool, place, *parts], stdout=subprocess.PIPE, text=True, check=True)
        shutil.rmtree(place)
        rows.append(row(tool, json.loads(done.stdout.splitlines()[-1])))
        print(" | ".join(rows[-1]), flush=True)
        if tool != "raw":
            used.append(f"{tool} {versions(python)[tool]}")
    if not asked.only:
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
        RESULTS.write_text(
            TEMPLATE.format(day=time.strftime("%d %B %Y"), table=table, versions=", ".join(used)), encoding="utf-8"
        )


TEMPLATE = """\
# Next to what people use today

Written by `python tests/benchmarks/peers --folder SCRATCH` on {day}: {versions}; `raw` is sqlite3 by hand.

{table}

- Each tool does the same in its own way and its own virtual environment; `peers/stores.py` is the whole of it. A dash: it
  has no such thing. Medians of 50 registrations and 100 moves in a warm process, the least of five cold starts.
- ifpdb and raw force each change to the disk. pins and trackio never force a file's bytes there, and MLflow never an
  artifact's: a power cut can take what they acknowledged.
- Only ifpdb's versions have the training data, the feature schema and an event log.
"""


if __name__ == "__main__":
    main()
