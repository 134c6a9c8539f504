"""A cut of power after any operation, on disks that keep, drop, tear and forget: a restart finds a whole registry."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from power import DISKS, SHOWN, File, Operation, Tree, cuts, keep, restart, strict
from sweep import Bench, Reference
from work import WORKS

Benches = Callable[[str], tuple[Bench, Reference]]


@pytest.mark.parametrize("name", ["register", "track", "migrate"])
def test_a_few_cuts_break_no_promise(bench: Benches, name: str) -> None:
    made, reference = bench(name)
    found = random.Random(7).sample(cuts(made), 6)
    assert [line for cut in found for line in restart(made, reference, cut)] == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", WORKS)
def test_no_cut_anywhere_breaks_a_promise(bench: Benches, name: str) -> None:
    made, reference = bench(name)
    assert [line for cut in cuts(made) for line in restart(made, reference, cut)] == []


@pytest.mark.parametrize(("control", "name", "disk", "order"), SHOWN)
def test_a_broken_promise_is_caught(bench: Benches, control: str, name: str, disk: str, order: int) -> None:
    made, reference = bench(name)
    found = cuts(made, control=control, disks=[disk])[::order]
    assert any(restart(made, reference, cut) for cut in found)


# -- the disks themselves


@pytest.fixture
def written() -> Tree:
    """A file of three blocks that was synced, then written over; another that was made, one that was removed."""
    tree = Tree({"a": File(b"a" * 1536, b"a" * 1536), "gone": File(b"", b"")}, {"", "folder"})
    for done in (
        Operation("write", "a", b"b" * 1536),
        Operation("create", "folder/new"),
        Operation("write", "folder/new", b"n"),
        Operation("unlink", "gone"),
    ):
        tree.apply(done)
    return tree


@pytest.mark.parametrize(
    ("disk", "a", "names"),
    [
        ("keeps", b"b" * 1536, {"a", "folder", "folder/new"}),
        ("drops", b"a" * 1536, {"a", "folder", "folder/new"}),
        ("tears", b"a" * 512 + b"b" * 512 + b"a" * 512, {"a", "folder", "folder/new"}),
        ("strict", b"a" * 1536, {"a", "folder", "gone"}),
    ],
)
def test_each_disk_keeps_what_it_says(written: Tree, disk: str, a: bytes, names: set[str]) -> None:
    image = DISKS[disk](written, random.Random(0))
    assert (image["a"], set(image)) == (a, names)


def test_what_is_synced_is_on_every_disk(written: Tree) -> None:
    for path in ("a", "folder/new", "folder", ""):
        written.apply(Operation("sync", path))
    image = keep(written, random.Random(0))
    assert all(DISKS[disk](written, random.Random(seed)) == image for disk in DISKS for seed in range(5))


def test_a_name_in_a_folder_that_was_not_synced_is_lost_with_it() -> None:
    tree = Tree({}, {""})
    for done in (Operation("mkdir", "new"), Operation("create", "new/file"), Operation("sync", "new")):
        tree.apply(done)
    assert "new/file" not in strict(tree, random.Random(0))
    tree.apply(Operation("sync", ""))
    assert "new/file" in strict(tree, random.Random(0))


def test_a_cut_that_is_laid_down_is_what_lies_there(bench: Benches) -> None:
    made, _ = bench("promote")
    last = cuts(made, disks=["keeps"])[-1]
    done = {path.relative_to(made.box) for path in made.box.rglob("*")}
    assert {Path(path) for path in last.image} == done
