"""A registry driven against a plain-Python model of what it should be: changed at random, killed, asked about its past."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from book import Book, No, Parts, Policy, time_of
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

import ifpdb as ifp
from ifpdb.names import STAGES
from ifpdb.upkeep.chain import verify
from ifpdb.upkeep.fsck import fsck
from ifpdb.upkeep.gc import collect

MODELS = ("fraud", "churn")
SCHEMA = [{"name": "a", "type": "number"}]
SECOND = 1_000_000
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where fsync costs nothing: a process that is killed leaves what it wrote, unlike a power cut."""

Models = st.sampled_from(MODELS)
Places = st.integers(0, 1000)
"""The place of a version or run in the book, modulo how many there are."""
Reasons = st.sampled_from([None, "because", "because"])
Labels = st.sampled_from(["2025-Q4", "Golden"])
Tags = st.sampled_from([frozenset(), frozenset({"q1"}), frozenset({"data-v14"}), frozenset({"q1", "data-v14"})])
Parted = st.tuples(st.sampled_from("abc"), st.sampled_from([1.0, 2.0]), st.sampled_from([True, True, True, False]))
Scores = st.sampled_from([0.5, 0.9, 0.95, math.nan])
Kills = st.sampled_from(
    [None] * 12 + [50, 150, 250, 300, 400, 450, 500, 550, 600, 650, 700, 750, 1500, 3000, 4000, 5000, 10**6]
)
"""At which call or return of a function a child process that does the change is killed; None: it is done here."""


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        (self.folder / "train.csv").write_text("a\n1\n")
        self.book = Book()
        self.registry = ifp.init(self.folder / "ifp.db")
        self.asked = 0

    def teardown(self) -> None:
        self.registry.close()
        shutil.rmtree(self.folder)
        os.environ.pop("IFP_NOW", None)

    @initialize(model=Models)
    def begin(self, model: str) -> None:
        """A version and its child, both of which have been in production, so that there is something to go back to."""
        self.register(None, model, ("a", 1.0, True), 0.9, [], frozenset(), None, "staging")
        self.register(None, model, ("b", 1.0, True), 0.95, [0], frozenset(), None, "shadow")
        for place in range(2):
            self.promote(None, place, "production", "first", True, (), None, 0, False)

    # -- the changes

    @rule(
        kill=Kills,
        model=Models,
        parts=Parted,
        f1=st.none() | Scores,
        parents=st.lists(Places, max_size=2),
        tags=Tags,
        label=st.none() | Labels,
        stage=st.sampled_from(["staging", "shadow"]),
    )
    def register(
        self,
        kill: int | None,
        model: str,
        parts: Parts,
        f1: float | None,
        parents: list[int],
        tags: frozenset[str],
        label: str | None,
        stage: str,
    ) -> None:
        above = self.runs(parents)
        came_from = [self.book.runs[run].id for run in above]

        def change(registry: ifp.Registry) -> None:
            registry.register(
                model,
                self.weights(parts),
                data=str(self.folder / "train.csv"),
                schema=SCHEMA if parts[2] else None,
                params={"C": parts[1]},
                metrics={} if f1 is None else {"f1": f1},
                derived_from=came_from,
                stage=stage,
                tags=sorted(tags),
                labels=[label] if label else [],
                partial=not parts[2],
            )

        self.change(kill, change, lambda book: book.register(model, parts, f1, above, tags, label, stage))

    @rule(
        kill=Kills,
        model=Models,
        parts=Parted,
        parents=st.lists(Places, max_size=1),
        registers=st.booleans(),
        tags=Tags,
        error=st.sampled_from([None, None, RuntimeError, KeyboardInterrupt]),
    )
    def track(
        self,
        kill: int | None,
        model: str,
        parts: Parts,
        parents: list[int],
        registers: bool,
        tags: frozenset[str],
        error: type[BaseException] | None,
    ) -> None:
        above = self.runs(parents)
        came_from = [self.book.runs[run].id for run in above]
        status = {None: "finished", RuntimeError: "failed", KeyboardInterrupt: "killed"}[error]

        def change(registry: ifp.Registry) -> None:
            data = str(self.folder / "train.csv")
            given: dict[str, Any] = {"params": {"C": parts[1]}, "data": data, "derived_from": came_from}
            try:
                with ifp.track(model, db=registry.path, autocapture=False, **given) as run:
                    run.log_metric("loss", 1.0)
                    if registers:
                        schema = SCHEMA if parts[2] else None
                        run.register(self.weights(parts), schema=schema, tags=sorted(tags), partial=not parts[2])
                    if error is not None:
                        raise error
            except (RuntimeError, KeyboardInterrupt):
                pass

        self.change(kill, change, lambda book: book.track(model, parts, above, registers=registers, tags=tags, status=status))

    @precondition(lambda self: self.book.versions)
    @rule(
        kill=Kills,
        place=Places,
        stage=st.sampled_from([*STAGES, "production", "production"]),
        reason=Reasons,
        force=st.booleans(),
        approved_by=st.sampled_from([(), ("grace",), ("ada", "grace")]),
        expect=st.none() | st.none() | Places,
        name=Places,
        early=st.booleans(),
    )
    def promote(
        self,
        kill: int | None,
        place: int,
        stage: str,
        reason: str | None,
        force: bool,
        approved_by: tuple[str, ...],
        expect: int | None,
        name: int,
        early: bool,
    ) -> None:
        version = place % len(self.book.versions)
        model = self.book.versions[version].model
        siblings = self.book.of(model)
        rival = None if expect is None else siblings[expect % len(siblings)]
        ref, expected = self.ref(version, name), None if rival is None else self.ref(rival, name)
        if early:  # a clock that went wrong
            self.book.now -= 3600 * SECOND
        self.change(
            kill,
            lambda registry: registry.model(model).promote(
                ref, stage, reason=reason, force=force, approved_by=approved_by, expect=expected
            ),
            lambda book: book.promote(version, stage, reason=reason, force=force, approved_by=approved_by, expect=rival),
        )
        if early:
            self.book.now += 3600 * SECOND

    @precondition(lambda self: self.book.versions)
    @rule(kill=Kills, place=Places, named=st.booleans(), reason=st.sampled_from([None, "worse", "worse", "worse"]), name=Places)
    def rollback(self, kill: int | None, place: int, named: bool, reason: str | None, name: int) -> None:
        version = place % len(self.book.versions)
        model, ref = self.book.versions[version].model, self.ref(version, name)
        self.change(
            kill,
            lambda registry: registry.model(model).rollback(reason=reason, to=ref if named else None),
            lambda book: book.rollback(model, version if named else None, reason),
        )

    @precondition(lambda self: self.book.versions)
    @rule(kill=Kills, place=Places, name=Places)
    def approve(self, kill: int | None, place: int, name: int) -> None:
        version = place % len(self.book.versions)
        model, ref = self.book.versions[version].model, self.ref(version, name)
        self.change(kill, lambda registry: registry.model(model).approve(ref), lambda book: book.approve(version))

    @precondition(lambda self: self.book.versions)
    @rule(
        kill=Kills,
        place=Places,
        tags=st.sampled_from([frozenset({"q1"}), frozenset({"q1", "data-v14"})]),
        remove=st.booleans(),
        name=Places,
    )
    def tag(self, kill: int | None, place: int, tags: frozenset[str], remove: bool, name: int) -> None:
        version = place % len(self.book.versions)
        model, ref = self.book.versions[version].model, self.ref(version, name)

        def change(registry: ifp.Registry) -> None:
            found = registry.model(model)
            (found.untag if remove else found.tag)(ref, *sorted(tags))

        self.change(kill, change, lambda book: book.tag(version, tags, remove=remove))

    @precondition(lambda self: self.book.versions)
    @rule(kill=Kills, place=Places, label=Labels, name=Places)
    def label(self, kill: int | None, place: int, label: str, name: int) -> None:
        version = place % len(self.book.versions)
        model, ref = self.book.versions[version].model, self.ref(version, name)
        self.change(kill, lambda registry: registry.model(model).label(ref, label), lambda book: book.label(version, label))

    @precondition(lambda self: self.book.versions)
    @rule(kill=Kills, place=Places, f1=Scores, name=Places)
    def measure(self, kill: int | None, place: int, f1: float, name: int) -> None:
        version = place % len(self.book.versions)
        ref = self.whole_ref(version, name)
        self.change(kill, lambda registry: registry.measure(ref, {"f1": f1}), lambda book: book.measure(version, f1))

    @rule(
        kill=Kills,
        model=Models,
        policy=st.builds(Policy, st.sampled_from([0.4, 0.9]), st.booleans(), st.sampled_from([0, 0, 1, 2])),
    )
    def set_policy(self, kill: int | None, model: str, policy: Policy) -> None:
        document: dict[str, Any] = {"validation": {"min_f1": policy.least}}
        if policy.on_pass:
            document["validation"]["promote_on_pass"] = "production"
        if policy.approvals:
            document["approvals"] = {"required": policy.approvals, "not_author": True}
        self.change(
            kill, lambda registry: registry.model(model).set_policy(document), lambda book: book.set_policy(model, policy)
        )

    @precondition(lambda self: self.book.runs)
    @rule(kill=Kills, below=Places, above=Places, kind=st.sampled_from(["derived_from", "merged_from"]))
    def link(self, kill: int | None, below: int, above: int, kind: str) -> None:
        child, parent = self.runs([below])[0], self.runs([above])[0]
        names = self.book.runs[child].id, self.book.runs[parent].id
        self.change(kill, lambda registry: registry.link(*names, kind), lambda book: book.link(child, parent, kind))

    @rule(kill=Kills)
    def collect_garbage(self, kill: int | None) -> None:
        self.change(kill, lambda registry: collect(registry, delete=True, grace=0), lambda book: book.look_after())

    @rule(actor=st.sampled_from(["ada", "grace", "alan"]))
    def somebody_else_acts(self, actor: str) -> None:
        self.book.actor = actor

    @rule()
    def reopen(self) -> None:
        self.registry.close()
        self.registry = ifp.open(self.folder / "ifp.db")

    # -- how a change is made

    def change(self, kill: int | None, change: Callable[[ifp.Registry], Any], expect: Callable[[Book], Iterator[None]]) -> None:
        """Make a change to the registry and to the book; both must take it, or refuse it by the same error."""
        self.book.now += SECOND
        os.environ["IFP_NOW"], os.environ["IFP_ACTOR"] = time_of(self.book.now), self.book.actor
        if kill is not None:
            self._killed(kill, change, expect)
            return
        refusal = raised(lambda: change(self.registry))
        assert refusal is raised(lambda: list(expect(self.book)))
        self.learn()

    def _killed(self, call: int, change: Callable[[ifp.Registry], Any], expect: Callable[[Book], Iterator[None]]) -> None:
        """Let a child process make the change, killed on its way: whole or not at all, at each commit."""
        states, after = [self.book], deepcopy(self.book)
        commits = expect(after)
        while raised(lambda: next(commits)) is None:
            states.append(deepcopy(after))
        child = os.fork()
        if not child:
            _do_and_die(self.folder / "ifp.db", call, change)
        os.waitpid(child, 0)
        count = len(self.registry.events())
        self.book = next(state for state in reversed(states) if len(state.events) == count)
        for run in self.book.runs:
            run.status = "dead" if run.status == "running" else run.status
        self.learn()

    def learn(self) -> None:
        """Learn the ids of new runs and the digests of new versions: names that are theirs alone."""
        found = {run.id: run for run in self.registry.runs()}
        new = set(found) - {run.id for run in self.book.runs}
        assert len(new) == sum(not run.id for run in self.book.runs)
        for run in self.book.runs:
            run.id = run.id or new.pop()
        for version in self.book.versions:
            version.digest = version.digest or str(found[self.book.runs[version.runs[0]].id].version)
        assert len({(version.model, version.digest) for version in self.book.versions}) == len(self.book.versions)

    def weights(self, parts: Parts) -> Path:
        path = self.folder / f"{parts[0]}.bin"
        path.write_text(parts[0])
        return path

    def runs(self, places: list[int]) -> list[int]:
        """Runs in the book, each once."""
        return list(dict.fromkeys(place % len(self.book.runs) for place in places)) if self.book.runs else []

    def refs(self, version: int) -> list[str]:
        """Every name of a version."""
        found = self.book.versions[version]
        names = [f"v{found.ordinal}", found.digest, found.digest[:20], *self.book.labels_of(version)]
        names += ["latest"] * (found.ordinal == len(self.book.of(found.model)))
        return [f"{found.model}@{name}" for name in names] + [found.digest, *(self.book.runs[run].id for run in found.runs)]

    def whole_ref(self, version: int, name: int) -> str:
        refs = [ref for ref in self.refs(version) if "@" in ref or ref.startswith("run-")]
        return refs[name % len(refs)]

    def ref(self, version: int, name: int) -> str:
        """One of a version's names, within its model or outside."""
        ref = self.whole_ref(version, name)
        return ref.partition("@")[2] if "@" in ref and name % 2 else ref

    # -- what must be so after each of them

    @invariant()
    def the_log_tells_what_happened(self) -> None:
        book = self.book
        told = [(e.kind, e.model, e.actor, e.at, e.run, e.version, e.to_stage) for e in self.registry.events()]
        assert told == [
            (
                event.kind,
                event.model,
                event.actor,
                time_of(event.at),
                None if event.run is None else book.runs[event.run].id,
                None if event.version is None else book.versions[event.version].digest,
                event.to_stage,
            )
            for event in book.events
        ]
        assert verify(self.registry).problems == ()

    @invariant()
    def nothing_is_damaged(self) -> None:
        """It takes a while: not after each."""
        if self.asked % 8 == 0:
            assert fsck(self.registry).problems == ()

    @invariant()
    def the_runs_are_the_ones_that_ran(self) -> None:
        book = self.book
        told = {
            run.id: (run.model, run.actor, run.status, run.version, [(parent.run, parent.kind) for parent in run.parents])
            for run in self.registry.runs()
        }
        assert told == {
            run.id: (
                run.model,
                run.actor,
                "killed" if run.status == "dead" else run.status,
                None if run.version is None else book.versions[run.version].digest,
                [(book.runs[parent].id, kind) for parent, kind in run.parents],
            )
            for run in book.runs
        }

    @invariant()
    def the_versions_are_what_was_made_of_them(self) -> None:
        book = self.book
        assert {summary.model for summary in self.registry.models()} == book.models
        for model in book.models:
            told = [
                (v.digest, v.ordinal, v.stage, set(v.tags), list(v.labels), list(v.runs), repr(v.metrics.get("f1")), v.partial)
                for v in self.registry.model(model).versions()
            ]
            assert told == [
                (
                    version.digest,
                    version.ordinal,
                    version.stage,
                    version.tags,
                    book.labels_of(place),
                    [book.runs[run].id for run in version.runs],
                    repr(version.f1),
                    not version.parts[2],
                )
                for place, version in reversed([(place, book.versions[place]) for place in book.of(model)])
            ]

    @invariant()
    def history_is_what_was(self) -> None:
        book = self.book
        for model in book.models:
            told = {(i.digest, i.stage, i.since, i.until) for i in self.registry.model(model).history(None)}
            assert told == {
                (book.versions[i.version].digest, i.stage, time_of(i.since), i.until and time_of(i.until))
                for i in book.intervals
                if book.versions[i.version].model == model
            }

    @invariant()
    def every_reference_names_what_it_should(self) -> None:
        """One version and one model a turn, so that all of them come up."""
        self.asked += 1
        for model in self.book.models:
            self._check_stages(model)
            self._check_past(model)
        if self.book.versions:
            version = self.asked % len(self.book.versions)
            held = self.book.versions[version]
            for ref in self.refs(version):
                same = [v for v in self.book.versions if v.digest == held.digest]
                if ref.startswith("sha256:") and len(same) > 1:
                    assert raised(lambda ref=ref: self.registry.resolve(ref)) is ifp.Ambiguous
                else:
                    found = self.registry.resolve(ref)
                    assert (found.model, found.digest) == (held.model, held.digest)
            self._check_walks(version)

    def _check_stages(self, model: str) -> None:
        for stage in STAGES:
            there = self.book.in_stage(model, stage)
            for ref in [f"{model}@{stage}", *([model] if stage == "production" else [])]:
                found = list[str]()
                refusal = raised(lambda ref=ref, found=found: found.append(self.registry.resolve(ref).digest))
                if len(there) == 1:
                    assert found == [self.book.versions[there[0]].digest]
                else:
                    assert refusal is (ifp.Ambiguous if there else ifp.NotFound)

    def _check_past(self, model: str) -> None:
        if not self.book.events:
            return
        event = self.book.events[self.asked * 7 % len(self.book.events)]
        for at in (event.at - 1, event.at, event.at + 1):
            held = self.book.production(model, at)
            digests = [] if held is None else [self.book.versions[held].digest]
            assert [found.digest for found in self.registry.at(time_of(at), model=model)] == digests
            ref = f"{model}@production@{{{time_of(at)}}}"
            if held is None:
                assert raised(lambda ref=ref: self.registry.resolve(ref)) is ifp.NotFound
            else:
                assert self.registry.resolve(ref).digest == digests[0]

    def _check_walks(self, version: int) -> None:
        held = self.book.versions[version]
        ref, here = f"{held.model}@v{held.ordinal}", held.runs[0]
        for number, (parent, _) in enumerate(self.book.runs[here].parents, start=1):
            assert self.registry.run(f"{ref}^{number}").id == self.book.runs[parent].id
        generation = 0
        while self.book.runs[here].parents:
            here, generation = self.book.runs[here].parents[0][0], generation + 1
            assert self.registry.run(f"{ref}~{generation}").id == self.book.runs[here].id
        assert raised(lambda: self.registry.run(f"{ref}~{generation + 1}")) is ifp.NotFound
        above = {self.book.runs[run].id for run in self.book.ancestors(held.runs[0])}
        assert {node.run for node in self.registry.lineage(ref)} == above


