"""A crowd at one registry: processes of several threads that write as fast as they can, watched by readers and by gc.

Every call that returned leaves a mark, such as the tag that it set or the reason that it gave; afterwards the log must hold
each mark once and no other. Half of a process's threads share one Registry, the others have their own on the same file.
`python crowd.py '{…}'` is one process of it: it says ready, waits for a line, and prints what it did.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import ifpdb as ifp
from ifpdb.store import db, turns
from ifpdb.upkeep import chain, fsck, gc

MODEL = "fraud"
POINTS = 50
IN_PRODUCTION = """
    SELECT v.stage, (SELECT s.stage FROM stage_by_log s WHERE s.version = v.key) FROM version v
     WHERE v.model = (SELECT key FROM model WHERE name = ?) AND v.stage = 'production'"""
MARKS = """
    SELECT 'register', run FROM event WHERE kind = 'registered'
     UNION ALL SELECT 'promote', reason FROM event WHERE to_stage = 'production'
     UNION ALL SELECT 'tag', json_extract(body, '$.detail.tags[0]') FROM event WHERE kind = 'tagged'
     UNION ALL SELECT 'measure', json_extract(body, '$.detail.metrics[0].value') FROM event WHERE kind = 'measured'
     UNION ALL SELECT 'track', run FROM event WHERE kind = 'run_ended'"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How large a crowd, for how long, and what its threads do in turn. Without `line` they wait by SQLite alone."""

    processes: int
    threads: int
    seconds: float
    verbs: tuple[str, ...] = ("register", "promote", "read", "tag", "measure", "read", "track")
    line: bool = True


