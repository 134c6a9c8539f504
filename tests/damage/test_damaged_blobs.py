"""Damaged blobs: every flipped byte and every length of a file, of a folder's listing and of a folder's file is told."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb.upkeep.fsck import fsck

FILE, LISTING, IN_FOLDER = "a file", "a folder's listing", "a file of a folder"


@pytest.fixture
def blobs(make: Callable[..., ifp.Version], registry: ifp.Registry, folder: Path) -> dict[str, str]:
    """The digest of a blob of each kind."""
    (folder / "weights").mkdir()
    (folder / "weights" / "one.bin").write_text("the weights of one layer")
    make("weights of a model")
    tree = registry.register("fraud", "weights", partial=True).weights
    assert tree is not None
    found = {FILE: registry.artifact("fraud@v1").digest, LISTING: tree.digest}
    inside = next(path for path in registry.blobs.root.rglob("sha256/*/*") if path.read_bytes() == b"the weights of one layer")
    return found | {IN_FOLDER: f"sha256:{inside.parent.name}{inside.name}"}


def harms(data: bytes, step: int) -> Iterator[bytes]:
    """The data with one bit flipped in every byte, cut to every length (or one in `step` of them), and with a byte more."""
    dice = random.Random(7)
    for at in range(0, len(data), step):
        yield data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
        yield data[:at]
    yield data + b"\0"


@pytest.mark.parametrize("fast", [False, True], ids=["SHA-256", "xxh3"])
@pytest.mark.parametrize("kind", [FILE, LISTING, IN_FOLDER])
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.nightly)])
def test_any_other_bytes_are_told(registry: ifp.Registry, blobs: dict[str, str], kind: str, fast: bool, step: int) -> None:
    path = registry.blobs.path(blobs[kind])
    path.chmod(0o644)
    data = path.read_bytes()
    for harmed in harms(data, step):
        path.write_bytes(harmed)
        told = {(problem.kind, problem.digest) for problem in fsck(registry, fast=fast).problems}
        assert told >= {("damaged", blobs[kind])}
        assert {digest for _, digest in told} == {blobs[kind]}, "no other blob is blamed"
    path.write_bytes(data)
    assert fsck(registry, fast=fast).ok


@pytest.mark.parametrize("kind", [FILE, LISTING, IN_FOLDER])
def test_what_is_whole_is_still_loaded(registry: ifp.Registry, blobs: dict[str, str], kind: str) -> None:
    path = registry.blobs.path(blobs[kind])
    path.chmod(0o644)
    path.write_bytes(b"harmed")
    for digest in blobs.values():
        if digest == blobs[kind]:
            with pytest.raises(ifp.IntegrityError, match=digest):
                registry.blobs.read(digest)
        else:
            assert registry.blobs.read(digest)


def test_two_blobs_under_each_other_s_names_are_both_told(registry: ifp.Registry, blobs: dict[str, str]) -> None:
    one, other = registry.blobs.path(blobs[FILE]), registry.blobs.path(blobs[IN_FOLDER])
    kept = one.rename(one.with_suffix(".kept"))
    other.rename(one)
    kept.rename(other)
    told = {(problem.kind, problem.digest) for problem in fsck(registry).problems}
    assert told == {("damaged", blobs[FILE]), ("damaged", blobs[IN_FOLDER])}
