"""Between an object and the bytes that keep it: a table of formats, native ones where there are any, else pickle.

A format that can run code when it is loaded says so, and is then loaded only for who trusts the bytes.
docs/formats.md says of each what is kept, and whether equal objects give equal bytes.
"""

from __future__ import annotations

import errno
import io
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import Refused, UsageError
from . import containers, native, pickling, tensors
from .explaining import reachable
from .tensors import Buffer


@dataclass(frozen=True, slots=True)
class Format:
    """How one kind of bytes is loaded, and written where ifpdb writes it.

    `of` is the class it serializes, as (top-level package, class name), subclasses too where `subclasses` says so: a
    native format would lose what another subclass adds. `begins` and `endings` tell a file of it.
    """

    name: str
    load: Callable[[Buffer], Any]
    runs_code: bool = False
    dump: Callable[[Any, IO[bytes]], None] | None = None
    of: tuple[str, str] | None = None
    subclasses: bool = False
    begins: tuple[bytes, ...] = ()
    endings: tuple[str, ...] = ()


FORMATS = (
    Format("npy", tensors.load_npy, dump=tensors.dump_npy, of=("numpy", "ndarray"), begins=(b"\x93NUMPY",), endings=(".npy",)),
    Format("npz", tensors.load_npz, endings=(".npz",)),
    Format("safetensors", tensors.load_safetensors, dump=tensors.dump_safetensors, endings=(".safetensors",)),
    Format("onnx", native.load_onnx, dump=native.dump_onnx, of=("onnx", "ModelProto"), endings=(".onnx",)),
    Format(
        "xgboost",
        native.load_xgboost,
        dump=native.dump_xgboost,
        of=("xgboost", "Booster"),
        begins=(b'{"learner":',),
        endings=(".ubj",),
    ),
    Format(
        "lightgbm",
        native.load_lightgbm,
        dump=native.dump_lightgbm,
        of=("lightgbm", "Booster"),
        begins=(b"tree\nversion=",),
    ),
    Format(
        "catboost",
        native.load_catboost,
        dump=native.dump_catboost,
        of=("catboost", "CatBoost"),
        begins=(b"CBM1",),
        endings=(".cbm",),
    ),
    Format(  # before torch: with that backend, a Keras model is a torch module as well
        "keras",
        native.load_keras,
        runs_code=True,
        dump=native.dump_keras,
        of=("keras", "Model"),
        subclasses=True,
        endings=(".keras",),
    ),
    Format(
        "torch",
        native.load_torch,
        runs_code=True,
        dump=native.dump_torch,
        of=("torch", "Module"),
        subclasses=True,
        endings=(".pt", ".pth"),
    ),
    Format("joblib", native.load_joblib, runs_code=True, endings=(".joblib",)),
    Format(
        "pickle",
        pickle.loads,
        runs_code=True,
        dump=pickling.dump,
        begins=(b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        endings=(".pkl", ".pickle"),
    ),
)
BYTES = "bytes"
"""The format of a file or folder that ifpdb keeps and gives back, but doesn't read."""

_BY_NAME = {format.name: format for format in FORMATS}


def dump(model: Any) -> tuple[bytes, str, bool]:
    """(bytes, format, whether loading them runs code) of a live object. Raises as `dump_into` does."""
    buffer = io.BytesIO()
    name, runs_code = dump_into(buffer, model)
    return buffer.getvalue(), name, runs_code


def dump_into(file: IO[bytes], model: Any) -> tuple[str, bool]:
    """Write a live object into an empty file, open for reading too; (format, whether loading it runs code).

    Raises UsageError, naming the part and the remedy where they can be told, for an object that can't be serialized; what was
    written by then is worth nothing. Warns of one that only this very script could load again.
    """
    format = _format_of(model)
    kind = type(model).__name__
    if format.dump is None:
        raise Refused(f"format {format.name} has no writer")
    try:
        format.dump(model, file)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise  # the disk's fault, not the object's
        raise UsageError(f"this {kind} can't be kept: {error}") from error
    except ImportError as error:
        raise UsageError(f"a {kind} is kept as {format.name}, which needs {error.name}: install it") from None
    except Exception as error:  # whatever a class's own __reduce__ raises means the same thing
        raise UsageError(f"this {kind} can't be kept: {pickling.why_not(model) or error}") from error
    if format.runs_code and (names := _names_of_script(file, format.name)):
        text = f"{names} is defined in the script or notebook itself, and only there can this {kind} be loaded again: "
        text += "move it to a module and import it from there"
        warnings.warn(text, UserWarning, stacklevel=2)
    return format.name, format.runs_code


def load(data: Buffer, name: str) -> Any:
    """The object that the bytes are. Raises Refused for a format without a loader; what a loader raises comes through.

    Arrays are windows on `data`, which must not change: nothing is copied where the format allows.
    """
    if name not in _BY_NAME:
        raise Refused(f"there is no loader for format '{name}': get the file itself with ifp checkout")
    return _BY_NAME[name].load(data)


def runs_code(name: str) -> bool:
    """Whether loading this format can run code."""
    return name in _BY_NAME and _BY_NAME[name].runs_code


def guess(path: Path) -> str:
    """The format of a file by its first bytes, else by its ending; BYTES for a folder or what is not known.

    Raises StorageError for a file that can't be read.
    """
    if not path.is_file():
        return BYTES
    with reachable(path), open(path, "rb") as file:
        first = file.read(100)
    for format in FORMATS:
        if format.begins and first.startswith(format.begins):
            return "joblib" if path.suffix == ".joblib" else format.name
    if first.startswith(containers.ARCHIVE) and b"/data.pkl" in first:
        return "torch"
    return guess_by_name(path.name)


def guess_by_name(name: str) -> str:
    """The format that a file's ending promises, or BYTES."""
    return next((format.name for format in FORMATS if name.lower().endswith(format.endings or ("\0",))), BYTES)


def _format_of(model: Any) -> Format:
    if isinstance(model, dict) and model and all(isinstance(k, str) and _is_tensor(v) for k, v in model.items()):
        return _BY_NAME["safetensors"]
    for format in FORMATS:
        if format.of is not None and _is_a(model, *format.of, subclasses=format.subclasses) and not _holds_objects(model):
            return format
    return _BY_NAME["pickle"]


def _is_a(model: Any, package: str, name: str, *, subclasses: bool = False) -> bool:
    """Whether an object is of a class, without importing the package."""
    classes = type(model).__mro__ if subclasses else (type(model),)
    return any(c.__name__ == name and c.__module__.partition(".")[0] == package for c in classes)


def _is_tensor(value: Any) -> bool:
    """Whether safetensors can hold it: torch's dense tensors, numpy's arrays of plain numbers."""
    if _is_a(value, "numpy", "ndarray"):
        return value.dtype.kind in "biuf" and value.dtype.itemsize <= 8
    return _is_a(value, "torch", "Tensor") and not value.is_sparse


def _holds_objects(model: Any) -> bool:
    return getattr(getattr(model, "dtype", None), "hasobject", False) is True


def _names_of_script(file: IO[bytes], format: str) -> str:
    """What a file that was just written would import from `__main__`, comma-separated."""
    file.seek(0)
    last = b""
    while chunk := file.read(1 << 20):
        if b"__main__" in last + chunk:
            break
        last = chunk[-8:]
    else:
        return ""
    file.seek(0)
    names = containers.look(memoryview(file.read()), format)["imports"]
    return ", ".join(name for module, name in names if module == "__main__")
