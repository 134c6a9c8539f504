"""The first bad one is found: on any graph, in as few tests as git would need, past what can't be tested."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from math import ceil, log2
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ifpdb as ifp
from ifpdb.history.bisect import Bisect, above, best_test, read, search
from ifpdb.history.verdicts import by_command, by_metric

Make = Callable[..., ifp.Version]
Parents = Mapping[int, Sequence[int]]

DAGS = (
    st.integers(2, 14)
    .flatmap(
        lambda size: st.tuples(*(st.lists(st.integers(0, n - 1), min_size=1, max_size=3, unique=True) for n in range(1, size)))
    )
    .map(lambda rows: {0: [], **dict(enumerate(rows, 1))})
)


def ancestry(parents: Parents, run: int) -> set[int]:
    found, waiting = {run}, [run]
    while waiting:
        fresh = [parent for parent in parents[waiting.pop()] if parent not in found]
        found.update(fresh)
        waiting += fresh
    return found


def hunt(parents: Parents, broken: set[int], skipped: frozenset[int] = frozenset()) -> tuple[set[int], int]:
    """What is left when nothing more can be tested, and the number of tests: the loop of `search` on bare numbers."""
    bad = max(parents)
    candidates, out, tests = ancestry(parents, bad) - {0}, set(skipped), 0
    while (run := best_test(parents, candidates, out | {bad})) is not None:
        tests += 1
        if run in broken:
            candidates, bad = above(parents, run, candidates), run
        else:
            candidates -= above(parents, run, candidates)
    return candidates, tests


@given(parents=DAGS, seed=st.integers(0, 100))
def test_what_broke_first_is_found_on_any_graph(parents: Parents, seed: int) -> None:
    last = max(parents)
    culprit = sorted(ancestry(parents, last) - {0})[seed % len(ancestry(parents, last) - {0})]
    broken = {run for run in parents if culprit in ancestry(parents, run)}
    assert hunt(parents, broken)[0] == {culprit}


@given(parents=DAGS)
def test_the_weight_of_a_test_is_git_s(parents: Parents) -> None:
    last = max(parents)
    candidates = ancestry(parents, last) - {0}
    worth = {
        run: min(len(ancestry(parents, run) & candidates), len(candidates) - len(ancestry(parents, run) & candidates))
        for run in candidates - {last}
    }
    found = best_test(parents, candidates, {last})
    assert (worth[found] == max(worth.values())) if found is not None else not worth


@pytest.mark.parametrize("size", [2, 3, 17, 64, 1000])
def test_a_chain_takes_no_more_than_the_logarithm(size: int) -> None:
    parents = {n: [n - 1] if n else [] for n in range(size)}
    for culprit in {1, size // 2 or 1, size - 1}:
        found, tests = hunt(parents, set(range(culprit, size)))
        assert found == {culprit}
        assert tests <= ceil(log2(size))


@given(parents=DAGS, seed=st.integers(0, 100), skips=st.sets(st.integers(1, 13), max_size=4))
def test_what_can_t_be_tested_stays_among_the_suspects(parents: Parents, seed: int, skips: set[int]) -> None:
    last = max(parents)
    culprit = sorted(ancestry(parents, last) - {0})[seed % len(ancestry(parents, last) - {0})]
    broken = {run for run in parents if culprit in ancestry(parents, run)}
    found, _ = hunt(parents, broken, frozenset(skips))
    assert culprit in found
    assert found <= ancestry(parents, last)
    assert len(found) == 1 or found & skips


@pytest.fixture
def chain(make: Make, registry: ifp.Registry) -> list[str]:
    """Eight versions in a chain; f1 falls from the fifth on; grace approved that one."""
    registry.model("fraud")
    parent, found = list[str](), list[str]()
    for number in range(8):
        version = make(
            f"w{number}", params={"C": float(number)}, metrics={"f1": 0.95 if number < 4 else 0.8}, derived_from=parent
        )
        parent = [version.run]
        found.append(version.run)
    registry.model("fraud").approve("v5")
    return found


def by_f1(registry: ifp.Registry, **given: object) -> object:
    bisect = Bisect(registry, good=["fraud@v1"], bad="fraud@v8")
    return search(bisect, by_metric("f1", below=0.9))


def test_the_metric_on_record_names_the_version_its_cause_and_who_approved(registry: ifp.Registry, chain: list[str]) -> None:
    found = by_f1(registry)
    assert (found.first_bad, found.last_good) == (chain[4], chain[3])
    assert found.approved_by == ("ada",)
    assert len(found.tested) <= 3
    assert ("param", "C", "changed") in {(change.part, change.name, change.change) for change in found.step.changes}


def test_an_unmeasured_version_is_passed_over(make: Make, registry: ifp.Registry, chain: list[str]) -> None:
    with ifp.track("fraud", derived_from=chain[7]) as run:
        pass
    last = make("last", metrics={"f1": 0.7}, derived_from=run.id)
    bisect = Bisect(registry, good=["fraud@v1"], bad=last.run)
    found = search(bisect, by_metric("f1", below=0.9))
    assert found.first_bad == chain[4]


def test_when_only_skipped_ones_are_left_they_are_the_suspects(make: Make, registry: ifp.Registry) -> None:
    a = make("a", metrics={"f1": 0.9})
    b = make("b", derived_from=a.run)
    c = make("c", metrics={"f1": 0.1}, derived_from=b.run)
    bisect = Bisect(registry, good=[a.run], bad=c.run)
    found = search(bisect, by_metric("f1", below=0.5))
    assert (found.first_bad, found.suspects, found.tested) == (None, (b.run, c.run), ((b.run, "skip"),))


def test_what_came_from_nothing_can_be_the_first_bad_one(make: Make, registry: ifp.Registry) -> None:
    a = make("a", metrics={"f1": 0.9})
    stranger = make("r", metrics={"f1": 0.1})
    merged = make("m", metrics={"f1": 0.1}, derived_from=[a.run, stranger.run])
    found = search(Bisect(registry, good=[a.run], bad=merged.run), by_metric("f1", below=0.5))
    assert (found.first_bad, found.last_good, found.step) == (stranger.run, None, None)


@pytest.mark.parametrize("of_the_good", [126, 127])
def test_a_command_that_can_t_be_run_is_not_a_verdict(make: Make, registry: ifp.Registry, of_the_good: int) -> None:
    versions = [make("0")]
    for number in range(1, 5):
        versions.append(make(str(number), derived_from=versions[-1].run))
    code = f"import os, sys; sys.exit({of_the_good} if open(os.environ['IFP_ARTIFACT']).read() == '0' else 127)"
    bisect = Bisect(registry, good=[versions[0].run], bad=versions[-1].run)
    with pytest.raises(ifp.UsageError, match="look at the command"):
        search(bisect, by_command(registry, [sys.executable, "-c", code], read(registry, bisect.good[0])))


def test_the_good_one_is_asked_once_whether_the_command_can_run(make: Make, registry: ifp.Registry, tmp_path: Path) -> None:
    versions = [make("0")]
    for number in range(1, 9):
        versions.append(make(str(number), derived_from=versions[-1].run))
    log = tmp_path / "asked"
    code = (
        "import os, sys; n = open(os.environ['IFP_ARTIFACT']).read();"
        f"open({str(log)!r}, 'a').write(n); sys.exit(0 if n == '0' else 127)"
    )
    bisect = Bisect(registry, good=[versions[0].run], bad=versions[-1].run)
    found = search(bisect, by_command(registry, [sys.executable, "-c", code], read(registry, bisect.good[0])))
    assert found.first_bad == versions[1].run
    assert log.read_text().count("0") == 1


def test_more_is_worse_for_some_metrics(make: Make, registry: ifp.Registry) -> None:
    a = make("a", metrics={"rmse": 1.0})
    b = make("b", metrics={"rmse": 5.0}, derived_from=a.run)
    c = make("c", metrics={"rmse": 4.0}, derived_from=b.run)
    bisect = Bisect(registry, good=[a.run], bad=c.run)
    assert search(bisect, by_metric("rmse", above=3)).first_bad == b.run


def test_verdicts_on_several_data_must_agree(make: Make, registry: ifp.Registry, folder: object) -> None:
    with open("november.csv", "w") as file:
        file.write("amount,country\n3,DE\n")
    a = make("a", metrics={"f1": 0.95})
    b = make("b", metrics={"f1": 0.95}, derived_from=a.run)
    c = make("c", metrics={"f1": 0.95}, derived_from=b.run)
    registry.measure(b.run, {"f1": 0.5}, dataset="november.csv")
    bisect = Bisect(registry, good=[a.run], bad=c.run)
    with pytest.raises(ifp.UsageError, match="--dataset"):
        search(bisect, by_metric("f1", below=0.9))
    judge = by_metric("f1", below=0.9, dataset="november.csv")
    assert search(bisect, judge).first_bad == b.run


@pytest.mark.parametrize(
    ("good", "bad", "error", "words"),
    [
        ([], "fraud@v8", ifp.UsageError, "--good"),
        (["fraud@v8"], "fraud@v8", ifp.UsageError, "good and bad at once"),
        (["fraud@v8"], "fraud@v2", ifp.NotFound, "must be an ancestor"),
        (["fraud@v1", "loner@v1"], "fraud@v8", ifp.NotFound, "no ancestor in common"),
        (["fraud@v1"], "fraud@v99", ifp.NotFound, "v99"),
    ],
)
def test_ends_that_make_no_sense_are_refused(
    make: Make, registry: ifp.Registry, chain: list[str], good: list[str], bad: str, error: type[Exception], words: str
) -> None:
    make("z", "loner")
    with pytest.raises(error, match=words):
        Bisect(registry, good=good, bad=bad)


@pytest.mark.parametrize("limits", [{}, {"below": 1.0, "above": 0.0}])
def test_a_metric_needs_one_limit(limits: dict[str, float]) -> None:
    with pytest.raises(ifp.UsageError, match="one limit"):
        by_metric("f1", **limits)
