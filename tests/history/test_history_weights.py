"""What became of weights: against numpy's plain formulas, over every kind of number, and from blob to sentence."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ifpdb.digest import canonical
from ifpdb.errors import NotFound
from ifpdb.history.weights import Kind, TensorChange, compare_artifacts, compare_weights, rounding_limit, summary
from ifpdb.records import Artifact
from ifpdb.store.blobs import BlobStore
from ifpdb.store.weights import Tensor

SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
FLOATS = st.sampled_from(["<f4", ">f4", "<f8", "<f2", "<c8", "<c16"])


def tensors(**found: Any) -> dict[str, Tensor]:
    return {name: Tensor(array.dtype.name, array.shape, lambda array=array: array) for name, array in found.items()}


def one(a: Any, b: Any) -> TensorChange:
    """What became of a single tensor."""
    (change,) = compare_weights(tensors(w=numpy.asarray(a)), tensors(w=numpy.asarray(b)))
    return change


def npz(**found: Any) -> bytes:
    buffer = io.BytesIO()
    numpy.savez_compressed(buffer, **found)
    return buffer.getvalue()


@st.composite
def pairs(draw: st.DrawFn, dtypes: st.SearchStrategy[str], **elements: Any) -> tuple[Any, Any]:
    """Two arrays of one type and shape, of which some elements are alike and either may lie in Fortran's order."""
    dtype, shape = numpy.dtype(draw(dtypes)), draw(SHAPES)
    a, b = (draw(arrays.arrays(dtype, shape, elements=elements or None)) for _ in range(2))
    b = numpy.where(draw(arrays.arrays(bool, shape)), a, b).astype(dtype)
    orders = draw(st.tuples(st.sampled_from("CF"), st.sampled_from("CF")))
    return numpy.asarray(a, order=orders[0]), numpy.asarray(b, order=orders[1])


@given(pairs(FLOATS, allow_nan=False, allow_infinity=False))
def test_figures_are_those_of_the_plain_formulas(pair: tuple[Any, Any]) -> None:
    a, b = ((array / 1024).astype(array.dtype) for array in pair)  # room for sums in plain doubles
    change = one(a, b)
    wide = "c16" if a.dtype.kind == "c" else "f8"
    x, y = a.astype(wide).reshape(-1), b.astype(wide).reshape(-1)
    differing = sum(p.tobytes() != q.tobytes() for p, q in zip(a.reshape(-1), b.reshape(-1), strict=True))
    sizes = abs(y - x)
    norm, distance = math.hypot(*abs(x)), math.hypot(*sizes)
    assert change.change == ("changed" if differing else "unchanged")
    assert change.differing == differing
    assert change.max_abs == pytest.approx(sizes.max(initial=0))
    assert change.mean_abs == pytest.approx(sizes.mean() if x.size else 0)
    assert change.relative == pytest.approx(distance / norm if norm else math.inf if distance else 0)


@given(pairs(st.sampled_from(["f4", "f8", "f2"])))
def test_what_is_not_finite_is_counted_and_left_out(pair: tuple[Any, Any]) -> None:
    a, b = pair
    change = one(a, b)
    if change.change == "unchanged":
        return
    x, y = a.astype("f8"), b.astype("f8")
    finite = numpy.isfinite(x) & numpy.isfinite(y)
    assert change.not_finite == numpy.count_nonzero(~finite)
    with numpy.errstate(over="ignore"):
        assert change.max_abs == abs(y[finite] - x[finite]).max(initial=0)
    if not numpy.array_equal(x[~finite], y[~finite], equal_nan=True):
        assert change.relative == math.inf
        assert not change.is_rounding
    canonical(change.as_dict())


@given(pairs(st.sampled_from(["?", "i1", "<u8", ">i4", "S3", "<U2", "<M8[s]"])))
def test_of_what_has_no_size_the_differing_elements_are_counted(pair: tuple[Any, Any]) -> None:
    a, b = pair
    change = one(a, b)
    assert change.differing == sum(p.tobytes() != q.tobytes() for p, q in zip(a.reshape(-1), b.reshape(-1), strict=True))
    assert change.relative is None


def test_rows_of_a_structure_are_compared_as_bytes() -> None:
    a = numpy.array([(1, 2.5), (2, 3.5)], [("n", "<i4"), ("x", ">f8")])
    b = a.copy()
    b["x"][1] = 4
    assert (one(a, a).differing, one(a, b).differing) == (0, 1)


@pytest.mark.parametrize("scale", [1e-200, 1e-310, 1.0, 1e200])
def test_the_relative_norm_outlives_squares_beyond_a_double(scale: float) -> None:
    assert one(numpy.array([3.0, 4.0]) * scale, numpy.array([3.0, 3.0]) * scale).relative == pytest.approx(0.2)


def test_a_tensor_larger_than_a_chunk_is_seen_to_its_end() -> None:
    a = numpy.ones(3 * (1 << 16) + 5, "f4")
    b = a.copy()
    b[-1] = 3
    change = one(a, b)
    assert (change.differing, change.max_abs, change.mean_abs) == (1, 2.0, pytest.approx(2 / a.size))
    assert change.relative == pytest.approx(2 / math.sqrt(a.size))


