"""Loading by hash: verified bytes only, and no code that this user didn't vouch for."""

from __future__ import annotations

import json
import mmap
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.artifacts import can_run_code, load, scan
from ifpdb.store import trust
from ifpdb.store.scan import Scan

Make = Callable[..., ifp.Version]
Cli = Callable[..., Any]
MKDIR = f"{os.mkdir.__module__}.mkdir"


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
        with pytest.raises(ifp.Untrusted, match=rf"it wants to import {MKDIR}: .* ifp trust .*, or pass trust=True once"):
            look()
    assert version.weights is not None
    assert scan(registry.blobs, version.weights).imports == (MKDIR,)
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
    assert version.weights is not None
    assert scan(registry.blobs, version.weights) == Scan()
    assert not can_run_code(registry.blobs, version.weights)


def test_an_array_of_objects_is_not_unpickled(registry: ifp.Registry, folder: Path) -> None:
    numpy = pytest.importorskip("numpy")
    sign = folder / "pwned"
    numpy.save(folder / "w.npy", numpy.array([Evil(sign)], dtype=object), allow_pickle=True)
    version = registry.register("fraud", "w.npy", partial=True)
    with pytest.raises(ifp.Refused, match=r"allow_pickle.*ifp checkout"):
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
    with pytest.raises(ifp.UsageError, match=r"needs 'nowhere_at_all', which can't be imported .*; install nowhere-at-all"):
        version.load_artifact(trust=True)


def test_a_class_that_its_package_no_longer_has_is_named_with_both_releases(registry: ifp.Registry, folder: Path) -> None:
    (folder / "m.pkl").write_bytes(b"\x80\x04csklearn.pipeline\nGoneForGood\n.")
    version = registry.register("fraud", "m.pkl", partial=True)
    with pytest.raises(ifp.UsageError, match=r"needs 'sklearn\.pipeline\.GoneForGood', .*; installed is scikit-learn \d"):
        version.load_artifact(trust=True)


class NeedsMore:
    """Loading it fails somewhere inside, for want of a package."""

    def __reduce__(self) -> tuple[Any, ...]:
        return look_deep, ()


def look_deep() -> None:
    try:
        import nowhere_at_all  # noqa: F401
    except ImportError as error:
        raise RuntimeError("could not restore") from error


