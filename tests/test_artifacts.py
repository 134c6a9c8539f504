"""Loading by hash: verified bytes only, and no code that this user didn't vouch for."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.artifacts import imports

Make = Callable[..., ifp.Version]


class Evil:
    """Unpickling it makes a file: the sign that code ran."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.sign),)


@pytest.fixture
def evil(registry: ifp.Registry, folder: Path) -> tuple[ifp.Version, Path]:
    """A registered download that makes the folder `sign` when it is unpickled."""
    sign = folder / "pwned"
    (folder / "download.pkl").write_bytes(pickle.dumps(Evil(sign)))
    return registry.register("fraud", "download.pkl", partial=True), sign


def stored(registry: ifp.Registry, version: ifp.Version) -> Path:
    assert version.weights is not None
    return registry.blobs.path(version.weights.digest)


def test_what_this_process_serialized_loads(registry: ifp.Registry) -> None:
    version = registry.register("fraud", {"weights": [1.5]}, partial=True)
    assert version.load_artifact() == {"weights": [1.5]}
    assert registry.run(version.run).load_artifact() == {"weights": [1.5]}


def test_the_same_bytes_from_disk_are_not_trusted_by_somebody_else(
    registry: ifp.Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = registry.register("fraud", {"weights": [1.5]}, partial=True)
    (folder / "model.pkl").write_bytes(stored(registry, kept).read_bytes())
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "somebody-else"))
    brought = registry.register("fraud", "model.pkl", partial=True)
    assert brought.digest == kept.digest
    with pytest.raises(ifp.Untrusted, match="ifp trust"):
        brought.load_artifact()
    assert brought.load_artifact(trust=True) == {"weights": [1.5]}
    with pytest.raises(ifp.Untrusted):
        brought.load_artifact()  # trust=True was for once


def test_a_pickle_from_disk_is_untrusted_and_its_code_never_runs(
    registry: ifp.Registry, evil: tuple[ifp.Version, Path], folder: Path
) -> None:
    version, sign = evil
    for look in (
        version.load_artifact,
        registry.run(version.run).load_artifact,
    ):
        with pytest.raises(ifp.Untrusted):
            look()
    assert version.weights is not None
    assert imports(registry.blobs, version.weights) == [f"{os.mkdir.__module__}.mkdir"]
    registry.checkout(version.name, folder / "out.pkl")
    assert not sign.exists()
    version.load_artifact(trust=True)
    assert sign.exists()  # the pickle does what this test fears


@pytest.mark.parametrize(
    "name", ["model.bin", "model.pkl", "model.npy", "model.safetensors", "model.onnx", "noending", "model.joblib"]
)
def test_no_name_makes_a_pickle_harmless(registry: ifp.Registry, folder: Path, name: str) -> None:
    sign = folder / "pwned"
    (folder / name).write_bytes(pickle.dumps(Evil(sign)))
    version = registry.register("fraud", name, partial=True)
    with pytest.raises(ifp.IfpError):
        version.load_artifact()
    assert not sign.exists()


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data + b"x", lambda data: bytes([data[0] ^ 1]) + data[1:]]
)
def test_damaged_bytes_are_never_loaded(registry: ifp.Registry, damage: Callable[[bytes], bytes]) -> None:
    version = registry.register("fraud", {"weights": [1.5]}, partial=True)
    path = stored(registry, version)
    path.chmod(0o644)
    path.write_bytes(damage(path.read_bytes()))
    assert version.weights is not None
    with pytest.raises(ifp.IntegrityError, match=version.weights.digest):
        version.load_artifact()
    with pytest.raises(ifp.IntegrityError, match=version.weights.digest):
        version.checkout("out")
    assert not Path("out").exists()


def test_missing_bytes_are_named(registry: ifp.Registry) -> None:
    version = registry.register("fraud", {"weights": [1.5]}, partial=True)
    stored(registry, version).unlink()
    assert version.weights is not None
    with pytest.raises(ifp.NotFound, match=version.weights.digest):
        version.load_artifact()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_unknown_format_is_refused_and_checked_out(registry: ifp.Registry, folder: Path, kind: str) -> None:
    source = folder / "thing"
    if kind == "folder":
        source.mkdir()
        (source / "part").write_text("bytes")
    else:
        source.write_text("bytes")
    version = registry.register("fraud", source, partial=True)
    with pytest.raises(ifp.Refused, match="ifp checkout"):
        version.load_artifact()
    out = registry.checkout("fraud@v1", "out")
    assert (out / "part" if kind == "folder" else out).read_text() == "bytes"


def test_an_inert_format_from_disk_needs_no_trust(registry: ifp.Registry, folder: Path) -> None:
    numpy = pytest.importorskip("numpy")
    numpy.save(folder / "w.npy", numpy.arange(3))
    version = registry.register("fraud", "w.npy", partial=True)
    assert version.load_artifact().tolist() == [0, 1, 2]
    assert version.weights is not None and imports(registry.blobs, version.weights) == []


def test_an_array_of_objects_is_not_unpickled(registry: ifp.Registry, folder: Path) -> None:
    numpy = pytest.importorskip("numpy")
    sign = folder / "pwned"
    numpy.save(folder / "w.npy", numpy.array([Evil(sign)], dtype=object), allow_pickle=True)
    version = registry.register("fraud", "w.npy", partial=True)
    with pytest.raises(ifp.Refused, match="ifp checkout"):
        version.load_artifact()
    assert not sign.exists()


@pytest.mark.parametrize("data", [b"", b"not a pickle", b"\x80\x04]", b"\x80\x05."])
def test_bytes_that_are_no_pickle_are_refused_with_the_way_on(registry: ifp.Registry, folder: Path, data: bytes) -> None:
    (folder / "m.pkl").write_bytes(data)
    version = registry.register("fraud", "m.pkl", partial=True)
    with pytest.raises(ifp.Refused, match="ifp checkout"):
        version.load_artifact(trust=True)


def test_a_pickle_of_a_package_that_is_gone_names_it(registry: ifp.Registry, folder: Path) -> None:
    (folder / "m.pkl").write_bytes(b"\x80\x04cnowhere_at_all\nModel\n.")
    version = registry.register("fraud", "m.pkl", partial=True)
    with pytest.raises(ifp.UsageError, match="nowhere_at_all"):
        version.load_artifact(trust=True)


def test_a_folders_pickles_are_listed_too(registry: ifp.Registry, folder: Path) -> None:
    (folder / "saved").mkdir()
    (folder / "saved" / "tokenizer.pkl").write_bytes(pickle.dumps(Evil(folder / "x")))
    (folder / "saved" / "readme.txt").write_text("hello")
    version = registry.register("fraud", "saved", partial=True)
    assert version.weights is not None
    assert imports(registry.blobs, version.weights) == [f"{os.mkdir.__module__}.mkdir"]
