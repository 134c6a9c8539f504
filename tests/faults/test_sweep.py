"""Every system call of a work failed, or its last before kill -9: nothing acknowledged is lost, nothing is half done."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sweep import FAULTS, Bench, Point, Reference, sample, strike
from work import WORKS

EVERYDAY = ("init", "register", "track", "promote", "tag, label", "seal", "gc", "migrate", "merge")
"""The works that every test run strikes at; the others differ from one of these in the files that they name."""

Benches = Callable[[str], tuple[Bench, Reference]]


@pytest.mark.parametrize("name", EVERYDAY)
def test_a_few_faults_of_each_kind_break_no_promise(bench: Benches, name: str) -> None:
    made, reference = bench(name)
    struck = [strike(made, reference, point) for point in sample(reference, 4, seed=5)]
    assert [line for _, broken in struck for line in broken] == []
    assert {outcome for outcome, _ in struck} != {"missed"}


@pytest.mark.nightly
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", WORKS)
def test_no_fault_anywhere_breaks_a_promise(bench: Benches, name: str, fault: str) -> None:
    made, reference = bench(name)
    struck = [strike(made, reference, point) for point in reference.points if point.fault == fault]
    assert [line for _, broken in struck for line in broken] == []
    assert sum(outcome == "missed" for outcome, _ in struck) <= len(struck) // 50


def test_a_run_whose_first_commit_was_made_but_not_synced_does_not_stay_running(bench: Benches) -> None:
    made, reference = bench("log_artifact")
    chosen = [Point("EIO from then on", "fdatasync", number) for number in range(1, 7)]
    assert set(chosen) <= set(reference.points)
    assert [line for point in chosen for line in strike(made, reference, point)[1]] == []


def test_a_work_has_a_state_for_each_of_its_steps(bench: Benches) -> None:
    made, reference = bench("tag, label")
    assert len(set(reference.states)) == 3
    assert {point.fault for point in reference.points} == set(FAULTS)
    assert made.inspect().lines[0] in reference.states


def test_an_event_that_is_committed_apart_from_its_change_is_caught(bench: Benches) -> None:
    made, reference = bench("tag, label")
    kills = [point for point in reference.points if point.fault == "kill -9" and point.call == "pwrite64"]
    assert any(strike(made, reference, point, control="event apart from change")[1] for point in kills)