def test_a_package_missing_deep_inside_is_named_with_the_release_it_was_trained_with(
    registry: ifp.Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.register("fraud", NeedsMore(), partial=True)
    run = registry.run(version.run)
    trained = replace(run, environment={"packages": {"nowhere-at-all": "1.2"}})
    assert version.weights is not None
    with pytest.raises(
        ifp.UsageError, match=r"nowhere_at_all.*it was trained with nowhere-at-all 1\.2, install nowhere-at-all"
    ):
        load(registry.blobs, version.weights, trained, trusted=False)


def test_a_folders_pickles_are_listed_too(registry: ifp.Registry, folder: Path) -> None:
    (folder / "saved").mkdir()
    (folder / "saved" / "tokenizer.pkl").write_bytes(pickle.dumps(Evil(folder / "x")))
    (folder / "saved" / "readme.txt").write_text("hello")
    version = registry.register("fraud", "saved", partial=True)
    assert version.weights is not None
    assert scan(registry.blobs, version.weights).imports == (MKDIR,)


def test_an_array_is_loaded_from_the_file_itself_and_writing_to_it_changes_nothing(
    registry: ifp.Registry, folder: Path
) -> None:
    numpy = pytest.importorskip("numpy")
    version = registry.register("fraud", numpy.arange(10), partial=True)
    loaded = version.load_artifact()
    assert isinstance(loaded.base, mmap.mmap)
    loaded[:] = 7
    assert version.load_artifact().tolist() == list(range(10))


def test_trusting_shows_the_imports_and_then_it_loads(registry: ifp.Registry, folder: Path, cli: Cli) -> None:
    (folder / "m.pkl").write_bytes(pickle.dumps(OrderedDict(a=1)))
    version = registry.register("fraud", "m.pkl", partial=True)
    said = cli("trust", "fraud@v1", "--json")
    assert (said.code, said.err) == (0, "")
    assert version.weights is not None
    assert json.loads(said.out) == {
        "digest": version.weights.digest,
        "format": "pickle",
        "imports": ["collections.OrderedDict"],
        "flagged": [],
        "problems": [],
        "trusted": True,
    }
    assert version.load_artifact() == {"a": 1}
    assert cli("trust", "fraud@v1", "--remove").code == 0
    with pytest.raises(ifp.Untrusted):
        version.load_artifact()
    assert cli("trust", "fraud@v1", "--remove").code == 3


def test_a_malicious_pickle_is_refused_with_what_it_wanted_to_import(evil: tuple[ifp.Version, Path], cli: Cli) -> None:
    version, sign = evil
    said = cli("trust", "fraud@v1")
    assert said.code == 7
    assert said.out == f"imports {MKDIR}  can run anything\n"
    assert f"it imports {MKDIR}, with which it can run anything" in said.err
    assert "--even-so" in said.err
    assert json.loads(cli("trust", "fraud@v1", "--json").out)["flagged"] == [MKDIR]
    assert json.loads(cli("trust", "--list", "--json").out) == []
    assert not sign.exists()
    assert cli("trust", "fraud@v1", "--even-so").code == 0
    version.load_artifact()
    assert sign.exists()


@pytest.mark.parametrize("data", [b"", b"not a pickle", b"\x80\x04cos\nsep\n\x82\x05.", pickle.dumps(1) + b"junk"])
def test_what_cannot_be_read_whole_is_never_trusted(registry: ifp.Registry, folder: Path, cli: Cli, data: bytes) -> None:
    (folder / "m.pkl").write_bytes(data)
    version = registry.register("fraud", "m.pkl", partial=True)
    for extra in ((), ("--even-so",)):
        said = cli("trust", "fraud@v1", *extra)
        assert said.code == 7
        assert "can't be read whole" in said.err
    assert cli("trust", "--list").out == ""
    with pytest.raises(ifp.Untrusted, match="can't be read whole"):
        version.load_artifact()


def test_a_folder_is_trusted_as_a_whole_after_each_file_was_read(registry: ifp.Registry, folder: Path, cli: Cli) -> None:
    (folder / "saved").mkdir()
    (folder / "saved" / "a.pkl").write_bytes(pickle.dumps(OrderedDict()))
    (folder / "saved" / "readme.txt").write_text("hello")
    version = registry.register("fraud", "saved", partial=True)
    assert cli("trust", "fraud@v1").code == 0
    assert version.weights is not None
    assert json.loads(cli("trust", "--list", "--json").out)[0]["digest"] == version.weights.digest
    (folder / "saved" / "b.npy").write_bytes(pickle.dumps(Evil(folder / "x")))  # no name makes it harmless
    registry.register("fraud", "saved", partial=True)
    said = cli("trust", "fraud@v2")
    assert (said.code, MKDIR in said.out) == (7, True)


def test_the_list_says_when_and_why_and_a_digest_is_taken_off_it_by_itself(registry: ifp.Registry, cli: Cli) -> None:
    version = registry.register("fraud", {"weights": [1.5]}, partial=True)
    assert version.weights is not None
    entry = json.loads(cli("trust", "--list", "--json").out)[0]
    assert (entry["digest"], entry["why"]) == (version.weights.digest, "serialized here from a dict")
    assert entry["at"].endswith("Z")
    assert cli("trust", "--list").out.startswith(version.weights.digest)
    assert cli("trust", version.weights.digest[:20], "--remove").code == 0
    assert cli("trust", "--list").out == ""
    assert registry.checkout("fraud@v1", "out").is_file()


def test_a_format_that_runs_no_code_needs_no_trust(registry: ifp.Registry, folder: Path, cli: Cli) -> None:
    (folder / "w.txt").write_text("text")
    registry.register("fraud", "w.txt", partial=True)
    assert "needs no trust" in cli("trust", "fraud@v1").out
    assert cli("trust", "--list").out == ""


def test_bytes_that_are_trusted_as_one_format_are_not_loaded_as_another(registry: ifp.Registry, folder: Path) -> None:
    joblib = pytest.importorskip("joblib")
    joblib.dump({"a": 1}, folder / "model.joblib")
    first = registry.register("fraud", "model.joblib", partial=True)
    assert first.weights is not None
    trust.trust(first.weights.digest, "joblib", "read as joblib")
    assert first.load_artifact() == {"a": 1}
    (folder / "model.joblib").rename("model.pkl")
    again = registry.register("other", "model.pkl", partial=True)
    assert again.weights is not None
    assert (again.weights.digest, again.weights.format) == (first.weights.digest, "pickle")
    with pytest.raises(ifp.Untrusted):
        again.load_artifact()