@dataclass(slots=True)
class Did:
    """What one process or all of them did: the seconds of each call by verb, marks that must be in the log, what went wrong."""

    calls: dict[str, list[float]] = field(default_factory=dict)
    marks: list[tuple[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, other: Did) -> None:
        for verb, seconds in other.calls.items():
            self.calls.setdefault(verb, []).extend(seconds)
        self.marks += other.marks
        self.errors += other.errors

    @property
    def writes(self) -> list[float]:
        """The seconds of the calls that are one write each, so that one is as much work as another."""
        return sorted(seconds for verb in ("register", "promote", "tag", "measure") for seconds in self.calls.get(verb, []))


# -- one thread


class Worker:
    """One thread's verbs: each returns the mark that it must have left, or None."""

    def __init__(self, registry: ifp.Registry, name: str) -> None:
        self.registry, self.name, self.count, self.own = registry, name, 0, f"{MODEL}@latest"
        self.file = Path(f"{name}.bin")

    @property
    def mark(self) -> str:
        return f"{self.name}-{self.count}"

    def register(self) -> Any:
        self.file.write_text(self.mark)
        self.own = self.registry.register(MODEL, self.file, params={"mark": self.mark}, partial=True).run
        return self.own

    def promote(self) -> Any:
        self.registry.model(MODEL).promote(self.own, "production", reason=self.mark, force=True)
        return self.mark

    def tag(self) -> Any:
        self.registry.model(MODEL).tag(self.own, self.mark)
        return self.mark

    def measure(self) -> Any:
        value = int(self.name[1:].replace("t", "")) + self.count / 65536
        self.registry.measure(self.own, {"f1": value})
        return value

    def track(self) -> Any:
        with ifp.track(MODEL, db=self.registry.path, autocapture=False) as run:
            for step in range(POINTS):
                run.log_metric("loss", 1 / (step + 1), step=step)
        return run.id

    def read(self) -> None:
        with self.registry.reading() as tx:
            found = tx.execute(IN_PRODUCTION, (MODEL,)).fetchall()
        if found != [("production", "production")]:
            raise AssertionError(f"a reader saw in production: {found}")

    def collect(self) -> None:
        gc.collect(self.registry, delete=True, grace=0)

    def work(self, verbs: Iterable[str], until: float, did: Did) -> None:
        for verb in cycle(verbs):
            began = time.monotonic()
            if began >= until:
                return
            self.count += 1
            try:
                mark = getattr(self, verb)()
            except Exception as error:  # whatever it is, the crowd's table shows it
                did.errors.append(f"{verb}: {type(error).__name__}: {error}")
            else:
                did.calls.setdefault(verb, []).append(time.monotonic() - began)
                did.marks += [(verb, mark)] if mark is not None else []
            if verb == "collect":
                time.sleep(1)


# -- one process


def attend(index: int, plan: Plan) -> Did:
    """Be one process of the crowd."""
    if not plan.line:
        turns.turn = lambda _folder, _until: nullcontext(False)  # type: ignore[assignment]
        db._SLICE = db.TIMEOUT
    shared = ifp.open("ifp.db")
    own = [ifp.open("ifp.db") for _ in range(plan.threads // 2)]
    did = [Did() for _ in range(plan.threads)]
    threads = []
    print("ready", flush=True)
    sys.stdin.readline()
    until = time.monotonic() + plan.seconds
    for number, part in enumerate(did):
        worker = Worker(own[number // 2] if number % 2 else shared, f"p{index}t{number:02d}")
        alone = index == number == 0 and plan.threads > 1
        turn = number % len(plan.verbs)
        verbs = ("collect",) if alone else ("register", *plan.verbs[turn:], *plan.verbs[:turn])
        threads.append(threading.Thread(target=worker.work, args=(verbs, until, part)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = Did()
    for part in did:
        whole.add(part)
    return whole


# -- all of them


def crowd(folder: Path, plan: Plan) -> list[Did]:
    """Let a crowd loose on a new registry in `folder`; what each of its processes did."""
    with ifp.init(folder / "ifp.db") as registry:
        (folder / "first.bin").write_text("first")
        registry.register(MODEL, folder / "first.bin", partial=True)
        registry.model(MODEL).promote("v1", "production", reason="first", force=True)
    children = [
        subprocess.Popen(
            [sys.executable, __file__, json.dumps([index, asdict(plan)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "IFP_ACTOR": f"p{index}"},
        )
        for index in range(plan.processes)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    return [_told(child) for child in children]


def _told(child: subprocess.Popen[str]) -> Did:
    said = child.communicate()[0]
    assert child.returncode == 0
    told = json.loads(said)
    return Did(told["calls"], [(verb, mark) for verb, mark in told["marks"]], told["errors"])


def broken(folder: Path, did: list[Did]) -> list[str]:
    """What the crowd was promised and didn't get, and errors."""
    whole = Did(marks=[("promote", "first")])
    for part in did:
        whole.add(part)
    found = whole.errors
    with ifp.open(folder / "ifp.db", readonly=True) as registry:
        with registry.reading() as tx:
            logged = Counter(tuple(row) for row in tx.execute(MARKS))
            first = tx.execute("SELECT run FROM event WHERE kind = 'registered' ORDER BY at LIMIT 1").fetchone()[0]
        wanted = Counter([*whole.marks, ("register", first)])
        found += [f"{mark} was acknowledged {wanted[mark]} times and is {logged[mark]} times in the log"
                  for mark in wanted | logged if wanted[mark] != logged[mark]]  # fmt: skip
        for verb, mark in whole.marks:
            if verb == "track" and (kept := len(registry.points(mark, "loss"))) != POINTS:
                found.append(f"{mark} has {kept} of {POINTS} points")
        found += [f"verify: {problem}" for problem in chain.verify(registry).problems]
        found += [f"fsck: {problem}" for problem in fsck.fsck(registry).problems]
    left = [*folder.glob("ifp.db-*"), *folder.glob("ifp.cas/tmp/*"), *folder.glob("ifp.cas/live/*")]
    return found + [f"{path.name} was left behind" for path in left]


if __name__ == "__main__":
    index, plan = json.loads(sys.argv[1])
    print(json.dumps(asdict(attend(index, Plan(**plan)))))
