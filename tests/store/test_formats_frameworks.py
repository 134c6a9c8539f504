"""Native formats with the real packages: what is kept comes back as it was, in the format that the table promises.

    pip install -e '.[test,test-frameworks]' && pytest -m frameworks

Where a package is missing, its test is skipped.
"""

from __future__ import annotations

from typing import Any

import pytest

from ifpdb.store import formats

pytestmark = pytest.mark.frameworks

ROWS = [[float(i), float(i * i % 7)] for i in range(40)]
LABELS = [i % 2 for i in range(40)]


def kept(model: Any) -> tuple[str, bool, Any]:
    data, name, runs_code = formats.dump(model)
    return name, runs_code, formats.load(data, name)


def test_a_dictionary_of_tensors_is_safetensors_and_runs_no_code() -> None:
    numpy, torch = pytest.importorskip("numpy"), pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    for tensors in ({"w": numpy.arange(6.0).reshape(2, 3)}, {"w": torch.arange(6.0).reshape(2, 3)}):
        name, runs_code, back = kept(tensors)
        assert (name, runs_code) == ("safetensors", False)
        assert back["w"].tolist() == tensors["w"].tolist()


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
