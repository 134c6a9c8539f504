"""The sweep: one system call of a work fails, or is the last one before kill -9; then everything must still hold.

strace makes the call fail. First a run without a fault lists the calls that touch the box; then each of them is failed,
the n-th of its kind, in a run of its own on a fresh copy of the box.
"""

from __future__ import annotations

import random
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from controls import BLIND
from forks import CALLS, Ended, Forks

LINE = re.compile(r"(\d+) +(\w+)\(")
CHANGES = frozenset(CALLS.split(",")) - {"read", "pread64"}


TOLD = frozenset({"write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename"})
"""Calls whose failure must not be passed over; but SQLite itself passes over a folder that can't be synced."""
UNTOLD = "/statcache>"
"""What can't be noted there is only read again: its failure is nobody's business."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What strace injects, from which call on, and into which calls."""

    inject: str
    when: str
    calls: frozenset[str]


FAULTS = {
    "kill -9": Fault("signal=KILL", "{}", CHANGES),
    "EIO once": Fault("error=EIO", "{}", frozenset(CALLS.split(",")) - {"close"}),
    "EIO from then on": Fault("error=EIO", "{}+", CHANGES - {"close"}),
    "disk full": Fault("error=ENOSPC", "{}+", CHANGES - {"close", "unlink", "unlinkat", "rmdir", "fchmod", "chmod"}),
}


@dataclass(frozen=True, slots=True)
class Point:
    """Where a fault strikes: the `number`-th call of its name."""

    fault: str
    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.fault} at {self.call} {self.number}"

    def options(self) -> list[str]:
        """What tells strace so."""
        fault = FAULTS[self.fault]
        when = fault.when.format(self.number)
        return ["-s", "0", "-e", f"trace={self.call}", "-e", f"inject={self.call}:{fault.inject}:when={when}"]


@dataclass(frozen=True, slots=True)
class Reference:
    """The work without a fault: the registry's digest after each step, and when the work is left there by an exception;
    at the end, where a dead run was not noticed; what is wrong with the box from the start; and every point where a fault
    can strike.
    """

    states: tuple[str, ...]
    left: tuple[str, ...]
    blind: str
    known: frozenset[str]
    points: tuple[Point, ...]

    def allowed(self, acknowledged: int) -> set[str]:
        """The states that the registry may be in: of before or after the call that didn't return."""
        blind = {self.blind} if acknowledged + 2 >= len(self.states) else set()
        return {*self.states[acknowledged : acknowledged + 2], *self.left[acknowledged : acknowledged + 2], *blind}


class Bench:
    """A work with its box: copied for each run, done, failed, inspected."""

    def __init__(self, forks: Forks, name: str, folder: Path) -> None:
        """Prepare the box in an empty folder."""
        self.name, self._forks = name, forks
        self.base, self.box = folder / "base" / "box", folder / "box"
        self.base.mkdir(parents=True)
        made = forks.run("work:prepare", name, str(self.base))
        assert made.status == 0, made.lines
        (folder / "base" / "given").rename(folder / "given")

    def fresh(self) -> Path:
        """The box as it was before the work."""
        shutil.rmtree(self.box, ignore_errors=True)
        shutil.copytree(self.base, self.box)
        return self.box

    def perform(self, *, control: str = "", stop_after: int = 0, strace: Sequence[str] | None = None) -> Ended:
        """Do the work in a fresh box."""
        return self._forks.run("work:perform", self.name, str(self.fresh()), 1, control, stop_after, strace=strace)

    def digest(self) -> str:
        """The logical digest of what is in the box now."""
        return self._forks.run("oracle:digest", str(self.box)).lines[0]

    def inspect(self, facts: Sequence[str] = ()) -> Ended:
        """What a fresh process finds in the box, before and after it does the work again."""
        return self._forks.run("oracle:inspect", self.name, str(self.box), 2, list(facts))

    def reference(self) -> Reference:
        """The work without a fault."""
        self.fresh()
        before = self.digest()
        known = frozenset(line for line in self.inspect().lines if line.startswith("found"))
        traced = self.perform(strace=["-s", "0", "-e", f"trace={CALLS}"])
        steps = len(traced.lines)
        assert all(line.startswith("OK ") for line in traced.lines), traced.lines
        states, left = [before], [before]
        for step in range(1, steps + 1):
            self.perform(stop_after=step)
            left.append(self.digest())
            states.append(self._state_after(step))
        self.perform(control=BLIND)
        blind = self.digest()
        return Reference(tuple(states), tuple(left), blind, known, tuple(points(traced.calls, self.box)))

    def _state_after(self, step: int) -> str:
        self._forks.run("work:perform_and_vanish", self.name, str(self.fresh()), step)
        return self.digest()


