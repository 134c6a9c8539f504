"""Blobs: durable before they are named, verified when they are given back, and nothing left behind on the way."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
import xxhash
from blobfolder import alter, keep, kept

from ifpdb import tree
from ifpdb.digest import sha256
from ifpdb.errors import Conflict, IntegrityError, NotFound, StorageError, UsageError
from ifpdb.records import Artifact
from ifpdb.store import blobs, overlap
from ifpdb.store.blobs import OVERLAP_FROM, BlobStore

NOTHING_HERE = "sha256:" + "0" * 64


@pytest.mark.parametrize("size", [0, 1, tree.CHUNK, tree.CHUNK + 1, OVERLAP_FROM - 1, OVERLAP_FROM, OVERLAP_FROM + 12345])
def test_a_file_is_kept_whole_under_its_digest(store: BlobStore, folder: Path, size: int) -> None:
    data = (b"%d," % size) * (size // 2 + 1)
    (folder / "model.bin").write_bytes(data[:size])
    artifact = keep(store, folder / "model.bin")
    assert artifact.digest == "sha256:" + hashlib.sha256(data[:size]).hexdigest()
    assert (artifact.size, artifact.kind, artifact.stored_anew) == (size, "file", True)
    assert artifact.blobs[0].xxh3 == xxhash.xxh3_128_hexdigest(data[:size])
    assert kept(store) == [artifact.digest]
    assert store.read(artifact.digest) == data[:size]
    assert store.verify(artifact.digest) == store.path(artifact.digest)


def test_a_blob_lies_where_the_format_says(store: BlobStore) -> None:
    digest = store.put_bytes(b"weights", name="model", format="bytes").digest
    hexadecimal = digest.removeprefix("sha256:")
    assert store.path(digest) == store.root / "sha256" / hexadecimal[:2] / hexadecimal[2:]


def test_the_same_bytes_are_kept_once(store: BlobStore, folder: Path) -> None:
    (folder / "a").write_bytes(b"weights")
    first, second = keep(store, folder / "a"), store.put_bytes(b"weights", name="other", format="npy")
    assert (first.stored_anew, second.stored_anew) == (True, False)
    assert kept(store) == [first.digest]


def cut(store: BlobStore, digest: str) -> None:
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"wei")


@pytest.mark.parametrize("damage", [cut, alter])
@pytest.mark.parametrize("size", [7, OVERLAP_FROM])
def test_a_damaged_blob_is_mended_by_keeping_its_bytes_again(
    store: BlobStore, folder: Path, damage: Callable[[BlobStore, str], None], size: int
) -> None:
    (folder / "model.bin").write_bytes(b"w" * size)
    digest = keep(store, folder / "model.bin").digest
    damage(store, digest)
    assert keep(store, folder / "model.bin").stored_anew
    assert kept(store) == [digest]


def test_a_damaged_listing_and_its_files_are_mended_too(store: BlobStore, model: Path) -> None:
    artifact = keep(store, model)
    for digest in kept(store):
        alter(store, digest)
    assert keep(store, model).stored_anew
    assert artifact.digest in kept(store)


def test_keeping_other_bytes_leaves_a_damaged_blob_for_fsck_to_find(store: BlobStore) -> None:
    digest = store.put_bytes(b"weights", name="model", format="bytes").digest
    alter(store, digest)
    damaged = store.path(digest).read_bytes()
    store.put_bytes(damaged, name="model", format="bytes")
    assert store.path(digest).read_bytes() == damaged


def test_a_folder_is_kept_as_a_tree_whose_files_are_shared(store: BlobStore, model: Path) -> None:
    artifact = keep(store, model)
    assert (artifact.kind, artifact.size) == ("tree", 16)
    assert artifact.digest == tree.hash_path(model)[0]
    assert kept(store) == sorted({artifact.digest, sha256(b"{}"), sha256(b"weights")})
    assert {blob.digest for blob in artifact.blobs} == set(kept(store))
    (model / "config.json").write_bytes(b"[]")
    assert keep(store, model).stored_anew
    assert len(kept(store)) == 5


def test_progress_is_told_every_byte(store: BlobStore, model: Path) -> None:
    told: list[int] = []
    keep(store, model, told.append)
    assert sum(told) == 16


def test_threads_may_keep_the_same_file_at_once(store: BlobStore, folder: Path) -> None:
    (folder / "a").write_bytes(bytes(OVERLAP_FROM))
    found: list[Artifact] = []
    threads = [threading.Thread(target=lambda: found.append(keep(store, folder / "a"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert kept(store) == [found[0].digest]


def missing(folder: Path) -> Path:
    return folder / "missing"


def too_long(folder: Path) -> Path:
    return folder / ("x" * 300)


def with_a_nul(folder: Path) -> Path:
    return folder / "a\0b"


def a_fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def an_empty_folder(folder: Path) -> Path:
    (folder / "empty" / "deep").mkdir(parents=True)
    return folder / "empty"


def a_folder_with_a_link(folder: Path) -> Path:
    (folder / "m").mkdir()
    (folder / "m" / "a").write_bytes(b"1")
    (folder / "m" / "z").symlink_to("a")
    return folder / "m"


def a_folder_with_twins(folder: Path) -> Path:
    for name in ("m/A/x", "m/a/y"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(b"1")
    return folder / "m"


@pytest.mark.parametrize(
    "make", [missing, too_long, with_a_nul, a_fifo, an_empty_folder, a_folder_with_a_link, a_folder_with_twins]
)
def test_what_cannot_be_kept_is_refused_and_leaves_nothing(
    store: BlobStore, folder: Path, make: Callable[[Path], Path]
) -> None:
    with pytest.raises(UsageError):
        keep(store, make(folder))
    assert kept(store) == []


@pytest.mark.parametrize("size", [3 * tree.CHUNK, OVERLAP_FROM + tree.CHUNK])
def test_a_file_that_changes_meanwhile_is_refused_and_leaves_nothing(store: BlobStore, folder: Path, size: int) -> None:
    path = folder / "growing"
    path.write_bytes(bytes(size))

    def grow(_: int) -> None:
        with open(path, "ab") as file:
            file.write(b"more")

    with pytest.raises(Conflict, match="changed while it was read"):
        keep(store, path, grow)
    assert kept(store) == []


def test_a_store_that_cannot_be_made_is_told(folder: Path) -> None:
    (folder / "ifp.cas").touch()
    with pytest.raises(StorageError, match="can't be written"):
        BlobStore(folder / "ifp.cas").put_bytes(b"x", name="model", format="bytes")


@pytest.mark.parametrize("what", ["file", "tree", "a tree's file"])
def test_altered_bytes_are_never_given_out(store: BlobStore, model: Path, folder: Path, what: str) -> None:
    artifact = keep(store, model / "config.json" if what == "file" else model)
    digest = sha256(b"weights") if what == "a tree's file" else artifact.digest
    alter(store, digest)
    for attempt in (lambda: store.read(digest), lambda: store.verify(digest), lambda: store.checkout(artifact, folder / "out")):
        with pytest.raises(IntegrityError, match=digest):
            attempt()
    assert sorted(path.name for path in folder.iterdir()) == ["ifp.cas", "model"]


@pytest.mark.parametrize("what", ["file", "tree", "a tree's file"])
def test_missing_bytes_are_told_with_their_digest(store: BlobStore, model: Path, folder: Path, what: str) -> None:
    artifact = keep(store, model / "config.json" if what == "file" else model)
    digest = sha256(b"weights") if what == "a tree's file" else artifact.digest
    store.path(digest).unlink()
    assert not store.has(digest)
    for attempt in (lambda: store.read(digest), lambda: store.verify(digest), lambda: store.checkout(artifact, folder / "out")):
        with pytest.raises(NotFound, match=digest):
            attempt()
    assert sorted(path.name for path in folder.iterdir()) == ["ifp.cas", "model"]


def test_a_store_without_a_folder_has_nothing(store: BlobStore) -> None:
    assert not store.has(NOTHING_HERE)
    with pytest.raises(NotFound):
        store.read(NOTHING_HERE)


PUT = """
from pathlib import Path
from ifpdb.store.blobs import BlobStore
BlobStore(Path("ifp.cas")).put_path(Path("model.bin"), name="model", format="bytes")
"""


def trace(folder: Path, code: str) -> list[str]:
    """The system calls that keep a blob durable, in their order; temporary files are called tmp/."""
    log = folder / "trace"
    calls = "trace=fsync,rename,renameat,renameat2,fchmod"
    subprocess.run(["strace", "-f", "-y", "-e", calls, "-o", str(log), sys.executable, "-c", code], check=True, cwd=folder)
    found = []
    for line in log.read_text().splitlines():
        if match := re.search(r"(fsync|fchmod)\(\d+<([^>]*)>", line):
            path = Path(match[2])
            found.append(f"{match[1]} {'tmp/' if path.parent.name == 'tmp' else path.name}")
        elif "rename" in line and "ifp.cas" in line:
            found.append("rename")
    return found


@pytest.mark.nightly
def test_a_blob_is_on_disk_before_it_has_its_name_and_its_name_before_the_call_returns(folder: Path) -> None:
    assert shutil.which("strace"), "this test needs strace"
    (folder / "model.bin").write_bytes(b"weights")
    shard = sha256(b"weights")[7:9]
    calls = trace(folder, PUT)
    assert calls.index("fsync tmp/") < calls.index("rename") < len(calls) - 1 - calls[::-1].index(f"fsync {shard}")
    assert calls.index("fchmod tmp/") < calls.index("fsync tmp/")
    assert calls.index("fsync sha256") < calls.index("rename")
    assert "fsync ifp.cas" in calls


@pytest.mark.nightly
def test_the_trace_would_notice_a_missing_fsync(folder: Path) -> None:
    assert shutil.which("strace"), "this test needs strace"
    (folder / "model.bin").write_bytes(b"weights")
    broken = "from ifpdb.store import blobs\nblobs.fsync_path = lambda folder: None\n" + PUT
    assert [call for call in trace(folder, broken) if call.startswith("fsync")] == ["fsync tmp/"]


def test_every_name_is_made_durable_in_its_order(store: BlobStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def watch_fsync(descriptor: int) -> None:
        file = os.fstat(descriptor)
        calls.append("fsync " + next((path.name for path in folder.rglob("*") if os.path.samestat(path.stat(), file)), "."))
        fsync(descriptor)

    def watch_rename(source: str, target: str) -> None:
        calls.append("rename")
        rename(source, target)

    monkeypatch.setattr(blobs, "_nonce", lambda: "nonce")
    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "rename", watch_rename)
    store.put_bytes(b"weights", name="model", format="bytes")
    shard = sha256(b"weights")[7:9]
    assert calls == [
        "fsync ifp.cas",
        "fsync .",
        f"fsync {os.getpid()}-nonce",
        "fsync sha256",
        "rename",
        f"fsync {shard}",
    ]


@pytest.mark.parametrize("size", [0, 1, (3 << 20) + 7])
def test_overlapped_work_stores_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(overlap, "FLUSH_EVERY", 1 << 20)
    monkeypatch.setattr(blobs, "OVERLAP_FROM", 0)
    data = os.urandom(size)
    (folder / "big.bin").write_bytes(data)
    store = BlobStore(folder / "ifp.cas")
    kept = store.put_path(folder / "big.bin", name="model", format="bytes")
    assert kept.digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert store.read(kept.digest) == data


def test_what_is_written_piece_by_piece_is_kept_like_any_other(store: BlobStore) -> None:
    def write(file: IO[bytes]) -> tuple[str, bool]:
        file.write(b"x" * (3 << 20))
        file.seek(0)
        file.write(b"y")
        return "bytes", True

    kept, said = store.put_written(write, name="model")
    data = b"y" + b"x" * ((3 << 20) - 1)
    again = store.put_bytes(data, name="model", format="bytes")
    assert (said, kept.size, kept.digest, kept.blobs) == (True, len(data), sha256(data), again.blobs)
    assert (kept.stored_anew, again.stored_anew) == (True, False)
    assert store.read(kept.digest) == data
