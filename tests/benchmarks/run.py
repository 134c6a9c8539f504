"""Measure ifpdb against the physical limit and bare Python, in one run, and write RESULTS.md beside this file.

    python tests/benchmarks/run.py [FOLDER]      # FOLDER: scratch space on the disk to measure, 5 GB free

ifpdb and its limit take turns, so that a ratio survives a noisy machine; a figure is the median of its round medians.
Nothing here is a test: no figure is asserted.
"""

from __future__ import annotations

import hashlib
import os
import platform
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median

import ifpdb as ifp

sys.path.insert(0, str(Path(__file__).parent))
from raw import Raw

ROUNDS, EACH = 5, 60
POINTS = 100_000
BIG = 1 << 30
SCHEMA = {"features": [{"position": i, "name": f"x{i}", "type": "number"} for i in range(10)]}
Row = tuple[str, str, str, str, str]


def main() -> None:
    base = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir())
    work = Path(tempfile.mkdtemp(prefix="ifpdb-bench-", dir=base))
    os.environ["IFP_ACTOR"] = "bench"
    os.environ["XDG_DATA_HOME"] = str(work / "data")
    try:
        rows = [*registering(work), *logging(work), *big_artifact(work), *starting(work)]
    finally:
        shutil.rmtree(work)
    Path(__file__).with_name("RESULTS.md").write_text(report(rows))
    print(report(rows))


def registering(work: Path) -> list[Row]:
    """Register, promote and resolve by stage, turn by turn with the limit."""
    times: dict[str, list[float]] = {}
    for turn in range(ROUNDS):
        for name, seconds in one_round(work / f"round-{turn}").items():
            times.setdefault(name, []).append(seconds)
    goals = {"register": "≤ 1.5 × raw", "promote": "≤ 1.5 × raw", "resolve": "≤ 2 × raw SQL"}
    texts = {
        "register": "register 100 KB + 10 params + 5 metrics + 3 tags, four parts, event",
        "promote": "promote (the stage moves between two versions, with its event)",
        "resolve": "resolve by stage: the whole Version record against one raw row",
    }
    return [_ratio_row(texts[w], goals[w], times[f"ifp {w}"], times[f"raw {w}"]) for w in goals]


def one_round(folder: Path) -> dict[str, float]:
    """Median seconds of each operation on fresh stores, ours and the limit's side by side."""
    raw = Raw(folder / "raw")
    (folder / "ifp").mkdir()
    os.chdir(folder / "ifp")
    Path("train.csv").write_text("a,b\n1,2\n")
    with ifp.init() as registry:
        team, turns = registry.model("m"), count()
        found = {"raw register": each(_register_raw(raw), EACH), "ifp register": each(_register(registry), EACH)}
        for ref in ("v1", "v2"):
            team.promote(ref, "production", force=True, reason="bench")
        found["raw promote"] = each(lambda: raw.set_alias("m", "p", 1 + next(turns) % 2), EACH)
        found["ifp promote"] = each(lambda: team.promote(f"v{1 + next(turns) % 2}", "production", reason="bench"), EACH)
        found["raw resolve"] = each(lambda: raw.get_alias("m", "p"), EACH * 5)
        found["ifp resolve"] = each(lambda: registry.resolve("m@production"), EACH * 5)
    return found


def _register_raw(raw: Raw) -> Callable[[], None]:
    def register() -> None:
        params = {f"p{k}": str(k) for k in range(10)}
        raw.register("m", new_file(), params, {f"m{k}": k * 0.1 for k in range(5)}, ["a", "b", "c"])

    return register


def _register(registry: ifp.Registry) -> Callable[[], None]:
    def register() -> None:
        registry.register(
            "m",
            new_file(),
            data="train.csv",
            schema=SCHEMA,
            params={f"p{k}": str(k) for k in range(10)},
            metrics={f"m{k}": k * 0.1 for k in range(5)},
            seed=1,
            tags=["a", "b", "c"],
        )

    return register


def new_file() -> Path:
    path = Path("model.bin").absolute()
    path.write_bytes(random.randbytes(100_000))
    return path


