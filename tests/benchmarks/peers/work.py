"""The work, done by one tool in its own Python: prints one JSON object of seconds, or why a part can't be done.

python work.py TOOL FOLDER [PART…]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from stores import STORES

sys.path.insert(0, str(Path(__file__).parent.parent))
from material import facts, write_artifact

VERSIONS, MOVES, POINTS, CREW, EACH, LARGE = 50, 100, 2_000, 8, 25, 1 << 30


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cold(tool: str, _: Path) -> dict[str, float]:
    """A new process: bare Python, the import, the version on the command line."""
    chosen = STORES[tool]
    commands = {"bare": [sys.executable, "-c", ""], "import": [sys.executable, "-c", f"import {chosen.imports}"]}
    if hasattr(chosen, "command"):
        program, *rest = chosen.command
        commands["version"] = [str(Path(sys.executable).with_name(program)), *rest]

    def least(command: list[str]) -> float:
        return min(seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(5))

    return {name: least(command) for name, command in commands.items()}


def register(tool: str, folder: Path) -> float:
    """One registration of 100 KB in a warm process: the median."""
    store = STORES[tool](folder)
    files = [write_artifact(folder, number) for number in range(VERSIONS + 3)]
    taken = [seconds(lambda n=n: store.register(files[n], facts(n))) for n in range(VERSIONS + 3)]
    return median(taken[3:])


def promote(tool: str, folder: Path) -> float:
    """The name 'production' moved between two versions: the median."""
    store = STORES[tool](folder)
    versions = [store.register(write_artifact(folder, number), facts(number)) for number in range(2)]
    return median(seconds(lambda n=n: store.promote(versions[n % 2])) for n in range(MOVES))


def points(tool: str, folder: Path) -> float:
    """One metric point, all told: the run begun, the points logged and stored."""
    store = STORES[tool](folder)
    return seconds(lambda: store.log(POINTS)) / POINTS


def large(tool: str, folder: Path) -> dict[str, float]:
    """A file of 1 GiB registered, and registered again unchanged."""
    store = STORES[tool](folder)
    path = folder / "large.bin"
    block = write_artifact(folder, 0).read_bytes()
    with open(path, "wb") as file:
        for number in range(LARGE // len(block)):
            file.write(number.to_bytes(8, "little") + block[8:])
    time.sleep(3)  # older than any cache must doubt
    first = seconds(lambda: store.register(path, facts(0)))
    return {"first": first, "again": seconds(lambda: store.register(path, facts(0)))}


def together(tool: str, folder: Path) -> dict[str, Any]:
    """8 processes that each register 25 versions at once: seconds, how many versions there are then, failed processes."""
    STORES[tool](folder)
    command = [sys.executable, __file__, "--one-of-the-crew", tool, str(folder)]
    start = time.perf_counter()
    crew = [subprocess.Popen([*command, str(k)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for k in range(CREW)]
    failed = sum(worker.wait() != 0 for worker in crew)
    taken = time.perf_counter() - start
    return {"seconds": taken, "versions": STORES[tool](folder).count(), "of": CREW * EACH, "failed": failed}


PARTS: dict[str, Callable[[str, Path], Any]] = {
    "cold": cold,
    "register": register,
    "promote": promote,
    "points": points,
    "large": large,
    "together": together,
}


def main() -> None:
    if sys.argv[1] == "--one-of-the-crew":
        _, _, tool, place, worker = sys.argv
        store = STORES[tool](Path(place))
        for number in range(EACH):
            store.register(write_artifact(Path(place), number, of=worker), facts(number))
        return
    tool, place, *wanted = sys.argv[1:]
    found: dict[str, Any] = {}
    for part in wanted or PARTS:
        folder = Path(place) / part
        folder.mkdir(parents=True)
        needs = {"promote": "promote", "points": "log"}.get(part, "register")
        found[part] = PARTS[part](tool, folder) if hasattr(STORES[tool], needs) else None
    print(json.dumps(found))


if __name__ == "__main__":
    main()
