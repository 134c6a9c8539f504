"""Between an object and the bytes that keep it: a table of formats, native ones where there are any.

A format that can run code when it is loaded says so, and is then loaded only for who trusts the bytes. The rest is
pickle, at its fixed point dumps(loads(dumps(object))): a plain pickle of a forest changes once more after a reload.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Refused, UsageError

FIXED_POINT_BELOW = 512 << 20
"""Larger pickles are kept as they come: the second round would need several times their size in memory."""


@dataclass(frozen=True, slots=True)
class Format:
    """How one kind of bytes is loaded, and written where ifpdb writes it.

    `of` is the class it serializes, as (top-level package, class name); `begins` and `endings` tell a file of it.
    """

    name: str
    load: Callable[[bytes], Any]
    runs_code: bool = False
    dump: Callable[[Any], bytes] | None = None
    of: tuple[str, str] | None = None
    begins: tuple[bytes, ...] = ()
    endings: tuple[str, ...] = ()


def _dump_npy(array: Any) -> bytes:
    import numpy

    buffer = io.BytesIO()
    numpy.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _load_numpy(data: bytes) -> Any:
    import numpy

    loaded = numpy.load(io.BytesIO(data), allow_pickle=False)
    return dict(loaded) if isinstance(loaded, numpy.lib.npyio.NpzFile) else loaded


def _load_safetensors(data: bytes) -> Any:
    from safetensors.numpy import load

    return load(data)


def _dump_tensors(tensors: dict[str, Any]) -> bytes:
    if _is_a(next(iter(tensors.values())), "torch", "Tensor"):
        from safetensors.torch import save as save_torch

        return bytes(save_torch(tensors))
    from safetensors.numpy import save

    return bytes(save(tensors))


def _dump_torch(module: Any) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(module, buffer)
    return buffer.getvalue()


def _load_torch(data: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(data), weights_only=False)


def _load_joblib(data: bytes) -> Any:
    import joblib

    return joblib.load(io.BytesIO(data))


def _load_onnx(data: bytes) -> Any:
    import onnx

    return onnx.load_model_from_string(data)


def _load_xgboost(data: bytes) -> Any:
    import xgboost

    return xgboost.Booster(model_file=bytearray(data))


def _load_lightgbm(data: bytes) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=data.decode())


def _dump_pickle(model: Any) -> bytes:
    data = pickle.dumps(model, protocol=5)
    return pickle.dumps(pickle.loads(data), protocol=5) if len(data) < FIXED_POINT_BELOW else data


FORMATS = (
    Format("npy", _load_numpy, dump=_dump_npy, of=("numpy", "ndarray"), begins=(b"\x93NUMPY",), endings=(".npy",)),
    Format("npz", _load_numpy, endings=(".npz",)),
    Format("safetensors", _load_safetensors, dump=_dump_tensors, endings=(".safetensors",)),
    Format(
        "onnx",
        _load_onnx,
        dump=lambda model: bytes(model.SerializeToString(deterministic=True)),
        of=("onnx", "ModelProto"),
        endings=(".onnx",),
    ),
    Format(
        "xgboost",
        _load_xgboost,
        dump=lambda booster: bytes(booster.save_raw("json")),
        of=("xgboost", "Booster"),
        begins=(b'{"learner":',),
        endings=(".ubj",),
    ),
    Format(
        "lightgbm",
        _load_lightgbm,
        dump=lambda booster: str(booster.model_to_string()).encode(),
        of=("lightgbm", "Booster"),
        begins=(b"tree\nversion=",),
    ),
    Format("torch", _load_torch, runs_code=True, dump=_dump_torch, of=("torch", "Module"), endings=(".pt", ".pth")),
    Format("joblib", _load_joblib, runs_code=True, endings=(".joblib",)),
    Format(
        "pickle",
        pickle.loads,
        runs_code=True,
        dump=_dump_pickle,
        begins=(b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        endings=(".pkl", ".pickle"),
    ),
)
BYTES = "bytes"
"""The format of a file or folder that ifpdb keeps and gives back, but doesn't read."""

_BY_NAME = {format.name: format for format in FORMATS}


def dump(model: Any) -> tuple[bytes, str, bool]:
    """(bytes, format, whether loading them runs code) of a live object.

    Raises UsageError, naming the attribute where that can be told, for an object that can't be serialized.
    """
    format = _format_of(model)
    if format.dump is None:
        raise Refused(f"format {format.name} has no writer")
    try:
        return format.dump(model), format.name, format.runs_code
    except ImportError as error:
        raise UsageError(f"a {type(model).__name__} is kept as {format.name}, which needs {error.name}: install it") from None
    except Exception as error:  # whatever a class's own __reduce__ raises means the same thing
        raise UsageError(f"this {type(model).__name__} can't be kept: {_culprit(model)}{error}") from error


def load(data: bytes, name: str) -> Any:
    """The object that the bytes are. Raises Refused for a format without a loader; what a loader raises comes through."""
    if name not in _BY_NAME:
        raise Refused(f"there is no loader for format '{name}': get the file itself with ifp checkout")
    return _BY_NAME[name].load(data)


def runs_code(name: str) -> bool:
    """Whether loading this format can run code."""
    return name in _BY_NAME and _BY_NAME[name].runs_code


def guess(path: Path) -> str:
    """The format of a file by its first bytes, else by its ending; BYTES for a folder or what is not known."""
    if not path.is_file():
        return BYTES
    with open(path, "rb") as file:
        first = file.read(16)
    for format in FORMATS:
        if format.begins and first.startswith(format.begins):
            return "joblib" if path.suffix == ".joblib" else format.name
    return guess_by_name(path.name)


def guess_by_name(name: str) -> str:
    """The format that a file's ending promises, or BYTES."""
    return next((format.name for format in FORMATS if name.lower().endswith(format.endings or ("\0",))), BYTES)


def _format_of(model: Any) -> Format:
    if isinstance(model, dict) and model and all(isinstance(k, str) and _is_tensor(v) for k, v in model.items()):
        return _BY_NAME["safetensors"]
    for format in FORMATS:
        if format.of is not None and _is_a(model, *format.of) and not _holds_objects(model):
            return format
    return _BY_NAME["pickle"]


def _is_a(model: Any, package: str, name: str) -> bool:
    """Whether an object is of a class, without importing the package.

    Only torch's classes are meant to be subclassed; a native format would lose what another subclass adds.
    """
    classes = type(model).__mro__ if package == "torch" else (type(model),)
    return any(c.__name__ == name and c.__module__.partition(".")[0] == package for c in classes)


def _is_tensor(value: Any) -> bool:
    return (_is_a(value, "numpy", "ndarray") and not _holds_objects(value)) or _is_a(value, "torch", "Tensor")


def _holds_objects(model: Any) -> bool:
    return getattr(getattr(model, "dtype", None), "hasobject", False) is True


def _culprit(model: Any) -> str:
    """Which attribute of an object can't be pickled, if one alone can't."""
    for name, value in getattr(model, "__dict__", {}).items():
        try:
            pickle.dumps(value)
        except Exception:  # any failure names the culprit
            return f"its attribute {name!r} is in the way: "
    return ""
