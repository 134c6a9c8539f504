"""Registering and promoting, next to the same by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from material import MODEL, POLICY, facts, write_artifact, write_data
from raw import Raw
from report import Result
from stopwatch import Laps, take_turns

import ifpdb as ifp

SYSTEMS = ("raw", "raw, EXTRA", "ifpdb")


def register(folder: Path, *, rounds: int, turns: int) -> Iterator[Result]:
    """W2: 100 KB, 10 parameters, 5 metrics, 3 tags, with data and schema, so that all four parts are there."""
    data, schema = write_data(folder)
    raw, extra, registry = _open_all(folder)
    count = rounds * turns
    files = {name: [write_artifact(folder, i, of=name) for i in range(count)] for name in SYSTEMS}

    def by_ifpdb(turn: int) -> None:
        params, metrics, tags = facts(turn)
        artifact = files["ifpdb"][turn]
        registry.register(MODEL, artifact, data=data, schema=schema, params=params, metrics=metrics, seed=1, tags=tags)

    work = {
        "raw": lambda turn: raw.register(MODEL, files["raw"][turn], facts(turn)),
        "raw, EXTRA": lambda turn: extra.register(MODEL, files["raw, EXTRA"][turn], facts(turn)),
        "ifpdb": by_ifpdb,
    }
    yield from _results("register (W2)", take_turns(work, rounds=rounds, turns=turns), 1.5)


def promote(folder: Path, *, rounds: int, turns: int) -> Iterator[Result]:
    """W4: one stage, two versions in turn; in ifpdb each is a rollback with its reason."""
    data, schema = write_data(folder)
    raw, extra, registry = _open_all(folder)
    for number in (0, 1):
        params, metrics, tags = facts(number)
        artifact = write_artifact(folder, number)
        registry.register(MODEL, artifact, data=data, schema=schema, params=params, metrics=metrics, seed=1, tags=tags)
        raw.register(MODEL, artifact, facts(number))
        extra.register(MODEL, artifact, facts(number))
    model = registry.model(MODEL)
    model.set_policy(POLICY)
    for ref in ("v1", "v2"):
        model.promote(ref, "production")
    work = {
        "raw": lambda turn: raw.promote(MODEL, "production", turn % 2 + 1),
        "raw, EXTRA": lambda turn: extra.promote(MODEL, "production", turn % 2 + 1),
        "ifpdb": lambda turn: model.promote(f"v{turn % 2 + 1}", "production", reason="benchmark"),
    }
    yield from _results("promote (W4)", take_turns(work, rounds=rounds, turns=turns), 1.5)


def _open_all(folder: Path) -> tuple[Raw, Raw, ifp.Registry]:
    return Raw(folder / "full"), Raw(folder / "extra", synchronous="EXTRA"), ifp.init(folder / "ifp.db")


def _results(work: str, laps: Laps, limit: float) -> Iterator[Result]:
    for name, goal in (("ifpdb", limit), ("raw, EXTRA", None)):
        ratios = laps.ratios(name, "raw")
        milliseconds = f"{laps.seconds(name) * 1e3:.2f} ms; raw {laps.seconds('raw') * 1e3:.2f} ms"
        label = work if goal is not None else f"{work}, {name}"
        yield Result(label, "x", laps.ratio(name, "raw"), goal, f"{milliseconds} [{ratios[0]:.2f}–{ratios[-1]:.2f}]")


CREW, EACH = 8, 25


def together(folder: Path, *, rounds: int) -> Iterator[Result]:
    """W8: 8 processes that each register 25 versions of one model at once."""
    write_data(folder)
    taken: dict[str, list[float]] = {"raw": [], "ifpdb": []}
    for turn in range(rounds):
        for system in taken:
            place = folder / f"{system}-{turn}"
            place.mkdir()
            taken[system].append(_crew(system, place))
    raw, ours = median(taken["raw"]), median(taken["ifpdb"])
    ratio = median(a / b for a, b in zip(taken["ifpdb"], taken["raw"], strict=True))
    yield Result(f"{CREW} processes × {EACH} registrations (W8)", "x", ratio, 3.0, f"{ours:.2f} s; raw {raw:.2f} s; none lost")


def _crew(system: str, place: Path) -> float:
    """Seconds until all have registered all; raises when a version is missing."""
    _open(system, place)
    command = [sys.executable, __file__, system, str(place)]
    workers = [
        subprocess.Popen([*command, str(k)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for k in range(CREW)
    ]
    pipes = [(worker.stdin, worker.stdout) for worker in workers]
    for _, ready in pipes:
        assert ready is not None and ready.readline() == "ready\n"
    start = time.perf_counter()
    for go, _ in pipes:
        assert go is not None
        go.close()
    failed = [worker.args for worker in workers if worker.wait()]
    taken = time.perf_counter() - start
    for _, ready in pipes:
        assert ready is not None
        ready.close()
    opened = _open(system, place)
    held = len(opened.newest(MODEL, -1)) if isinstance(opened, Raw) else len(opened.model(MODEL).versions())
    if failed or held != CREW * EACH:
        raise SystemExit(f"{system}: {held} of {CREW * EACH} versions are there; failed: {json.dumps(failed)}")
    return taken


def _open(system: str, place: Path) -> Raw | ifp.Registry:
    return Raw(place) if system == "raw" else ifp.init(place / "ifp.db")


def _work(system: str, place: Path, worker: str) -> None:
    """One of the crew: open, say so, wait for the start, register."""
    opened = _open(system, place)
    data, schema = place.parent / "train.csv", place.parent / "schema.json"
    files = [write_artifact(place, number, of=worker) for number in range(EACH)]
    print("ready", flush=True)
    sys.stdin.read()
    for number, file in enumerate(files):
        params, metrics, tags = facts(number)
        if isinstance(opened, Raw):
            opened.register(MODEL, file, (params, metrics, tags))
        else:
            opened.register(MODEL, file, data=data, schema=schema, params=params, metrics=metrics, seed=1, tags=tags)


if __name__ == "__main__":
    _work(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
