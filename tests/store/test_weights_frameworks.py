"""Tensors found in files that the real libraries wrote, without running what those files carry."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ifpdb.history.weights import Kind, compare_weights
from ifpdb.store import formats, weights
from ifpdb.store.weights import Unreadable, decoded

pytestmark = pytest.mark.frameworks

numpy = pytest.importorskip("numpy")


def numbers(data: bytes, format: str) -> dict[str, tuple[str, Any]]:
    found = weights.arrays(data, format)
    return {name: (one.dtype, decoded(one.read(), one.dtype).tolist()) for name, one in found.items()}


def saved(value: Any) -> bytes:
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_tensors_nested_in_a_torch_checkpoint_are_found() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(2, 1)
    checkpoint = {
        "epoch": 3,
        "model": layer.state_dict(),
        "parts": [torch.ones(2, 2).T[:1], (torch.tensor(7),)],
        "parameter": torch.nn.Parameter(torch.ones(1)),
        "conjugate": torch.tensor([1 + 2j]).conj(),
    }
    assert numbers(saved(checkpoint), "torch") == {
        "model.weight": ("float32", layer.weight.tolist()),
        "model.bias": ("float32", layer.bias.tolist()),
        "parts.0": ("float32", [[1, 1]]),
        "parts.1.0": ("int64", 7),
        "parameter": ("float32", [1]),
        "conjugate": ("complex64", [1 - 2j]),
    }


def test_a_tensor_saved_by_itself_is_called_as_numpy_calls_it() -> None:
    torch = pytest.importorskip("torch")
    assert numbers(saved(torch.ones(1)), "torch") == {"arr_0": ("float32", [1])}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float64", "uint8", "bool"])
def test_torch_tensors_of_every_type_are_decoded_as_torch_does(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    tensor = torch.arange(-6, 6).to(getattr(torch, dtype))
    expected = {"w": (dtype, tensor.to(torch.float64).tolist())}
    assert numbers(saved({"w": tensor}), "torch") == expected
    assert numbers(formats.dump({"w": tensor})[0], "safetensors") == expected


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_all_codes_of_a_narrow_float_are_decoded_as_torch_does(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    codes = numpy.arange(256, dtype="u1")
    theirs = torch.from_numpy(codes).view(getattr(torch, dtype)).to(torch.float32).numpy()
    assert numpy.array_equal(decoded(codes, dtype), theirs, equal_nan=True)


class _Marks:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("open('ran', 'w').close()",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_torch_file_that_wants_to_run_code_is_unreadable_and_runs_none(folder: Path, protocol: int) -> None:
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(1), "evil": _Marks()}, buffer, pickle_protocol=protocol)
    with pytest.raises(Unreadable):
        weights.arrays(buffer.getvalue(), "torch")
    assert not (folder / "ran").exists()
    torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    assert (folder / "ran").exists(), "the file must be one that runs code when it may"


def test_a_whole_torch_module_is_unreadable_and_its_class_named() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(Unreadable, match=r"without running torch\.nn\.modules\.linear\.Linear: keep a state_dict"):
        weights.arrays(saved(torch.nn.Linear(1, 1)), "torch")


def test_torch_script_is_unreadable() -> None:
    torch = pytest.importorskip("torch")
    found = saved({"w": torch.ones(1)})
    buffer = io.BytesIO(found)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("archive/constants.pkl", pickle.dumps(()))
    with pytest.raises(Unreadable, match="TorchScript"):
        weights.arrays(buffer.getvalue(), "torch")


def _stretched() -> bytes:
    torch = pytest.importorskip("torch")
    return saved({"w": torch.ones(1).expand(10**12)})


def _looped() -> bytes:
    one: list[Any] = []
    one.append(one)
    return saved(one)


def _laughing() -> bytes:
    laugh: list[Any] = []
    for _ in range(100):
        laugh = [laugh, laugh]
    return saved(laugh)


def _compressed() -> bytes:
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved({"w": torch.ones(9)}))) as old, zipfile.ZipFile(buffer, "w", 8) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    return buffer.getvalue()


def _sparse() -> bytes:
    torch = pytest.importorskip("torch")
    return saved({"w": torch.sparse_coo_tensor([[0]], [1.0], (10**12,), check_invariants=True)})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_stretched, "size that it claims"),
        (_looped, "RecursionError"),
        (_laughing, "nested beyond reason"),
        (_compressed, "is compressed"),
        (_sparse, "size that it claims"),
        (lambda: saved({"epoch": 1}), "holds no tensors"),
        (lambda: saved({"w": 1})[:-30], "can't be read"),
        (lambda: pickle.dumps({"w": 1}), "no archive"),
    ],
)
def test_torch_files_that_lie_are_unreadable_and_say_why(make: Any, reason: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(Unreadable, match=reason):
        for tensor in weights.arrays(make(), "torch").values():
            tensor.read()


def _onnx(nodes: list[Any], initializers: list[Any]) -> bytes:
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "g", [value("x", onnx.TensorProto.FLOAT, [1])], [value("y", onnx.TensorProto.FLOAT, [1])], initializers
    )
    return bytes(onnx.helper.make_model(graph).SerializeToString())


def test_onnx_initializers_constants_and_classic_models_are_found() -> None:
    onnx = pytest.importorskip("onnx")
    make, node, kind = onnx.helper.make_tensor, onnx.helper.make_node, onnx.TensorProto
    body = onnx.helper.make_graph([node("Constant", [], ["inner"], value=make("", kind.INT64, [1], [5]))], "b", [], [])
    nodes = [
        node("Constant", [], ["two"], value=make("", kind.FLOAT, [], [2.0])),
        node("If", ["x"], ["if"], then_branch=body),
        node("LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml", coefficients=[0.5, 1.5], targets=1),
        node("Conv", ["x"], ["z"], kernel_shape=[3, 3]),
    ]
    raw = onnx.numpy_helper.from_array(numpy.array([[1, 2]], "f4"), "raw")
    initializers = [raw, make("b", kind.BFLOAT16, [2], [1.0, -2.0]), make("labels", kind.STRING, [1], [b"a"])]
    assert numbers(_onnx(nodes, initializers), "onnx") == {
        "raw": ("float32", [[1, 2]]),
        "b": ("bfloat16", [1, -2]),
        "two.value": ("float32", 2),
        "inner.value": ("int64", [5]),
        "y.coefficients": ("float32", [0.5, 1.5]),
    }


def test_onnx_tensors_that_lie_elsewhere_or_about_their_size_are_unreadable() -> None:
    onnx = pytest.importorskip("onnx")
    outside = onnx.numpy_helper.from_array(numpy.ones(2, "f4"), "w")
    outside.data_location = onnx.TensorProto.EXTERNAL
    liar = onnx.numpy_helper.from_array(numpy.ones(2, "f4"), "w")
    liar.dims[0] = 10**12
    for proto, reason in ((outside, "'w' lies in another file"), (liar, "can't be read")):
        with pytest.raises(Unreadable, match=reason):
            weights.arrays(_onnx([], [proto]), "onnx")["w"].read()


def test_onnx_numbers_of_four_bits_can_be_compared() -> None:
    onnx = pytest.importorskip("onnx")
    a, b = ({"w": onnx.helper.make_tensor("w", onnx.TensorProto.INT4, [3], numbers)} for numbers in ([1, -2, 7], [1, -3, 7]))
    (change,) = compare_weights(*(weights.arrays(_onnx([], list(one.values())), "onnx") for one in (a, b)))
    assert (change.before, change.differing) == (Kind("int4", (3,)), 1)


@pytest.mark.parametrize("data", [b"", b"\xff" * 9, b"\x0a\x01x" * 9, b"\x3a\xff\xff\xff\xff\x0f"])
def test_what_is_no_onnx_model_is_unreadable(data: bytes) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(Unreadable, match="this onnx"):
        weights.arrays(data, "onnx")


@pytest.mark.parametrize("booster", ["gbtree", "gblinear", "dart"])
def test_xgboost_says_the_same_in_json_and_ubjson(booster: str) -> None:
    xgboost = pytest.importorskip("xgboost")
    rows = numpy.random.default_rng(0).normal(size=(200, 3))
    data = xgboost.DMatrix(rows, (rows[:, 0] > 0).astype(int))
    model = xgboost.train({"objective": "binary:logistic", "booster": booster, "nthread": 1}, data, 3)
    text = numbers(bytes(model.save_raw("json")), "xgboost")
    assert text == numbers(bytes(model.save_raw("ubj")), "xgboost")
    assert len(text["base_score"][1]) == 1
    leaves = [name for name in text if name.endswith(("split_conditions", "weights"))]
    assert leaves
    assert all(text[name][0] == "float32" for name in leaves)


def test_lightgbm_leaves_are_those_that_it_predicts_with() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    rows = numpy.random.default_rng(0).normal(size=(200, 3))
    model = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(rows, rows[:, 0]), 3)
    found = weights.arrays(formats.dump(model)[0], "lightgbm")
    assert [name for name in found if name.endswith("leaf_value")] == [f"Tree={n}.leaf_value" for n in range(3)]
    for tree in range(3):
        leaf = model.predict(rows, pred_leaf=True)[:, tree]
        theirs = model.predict(rows, start_iteration=tree, num_iteration=1)
        assert numpy.array_equal(found[f"Tree={tree}.leaf_value"].read()[leaf], theirs)
