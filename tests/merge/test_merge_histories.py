"""Random histories of three people, merged in every order: always the same registry, and the one that the log tells."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import fold
import pytest
from clones import World, answers, digest_of, merged, problems

from ifpdb import times
from ifpdb.errors import MergeConflict
from ifpdb.merge import names

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where fsync costs nothing."""
ORDERS = [(shape, order) for order in permutations("abc") for shape in ("(x y) z", "x (y z)")]


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], World]]:
    """Three clones with a common past, as a seed draws their histories."""
    folders = list[Path]()
    monkeypatch.setattr(times, "now", lambda: "2026-01-01T00:00:00.000000Z")
    monkeypatch.setenv("IFP_NOW", "2025-01-01")

    def world(seed: int) -> World:
        rng = random.Random(seed)
        monkeypatch.setattr(os, "urandom", rng.randbytes)
        folders.append(Path(tempfile.mkdtemp(dir=MEMORY)))
        made = World(folders[-1], rng)
        made.begin("a")
        made.clone("a", "b")
        made.clone("a", "c")
        ends = rng.randint(0, 12)
        for step in range(12):
            if step == ends:
                made.end_runs()
            made.act(rng.choice("abc"))
            if step == 6 and rng.random() < 0.3:
                with suppress(MergeConflict):  # c learns of b's work so far, and both go on
                    merged(made.path("c"), made.path("b"))
        made.end_runs()
        for clone in "abc":
            made.bury(clone)
        return made

    yield world
    for folder in folders:
        shutil.rmtree(folder)


def together(world: World, shape: str, order: tuple[str, ...]) -> Path:
    """Fresh copies of the clones merged in this order; the first of `order` has all of it in the end."""
    x, y, z = (copy(world, clone) for clone in order)
    for ours, theirs in ((x, y), (x, z)) if shape == "(x y) z" else ((y, z), (x, y)):
        merged(ours, theirs)
    return x


def copy(world: World, clone: str) -> Path:
    """A copy of a clone's file alone, without its blobs."""
    folder = Path(tempfile.mkdtemp(dir=world.folder))
    return Path(shutil.copy(world.path(clone), folder))


def differing(answers: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """The questions that two registries answer differently."""
    return {question: (told, others[question]) for question, told in answers.items() if told != others[question]}


def check(world: World, orders: list[tuple[str, tuple[str, ...]]]) -> str:
    """That these three end alike in each of these orders, as the plain fold says; what came of it."""
    clones = [world.path(clone) for clone in "abc"]
    logs = [fold.log(path) for path in clones]
    if not fold.agree(logs):
        return settled(world, orders)
    found = [together(world, *order) for order in orders]
    first, *others = found
    assert [digest_of(other) for other in others] == [digest_of(first)] * len(others)
    told = answers(first)
    assert [differing(answers(other), told) for other in others] == [{}] * len(others)
    everything = fold.union(logs)
    assert fold.log(first) == everything
    assert differing(fold.state_of(first), fold.state(everything)) == {}
    assert fold.points(first) == fold.all_points(clones)
    assert fold.ordinals(first) == fold.earliest_ordinals(clones)
    for path in found:
        assert problems(path, blobs=False) == []
    again = digest_of(first)
    for path in [*clones, *others]:
        assert merged(first, path).events == 0
    assert digest_of(first) == again
    for clone in clones:
        merged(clone, first)
        assert digest_of(clone) == again
        assert differing(answers(clone), told) == {}
    return "alike"


def settled(world: World, orders: list[tuple[str, tuple[str, ...]]]) -> str:
    """Where people disagree every order stops; once it is settled, all take it over without another word."""
    for order in orders:
        with pytest.raises(MergeConflict):
            together(world, *order)
    x, y, z = (world.path(clone) for clone in "abc")
    for ours, theirs in ((x, y), (y, x), (x, z)):
        wanted = fold.disagreements(fold.log(ours), fold.log(theirs))
        before = digest_of(ours)
        if wanted:
            with pytest.raises(MergeConflict) as caught:
                merged(ours, theirs)
            told = caught.value.disagreements
            assert {(one.kind, one.model, one.name, frozenset({one.ours.wanted, one.theirs.wanted})) for one in told} == wanted
            assert digest_of(ours) == before
    side = world.rng.choice(["ours", "theirs"])
    for theirs in (y, z):
        expected = fold.union([fold.log(x), fold.log(theirs)])
        found = merged(x, theirs, prefer=[side])
        after = fold.log(x)
        assert {id: event for id, event in after.items() if id in expected} == expected
        assert len(after) == len(expected) + len(found.settled)
        assert differing(fold.state_of(x), fold.state(after)) == {}
        for one in found.settled:
            assert one.chosen == getattr(one.disagreement, side).wanted
            if one.disagreement.kind == "production":
                assert fold.holders(after).get(one.disagreement.model) == one.chosen
    for other in (y, z):
        assert not merged(other, x).settled
    assert digest_of(y) == digest_of(x) == digest_of(z)
    assert [differing(answers(path), answers(x)) for path in (y, z)] == [{}, {}]
    assert [problems(path, blobs=False) for path in (x, y, z)] == [[], [], []]
    return "settled"


def test_three_people_end_alike_in_whatever_order_they_merge(worlds: Callable[[int], World]) -> None:
    came = {check(worlds(seed), random.Random(seed).sample(ORDERS, 3)) for seed in range(8)}
    assert came == {"alike", "settled"}


@pytest.mark.nightly
@pytest.mark.parametrize("hundred", range(10))
def test_a_thousand_histories_end_alike_in_every_order(worlds: Callable[[int], World], hundred: int) -> None:
    for seed in range(hundred * 100, hundred * 100 + 100):
        check(worlds(seed), ORDERS)


def _without_tags(real: Callable[..., None], tx: object, incoming: list[object], **given: object) -> None:
    real(tx, [event for event in incoming if event.kind not in ("tagged", "untagged")], **given)  # type: ignore[attr-defined]


def _oldest_first(real: Callable[..., None], tx: object, incoming: list[object], **given: object) -> None:
    real(tx, incoming[::-1], **given)


@pytest.mark.parametrize("broken", [_without_tags, _oldest_first])
def test_a_merge_that_forgets_names_or_folds_them_backwards_is_noticed(
    worlds: Callable[[int], World], monkeypatch: pytest.MonkeyPatch, broken: Callable[..., None]
) -> None:
    real = names.carry
    monkeypatch.setattr(names, "carry", lambda *args, **given: broken(real, *args, **given))
    with pytest.raises(AssertionError):
        for seed in range(20):
            check(worlds(seed), ORDERS[:2])
