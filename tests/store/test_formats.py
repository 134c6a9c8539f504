"""Formats: what is written is read back, and written again it is the same."""

from __future__ import annotations

import io
import pickle
import threading
from pathlib import Path
from typing import Any

import joblib
import numpy
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from ifpdb.errors import Refused, UsageError
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


class Holder:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


@pytest.mark.parametrize("culprit", [lambda x: x, threading.Lock()], ids=["lambda", "lock"])
def test_an_attribute_that_cannot_be_pickled_is_named(culprit: Any) -> None:
    with pytest.raises(UsageError, match="this Holder can't be kept: its attribute 'callback' is in the way"):
        formats.dump(Holder(name="x", callback=culprit))


def test_an_object_that_cannot_be_pickled_as_a_whole_is_refused() -> None:
    with pytest.raises(UsageError, match="can't be kept"):
        formats.dump(threading.Lock())


class BreaksWhenLoaded:
    def __setstate__(self, state: object) -> None:
        raise ValueError("not today")

    def __getstate__(self) -> object:
        return {"a": 1}


def test_an_object_that_could_not_be_loaded_again_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="not today"):
        formats.dump(BreaksWhenLoaded())


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


@pytest.mark.parametrize("name", ["pickle", "joblib", "torch"])
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
    ],
)
def test_a_file_is_known_by_its_first_bytes_before_its_name(folder: Path, write: Any, name: str, format: str) -> None:
    write(folder / name)
    assert formats.guess(folder / name) == format


def test_a_folder_has_no_format(folder: Path) -> None:
    assert formats.guess(folder) == formats.BYTES
