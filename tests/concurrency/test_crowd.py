"""A crowd at one registry: no error, nothing lost, nothing twice, one version in production whenever somebody looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from crowd import Plan, Worker, broken, crowd

import ifpdb as ifp
from ifpdb.store import turns


@pytest.mark.parametrize(
    "plan",
    [Plan(4, 4, 3), pytest.param(Plan(16, 8, 120), marks=pytest.mark.nightly)],
    ids=lambda plan: f"{plan.processes}x{plan.threads}",
)
def test_a_crowd_loses_nothing_doubles_nothing_and_starves_nobody(folder: Path, plan: Plan) -> None:
    did = crowd(folder, plan)
    assert broken(folder, did) == []
    assert all(part.writes and part.calls.get("read") for part in did)
    assert (folder / "ifp.cas" / turns.NAME).stat().st_size == 0


def test_a_crowd_that_stands_in_no_line_loses_nothing_either(folder: Path) -> None:
    did = crowd(folder, Plan(4, 2, 1.5, line=False))
    assert broken(folder, did) == []


def test_what_was_acknowledged_and_is_not_in_the_log_once_is_noticed(folder: Path) -> None:
    did = crowd(folder, Plan(1, 1, 0.5, ("tag", "promote")))
    mark = next(mark for mark in did[0].marks if mark[0] == "tag")
    did[0].marks.remove(mark)
    assert broken(folder, did) == [f"{mark} was acknowledged 0 times and is 1 times in the log"]
    did[0].marks += [mark, mark]
    assert broken(folder, did) == [f"{mark} was acknowledged 2 times and is 1 times in the log"]


def test_a_reader_that_finds_not_one_version_in_production_says_so(registry: ifp.Registry) -> None:
    with pytest.raises(AssertionError, match="saw in production"):
        Worker(registry, "p0t00").read()