def each(work: Callable[[], object], times: int) -> float:
    """The median seconds of one call; the file that a call reads is written within it, on both sides alike."""
    work()
    seconds = []
    for _ in range(times - 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def logging(work: Path) -> list[Row]:
    """log_metric, buffered and all told."""
    (work / "log").mkdir()
    os.chdir(work / "log")
    begin = time.perf_counter()
    with ifp.track("m", autocapture=False) as run:
        start = time.perf_counter()
        for step in range(POINTS):
            run.log_metric("loss", 0.5, step)
        buffered = (time.perf_counter() - start) / POINTS * 1e6
    told = (time.perf_counter() - begin) / POINTS * 1e6
    return [
        ("`run.log_metric`, a call", "≤ 3 µs", f"{buffered:.2f} µs", "", met(buffered / 3)),
        (f"`run.log_metric`, a point all told ({POINTS:,} points, sealed)", "≤ 5 µs", f"{told:.2f} µs", "", met(told / 5)),
    ]


def big_artifact(work: Path) -> list[Row]:
    """1 GiB, first and again, against SHA-256 in memory speed and cp + fsync."""
    folder = work / "big"
    folder.mkdir()
    os.chdir(folder)
    with Path("big.bin").open("wb") as file:
        for _ in range(BIG >> 24):
            file.write(random.randbytes(1 << 24))
    os.sync()
    start = time.perf_counter()
    with Path("big.bin").open("rb") as file:
        hashlib.file_digest(file, "sha256")
    hashing = time.perf_counter() - start
    start = time.perf_counter()
    subprocess.run(["cp", "big.bin", "copy.bin"], check=True)
    with Path("copy.bin").open("rb") as file:
        os.fsync(file.fileno())
    copying = time.perf_counter() - start
    Path("copy.bin").unlink()
    os.sync()
    with ifp.init() as registry:
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            registry.register("m", "big.bin", partial=True)
            seconds.append(time.perf_counter() - start)
    limit = max(hashing, copying)
    first = seconds[0] / limit
    limits = f"SHA-256 {hashing:.2f} s, cp + fsync {copying:.2f} s"
    return [
        (
            "1 GiB artifact, first",
            "≤ 1.15 × the slower limit",
            f"{seconds[0]:.2f} s ({limits})",
            f"{first:.2f}",
            met(first / 1.15),
        ),
        ("1 GiB artifact, unchanged, again", "≤ 20 ms", f"{seconds[1]:.2f} s", "", met(seconds[1] / 0.020)),
    ]


def starting(work: Path) -> list[Row]:
    """New processes, in turns with bare Python."""
    folder = work / "start"
    folder.mkdir()
    os.chdir(folder)
    Path("m.bin").write_bytes(b"x")
    with ifp.init() as registry:
        registry.register("m", "m.bin", partial=True)
    script = str(Path(sys.executable).with_name("ifp"))
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "`import ifpdb`": [sys.executable, "-c", "import ifpdb"],
        "`ifp --version`": [script, "--version"],
        "`ifp show REF`": [script, "show", "m@v1"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(15):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    bare = median(seconds.pop("python -c pass"))
    goals = {"`import ifpdb`": 30, "`ifp --version`": 80, "`ifp show REF`": 120}
    rows = []
    for name, taken in seconds.items():
        extra = (median(taken) - bare) * 1e3
        rows.append(
            (
                name,
                f"bare Python + {goals[name]} ms",
                f"+ {extra:.0f} ms (bare {bare * 1e3:.0f} ms)",
                "",
                met(extra / goals[name]),
            )
        )
    return rows


def _ratio_row(text: str, goal: str, ours: list[float], limit: list[float]) -> Row:
    ratio = median(a / b for a, b in zip(ours, limit, strict=True))
    bound = float(goal.split()[1])
    figure = f"{median(ours) * 1e3:.3f} ms (raw {median(limit) * 1e3:.3f} ms)"
    return (text, goal, figure, f"{ratio:.2f}", met(ratio / bound))


def met(share: float) -> str:
    return "met" if share <= 1 else f"missed, {share:.1f} × the goal"


def report(rows: list[Row]) -> str:
    """The page, as Markdown."""
    day = datetime.now(UTC).date().isoformat()
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    lines = [
        "# Measured speed",
        "",
        f"Taken on {day}: {machine}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version},",
        f"ifpdb {ifp.__version__}.",
        "Again: `python tests/benchmarks/run.py`, which writes this page. `raw.py` is the hand-written limit: no event log,",
        "no chain, no schema or data, nothing checked.",
        "",
        "| work | goal | figure | ratio | |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
