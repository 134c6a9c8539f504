"""Tensors found in bytes without running code, and files that lie about what they hold."""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import sys
import tracemalloc
import zipfile
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ifpdb.store import weights
from ifpdb.store.weights import Unreadable, decoded

PLAIN = arrays.arrays(
    st.sampled_from(["?", "<i2", ">i4", "u8", "<f2", ">f4", "<f8", "<c8", "S3", "<U2"]),
    arrays.array_shapes(min_dims=0, min_side=0),
)


def npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    numpy.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def npz(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def safetensors(header: Any, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def about(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@given(PLAIN)
def test_any_array_is_found_in_npy_and_npz(array: Any) -> None:
    for found in (weights.arrays(npy(array), "npy")["arr_0"], weights.arrays(npz(w=npy(array)), "npz")["w"]):
        back = found.read()
        assert (found.dtype, found.shape) == (array.dtype.name, array.shape)
        assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_safetensors_of_any_library_are_windows_on_the_bytes() -> None:
    body = numpy.arange(4, dtype="<f4").tobytes()
    data = safetensors({"__metadata__": {"format": "pt"}, "w": about("F32", [2, 2], 0, 16)}, body)
    found = weights.arrays(data, "safetensors")["w"]
    assert (found.dtype, found.shape, found.read().tolist()) == ("float32", (2, 2), [[0, 1], [2, 3]])
    assert numpy.shares_memory(found.read(), numpy.frombuffer(data, "u1"))


@pytest.mark.parametrize(
    ("dtype", "name", "bits", "numbers"),
    [
        ("BF16", "bfloat16", [0x3F80, 0xC000, 0x7F80, 0x0001], [1, -2, math.inf, 2.0**-133]),
        ("F8_E5M2", "float8_e5m2", [0x3C, 0xC0, 0x7C, 0x01], [1, -2, math.inf, 2.0**-16]),
        ("F8_E4M3", "float8_e4m3fn", [0x38, 0xC0, 0x7E, 0x81], [1, -2, 448, -(2.0**-9)]),
    ],
)
def test_narrow_floats_are_decoded(dtype: str, name: str, bits: list[int], numbers: list[float]) -> None:
    raw = numpy.array(bits, "<u2" if dtype == "BF16" else "u1").tobytes()
    found = weights.arrays(safetensors({"w": about(dtype, [4], 0, len(raw))}, raw), "safetensors")["w"]
    assert found.dtype == name
    assert decoded(found.read(), found.dtype).tolist() == numbers


def test_the_only_gaps_of_float8_e4m3fn_are_two_nans() -> None:
    numbers = decoded(numpy.arange(256, dtype="u1"), "float8_e4m3fn")
    assert numpy.flatnonzero(numpy.isnan(numbers)).tolist() == [127, 255]


def test_types_that_nobody_can_decode_are_kept_as_bytes() -> None:
    found = weights.arrays(safetensors({"w": about("F4", [3, 2], 0, 3)}, b"\x01\x02\x03"), "safetensors")["w"]
    assert (found.dtype, found.shape, found.read().tolist()) == ("F4 bytes", (3,), [1, 2, 3])


def test_xgboost_lists_of_numbers_are_found_as_floats_and_integers() -> None:
    trees = [{"id": 0, "base_weights": [1.5, -2], "left_children": [1, -1], "categories": [], "tree_param": {"num_nodes": "2"}}]
    model = {
        "gradient_booster": {"model": {"trees": trees}, "name": "gbtree"},
        "learner_model_param": {"base_score": "5E-1"},
    }
    found = weights.arrays(json.dumps({"learner": model, "version": [3, 2, 0]}).encode(), "xgboost")
    assert {name: (one.dtype, one.read().tolist()) for name, one in found.items()} == {
        "base_score": ("float32", [0.5]),
        "gradient_booster.model.trees.0.base_weights": ("float32", [1.5, -2]),
        "gradient_booster.model.trees.0.left_children": ("int64", [1, -1]),
    }


def test_lightgbm_lines_of_numbers_are_found_in_each_tree() -> None:
    text = b"tree\nversion=v4\nnum_class=1\n\nTree=0\nleaf_value=0.5 -1\ncat=\n\nTree=1\nleaf_value=2\n\nend of trees\n\nx:1\n"
    found = weights.arrays(text, "lightgbm")
    assert {name: one.read().tolist() for name, one in found.items()} == {
        "Tree=0.leaf_value": [0.5, -1],
        "Tree=1.leaf_value": [2],
    }


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("open('ran', 'w').close()",)


@pytest.mark.parametrize("format", ["pickle", "joblib", "keras"])
def test_formats_that_run_code_are_refused_unread(format: str) -> None:
    with pytest.raises(Unreadable, match=f"{format} can't be compared without running what it holds"):
        weights.arrays(pickle.dumps(_Runs()), format)


OBJECTS = npy(numpy.array([None]), allow_pickle=True)
LIARS: list[tuple[str, bytes, str]] = [
    ("npy", b"", "can't be read"),
    ("npy", OBJECTS, "pickled objects"),
    ("npy", npy(numpy.zeros(10**9, "V0")), "no size"),
    ("npy", npy(numpy.ones(9))[:-1], "can't be read"),
    ("npy", npy(numpy.ones(1), version=(3, 0)), "beyond Latin-1"),
    ("npz", b"", "not a zip file"),
    ("npz", npz(), "holds no tensors"),
    ("npz", npz(w=OBJECTS), "pickled objects"),
    ("npz", npz(w=npy(numpy.ones(9))[:-1]), "'?w.npy'? doesn't have the size"),
    ("npz", npz(w=npy(numpy.ones(9)) + b"more"), "doesn't have the size"),
    ("npz", npz(w=npy(numpy.ones(1), version=(3, 0))), "beyond Latin-1"),
    ("npz", npz(w=b"hello"), "magic"),
    ("safetensors", b"", "beyond the file"),
    ("safetensors", b"\xff" * 16, "beyond the file"),
    ("safetensors", safetensors([]), "can't be read"),
    ("safetensors", safetensors({}), "holds no tensors"),
    ("safetensors", safetensors({"w": about("F32", [2], 0, 8)}), "beyond the file"),
    ("safetensors", safetensors({"w": about("F32", [-2], 0, 8)}, b"12345678"), "beyond the file"),
    ("safetensors", safetensors({"w": about("F32", [3], 0, 8)}, b"12345678"), "doesn't have the size"),
    ("safetensors", safetensors({"w": about("F32", [10**30, 0, 10**30], 0, 0)}), "can't be read"),
    ("safetensors", safetensors({"w": {"dtype": "F32"}}), "can't be read"),
    ("xgboost", b"{}", "KeyError"),
    ("xgboost", b"[" * 100_000, "can't be read"),
    ("xgboost", b"{L" + b"\0" * 7, "ends too early"),
    ("xgboost", b"{Li", "ends too early"),
    ("xgboost", b"{i\x01a" * 100_000, "RecursionError"),
    ("xgboost", b"{i\x01a[$d#L\x7f" + b"\xff" * 7, "ends too early"),
    ("xgboost", b"{i\x01a[$Z#L\x7f" + b"\xff" * 7, "KeyError"),
    ("lightgbm", b"tree\nTree=0\nleaf_value=1 2\n", "ends too early"),
    ("lightgbm", b"tree\nTree=0\nleaf_value=1 x\nend of trees\n", "could not convert"),
    (
        "lightgbm",
        b"tree\nTree=0\nleaf_value=1\nTree=0\nleaf_value=1\nend of trees\n",
        "two that are called 'Tree=0.leaf_value'",
    ),
    ("lightgbm", b"tree\n\xff", "UnicodeDecodeError"),
]


@pytest.mark.parametrize(("format", "data", "reason"), LIARS)
def test_files_that_lie_are_unreadable_and_say_why(format: str, data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        for tensor in weights.arrays(data, format).values():
            tensor.read()


@pytest.mark.parametrize("format", ["npy", "npz", "safetensors", "xgboost", "lightgbm"])
@given(st.binary(max_size=300))
def test_noise_is_unreadable_whatever_it_is(format: str, noise: bytes) -> None:
    for start in (b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"{L", b"tree\nTree=0\na="):
        with pytest.raises(Unreadable):
            for tensor in weights.arrays(start + noise, format).values():
                tensor.read()


def _swelling() -> bytes:
    """An npz of 300 KB that holds 300 MB of zeros."""
    zeros = npy(numpy.zeros(0, "f4")).replace(b"(0,), }", b"(78643200,), }", 1)
    zeros = zeros.replace(b" " * 7 + b"\n", b"\n", 1)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("w.npy", "w", force_zip64=True) as member:
        member.write(zeros)
        for _ in range(300):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


def test_a_member_that_swells_fills_no_memory() -> None:
    found = weights.arrays(_swelling(), "npz")["w"]
    assert found.shape == (78643200,)
    tracemalloc.start()
    try:
        zeros = found.read()
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    assert zeros[-1] == 0


def test_a_member_that_unpacks_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ifpdb.store.containers.UNPACKED", 1 << 20)
    found = weights.arrays(npz(w=npy(numpy.zeros(1 << 18))), "npz")["w"]
    with pytest.raises(Unreadable, match="unpacks to more"):
        found.read()


def test_more_tensors_than_a_file_can_mean_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MEMBERS", 2)
    assert len(weights.arrays(npz(a=npy(numpy.ones(1)), b=npy(numpy.ones(1))), "npz")) == 2
    with pytest.raises(Unreadable, match="too many tensors"):
        weights.arrays(npz(a=npy(numpy.ones(1)), b=npy(numpy.ones(1)), c=npy(numpy.ones(1))), "npz")


@pytest.mark.parametrize(("format", "package"), [("torch", "torch"), ("onnx", "onnx")])
def test_a_missing_package_is_a_reason(monkeypatch: pytest.MonkeyPatch, format: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Unreadable, match=f"reading {format} needs {package}: install it"):
        weights.arrays(b"PK\x03\x04", format)
