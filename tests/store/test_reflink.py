"""Reflinks: where a file system shares blocks, a blob costs none; where it can't, everything is as it was, by copying."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from blobfolder import alter, keep, kept, mounted

from ifpdb import tree
from ifpdb.digest import sha256
from ifpdb.errors import Conflict, IntegrityError
from ifpdb.store import reflink
from ifpdb.store.blobs import CLONE_FROM, OVERLAP_FROM, BlobStore

SIZES = [CLONE_FROM, CLONE_FROM + 1, OVERLAP_FROM + 12345]


@pytest.fixture(scope="module", params=["xfs", "btrfs"])
def sharing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root of a file system that shares blocks."""
    with mounted(request.param, tmp_path_factory.mktemp("disk")) as place:
        yield place


@pytest.fixture
def disk(sharing: Path, request: pytest.FixtureRequest) -> Path:
    """A folder there, this test's own."""
    place = sharing / str(abs(hash(request.node.name)))
    place.mkdir()
    return place


@pytest.fixture(params=["ext4", "tmpfs"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root of a file system that doesn't."""
    with mounted(request.param, tmp_path_factory.mktemp("disk")) as place:
        yield place


FIEMAP, SYNC, SHARED, EXTENTS = 0xC020660B, 1, 0x2000, 512


def blocks(path: Path) -> list[tuple[int, int, bool]]:
    """(place on the disk, length, shared with another file) of each extent of a file, from linux/fiemap.h."""
    asked = bytearray(struct.pack("=QQLLLL", 0, 2**64 - 1, SYNC, 0, EXTENTS, 0) + bytes(56 * EXTENTS))
    with open(path, "rb") as file:
        fcntl.ioctl(file, FIEMAP, asked)
    (count,) = struct.unpack_from("=L", asked, 20)
    assert 0 < count < EXTENTS
    found = (struct.unpack_from("=QQQQQL", asked, 32 + 56 * number) for number in range(count))
    return [(place, length, bool(flags & SHARED)) for _, place, length, _, _, flags in found]


def share(a: Path, b: Path) -> bool:
    """Whether two files lie on the same blocks, all of them."""
    return blocks(a) == blocks(b) and all(shared for _, _, shared in blocks(a))


def big(path: Path, size: int = OVERLAP_FROM + 12345) -> Path:
    path.write_bytes(os.urandom(size))
    return path


@pytest.mark.parametrize("size", SIZES)
def test_a_blob_and_what_is_checked_out_share_their_blocks_with_the_source(disk: Path, size: int) -> None:
    source, store = big(disk / "model.bin", size), BlobStore(disk / "ifp.cas")
    artifact = keep(store, source)
    assert artifact.digest == sha256(source.read_bytes())
    assert kept(store) == [artifact.digest]
    assert share(source, store.path(artifact.digest))
    out = store.checkout(artifact, disk / "out")
    assert out.read_bytes() == source.read_bytes()
    assert share(out, store.path(artifact.digest))


def test_a_copy_does_not_share(disk: Path) -> None:
    source = big(disk / "model.bin")
    (disk / "copy").write_bytes(source.read_bytes())
    assert not share(source, disk / "copy")


def test_a_folder_shares_too(disk: Path) -> None:
    (disk / "model" / "deep").mkdir(parents=True)
    big(disk / "model" / "a")
    big(disk / "model" / "deep" / "b").chmod(0o755)
    (disk / "model" / "small").write_bytes(b"1")
    store = BlobStore(disk / "ifp.cas")
    artifact = keep(store, disk / "model")
    out = store.checkout(artifact, disk / "out")
    assert tree.hash_path(out)[0] == artifact.digest == tree.hash_path(disk / "model")[0]
    for name in ("a", "deep/b"):
        assert share(disk / "model" / name, out / name)


def test_writing_to_one_of_them_leaves_the_blob_as_it_is(disk: Path) -> None:
    source, store = big(disk / "model.bin"), BlobStore(disk / "ifp.cas")
    artifact = keep(store, source)
    for path in (source, store.checkout(artifact, disk / "out")):
        with open(path, "r+b") as file:
            file.write(b"changed")
    assert kept(store) == [artifact.digest]


def test_a_source_that_changes_while_its_clone_is_hashed_is_refused_and_leaves_nothing(disk: Path) -> None:
    source, store = big(disk / "model.bin"), BlobStore(disk / "ifp.cas")

    def change(_: int) -> None:
        with open(source, "ab") as file:
            file.write(b"more")

    with pytest.raises(Conflict, match="changed while it was read"):
        keep(store, source, change)
    assert kept(store) == []


def test_the_clone_is_what_is_hashed(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that change after the clone was made, and that no time of the source shows, are neither kept nor hashed."""
    source, store = big(disk / "model.bin"), BlobStore(disk / "ifp.cas")
    data, clone = source.read_bytes(), reflink.clone

    def clone_and_change(descriptor: int, target: int) -> bool:
        done = clone(descriptor, target)
        before = source.stat()
        with open(source, "r+b") as file:
            file.write(b"changed")
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
        return done

    monkeypatch.setattr(reflink, "clone", clone_and_change)
    assert keep(store, source).digest == sha256(data) != sha256(source.read_bytes())
    assert kept(store) == [sha256(data)]


def test_a_damaged_blob_is_not_checked_out(disk: Path) -> None:
    store = BlobStore(disk / "ifp.cas")
    artifact = keep(store, big(disk / "model.bin"))
    alter(store, artifact.digest)
    with pytest.raises(IntegrityError, match=artifact.digest):
        store.checkout(artifact, disk / "out")
    assert sorted(path.name for path in disk.iterdir()) == ["ifp.cas", "model.bin"]


@pytest.mark.parametrize("size", SIZES)
def test_where_blocks_cannot_be_shared_bytes_are_copied(plain: Path, size: int) -> None:
    source, store = big(plain / "model.bin", size), BlobStore(plain / "ifp.cas")
    with open(source, "rb") as file, open(plain / "target", "wb") as target:
        assert not reflink.clone(file.fileno(), target.fileno())
    artifact = keep(store, source)
    assert kept(store) == [artifact.digest] == [sha256(source.read_bytes())]
    assert store.checkout(artifact, plain / "out").read_bytes() == source.read_bytes()


def test_between_two_file_systems_bytes_are_copied(disk: Path, store: BlobStore) -> None:
    artifact = keep(store, big(disk / "model.bin"))
    assert kept(store) == [artifact.digest]
    assert store.checkout(artifact, disk / "out").read_bytes() == (disk / "model.bin").read_bytes()
