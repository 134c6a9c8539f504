"""The trust list, and what a pickle would import, read without importing it."""

from __future__ import annotations

import io
import pickle
import pickletools
import subprocess
import sys
import zipfile
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path
from typing import Any

import joblib
import numpy
import pytest
from sklearn.ensemble import RandomForestClassifier

from ifpdb.digest import sha256
from ifpdb.errors import StorageError
from ifpdb.store import trust

DIGEST = sha256(b"model")


def test_nothing_is_trusted_at_first(home: Path) -> None:
    assert not trust.is_trusted(DIGEST)
    assert trust.trusted() == []


def test_what_is_trusted_stays_so_with_the_reason(home: Path) -> None:
    trust.trust(DIGEST, "serialized here")
    trust.trust(sha256(b"other"), "ifp trust")
    assert trust.is_trusted(DIGEST)
    assert not trust.is_trusted(sha256(b"third"))
    assert [(digest, why.split(" ", 1)[1]) for digest, why in trust.trusted()] == [
        (DIGEST, "serialized here"),
        (sha256(b"other"), "ifp trust"),
    ]


def test_trust_does_not_travel_to_another_home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust.trust(DIGEST, "here")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    assert not trust.is_trusted(DIGEST)


def test_a_list_that_cannot_be_written_is_told(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="trust list"):
        trust.trust(DIGEST, "here")


def imports(folder: Path, data: bytes) -> list[str]:
    path = folder / "model.pkl"
    path.write_bytes(data)
    return trust.imports_of(path)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (__import__("os").system, ("touch it-ran",))


def true_imports(data: bytes) -> set[str]:
    """What the standard unpickler really looks up."""
    found = set()

    class Watching(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            found.add(f"{module}.{name}")
            return super().find_class(module, name)

    Watching(io.BytesIO(data)).load()
    return found


OBJECTS: list[Any] = [
    {"plain": [1, 2.5, "text", None]},
    Fraction(1, 3),
    [OrderedDict(a=1), OrderedDict(b=2), Fraction(1, 2), Fraction(1, 4)],
    [len, max, min, sorted, Fraction, OrderedDict],
    [[], "collections", OrderedDict, "fractions", Fraction],
    numpy.arange(3),
    numpy.array([Fraction(1, 2)], dtype=object),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", OBJECTS, ids=str)
def test_the_imports_of_a_pickle_are_those_that_loading_it_makes(folder: Path, value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert set(imports(folder, data)) == true_imports(data)
    slim = pickletools.optimize(data)
    assert set(imports(folder, slim)) == true_imports(slim)


def test_the_imports_of_a_forest_are_those_that_loading_it_makes(folder: Path) -> None:
    forest = RandomForestClassifier(n_estimators=2, random_state=0).fit([[0], [1]], [0, 1])
    data = pickle.dumps(forest, 5)
    assert set(imports(folder, data)) == true_imports(data)


def test_looking_runs_nothing(folder: Path) -> None:
    assert imports(folder, pickle.dumps(Evil()))[0].endswith(".system")
    assert not (folder / "it-ran").exists()


LOOK = """
import sys
from pathlib import Path
from ifpdb.store import trust
print(trust.imports_of(Path("m.pkl")), "this" in sys.modules)
"""


def test_looking_imports_nothing(folder: Path) -> None:
    (folder / "m.pkl").write_bytes(b"\x80\x04cthis\nantigravity\n.")
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert done.stdout == "['this.antigravity'] False\n"


def test_a_zip_is_looked_into(folder: Path) -> None:
    with zipfile.ZipFile(folder / "model.pkl", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(Fraction(1, 2)))
        archive.writestr("model/data/0", b"weights")
    assert trust.imports_of(folder / "model.pkl") == ["fractions.Fraction"]


def test_a_damaged_zip_is_told_to_be_unreadable(folder: Path) -> None:
    path = folder / "model.pkl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(Fraction(1, 2)))
    data = bytearray(path.read_bytes())
    data[40:60] = bytes(20)
    path.write_bytes(data)
    found = trust.imports_of(path)
    assert len(found) == 1
    assert found[0].startswith("<unreadable")


@pytest.mark.parametrize("data", [b"", b"no pickle", b"\x80\x05\x95", b"\x80\x04cos\nsys", pickle.dumps([1, 2])[:-1]])
def test_what_cannot_be_read_to_its_end_is_told(folder: Path, data: bytes) -> None:
    assert any(found.startswith("<unreadable") for found in imports(folder, data))


def test_a_joblib_file_with_arrays_in_it_is_told_to_be_read_in_part(folder: Path) -> None:
    joblib.dump({"a": Fraction(1, 2), "b": numpy.arange(100)}, folder / "model.joblib")
    found = trust.imports_of(folder / "model.joblib")
    assert "fractions.Fraction" in found
    assert any(entry.startswith("<unreadable") for entry in found)


def test_a_folder_has_to_be_looked_at_by_hand(folder: Path) -> None:
    assert trust.imports_of(folder)[0].startswith("<a folder")