def raised(action: Callable[[], Any]) -> type[BaseException] | None:
    """The error that it raises, or that the book says; a generator's end is one too."""
    try:
        action()
    except No as refusal:
        return refusal.error
    except (ifp.IfpError, StopIteration) as error:
        return type(error)
    return None


def _do_and_die(path: Path, call: int, change: Callable[[ifp.Registry], Any]) -> None:
    """In a forked child: make the change, and be killed at a call or return of a function, or when it is done."""
    left = call

    def count(_frame: Any, _event: str, _argument: Any) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        registry = ifp.open(path)
        sys.setprofile(count)
        change(registry)
    except ifp.IfpError:
        pass
    finally:
        os._exit(0)


def drive(examples: int, steps: int, *, nightly: bool) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        RegistryMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=not nightly,
            phases=list(Phase) if nightly else [Phase.generate],  # to shrink a failure takes minutes
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_registry_is_what_the_book_says_whatever_is_done_to_it() -> None:
    drive(examples=20, steps=30, nightly=False)


@pytest.mark.nightly
def test_a_registry_is_what_the_book_says_all_night() -> None:
    drive(examples=1000, steps=60, nightly=True)


Sequence = list[tuple[str, tuple[Any, ...]]]
PARTS: Parts = ("c", 1.0, True)
SEQUENCES: dict[str, Sequence] = {
    "an approval by somebody else lets it in": [
        ("set_policy", (None, "fraud", Policy(0.4, approvals=1))),
        ("register", (None, "fraud", PARTS, 0.9, [], frozenset(), None, "staging")),
        ("promote", (None, 2, "production", None, False, (), None, 0, False)),
        ("somebody_else_acts", ("grace",)),
        ("approve", (None, 2, 0)),
        ("promote", (None, 2, "production", None, False, (), None, 0, False)),
    ],
    "two models with a version of the same digest": [
        ("register", (None, "churn", ("a", 1.0, True), 0.9, [], frozenset(), None, "staging")),
        ("label", (None, 0, "Golden", 1)),
    ],
    "a run that died is buried by the next writer": [
        ("track", (kill, "fraud", PARTS, [0], True, frozenset(), None))
        for kill in (None, *range(1000, 7000, 200))  # the first one imports what it needs
    ]
    + [("approve", (None, 0, 0))],
}
"""What once failed, or what a wrong program got through the ordinary run with."""


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
def test_a_sequence_that_found_something(sequence: Sequence) -> None:
    machine = RegistryMachine()
    try:
        machine.begin("fraud")
        for name, arguments in sequence:
            getattr(machine, name)(*arguments)
            for check in machine.invariants:
                check.function(machine)
    finally:
        machine.teardown()
