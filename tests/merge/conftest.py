"""Fixtures of two people who work on clones of one registry."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clones import Clone, Put, Unite

import ifpdb as ifp
from ifpdb.merge.union import Merged, merge
from ifpdb.upkeep.chain import verify
from ifpdb.upkeep.fsck import fsck


@pytest.fixture(autouse=True)
def past(monkeypatch: pytest.MonkeyPatch) -> None:
    """What both know happened before anything that a test's clock can tell."""
    monkeypatch.setenv("IFP_NOW", "2025-12-01T00:00:00Z")


@pytest.fixture
def clone(registry: ifp.Registry, folder: Path) -> Iterator[Clone]:
    """A copy of ./ifp.db in a folder of its own, whose owner acts there: `clone("bob")`; without blobs unless asked."""
    made = list[ifp.Registry]()

    def copy(owner: str, *, blobs: bool = True) -> ifp.Registry:
        (folder / owner).mkdir()
        shutil.copy(registry.path, folder / owner / "ifp.db")
        if blobs and registry.blobs.root.is_dir():
            shutil.copytree(registry.blobs.root, folder / owner / "ifp.cas", ignore=shutil.ignore_patterns("live"))
        made.append(ifp.open(folder / owner / "ifp.db", actor=owner))
        return made[-1]

    yield copy
    for one in made:
        one.close()


@pytest.fixture
def put(parts: dict[str, Any], folder: Path) -> Put:
    """Registers a whole version somewhere: `put(theirs, "c", params={"C": 3})`."""

    def register(registry: ifp.Registry, weights: str, model: str = "fraud", **given: Any) -> ifp.Version:
        (folder / "model.bin").write_text(weights)
        return registry.register(model, folder / "model.bin", **parts | given)

    return register


@pytest.fixture
def unite() -> Unite:
    """Merges one registry into another, and sees that the log is whole and every row as it says."""

    def into(ours: ifp.Registry, theirs: ifp.Registry, **given: Any) -> Merged:
        found = merge(ours, theirs.path, **given)
        assert verify(ours).problems == ()
        assert fsck(ours).problems == ()
        return found

    return into
