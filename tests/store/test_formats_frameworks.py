"""Native formats with the real packages: what is kept comes back as it was, in the format that the table promises.

    pip install -e '.[test,test-frameworks]' && pytest -m frameworks

Where a package is missing, its test is skipped.
"""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from ifpdb.store import containers, formats
from ifpdb.store.usual import is_usual

pytestmark = pytest.mark.frameworks

ROWS = [[float(i), float(i * i % 7)] for i in range(40)]
LABELS = [i % 2 for i in range(40)]


def kept(model: Any) -> tuple[str, bool, Any]:
    data, name, runs_code = formats.dump(model)
    return name, runs_code, formats.load(data, name)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "uint8", "bool"])
def test_torch_tensors_come_back_as_torch_tensors(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    tensors = {"w": torch.ones(2, 3).to(getattr(torch, dtype)), "none": torch.zeros(0, 2), "one": torch.tensor(1.5)}
    name, runs_code, back = kept(tensors)
    assert (name, runs_code) == ("safetensors", False)
    assert all(torch.equal(back[key], value) and back[key].dtype == value.dtype for key, value in tensors.items())


def test_numpy_arrays_come_back_as_numpy_arrays() -> None:
    numpy = pytest.importorskip("numpy")
    pytest.importorskip("safetensors")
    arrays = {"w": numpy.arange(6.0).reshape(2, 3).T, "b": numpy.array([True]), "i": numpy.arange(3, dtype=">i4")}
    name, runs_code, back = kept(arrays)
    assert (name, runs_code) == ("safetensors", False)
    assert all(isinstance(back[key], numpy.ndarray) and back[key].tolist() == value.tolist() for key, value in arrays.items())


@pytest.mark.parametrize("dtype", ["U3", "M8[s]", "c16", "longdouble"])
def test_arrays_that_safetensors_cannot_hold_are_pickled(dtype: str) -> None:
    numpy = pytest.importorskip("numpy")
    name, _, back = kept({"w": numpy.zeros(2, dtype=dtype)})
    assert name == "pickle"
    assert back["w"].dtype == numpy.dtype(dtype)


def test_a_torch_module_is_torch_and_can_run_code() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(2, 1)
    name, runs_code, back = kept(module)
    assert (name, runs_code) == ("torch", True)
    assert torch.equal(back(torch.ones(2)), module(torch.ones(2)))


def test_an_xgboost_booster_is_its_own_json() -> None:
    numpy, xgboost = pytest.importorskip("numpy"), pytest.importorskip("xgboost")
    data = xgboost.DMatrix(numpy.array(ROWS), label=LABELS)
    booster = xgboost.train({"max_depth": 2}, data, num_boost_round=3)
    name, runs_code, back = kept(booster)
    assert (name, runs_code) == ("xgboost", False)
    assert back.predict(data).tolist() == booster.predict(data).tolist()


def test_a_lightgbm_booster_is_its_own_text() -> None:
    numpy, lightgbm = pytest.importorskip("numpy"), pytest.importorskip("lightgbm")
    data = lightgbm.Dataset(numpy.array(ROWS), label=LABELS)
    booster = lightgbm.train({"verbose": -1, "min_data_in_leaf": 2}, data, num_boost_round=3)
    name, runs_code, back = kept(booster)
    assert (name, runs_code) == ("lightgbm", False)
    assert back.predict(numpy.array(ROWS)).tolist() == booster.predict(numpy.array(ROWS)).tolist()


def test_an_onnx_model_is_its_own_bytes() -> None:
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [value("x", onnx.TensorProto.FLOAT, [1])],
        [value("y", onnx.TensorProto.FLOAT, [1])],
    )
    model = onnx.helper.make_model(graph)
    name, runs_code, back = kept(model)
    assert (name, runs_code) == ("onnx", False)
    assert back == model


def test_a_catboost_model_is_its_own_cbm() -> None:
    catboost = pytest.importorskip("catboost")
    model = catboost.CatBoost({"iterations": 3, "verbose": False, "allow_writing_files": False}).fit(ROWS, LABELS)
    name, runs_code, back = kept(model)
    assert (name, runs_code) == ("catboost", False)
    assert back.predict(ROWS).tolist() == model.predict(ROWS).tolist()
    classifier = catboost.CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False).fit(ROWS, LABELS)
    assert kept(classifier)[0] == "pickle"


KERAS = """
import os, sys, hashlib
import torch, keras
from ifpdb.store import formats
keras.utils.set_random_seed(0)
shared = keras.layers.Dense(2, name="shared")
inputs = keras.layers.Input((3,), name="inputs")
model = keras.Model(inputs, shared(inputs) + shared(inputs))
model.compile("adam", "mse")
data, name, runs_code = formats.dump(model)
back = formats.load(data, name)
assert (back(torch.ones(1, 3)) == model(torch.ones(1, 3))).all()
print(hashlib.sha256(data).hexdigest(), name, runs_code)
"""


