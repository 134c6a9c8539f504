"""Mending: good copies are fetched by digest from another registry, and nothing else is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb.upkeep.fsck import fsck
from ifpdb.upkeep.mend import mend

Make = Callable[..., ifp.Version]


@pytest.fixture
def twin(make: Make, registry: ifp.Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the registry, whose own blobs are then harmed: one damaged, one missing."""
    place = tmp_path_factory.mktemp("twin")
    digests = [make(weights).weights.digest for weights in ("a", "b", "c")]
    shutil.copy(registry.path, place / "ifp.db")
    shutil.copytree(registry.blobs.root, place / "ifp.cas")
    damaged, missing = (registry.blobs.path(digest) for digest in digests[:2])
    damaged.chmod(0o644)
    damaged.write_text("x")
    missing.unlink()
    return place


@pytest.mark.parametrize("name", ["", "ifp.db", "ifp.cas"])
def test_what_is_missing_or_damaged_is_fetched(registry: ifp.Registry, twin: Path, name: str) -> None:
    problems = fsck(registry).problems
    mended, failed = mend(registry, twin / name, problems)
    assert (sorted(mended), failed) == (sorted({problem.digest for problem in problems}), [])
    assert fsck(registry).ok
    for digest in mended:
        assert registry.blobs.path(digest).stat().st_mode & 0o777 == 0o444


def test_a_copy_that_is_damaged_too_takes_nothing_s_place(registry: ifp.Registry, twin: Path) -> None:
    problems = fsck(registry).problems
    damaged = next(problem.digest for problem in problems if problem.kind == "damaged")
    bad = twin / "ifp.cas" / registry.blobs.path(damaged).relative_to(registry.blobs.root)
    bad.chmod(0o644)
    bad.write_text("y")
    mended, failed = mend(registry, twin, problems)
    assert (len(mended), [problem.digest for problem in failed]) == (1, [damaged])
    assert registry.blobs.path(damaged).read_text() == "x"
    assert [problem.kind for problem in fsck(registry).problems] == ["damaged"]
    assert not any((registry.blobs.root / "tmp").iterdir())


def test_what_the_other_lacks_is_told_and_the_rest_is_mended(registry: ifp.Registry, twin: Path) -> None:
    problems = fsck(registry).problems
    lacking = twin / "ifp.cas" / registry.blobs.path(problems[0].digest).relative_to(registry.blobs.root)
    lacking.unlink()
    mended, failed = mend(registry, twin, problems)
    assert (mended, [problem.digest for problem in failed]) == ([problems[1].digest], [problems[0].digest])


@pytest.mark.parametrize("name", ["nowhere.db", "ifp.db", "."])
def test_a_place_without_blobs_is_refused(
    registry: ifp.Registry, twin: Path, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(ifp.NotFound, match="blob folder"):
        mend(registry, tmp_path_factory.mktemp("empty") / name, fsck(registry).problems)