def test_what_became_of_each_tensor_is_told() -> None:
    ones = numpy.ones(2, "f4")
    a = tensors(gone=ones, same=ones, wider=ones, retyped=ones, labels=numpy.array([1, 2]))
    b = tensors(same=ones, wider=numpy.ones((2, 1), "f4"), retyped=ones.astype("i8"), labels=numpy.array([1, 3]), new=ones)
    kinds = [(c.name, c.change, c.differing) for c in compare_weights(a, b)]
    assert kinds == [
        ("gone", "removed", None), ("same", "unchanged", 0), ("wider", "changed", None), ("retyped", "changed", None),
        ("labels", "changed", 1), ("new", "added", None),
    ]  # fmt: skip
    wider = compare_weights(a, b)[2]
    assert (wider.before, wider.after) == (Kind("float32", (2,)), Kind("float32", (2, 1)))


def test_numbers_of_two_types_are_compared_as_numbers() -> None:
    exact = one(numpy.array([1.0, 2.0], "f4"), numpy.array([1.0, 2.0], "f8"))
    assert (exact.change, exact.differing, exact.max_abs) == ("changed", 0, 0.0)
    numbers = numpy.random.default_rng(0).normal(size=1000)
    assert one(numbers.astype("f4"), numbers.astype("f2")).is_rounding


def test_bits_that_numpy_has_no_type_for_are_compared_as_the_numbers_they_are() -> None:
    def bfloat16(*values: float) -> dict[str, Tensor]:
        bits = (numpy.array(values, "<f4").view("u4") >> 16).astype("u2")
        return {"w": Tensor("bfloat16", bits.shape, lambda: bits)}

    (change,) = compare_weights(bfloat16(1, 2, -0.5), bfloat16(1, 2.5, -0.5))
    assert (change.differing, change.max_abs, change.mean_abs) == (1, 0.5, pytest.approx(0.5 / 3))


