"""Formats: what is written is read back, and written again it is the same."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy
import pytest
import sklearn
from hypothesis import given
from hypothesis.extra import numpy as arrays
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from ifpdb.errors import Refused, StorageError, UsageError
from ifpdb.store import formats

X, Y = load_iris(return_X_y=True)
ESTIMATORS = [
    LogisticRegression(max_iter=500),
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(n_estimators=5, random_state=0),
    GradientBoostingClassifier(n_estimators=3, random_state=0),
    make_pipeline(StandardScaler(), LogisticRegression()),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_an_estimator_is_pickled_at_its_fixed_point(estimator: Any) -> None:
    model = estimator.fit(X, Y)
    data, name, runs_code = formats.dump(model)
    assert (name, runs_code) == ("pickle", True)
    loaded = formats.load(data, name)
    assert formats.dump(loaded)[0] == data
    assert formats.dump(model)[0] == data
    assert numpy.array_equal(loaded.predict_proba(X), model.predict_proba(X))


PLAIN = arrays.scalar_dtypes()


@given(arrays.arrays(PLAIN, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
def test_an_array_is_kept_as_npy_bit_by_bit(array: Any) -> None:
    data, name, runs_code = formats.dump(array)
    assert (name, runs_code) == ("npy", False)
    loaded = formats.load(data, name)
    assert (loaded.dtype, loaded.shape, loaded.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert formats.dump(loaded)[0] == data


@pytest.mark.parametrize("array", [numpy.arange(12).reshape(3, 4).T, numpy.arange(12)[::3], numpy.arange(3, dtype=">i4")])
def test_an_array_of_another_layout_comes_back_equal(array: Any) -> None:
    data, name, _ = formats.dump(array)
    assert numpy.array_equal(formats.load(data, name), array)
    assert formats.dump(formats.load(data, name))[0] == data


STRUCTURED: Any = numpy.zeros(2, dtype=[("a", "i4"), ("b", object)])


@pytest.mark.parametrize(
    "array", [numpy.array([{"a": 1}, None], dtype=object), STRUCTURED, numpy.ma.masked_array([1, 2], [0, 1])]
)
def test_an_array_that_npy_cannot_hold_is_pickled(array: Any) -> None:
    data, name, runs_code = formats.dump(array)
    assert (name, runs_code) == ("pickle", True)
    assert type(formats.load(data, name)) is type(array)


@pytest.mark.parametrize("value", [None, 7, "text", {"a": 1}, [1, 2], {}, {"w": numpy.array([None], dtype=object)}])
def test_any_other_object_is_pickled(value: Any) -> None:
    data, name, _ = formats.dump(value)
    assert name == "pickle"
    assert formats.load(data, name) == value


def test_a_pickle_that_changes_with_the_hash_seed_is_still_loaded_equal() -> None:
    data, name, _ = formats.dump({"a", "b", "c"})
    assert formats.load(data, name) == {"a", "b", "c"}


def test_what_cannot_be_kept_is_named_with_its_type(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"this Pipeline can't be kept: steps\[1\]\[1\].func is a lambda: put it at the top"):
        formats.dump(make_pipeline(StandardScaler(), FunctionTransformer(lambda x: x)))
    with pytest.raises(UsageError, match="this lock can't be kept"):
        formats.dump(threading.Lock())


SCRIPT = """
import pickle, warnings
from ifpdb.store import formats

class Model:
    pass

def rate(x):
    return x

for value in (Model(), {"rates": [rate]}):
    with warnings.catch_warnings(record=True) as told:
        pickle.loads(formats.dump(value)[0])
    print(*(warning.message for warning in told))
"""


def test_what_only_this_script_could_load_is_kept_with_a_warning() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    for line, kind, name in zip(done.stdout.splitlines(), ("Model", "dict"), ("Model", "rate"), strict=True):
        assert line.startswith(f"{name} is defined in the script or notebook itself, and only there can this {kind} be loaded")
        assert "move it to a module" in line


def test_text_that_only_speaks_of_main_is_kept() -> None:
    assert formats.dump(["__main__", {"__main__": 1}])[1] == "pickle"


TWICE = """
import sys, hashlib, numpy
sys.path.insert(0, sys.argv[1])
from test_formats import ESTIMATORS, X, Y
from ifpdb.store import formats
for value in (numpy.arange(6.0).reshape(2, 3), {"a": [1, "b", None]}, *(e.fit(X, Y) for e in ESTIMATORS)):
    print(hashlib.sha256(formats.dump(value)[0]).hexdigest())
"""


def test_two_processes_give_the_same_bytes() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", TWICE, str(Path(__file__).parent)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert len(said.pop().split()) == 2 + len(ESTIMATORS)


def test_a_model_of_another_release_is_loaded_with_a_warning() -> None:
    data, name, _ = formats.dump(StandardScaler().fit(X))
    older = data.replace(sklearn.__version__.encode(), b"0.9.9"[: len(sklearn.__version__)])
    assert older != data
    with pytest.warns(sklearn.exceptions.InconsistentVersionWarning, match=r"0\.9\.9"):
        formats.load(older, name)


@pytest.mark.parametrize("name", [formats.BYTES, "nonsense", ""])
def test_a_format_without_a_loader_points_to_checkout(name: str) -> None:
    with pytest.raises(Refused, match="ifp checkout"):
        formats.load(b"", name)
    assert not formats.runs_code(name)


def test_an_npy_with_objects_in_it_is_not_unpickled() -> None:
    buffer = io.BytesIO()
    numpy.save(buffer, numpy.array([None], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        formats.load(buffer.getvalue(), "npy")


@pytest.mark.parametrize("name", ["pickle", "joblib", "torch", "keras"])
def test_formats_that_run_code_say_so(name: str) -> None:
    assert formats.runs_code(name)


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}))


def write_old_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}, 0))


def write_joblib(path: Path) -> None:
    joblib.dump({"a": 1}, path)


def write_npy(path: Path) -> None:
    with open(path, "wb") as file:
        numpy.save(file, numpy.arange(2))


def write_torch(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(1))


def write_cbm(path: Path) -> None:
    path.write_bytes(b"CBM1" + bytes(40))


def write_nothing(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize(
    ("write", "name", "format"),
    [
        (write_pickle, "model.pkl", "pickle"),
        (write_pickle, "model", "pickle"),
        (write_pickle, "innocent.npy", "pickle"),
        (write_pickle, "innocent.txt", "pickle"),
        (write_old_pickle, "model.PKL", "pickle"),
        (write_joblib, "model.joblib", "joblib"),
        (write_npy, "weights.npy", "npy"),
        (write_npy, "weights.bin", "npy"),
        (write_nothing, "empty.bin", "bytes"),
        (write_nothing, "model.onnx", "onnx"),
        (write_nothing, "model.safetensors", "safetensors"),
        (write_nothing, "model.keras", "keras"),
        (write_nothing, "model.cbm", "catboost"),
        (write_torch, "pytorch_model.bin", "torch"),
        (write_cbm, "model.bin", "catboost"),
    ],
)
def test_a_file_is_known_by_its_first_bytes_before_its_name(folder: Path, write: Any, name: str, format: str) -> None:
    write(folder / name)
    assert formats.guess(folder / name) == format


def test_a_folder_has_no_format(folder: Path) -> None:
    assert formats.guess(folder) == formats.BYTES


@pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="a file whose reading fails with EIO")
def test_a_file_that_can_not_be_read_is_said():
    with pytest.raises(StorageError, match="/proc/self/mem: Input/output error"):
        formats.guess(Path("/proc/self/mem"))
