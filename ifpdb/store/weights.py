"""The arrays that a model's bytes are made of, found without running code: for looking at weights, not for predicting.

What can't be read that way, for its format, for a package that isn't here or for bytes that are no such file, raises
Unreadable with the reason. npy, npz and safetensors are read tensor by tensor; other formats are parsed whole.
"""

from __future__ import annotations

import io
import json
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from . import formats, tensors
from .containers import ARCHIVE, MEMBERS, Reading
from .stubs import Unreadable
from .tensors import Buffer

__all__ = ["Tensor", "Unreadable", "arrays", "check", "decoded"]

Found: TypeAlias = "Iterator[tuple[str, Tensor]]"

_HEADER = 100 << 20
_SAFETENSORS = {
    "BOOL": "bool", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "I8": "int8", "I16": "int16",
    "I32": "int32", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64", "C64": "complex64",
    "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
_BITS = {"bfloat16": "uint16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}
"""Numbers that numpy has no type for, and the integers whose bits they are."""

_UBJSON = dict(zip("iUIlLdD", "bBhiqfd", strict=True))
"""UBJSON's types of numbers, and their letters in numpy."""

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


@dataclass(frozen=True, slots=True)
class Tensor:
    """An array that is read when it is asked for. Those in `_BITS` are read as integers; `decoded` makes numbers of them."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Any]


def check(format: str) -> None:
    """Raise Unreadable for a format that has no tensors to read, or none without running code."""
    if format == formats.BYTES:
        raise Unreadable("a file of no known format can't be compared tensor by tensor")
    if format not in _READERS:
        why = "without running what it holds" if formats.runs_code(format) else "tensor by tensor"
        raise Unreadable(f"{format} can't be compared {why}")


def arrays(data: Buffer, format: str) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises Unreadable with the reason, as `Tensor.read` may.

    Names are those in the file: dotted paths into nested dictionaries and lists, `Tree=0.leaf_value` in LightGBM's text;
    a single array without a name is called arr_0, as `numpy.savez` calls it.
    """
    check(format)
    try:
        found = dict[str, Tensor]()
        for called, tensor in _READERS[format](data):
            name = called or "arr_0"
            if name in found or len(found) == MEMBERS:
                raise Unreadable(f"it holds too many tensors, or two that are called {name!r}")
            found[name] = Tensor(tensor.dtype, tensor.shape, partial(_steadily, format, tensor.read))
    except Exception as error:
        raise _reason(format, error) from error
    if not found:
        raise Unreadable(f"this {format} holds no tensors")
    return found


def decoded(array: Any, dtype: str) -> Any:
    """The numbers that an array of this dtype stands for."""
    import numpy

    if dtype == "bfloat16":
        return (array.astype("u4") << 16).view("f4")
    if dtype == "float8_e5m2":
        return (array.astype("u2") << 8).view("f2")
    if dtype == "float8_e4m3fn":  # 1 sign, 4 exponent (bias 7) and 3 mantissa bits, no infinities
        codes = numpy.arange(256)
        exponent, mantissa = codes >> 3 & 15, codes & 7
        sizes = numpy.where(exponent > 0, (8 + mantissa) * 2.0 ** (exponent - 10), mantissa * 2.0**-9)
        sizes[codes & 127 == 127] = math.nan
        return numpy.where(codes < 128, sizes, -sizes).astype("f4")[array]
    return array


def _steadily(format: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception as error:
        raise _reason(format, error) from error


def _reason(format: str, error: Exception) -> Unreadable:
    """Whatever a parser raises on a crafted file means that it can't be read."""
    if isinstance(error, Unreadable):
        return Unreadable(f"this {format} can't be compared: {error}")
    if isinstance(error, ImportError):
        return Unreadable(f"reading {format} needs {error.name or error}: install it")
    if culprit := _GLOBAL.search(str(error)):
        return Unreadable(f"this {format} can't be compared without running {culprit[1]}: keep a state_dict")
    said = next(iter(str(error).splitlines()), "")
    return Unreadable(f"this {format} can't be read ({type(error).__name__}: {said[:200]})")


class _File(io.RawIOBase):
    """A memory as a file, read without copying the whole."""

    def __init__(self, data: Buffer) -> None:
        self.data, self.at = memoryview(data), 0

    def readinto(self, target: Any) -> int:
        chunk = self.data[self.at : self.at + len(target)]
        target[: len(chunk)] = chunk
        self.at += len(chunk)
        return len(chunk)

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(0, (0, self.at, len(self.data))[whence] + offset)
        return self.at

    def tell(self) -> int:
        return self.at

    def seekable(self) -> bool:
        return True

    readable = seekable


def _plain(array: Any) -> Tensor:
    return Tensor(array.dtype.name, array.shape, lambda: array)


def _npy(data: Buffer) -> Found:
    _npy_header(_File(data))
    yield "", _plain(tensors.load_npy(data))


def _npz(data: Buffer) -> Found:
    """Each member goes through a temporary file when it is read: one that unpacks to more than it should fills no memory."""
    for info, archive in _members(data):
        with archive.open(info) as member:
            shape, dtype, header = _npy_header(member)
        if header + math.prod(shape) * dtype.itemsize != info.file_size:
            raise Unreadable(f"its member {info.filename} doesn't have the size that it claims")
        yield info.filename.removesuffix(".npy"), Tensor(dtype.name, shape, _unpacking(archive, info))


def _unpacking(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], Any]:
    def read() -> Any:
        with archive.open(info) as member:
            unpacked: Any = Reading().unpacked(member).obj  # the mapping itself, as load_npy takes it
        return tensors.load_npy(unpacked)

    return read


def _members(data: Buffer) -> Iterator[tuple[zipfile.ZipInfo, zipfile.ZipFile]]:
    archive = zipfile.ZipFile(_File(data))
    infos = archive.infolist()
    if sum(info.compress_size for info in infos) > len(data):
        raise Unreadable("it is an archive whose members overlap")
    return ((info, archive) for info in infos)


def _npy_header(file: Any) -> tuple[tuple[int, ...], Any, int]:
    """(shape, type, size of the header) of an array of fixed size, in the versions that `tensors.load_npy` maps."""
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise Unreadable("it holds a table with names beyond Latin-1")
    shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    if dtype.hasobject or not dtype.itemsize:
        raise Unreadable("it holds pickled objects" if dtype.hasobject else "its elements have no size")
    return shape, dtype, file.tell()


def _safetensors(data: Buffer) -> Found:
    """The layout is https://github.com/huggingface/safetensors#format; types that nobody here can decode are read as bytes."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, _HEADER):
        raise Unreadable("its header reaches beyond the file")
    header = json.loads(data[8 : 8 + length])
    for name, about in header.items():
        if name != "__metadata__":
            yield name, _window(memoryview(data)[8 + length :], name, **about)


def _window(data: memoryview, name: str, dtype: str, shape: list[int], data_offsets: list[int]) -> Tensor:
    import numpy

    begin, end = data_offsets
    if any(type(number) is not int or number < 0 for number in (*shape, begin, end)) or not begin <= end <= len(data):
        raise Unreadable(f"its tensor {name!r} reaches beyond the file")
    kind = _SAFETENSORS.get(dtype)
    if kind is None:
        return Tensor(f"{dtype} bytes", (end - begin,), lambda: numpy.frombuffer(data[begin:end], "u1"))
    bits = numpy.dtype(_BITS.get(kind, kind)).newbyteorder("<")
    if math.prod(shape) * bits.itemsize != end - begin:
        raise Unreadable(f"its tensor {name!r} doesn't have the size that it claims")
    return Tensor(kind, tuple(shape), lambda: numpy.frombuffer(data[begin:end], bits).reshape(shape))


def _onnx(data: Buffer) -> Found:
    import onnx

    yield from _graph(onnx.load_model_from_string(bytes(data)).graph)


def _graph(graph: Any) -> Found:
    """Initializers, constants, and what nodes of classic models (ai.onnx.ml: trees, linear models) hold as attributes."""
    import numpy
    from onnx import AttributeProto as Attribute
    from onnx import TensorProto

    for proto in graph.initializer:
        if proto.data_type != TensorProto.STRING:
            yield proto.name, _proto(proto)
    for node in graph.node:
        for attribute in node.attribute:
            name = f"{next(iter(node.output), node.name)}.{attribute.name}"
            if attribute.type == Attribute.TENSOR and attribute.t.data_type != TensorProto.STRING:
                yield name, _proto(attribute.t)
            elif attribute.type == Attribute.GRAPH:
                yield from _graph(attribute.g)
            elif node.domain == "ai.onnx.ml" and (attribute.floats or attribute.ints):
                yield name, _plain(numpy.array(attribute.floats or attribute.ints, "f4" if attribute.floats else "i8"))


def _proto(proto: Any) -> Tensor:
    from onnx import TensorProto, helper, numpy_helper

    if proto.data_location == TensorProto.EXTERNAL:
        raise Unreadable(f"its tensor {proto.name!r} lies in another file")
    kind = helper.tensor_dtype_to_np_dtype(proto.data_type).name

    def read() -> Any:
        array = numpy_helper.to_array(proto)
        return array.view(_BITS[kind]) if kind in _BITS else array

    return Tensor(kind, tuple(proto.dims), read)


def _torch(data: Buffer) -> Found:
    """What `torch.load(weights_only=True)` gives of an archive; torch never compresses its members."""
    import torch

    if data[:4] != ARCHIVE:
        raise Unreadable("it is no archive, as torch.save writes it since 1.6")
    for info, _ in _members(data):
        if info.compress_type != zipfile.ZIP_STORED:
            raise Unreadable(f"its member {info.filename} is compressed")
        if info.filename.endswith("/constants.pkl"):
            raise Unreadable("it is TorchScript, which carries its own code")
    with warnings.catch_warnings(action="ignore"):
        found = torch.load(_File(data), map_location="cpu", weights_only=True)
    for name, tensor in _leaves(found, lambda value: isinstance(value, torch.Tensor)):
        if tensor.numel() * tensor.element_size() > len(data):
            raise Unreadable(f"its tensor {name!r} doesn't have the size that it claims")
        yield name, _torch_tensor(tensor.detach())


def _torch_tensor(tensor: Any) -> Tensor:
    import torch

    kind = str(tensor.dtype).removeprefix("torch.")
    if bits := _BITS.get(kind):
        signed = torch.int16 if bits == "uint16" else torch.uint8
        return Tensor(kind, tuple(tensor.shape), lambda: tensor.view(signed).numpy().view(bits))
    return Tensor(kind, tuple(tensor.shape), lambda: tensor.resolve_conj().resolve_neg().numpy())


def _leaves(
    value: Any, is_leaf: Callable[[Any], bool], path: str = "", seen: Iterator[int] | None = None
) -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of each leaf in nested dictionaries and lists, which may hold one another many times over."""
    seen = iter(range(MEMBERS)) if seen is None else seen
    if next(seen, None) is None:
        raise Unreadable("it is nested beyond reason")
    if is_leaf(value):
        yield path, value
        return
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, inner in entries:
        yield from _leaves(inner, is_leaf, f"{path}.{key}" if path else str(key), seen)


def _xgboost(data: Buffer) -> Found:
    """The lists of numbers under a Booster's trees or linear weights, and its base score; floats are float32 in xgboost."""
    import numpy

    learner = (_Ubjson(data).value() if data[1:2].isalpha() else json.loads(bytes(data)))["learner"]
    base = json.loads(learner["learner_model_param"]["base_score"])
    parts = {"base_score": base if isinstance(base, list) else [base], "gradient_booster": learner["gradient_booster"]}
    for name, numbers in _leaves(parts, _is_numbers):
        array = numpy.asarray(numbers)
        yield name, _plain(array.astype("f4" if array.dtype.kind == "f" else "i8"))


def _is_numbers(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(type(number) in (int, float) for number in value)
    return getattr(value, "size", 0) > 0


class _Ubjson:
    """Universal Binary JSON (https://ubjson.org), as xgboost writes it; lists of one type of number become arrays."""

    def __init__(self, data: Buffer) -> None:
        self.data, self.at = memoryview(data), 0

    def value(self, kind: str = "") -> Any:
        kind = kind or self._letter()
        if kind in _UBJSON:
            return self._numbers(kind, 1)[0].item()
        if kind == "S":
            return self._text(self._letter())
        if kind == "[":
            return self._list()
        if kind == "{":
            return dict(iter(self._entry, None))
        return {"Z": None, "T": True, "F": False}[kind]

    def _take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self.data) - self.at:
            raise Unreadable("it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def _letter(self) -> str:
        return chr(self._take(1)[0])

    def _numbers(self, kind: str, count: int) -> Any:
        import numpy

        dtype = numpy.dtype(f">{_UBJSON[kind]}")
        return numpy.frombuffer(self._take(count * dtype.itemsize), dtype)

    def _text(self, kind: str) -> str:
        return str(self._take(self.value(kind)), "utf-8")

    def _entry(self) -> tuple[str, Any] | None:
        kind = self._letter()
        return None if kind == "}" else (self._text(kind), self.value())

    def _list(self) -> Any:
        """`[$<type>#<count>` and numbers, `[#<count>` and values, or values up to `]`."""
        mark, kind = self._letter(), ""
        if mark == "$":
            kind, mark = self._letter(), self._letter()
        if mark != "#":
            found = []
            while mark != "]":
                found.append(self.value(mark))
                mark = self._letter()
            return found
        count = self.value()
        return self._numbers(kind, count) if kind else [self.value() for _ in range(count)]


def _lightgbm(data: Buffer) -> Found:
    """Every line of numbers in every tree, as doubles."""
    import numpy

    tree = ""
    for line in io.TextIOWrapper(io.BufferedReader(_File(data)), "utf-8"):
        key, _, values = line.strip().partition("=")
        if key == "end of trees":
            return
        if key == "Tree":
            tree = line.strip()
        elif tree and values:
            yield f"{tree}.{key}", _plain(numpy.array(values.split(), "f8"))
    raise Unreadable("it ends too early")


_READERS: dict[str, Callable[[Buffer], Found]] = {
    "npy": _npy,
    "npz": _npz,
    "safetensors": _safetensors,
    "onnx": _onnx,
    "torch": _torch,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
}