def test_zeros_that_change_are_infinitely_other_and_json_can_say_so() -> None:
    change = one(numpy.zeros(2), numpy.array([0.0, 1e-9]))
    assert change.relative == math.inf
    assert change.as_dict() == {
        "name": "w", "change": "changed", "before": {"dtype": "float64", "shape": (2,)},
        "after": {"dtype": "float64", "shape": (2,)}, "differing": 1, "max_abs": 1e-9, "mean_abs": 5e-10,
        "relative": "Infinity", "not_finite": 0,
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_a_sum_in_another_order_is_rounding_and_a_part_in_a_thousand_is_not(dtype: str) -> None:
    rows = numpy.random.default_rng(0).normal(size=(500, 300)).astype(dtype)
    before, after = rows.cumsum(axis=0)[-1], rows[::-1].cumsum(axis=0)[-1]
    assert one(before, after).change == "changed"
    assert one(before, after).is_rounding
    assert not one(before, before * numpy.dtype(dtype).type(1.001)).is_rounding


def test_whole_numbers_are_never_rounded() -> None:
    assert not one(numpy.array([10**9]), numpy.array([10**9 + 1])).is_rounding


@pytest.mark.parametrize(
    ("before", "after", "limit"),
    [
        ("float64", "float64", 2**-26),
        ("float32", "float32", 2**-11.5),
        ("bfloat16", "bfloat16", 2**-11.5),
        ("float32", "float64", 2**-11.5),
        ("float32", "bfloat16", 2**-7),
    ],
)
def test_half_of_the_digits_must_agree_for_rounding(before: str, after: str, limit: float) -> None:
    assert rounding_limit(before, after) == rounding_limit(after, before) == pytest.approx(limit)


W = numpy.array([3.0, 4.0], "f4")
SUMMARIES: list[tuple[Mapping[str, Any], Mapping[str, Any], str]] = [
    ({}, {}, "there is no tensor to compare"),
    ({"w": W}, {"w": W}, "1 tensor, the same bit for bit"),
    (
        {"w": W, "b": W},
        {"w": W, "b": numpy.nextafter(W, 9)},
        "1 of 2 tensors differs by at most 4.8e-07 (relative norm 1.1e-07, most in 'b'): "
        "rounding, as another machine would give",
    ),
    (
        {"w": W, "b": W},
        {"w": W * 2, "b": W + 1},
        "2 of 2 tensors differ by at most 4 (relative norm 1, most in 'w'): more than rounding, retrained",
    ),
    (
        {"w": W, "old": W, "v": W},
        {"w": W, "new": W, "more": W, "v": numpy.ones(3)},
        "2 tensors added, 1 tensor removed, 1 tensor of another shape or type; nothing else differs",
    ),
    (
        {"w": W},
        {"w": numpy.nextafter(W, 9), "new": W},
        "1 tensor added; 1 of 2 tensors differs by at most 4.8e-07 (relative norm 1.1e-07, most in 'w'): "
        "more than rounding, retrained",
    ),
    (
        {"n": numpy.array([1, 2, 3])},
        {"n": numpy.array([1, 3, 4])},
        "1 of 1 tensor differs, most in 'n' (2 values): more than rounding, retrained",
    ),
    (
        {"w": W},
        {"w": numpy.array([3, math.nan], "f4")},
        "1 of 1 tensor differs by at most 0 (relative norm inf, most in 'w', with 1 NaN or infinite): "
        "more than rounding, retrained",
    ),
]


@pytest.mark.parametrize(("before", "after", "said"), SUMMARIES)
def test_the_whole_is_said_in_a_sentence(before: Mapping[str, Any], after: Mapping[str, Any], said: str) -> None:
    assert summary(compare_weights(tensors(**before), tensors(**after))) == said


def kept(blobs: BlobStore, data: bytes, format: str) -> Artifact:
    return blobs.put_bytes(data, name="model", format=format)


def test_artifacts_of_two_formats_are_compared_by_names(folder: Path) -> None:
    blobs = BlobStore(folder / "cas")
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    safetensors = len(header).to_bytes(8, "little") + header + W.tobytes()
    a, b = kept(blobs, npz(w=W), "npz"), kept(blobs, safetensors, "safetensors")
    assert compare_artifacts(blobs, a, b) == (
        [TensorChange("w", "unchanged", Kind("float32", (2,)), Kind("float32", (2,)), 0, 0.0, 0.0, 0.0)],
        None,
    )


def test_the_same_bytes_are_the_same_unread(folder: Path) -> None:
    gone = Artifact("model", "sha256:" + "a" * 64, 10, "pickle", "file")
    found, reason = compare_artifacts(BlobStore(folder / "cas"), gone, gone)
    assert (found, reason) == ([TensorChange("model", "unchanged")], None)
    assert summary(found) == "1 file, the same bit for bit"


@pytest.mark.parametrize(
    ("data", "format", "reason"),
    [
        (pickle.dumps(1), "pickle", "pickle can't be compared without running what it holds"),
        (b"CBM1", "catboost", "catboost can't be compared tensor by tensor"),
        (b"hello", "bytes", "a file of no known format can't be compared tensor by tensor"),
        (b"PK", "npz", "this npz can't be read (BadZipFile: File is not a zip file)"),
        (b"tree\n", "lightgbm", "this lightgbm can't be compared: it ends too early"),
    ],
)
def test_why_artifacts_cannot_be_compared_is_said(folder: Path, data: bytes, format: str, reason: str) -> None:
    blobs = BlobStore(folder / "cas")
    assert compare_artifacts(blobs, kept(blobs, npz(w=W), "npz"), kept(blobs, data, format)) == ([], reason)


def test_a_member_that_is_damaged_where_it_is_read_is_a_reason_too(folder: Path) -> None:
    blobs = BlobStore(folder / "cas")
    numbers = numpy.random.default_rng(0).normal(size=1000)
    damaged = bytearray(npz(w=numbers))
    damaged[4000] ^= 1
    found, reason = compare_artifacts(blobs, kept(blobs, npz(w=numbers), "npz"), kept(blobs, bytes(damaged), "npz"))
    assert found == []
    assert reason is not None
    assert reason.startswith("this npz can't be ")


def test_bytes_that_are_not_here_are_not_found(folder: Path) -> None:
    blobs = BlobStore(folder / "cas")
    gone = Artifact("model", "sha256:" + "a" * 64, 10, "npz", "file")
    with pytest.raises(NotFound):
        compare_artifacts(blobs, kept(blobs, npz(w=W), "npz"), gone)


def test_folders_are_compared_path_by_path(folder: Path) -> None:
    blobs = BlobStore(folder / "cas")

    def tree(name: str, **files: bytes) -> Artifact:
        for path, data in files.items():
            (folder / name).mkdir(exist_ok=True)
            (folder / name / path.replace("_", ".")).write_bytes(data)
        return blobs.put_path(folder / name, name="model", format="bytes")

    buffer = io.BytesIO()
    numpy.save(buffer, W)
    a = tree("a", same_pkl=b"s", gone_txt=b"g", w_npz=npz(w=W, b=W), x_npy=buffer.getvalue(), config_json=b"{}")
    b = tree("b", same_pkl=b"s", new_txt=b"n", w_npz=npz(w=W, b=W * 2), x_npy=b"\x93NUMPY", config_json=b"{ }")
    found, reason = compare_artifacts(blobs, a, b)
    assert [(one.name, one.change) for one in found] == [
        ("gone.txt", "removed"), ("new.txt", "added"), ("same.pkl", "unchanged"),
        ("w.npz:w", "unchanged"), ("w.npz:b", "changed"),
    ]  # fmt: skip
    assert reason is not None
    assert reason.startswith("config.json: a file of no known format can't be compared tensor by tensor; x.npy: this npy can't")
    assert summary(found).startswith("1 file added, 1 file removed; 1 of 2 tensors differs by at most 4 (relative norm 1")
    assert compare_artifacts(blobs, a, kept(blobs, npz(w=W), "npz")) == ([], "a file can't be compared with a folder")
