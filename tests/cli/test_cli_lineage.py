"""ifp log, ancestors, descendants, merge-base, link: what came from what, as a person and as a program asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import ifpdb as ifp

Cli = Callable[..., Any]


@pytest.fixture
def fork(make: Callable[..., ifp.Version], registry: ifp.Registry) -> list[str]:
    """The runs of a, of b and c that came from it, of d that merged them, and of e that has nothing to do with them."""
    a = make("a")
    b = make("b", derived_from=a.run)
    c = make("c", derived_from=(a.run, "forked_from"))
    d = make("d", derived_from=[b.run, (c.run, "merged_from")])
    return [version.run for version in (a, b, c, d, make("e", "other"))]


def test_ancestors_are_listed_the_nearest_first(cli: Cli, fork: list[str]) -> None:
    a, b, c, _d, _e = fork
    found = json.loads(cli("ancestors", "fraud@v4", "--json").out)
    assert [(one["run"], one["depth"]) for one in found] == [(b, 1), (c, 1), (a, 2)]
    assert {one["model"] for one in found} == {"fraud"}
    near = json.loads(cli("ancestors", "fraud@v4", "--depth", "1", "--json").out)
    assert [one["run"] for one in near] == [b, c]


def test_descendants_are_listed_the_nearest_first(cli: Cli, fork: list[str]) -> None:
    found = json.loads(cli("descendants", "fraud@v1", "--json").out)
    assert [(one["run"], one["depth"]) for one in found] == [(fork[1], 1), (fork[2], 1), (fork[3], 2)]


def test_a_root_has_no_ancestors_and_says_so(cli: Cli, fork: list[str]) -> None:
    said = cli("ancestors", "fraud@v1")
    assert (said.code, said.out, said.err) == (0, "", "it came from nothing\n")
    assert json.loads(cli("ancestors", "fraud@v1", "--json").out) == []


def test_where_two_parted(cli: Cli, fork: list[str]) -> None:
    found = json.loads(cli("merge-base", "fraud@v2", "fraud@v3", "--json").out)
    assert [(one["run"], one["digest"] is None) for one in found] == [(fork[0], False)]
    assert fork[0] in cli("merge-base", "fraud@v2", "fraud@v3").out


def test_unrelated_histories_are_not_found(cli: Cli, fork: list[str]) -> None:
    said = cli("merge-base", "fraud@v2", "other@v1")
    assert said.code == 3
    assert "no ancestor in common" in said.err


def test_a_run_that_registered_nothing_is_kin_too(cli: Cli, fork: list[str]) -> None:
    with ifp.track("fraud", derived_from="fraud@v4") as run:
        pass
    cli("link", "other@v1", run.id, "--kind", "distilled_from")
    found = json.loads(cli("ancestors", "other@v1", "--json").out)
    assert (found[0]["run"], found[0]["digest"]) == (run.id, None)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("link", "fraud@v1", "fraud@v4"), 4, "close a cycle"),
        (("link", "fraud@v1", "fraud@v1"), 2, "can't come from itself"),
        (("link", "fraud@v1", "fraud@v9"), 3, "no version 'v9'"),
        (("link", "fraud@v2", "fraud@v1", "--kind", "forked_from"), 4, "already derived_from"),
        (("ancestors", "run-nowhere"), 3, "there is no run"),
        (("descendants", "fraud@v1~1"), 3, "first-parent ancestors"),
        (("ancestors", "fraud@v1", "--depth", "-1"), 2, "not in the range"),
    ],
)
def test_bad_input_is_explained_and_changes_nothing(
    cli: Cli, fork: list[str], registry: ifp.Registry, arguments: tuple[str, ...], code: int, words: str
) -> None:
    before = registry.path.read_bytes()
    said = cli(*arguments)
    assert said.code == code
    assert words in said.err
    assert registry.path.read_bytes() == before
