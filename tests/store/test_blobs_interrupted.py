"""Ingests that are cut short, by an error, a signal or a full disk: nothing is left but whole blobs."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pytest
from blobfolder import keep, kept

from ifpdb import tree
from ifpdb.desk import Registry
from ifpdb.digest import sha256
from ifpdb.errors import UsageError
from ifpdb.store.blobs import OVERLAP_FROM, BlobStore


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


def test_what_fails_while_it_is_written_leaves_nothing(store: BlobStore) -> None:
    def write(file: IO[bytes]) -> tuple[str, bool]:
        file.write(b"half")
        raise UsageError("it can't be kept")

    with pytest.raises(UsageError, match="it can't be kept"):
        store.put_written(write, name="model")
    assert not [path for path in store.root.rglob("*") if path.is_file()]


REGISTER = """
import sys
import ifpdb as ifp

def tell(count):
    print(count, flush=True)

with ifp.open() as registry:
    registry.register("fraud", sys.argv[1], params={}, seed=1, partial=True, progress=tell)
"""


def interrupted(path: str, after: int) -> int:
    """Register in a process of its own, which gets Ctrl-C when it has told of this many chunks; its exit code."""
    with subprocess.Popen([sys.executable, "-c", REGISTER, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        for _ in range(after):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate()
        return process.returncode


@pytest.mark.parametrize("after", [1, 2, 9, 33, pytest.param(200, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("what", ["file", "folder"])
def test_ctrl_c_leaves_no_temporary_file_and_no_version(registry: Registry, folder: Path, what: str, after: int) -> None:
    if what == "file":
        with open(folder / "model", "wb") as file:
            file.truncate(1 << 30)
    else:
        (folder / "model").mkdir()
        for number in range(1000):
            (folder / "model" / str(number)).write_bytes(b"%d" % number)
    assert interrupted("model", after) == -signal.SIGINT
    assert registry.models() == []
    assert len(kept(registry.blobs)) < (1 if what == "file" else 1000)