def test_a_keras_model_is_an_archive_of_the_same_bytes_in_each_process() -> None:
    pytest.importorskip("torch")
    if find_spec("keras") is None:  # importing it here would choose a backend for this process
        pytest.skip("could not find 'keras'")
    said = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", KERAS],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "KERAS_BACKEND": "torch"},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert said.pop().split()[1:] == ["keras", "True"]


TWICE = """
import hashlib, numpy
from ifpdb.store import formats
rows, labels = numpy.array([[float(i), float(i * i % 7)] for i in range(40)]), numpy.array([i % 2 for i in range(40)])

def torch():
    import torch
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())

def tensors():
    import torch, safetensors
    return {name: torch.ones(3) for name in "zyxwvu"}

def xgboost():
    import xgboost
    return xgboost.train({"max_depth": 2, "seed": 1}, xgboost.DMatrix(rows, label=labels), num_boost_round=3)

def lightgbm():
    import lightgbm
    return lightgbm.train({"verbose": -1, "min_data_in_leaf": 2, "seed": 1}, lightgbm.Dataset(rows, label=labels), 3)

def xgboost_wrapper():
    import xgboost
    return xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(rows, labels)

def lightgbm_wrapper():
    import lightgbm
    return lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, min_child_samples=2).fit(rows, labels)

print(hashlib.sha256(formats.dump(WHAT())[0]).hexdigest())
"""


@pytest.mark.parametrize("what", ["torch", "tensors", "xgboost", "lightgbm", "xgboost_wrapper", "lightgbm_wrapper"])
def test_two_processes_give_the_same_bytes(what: str) -> None:
    pytest.importorskip(what.partition("_")[0].replace("tensors", "safetensors"))
    said = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", TWICE.replace("WHAT", what)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    assert [done.returncode for done in said] == [0, 0], said[0].stderr
    assert said[0].stdout == said[1].stdout


def scanned(data: bytes, name: str) -> tuple[list[str], list[str], str | None]:
    """(imports, those flagged, the problem) of a file in memory."""
    found = containers.look(memoryview(data), name)
    imports = [(module, attribute) for module, attribute in found["imports"]]
    return [".".join(names) for names in imports], [".".join(n) for n in imports if not is_usual(*n)], found["problem"]


@pytest.mark.parametrize("zipped", [True, False])
def test_the_imports_of_a_torch_file_are_those_that_loading_it_makes(zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.LSTM(3, 2))
    buffer = io.BytesIO()
    torch.save({"model": module, "state": module.state_dict()}, buffer, _use_new_zipfile_serialization=zipped)
    imports, flagged, problem = scanned(buffer.getvalue(), "torch")
    looked_up = set[str]()

    class Watching(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            looked_up.add(f"{module}.{name}".replace("__builtin__.", "builtins."))
            return super().find_class(module, name)

    class Watched:
        Unpickler, load = Watching, staticmethod(pickle.load)
        __name__ = "pickle"

    torch.load(io.BytesIO(buffer.getvalue()), weights_only=False, pickle_module=Watched)
    storages = {name for name in imports if name.endswith("Storage")}  # torch looks these up by itself
    assert (set(imports) - storages, flagged, problem) == (looked_up - storages, [], None)
    assert storages


def test_a_tensor_within_a_pickle_is_followed_into_its_bytes() -> None:
    torch = pytest.importorskip("torch")
    imports, flagged, problem = scanned(pickle.dumps({"w": torch.ones(3)}), "pickle")
    assert {"torch.storage._load_from_bytes", "torch.FloatStorage"} <= set(imports)
    assert (flagged, problem) == ([], None)


def test_what_boosters_and_frames_are_made_of_is_not_flagged() -> None:
    pandas, xgboost, lightgbm = (pytest.importorskip(name) for name in ("pandas", "xgboost", "lightgbm"))
    for value in (
        pandas.DataFrame({"a": [1, 2], "b": ["x", None], "c": pandas.to_datetime(["2020", "2021"])}),
        xgboost.XGBClassifier(n_estimators=2).fit(pandas.DataFrame(ROWS), LABELS),
        lightgbm.LGBMRegressor(n_estimators=2, verbose=-1).fit(pandas.DataFrame(ROWS), LABELS),
    ):
        assert scanned(pickle.dumps(value), "pickle")[1:] == ([], None)


def test_cloudpickles_functions_are_flagged() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    _, flagged, problem = scanned(cloudpickle.dumps(lambda x: x), "pickle")
    assert problem is None
    assert "cloudpickle.cloudpickle._make_function" in flagged
