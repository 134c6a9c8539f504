"""Blobs: durable before they are named, verified when they are given back, and nothing left behind on the way."""

from __future__ import annotations

import errno
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

from ifpdb import tree
from ifpdb.digest import sha256
from ifpdb.errors import Conflict, IfpError, IntegrityError, NotFound, StorageError, UsageError
from ifpdb.records import Artifact
from ifpdb.store import blobs, overlap
from ifpdb.store.blobs import OVERLAP_FROM, BlobStore

NOTHING_HERE = "sha256:" + "0" * 64


@pytest.fixture
def store(folder: Path) -> BlobStore:
    return BlobStore(folder / "ifp.cas")


@pytest.fixture
def model(folder: Path) -> Path:
    """A model that is a folder: three files, two of them with the same bytes, one executable."""
    for name, data in {"model/config.json": b"{}", "model/w/0": b"weights", "model/w/1": b"weights"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "model" / "w" / "0").chmod(0o755)
    return folder / "model"


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
    path = store.path(digest)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


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


def test_a_cut_off_blob_is_made_whole_by_keeping_it_again(store: BlobStore) -> None:
    digest = store.put_bytes(b"weights", name="model", format="bytes").digest
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"wei")
    assert store.put_bytes(b"weights", name="model", format="bytes").stored_anew
    assert kept(store) == [digest]


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


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
@pytest.mark.parametrize("size", [3 * tree.CHUNK, OVERLAP_FROM + tree.CHUNK])
def test_an_interrupted_ingest_leaves_nothing(store: BlobStore, folder: Path, size: int, error: type[BaseException]) -> None:
    (folder / "a").write_bytes(bytes(size))
    threads = threading.active_count()
    told: list[int] = []

    def interrupt(count: int) -> None:
        told.append(count)
        if len(told) == 2:
            raise error

    with pytest.raises(error):
        keep(store, folder / "a", interrupt)
    assert kept(store) == []
    assert threading.active_count() == threads
    assert keep(store, folder / "a").stored_anew


def test_an_interrupted_folder_leaves_only_whole_blobs(store: BlobStore, model: Path) -> None:
    told: list[int] = []

    def interrupt(count: int) -> None:
        told.append(count)
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(store, model, interrupt)
    assert kept(store) == [sha256(b"{}")]


FULL = """
import resource, signal, sys
from pathlib import Path
from ifpdb.errors import StorageError
from ifpdb.store.blobs import BlobStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
try:
    BlobStore(Path("ifp.cas")).put_path(Path("model.bin"), name="model", format="bytes")
except StorageError as error:
    print(error)
"""


def test_a_full_disk_is_told_and_nothing_is_left(store: BlobStore, folder: Path) -> None:
    (folder / "model.bin").write_bytes(bytes(OVERLAP_FROM))
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True)
    assert "can't be written" in done.stdout
    assert done.stderr == ""
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


def test_a_file_is_checked_out_writable(store: BlobStore, folder: Path) -> None:
    artifact = store.put_bytes(b"weights", name="model", format="bytes")
    out = store.checkout(artifact, folder / "new" / "deep" / "model.bin")
    assert out.read_bytes() == b"weights"
    out.write_bytes(b"changed")
    assert store.read(artifact.digest) == b"weights"


def test_a_file_checked_out_into_a_folder_gets_a_name_of_its_digest(store: BlobStore, folder: Path) -> None:
    artifact = store.put_bytes(b"weights", name="model", format="bytes")
    (folder / "out").mkdir()
    assert store.checkout(artifact, folder / "out") == folder / "out" / artifact.digest[7:19]


@pytest.mark.parametrize("there", [None, "an empty folder"])
def test_a_tree_is_checked_out_as_it_was(store: BlobStore, model: Path, folder: Path, there: str | None) -> None:
    artifact = keep(store, model)
    shutil.rmtree(model)
    if there:
        (folder / "out").mkdir()
    out = store.checkout(artifact, folder / "out")
    assert tree.hash_path(out)[0] == artifact.digest
    assert tree.is_executable((out / "w" / "0").stat().st_mode)
    assert not tree.is_executable((out / "w" / "1").stat().st_mode)


def test_an_empty_current_folder_takes_a_tree(
    store: BlobStore, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = keep(store, model)
    (folder / "out").mkdir()
    monkeypatch.chdir(folder / "out")
    store.checkout(artifact, Path())
    assert tree.hash_path(folder / "out")[0] == artifact.digest


@pytest.mark.parametrize("kind", ["file", "tree"])
@pytest.mark.parametrize("taken", ["file", "dangling link", "full folder", "below a file"])
def test_a_destination_that_is_taken_is_refused_and_stays(
    store: BlobStore, model: Path, folder: Path, kind: str, taken: str
) -> None:
    artifact = keep(store, model if kind == "tree" else model / "config.json")
    dest = folder / "out"
    match taken:
        case "file":
            dest.write_bytes(b"mine")
        case "dangling link":
            dest.symlink_to("nowhere")
        case "full folder":
            dest.mkdir()
            (dest / artifact.digest[7:19]).write_bytes(b"mine")
        case "below a file":
            (folder / "file").write_bytes(b"mine")
            dest = folder / "file" / "out"
    before = sorted(folder.rglob("*"))
    with pytest.raises(IfpError):
        store.checkout(artifact, dest)
    assert sorted(folder.rglob("*")) == before


def test_a_crafted_listing_writes_nothing_outside(store: BlobStore, folder: Path) -> None:
    weights = store.put_bytes(b"weights", name="model", format="bytes")
    listing = b'[["../escaped",false,7,"%s"]]' % weights.digest.encode()
    crafted = store.put_bytes(listing, name="model", format="bytes")
    with pytest.raises(IntegrityError, match="not the listing"):
        store.checkout(Artifact("model", crafted.digest, 7, "bytes", "tree"), folder / "a" / "out")
    assert not list(folder.rglob("escaped"))


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
    broken = "from ifpdb.store import blobs\nblobs._fsync_folder = lambda folder: None\n" + PUT
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


def test_a_failed_early_flush_is_told_and_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(overlap, "_flush", fail)
    monkeypatch.setattr(overlap, "FLUSH_EVERY", 1 << 20)
    monkeypatch.setattr(blobs, "OVERLAP_FROM", 0)
    (folder / "big.bin").write_bytes(bytes(4 << 20))
    store = BlobStore(folder / "ifp.cas")
    with pytest.raises(StorageError, match="Input/output error"):
        store.put_path(folder / "big.bin", name="model", format="bytes")
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


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


def test_what_fails_while_it_is_written_leaves_nothing(store: BlobStore) -> None:
    def write(file: IO[bytes]) -> tuple[str, bool]:
        file.write(b"half")
        raise UsageError("it can't be kept")

    with pytest.raises(UsageError, match="it can't be kept"):
        store.put_written(write, name="model")
    assert not [path for path in store.root.rglob("*") if path.is_file()]