def points(calls: Sequence[str], box: Path) -> Iterator[Point]:
    """Every call on something in the box, once for each fault that can strike it."""
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    seen = set()
    for line in calls:
        if match := LINE.match(line):
            process, call = match.groups()
            counts[process, call] += 1
            if str(box) in line and (call != "ioctl" or "FICLONE" in line):
                seen.add((call, counts[process, call], call != "openat" or "O_CREAT" in line))
    for name, fault in FAULTS.items():
        for call, number, needs_room in sorted(seen):
            if call in fault.calls and (needs_room or name != "disk full"):
                yield Point(name, call, number)


def strike(bench: Bench, reference: Reference, point: Point, *, control: str = "") -> tuple[str, list[str]]:
    """One run with one fault: what came of it in a few words, and every promise that it broke."""
    ended = bench.perform(control=control, strace=point.options())
    facts = [line.removeprefix("OK ") for line in ended.lines if line.startswith("OK ")]
    error = next((line for line in ended.lines if line.startswith("NO ")), None)
    broken = [line for line in ended.lines if line[:3] not in ("OK ", "NO ")]
    if ended.status and (point.fault, ended.status) != ("kill -9", -9):
        broken.append(f"it ended with {ended.status}")
    if error and "/" not in error:
        broken.append(f"the message doesn't say where: {error}")
    state, more = judge(bench, reference, len(facts), facts)
    outcome = _outcome(ended, reference, state, len(facts), error)
    failed = [line for line in ended.calls if "(INJECTED)" in line and f"{bench.box}/" in line and UNTOLD not in line]
    if outcome == "went on" and point.call in TOLD and failed:
        broken.append(f"a write failed and nobody was told: {failed[0]}")
    return outcome, [f"{bench.name}, {point}: {line}" for line in broken + more]


def judge(bench: Bench, reference: Reference, acknowledged: int, facts: Sequence[str] = ()) -> tuple[str, list[str]]:
    """The state that a fresh process finds in the box, and every promise that is broken there."""
    found = bench.inspect(facts)
    state, told = found.lines[0] if found.lines else "", found.lines[1:]
    broken = [line for line in told if not line.startswith("OK ") and line not in reference.known]
    if state not in reference.allowed(acknowledged):
        broken.append(f"after {acknowledged} acknowledged steps the registry is in none of its states: {state}")
    if found.status or sum(line.startswith("OK ") for line in told) != len(reference.states) - 1:
        broken.append(f"it can't be done again: {found.lines}")
    return state, broken


def _outcome(ended: Ended, reference: Reference, state: str, acknowledged: int, error: str | None) -> str:
    if not any("(INJECTED)" in line or "killed by SIGKILL" in line for line in ended.calls):
        return "missed"
    if ended.status < 0:
        return "as before" if state == reference.states[acknowledged] else "as after"
    return error.split()[1] if error else "went on"


def sample(reference: Reference, count: int, seed: int) -> list[Point]:
    """Some of the points, the same for the same seed."""
    return random.Random(seed).sample(reference.points, min(count, len(reference.points)))
