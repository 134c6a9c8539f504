"""Artifacts given back: whole, under a name that was free, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from blobfolder import keep

from ifpdb import tree
from ifpdb.errors import IfpError, IntegrityError
from ifpdb.records import Artifact
from ifpdb.store.blobs import BlobStore


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
