"""Arrays as windows on the bytes that were given, and files that lie about their size."""

from __future__ import annotations

import io
import json
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from ifpdb.store import tensors


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    tensors.dump_npy(array, buffer)
    return buffer.getvalue()


def safetensors(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def mapped(path: Path, data: bytes) -> mmap.mmap:
    path.write_bytes(data)
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def holds(data: mmap.mmap, array: Any) -> bool:
    """Whether an array lies within a mapping's memory."""
    outer = numpy.frombuffer(data, "u1")
    return bool(numpy.shares_memory(outer, array))


@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
def test_any_array_comes_back_from_npy(array: Any) -> None:
    loaded = tensors.load_npy(npy(array))
    assert (loaded.dtype, loaded.shape, loaded.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize("array", [numpy.arange(6.0).reshape(2, 3), numpy.arange(6).reshape(2, 3).T])
def test_an_npy_array_is_a_window_on_the_file_that_can_be_written_without_changing_it(folder: Path, array: Any) -> None:
    data = mapped(folder / "a.npy", npy(array))
    loaded = tensors.load_npy(data)
    assert holds(data, loaded)
    loaded[0, 0] = 7
    assert numpy.array_equal(tensors.load_npy((folder / "a.npy").read_bytes()), array)


def test_a_safetensors_array_is_a_window_on_the_file(folder: Path) -> None:
    body = numpy.arange(6, dtype="<f4").tobytes() + b"\x01"
    header = {
        "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BOOL", "shape": [1], "data_offsets": [24, 25]},
    }
    data = mapped(folder / "a.safetensors", safetensors(header, body))
    loaded = tensors.load_safetensors(data)
    assert loaded["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert loaded["b"].tolist() == [True]
    assert holds(data, loaded["w"])


def entry(**changed: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changed}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        safetensors({}, length=1 << 62),
        safetensors([]),
        safetensors({"w": 1}),
        safetensors(entry(data_offsets=[0, 9]), bytes(8)),
        safetensors(entry(data_offsets=[-1, 7]), bytes(8)),
        safetensors(entry(data_offsets=[8, 0]), bytes(8)),
        safetensors(entry(data_offsets=[0.0, 8]), bytes(8)),
        safetensors(entry(shape=[3]), bytes(8)),
        safetensors(entry(shape=[-2]), bytes(8)),
        safetensors(entry(shape=[True, 2]), bytes(8)),
        safetensors(entry(dtype="BF16"), bytes(8)),
        safetensors(entry(dtype="object"), bytes(8)),
    ],
)
def test_a_safetensors_file_that_lies_is_not_loaded(data: bytes) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        tensors.load_safetensors(data)


@pytest.mark.parametrize("data", [b"", b"text", npy(numpy.arange(3))[:-1], npy(numpy.arange(3))[:20]])
def test_an_npy_file_that_is_cut_is_not_loaded(data: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        tensors.load_npy(data)


def test_the_arrays_of_an_npz_come_by_name() -> None:
    buffer = io.BytesIO()
    numpy.savez(buffer, a=numpy.arange(2), b=numpy.ones(1))
    assert {name: array.tolist() for name, array in tensors.load_npz(buffer.getvalue()).items()} == {"a": [0, 1], "b": [1.0]}
