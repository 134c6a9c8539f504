"""A blob folder as tests use it: kept in, looked over, damaged; and file systems to put it on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ifpdb.digest import sha256
from ifpdb.records import Artifact
from ifpdb.store.blobs import BlobStore


def keep(store: BlobStore, path: Path, progress: Callable[[int], None] | None = None) -> Artifact:
    return store.put_path(path, name="model", format="bytes", progress=progress)


def kept(store: BlobStore) -> list[str]:
    """The digests of all blobs, after a look at the rules that each must keep."""
    assert not list((store.root / "tmp").glob("*"))
    found = []
    for path in sorted((store.root / "sha256").glob("*/*")):
        digest = "sha256:" + path.parent.name + path.name
        assert sha256(path.read_bytes()) == digest
        assert path.stat().st_mode & 0o777 == 0o444
        found.append(digest)
    return found


def alter(store: BlobStore, digest: str) -> None:
    """Flip a bit in the middle of a blob."""
    path = store.path(digest)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@contextmanager
def mounted(kind: str, folder: Path) -> Iterator[Path]:
    """A new file system of this type, in an image below `folder`; the test is skipped where that can't be."""
    image, place = folder / f"{kind}.img", folder / kind
    place.mkdir()
    if kind == "tmpfs":
        _run("mount", "-t", "tmpfs", "none", str(place))
    else:
        options = {"ext4": ["-q"], "xfs": ["-q", "-m", "reflink=1"], "btrfs": ["-q"], "vfat": []}[kind]
        with open(image, "wb") as file:
            file.truncate(320 << 20)  # XFS makes none below 300 MiB
        _run(f"mkfs.{kind}", *options, str(image))
        _run("mount", "-o", "loop", str(image), str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
        image.unlink(missing_ok=True)


def _run(*command: str) -> None:
    if os.geteuid() != 0 or not shutil.which(command[0]):
        pytest.skip(f"this test needs root and {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip()}")
