"""Arrays as files, npy and safetensors, loaded without a copy: each array is a window on the bytes that were given.

Those bytes are the very ones that were verified. Nothing here runs code: both formats hold numbers and a header.
"""

from __future__ import annotations

import io
import json
import mmap
from typing import IO, Any, TypeAlias

Buffer: TypeAlias = bytes | mmap.mmap

TORCH, NUMPY = {"format": "pt"}, {"format": "np"}
"""The metadata that says which library's tensors a safetensors file was made of, as the Hugging Face libraries write it."""

_NUMBERS = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
}
"""safetensors' types and numpy's; what numpy has no type for (bfloat16, float8) is read by torch alone."""

_TORCH_NAMES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "C64": "complex64",
}
_HEADER = 100 << 20


def dump_npy(array: Any, file: IO[bytes]) -> None:
    """Write an array as npy."""
    import numpy

    numpy.save(file, array, allow_pickle=False)


def load_npy(data: Buffer) -> Any:
    """The array that an npy file holds, as a window on `data`. Raises ValueError for what is no such file."""
    import numpy

    file = io.BytesIO(data) if isinstance(data, bytes) else data
    version = numpy.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        return numpy.load(io.BytesIO(data), allow_pickle=False)
    read = numpy.lib.format.read_array_header_1_0 if version == (1, 0) else numpy.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    return numpy.ndarray(shape, dtype, buffer=data, offset=file.tell(), order="F" if fortran else "C")


def load_npz(data: Buffer) -> Any:
    """The arrays of an npz file by name."""
    import numpy

    with numpy.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def dump_safetensors(tensors: dict[str, Any], file: IO[bytes]) -> None:
    """Write a dictionary of numpy arrays or of torch tensors as safetensors, noting which."""
    if type(next(iter(tensors.values()))).__module__.partition(".")[0] == "numpy":
        import numpy
        from safetensors.numpy import save

        plain = {key: numpy.asarray(value, value.dtype.newbyteorder("<"), order="C") for key, value in tensors.items()}
        file.write(save(plain, NUMPY))
    else:
        from safetensors.torch import save as save_torch

        file.write(save_torch(tensors, TORCH))


def load_safetensors(data: Buffer) -> Any:
    """The tensors of a safetensors file by name, as windows on `data`: torch's where its metadata says so, else numpy's.

    The layout is https://github.com/huggingface/safetensors#format. Raises ValueError for what is no such file.
    """
    header, start = _header(data)
    windows = {name: _window(name, about, len(data) - start) for name, about in header.items() if name != "__metadata__"}
    if header.get("__metadata__", {}).get("format") == "pt":
        return {name: _torch_tensor(data, start, *window) for name, window in windows.items()}
    return {name: _numpy_array(data, start, *window) for name, window in windows.items()}


def _header(data: Buffer) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, _HEADER):
        raise ValueError("the header reaches beyond the file")
    header = json.loads(data[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    return header, 8 + length


def _window(name: str, about: Any, room: int) -> tuple[str, tuple[int, ...], int, int]:
    """(type, shape, begin, end) of a tensor, checked against the bytes there are."""
    dtype, shape, (begin, end) = about["dtype"], tuple(about["shape"]), about["data_offsets"]
    if any(type(number) is not int or number < 0 for number in (*shape, begin, end)) or not begin <= end <= room:
        raise ValueError(f"tensor {name!r} reaches beyond the file")
    return dtype, shape, begin, end


def _numpy_array(data: Buffer, start: int, dtype: str, shape: tuple[int, ...], begin: int, end: int) -> Any:
    import numpy

    if dtype not in _NUMBERS:
        raise ValueError(f"numpy has no type for {dtype}")
    flat = numpy.frombuffer(memoryview(data)[start + begin : start + end], dtype=_NUMBERS[dtype])
    return flat.reshape(shape)


def _torch_tensor(data: Buffer, start: int, dtype: str, shape: tuple[int, ...], begin: int, end: int) -> Any:
    import torch

    if dtype not in _TORCH_NAMES:
        raise ValueError(f"there is no reader for tensors of {dtype}")
    kind = getattr(torch, _TORCH_NAMES[dtype])
    if begin == end:
        return torch.empty(shape, dtype=kind)
    source = bytearray(data) if isinstance(data, bytes) else data  # torch takes no memory that can't be written
    count = (end - begin) // kind.itemsize
    return torch.frombuffer(source, dtype=kind, count=count, offset=start + begin).reshape(shape)
