"""Which one broke it: the first bad version between a bad one and its good ancestors, in as few tests as can be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log2
from sqlite3 import Connection
from typing import Any

from ..desk import Registry
from ..errors import NotFound, UsageError
from ..ledger import ancestry, approvals, lineage, resolve, runs, versions
from ..records import Run, Version
from .explain import Step, explain
from .verdicts import Judge, Verdict

Parents = Mapping[int, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Bisection:
    """What was found. `first_bad` and `last_good` are run ids; the good one is a parent of the bad one.

    Where versions that could not be tested stand in the way, `first_bad` is None and one of the `suspects` it is. `step` is
    what changed from the good one to the bad one; `approved_by` who approved the bad one. A bad one that came from nothing
    (it was merged in later) has neither a good one before it nor a step.
    """

    first_bad: str | None
    last_good: str | None
    tested: tuple[tuple[str, Verdict], ...]
    suspects: tuple[str, ...]
    step: Step | None
    approved_by: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "first_bad": self.first_bad,
            "last_good": self.last_good,
            "tested": [{"run": run, "verdict": verdict} for run, verdict in self.tested],
            "suspects": list(self.suspects),
            "explain": self.step.as_dict() if self.step else None,
            "approved_by": list(self.approved_by),
        }


class Bisect:
    """A search that is narrowed by verdicts. Its candidates are the bad run and what it came from, less what is good."""

    def __init__(self, registry: Registry, *, good: Sequence[str], bad: str) -> None:
        """Raises UsageError without a good one or where one is the bad one, NotFound where the bad one didn't come from it."""
        if not good:
            raise UsageError("name a version that was still good: --good REF")
        self.registry = registry
        now = registry.now()
        with registry.reading() as tx:
            self.bad = resolve.resolve(tx, bad, now=now).run
            self.good = [resolve.resolve_above(tx, ref, self.bad, now=now) for ref in good]
            self._parents = ancestry.parents_above(tx, self.bad)
            for run in self.good:
                if run == self.bad:
                    raise UsageError(f"{lineage.name(tx, run)} can't be good and bad at once")
                if run not in self._parents:
                    raise NotFound(
                        f"{ancestry.not_an_ancestor(tx, run, self.bad)}; a good one must be an ancestor of the bad one"
                    )
        self.candidates = set(self._parents)
        for run in self.good:
            self.candidates -= above(self._parents, run, self.candidates)
        self._skipped = set[int]()
        self.tested = dict[int, Verdict]()

    def next_test(self) -> int | None:
        """The run whose verdict tells the most, or None when nothing is left that could be tested."""
        return best_test(self._parents, self.candidates, self._skipped | {self.bad})

    def record(self, run: int, verdict: Verdict) -> None:
        """Take a verdict in. One that is about no candidate any more changes nothing."""
        self.tested[run] = verdict
        if run not in self.candidates:
            return
        if verdict == "skip":
            self._skipped.add(run)
        elif verdict == "bad":
            self.candidates = above(self._parents, run, self.candidates)
            self.bad = run
        else:
            self.candidates -= above(self._parents, run, self.candidates)

    def left(self) -> str:
        """How much is left to do, in words."""
        count = len(self.candidates - self._skipped) - 1
        return f"{count:,} left, about {ceil(log2(count + 1))} {'test' if count < 2 else 'tests'}"

    def outcome(self) -> Bisection:
        """What the verdicts so far say."""
        with self.registry.reading() as tx:
            names = {run: lineage.name(tx, run) for run in [*self.candidates, *self.tested, *self._parents[self.bad]]}
            tested = tuple((names[run], verdict) for run, verdict in self.tested.items())
            if len(self.candidates) > 1:
                suspects = ancestry.topological(self._parents, self.candidates)
                return Bisection(None, None, tested, tuple(names[run] for run in suspects), None, ())
            first = names[self.bad]
            last = next((names[parent] for parent in self._parents[self.bad]), None)
            approved = _approvers(tx, self.bad)
        step = explain(self.registry, first, last).steps[0] if last else None
        return Bisection(first, last, tested, (), step, approved)


def search(
    bisect: Bisect,
    judge: Judge,
    *,
    known: Mapping[str, str] | None = None,
    told: Callable[[Run, Version | None], None] | None = None,
    kept: Callable[[dict[str, str]], None] | None = None,
) -> Bisection:
    """Test until the first bad one is found.

    `known` are verdicts of an earlier search by run id; `told` is called before each test, `kept` after it with every verdict.
    """
    registry, verdicts = bisect.registry, dict(known or {})
    while (key := bisect.next_test()) is not None:
        run, version = read(registry, key)
        if (earlier := verdicts.get(run.id)) in ("good", "bad", "skip"):
            bisect.record(key, earlier)  # type: ignore[arg-type]  # one of the three
            continue
        if told is not None:
            told(run, version)
        verdict = judge(run, version)
        bisect.record(key, verdict)
        verdicts[run.id] = verdict
        if kept is not None:
            kept(verdicts)
    return bisect.outcome()


def read(registry: Registry, key: int) -> tuple[Run, Version | None]:
    """A run, and the version that it registered."""
    with registry.reading() as tx:
        (run,) = runs.read(tx, [key], registry)
        if run.version is None:
            return run, None
        found = versions.find(tx, resolve.model_key(tx, run.model), run.version)
        assert found is not None
        return run, versions.read(tx, [found], registry)[0]


def above(parents: Parents, run: int, among: Collection[int]) -> set[int]:
    """A run and its ancestors among these; `among` must hold, with a run, every run between it and the search's bad end."""
    found, waiting = {run} & set(among), [run]
    while waiting:
        for parent in parents[waiting.pop()]:
            if parent in among and parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


def best_test(parents: Parents, candidates: Collection[int], excluded: Collection[int]) -> int | None:
    """The candidate whose verdict leaves the fewest in the worse case, as git weighs them; None where all are excluded.

    A candidate's weight is how many candidates it came from, itself included: a bad verdict leaves that many, a good one the
    rest. Each one's set is a whole number with a bit for each candidate, let go when its last child is done.
    """
    order = ancestry.topological(parents, candidates)
    due = dict.fromkeys(order, 0)
    for run in order:
        for parent in parents[run]:
            if parent in due:
                due[parent] += 1
    best, most, sets = None, 0, dict[int, int]()
    for place, run in enumerate(order):
        mine = 1 << place
        for parent in parents[run]:
            if parent in due:
                mine |= sets[parent]
                due[parent] -= 1
                if not due[parent]:
                    del sets[parent]
        if due[run]:
            sets[run] = mine
        weight = mine.bit_count()
        worth = min(weight, len(order) - weight)
        if run not in excluded and worth > most:
            best, most = run, worth
    return best


def _approvers(tx: Connection, run: int) -> tuple[str, ...]:
    (found,) = runs.read(tx, [run], None)
    if found.version is None:
        return ()
    said = [one.actor for one in approvals.given(tx, found.model, found.version)]
    said += approvals.of_entries(tx, found.model, found.version)
    return tuple(dict.fromkeys(said))
