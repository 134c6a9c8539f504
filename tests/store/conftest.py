"""Fixtures of tests that keep blobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ifpdb.store.blobs import BlobStore


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
