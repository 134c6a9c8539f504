"""Bytes that come with a merge: copied by digest, verified, once each; what can't be had is told and the merge goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clones import Clone, Put, Unite

import ifpdb as ifp
from ifpdb.errors import Busy, StorageError
from ifpdb.merge.union import merge
from ifpdb.store import claims
from ifpdb.upkeep.fsck import fsck
from ifpdb.upkeep.gc import collect

CHUNK = 1 << 20


@pytest.fixture
def theirs(two: ifp.Registry, clone: Clone, put: Put) -> ifp.Registry:
    """Bob's clone, with two versions that ours lacks."""
    found = clone("bob")
    put(found, "c" * 3 * CHUNK)
    put(found, "d")
    return found


def blob(registry: ifp.Registry, ref: str) -> Path:
    weights = registry.resolve(ref).weights
    assert weights is not None
    return registry.blobs.path(weights.digest)


def test_only_what_is_missing_is_copied_and_progress_is_told(two: ifp.Registry, theirs: ifp.Registry, unite: Unite) -> None:
    told = list[tuple[int, int]]()
    found = unite(two, theirs, progress=lambda done, total: told.append((done, total)))
    assert (found.blobs.count, found.blobs.bytes) == (2, 3 * CHUNK + 1)
    assert told[-1] == (3 * CHUNK + 1, 3 * CHUNK + 1)
    assert unite(two, theirs).blobs.count == 0


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("rotten")], ids=["gone", "damaged"])
def test_bytes_that_are_not_whole_there_are_told_and_the_merge_goes_on(
    two: ifp.Registry, theirs: ifp.Registry, cli: Callable[..., Any], spoil: Callable[[Path], object]
) -> None:
    path = blob(theirs, "fraud@v4")
    path.chmod(0o644)
    spoil(path)
    said = cli("merge", "bob/ifp.db")
    assert said.code == 0
    assert "1 blobs are not here, nor whole there" in said.err
    assert [problem.kind for problem in fsck(two).problems] == ["missing"]


def test_without_a_folder_beside_it_the_rows_come_alone(two: ifp.Registry, theirs: ifp.Registry) -> None:
    shutil.rmtree(theirs.blobs.root)
    found = merge(two, theirs.path)
    assert (found.versions, found.blobs.count, len(found.blobs.missing)) == (2, 0, 2)
    assert merge(two, theirs.path.read_bytes()).events == 0
    assert not theirs.blobs.root.exists()


def test_a_copy_that_was_killed_goes_on_where_it_stopped(two: ifp.Registry, theirs: ifp.Registry, unite: Unite) -> None:
    killed = (
        "import os, sys, ifpdb as ifp\n"
        "from pathlib import Path\n"
        "from ifpdb.merge.union import merge\n"
        "def told(done, total):\n"
        "    if done > 2**20:\n"
        f"        os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
        "merge(ifp.open(sys.argv[1]), Path(sys.argv[2]), progress=told)\n"
    )
    before = two.path.read_bytes()
    first = sorted((blob(theirs, ref) for ref in ("fraud@v3", "fraud@v4")), key=lambda path: path.parent.name + path.name)
    done = subprocess.run([sys.executable, "-c", killed, two.path, theirs.path])
    assert done.returncode == -signal.SIGKILL
    assert two.path.read_bytes() == before
    copied = 1 if first[0] == blob(theirs, "fraud@v4") else 0  # the small one, where its digest is the lesser
    assert unite(two, theirs).blobs.count == 2 - copied


def test_a_full_disk_leaves_the_registry_as_it_was(
    two: ifp.Registry, theirs: ifp.Registry, unite: Unite, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real = two.path.read_bytes(), os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda fd, data: _full() if len(data) > 100_000 else real(fd, data))
        with pytest.raises(StorageError):
            merge(two, theirs.path)
    assert two.path.read_bytes() == before
    unite(two, theirs)


def _full() -> int:
    raise OSError(28, "No space left on device")


def test_gc_waits_until_a_merge_has_named_what_it_copied(
    two: ifp.Registry, theirs: ifp.Registry, unite: Unite, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = list[BaseException]()

    def collecting() -> None:
        try:
            with ifp.open(two.path) as other, claims.exclusive(other.blobs.root, timeout=0.05):
                pass
        except Busy as error:
            tried.append(error)

    def told(_done: int, _total: int) -> None:
        thread = threading.Thread(target=collecting)
        thread.start()
        thread.join()

    unite(two, theirs, progress=told)
    assert tried
    assert not collect(two, delete=True, grace=0.0).garbage
    assert not fsck(two).problems
