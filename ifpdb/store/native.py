"""Models that their own library writes and reads: what has no bytes of its own goes through a temporary file.

Where a library writes times or memory addresses into its files, they are taken out again: the same model gives the
same bytes.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any

from .tensors import Buffer

_TIMELESS = (1980, 1, 1, 0, 0, 0)


def dump_torch(module: Any, file: IO[bytes]) -> None:
    """Write a whole module as torch.save does, straight into the file."""
    import torch

    torch.save(module, file)


def load_torch(data: Buffer) -> Any:
    """Whatever torch.save wrote. Runs the code that the file asks for."""
    import torch

    return torch.load(io.BytesIO(data), weights_only=False)


def load_joblib(data: Buffer) -> Any:
    """Whatever joblib.dump wrote. Runs the code that the file asks for."""
    import joblib

    return joblib.load(io.BytesIO(data) if isinstance(data, bytes) else data)


def dump_onnx(model: Any, file: IO[bytes]) -> None:
    """Write an ONNX model, its maps in order."""
    file.write(model.SerializeToString(deterministic=True))


def load_onnx(data: Buffer) -> Any:
    """An ONNX model."""
    import onnx

    return onnx.load_model_from_string(bytes(data))


def dump_xgboost(booster: Any, file: IO[bytes]) -> None:
    """Write a Booster as xgboost's JSON."""
    file.write(booster.save_raw("json"))


def load_xgboost(data: Buffer) -> Any:
    """A Booster, from JSON or UBJSON."""
    import xgboost

    return xgboost.Booster(model_file=bytearray(data))


def dump_lightgbm(booster: Any, file: IO[bytes]) -> None:
    """Write a Booster as LightGBM's text."""
    file.write(booster.model_to_string().encode())


def load_lightgbm(data: Buffer) -> Any:
    """A Booster, from its text."""
    import lightgbm

    return lightgbm.Booster(model_str=bytes(data).decode())


def dump_catboost(model: Any, file: IO[bytes]) -> None:
    """Write a CatBoost model as cbm; it holds the time when its training ended."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        model.save_model(str(path), format="cbm")
        file.write(path.read_bytes())


def load_catboost(data: Buffer) -> Any:
    """A CatBoost model, of the class that is neither classifier nor regressor."""
    import catboost

    model = catboost.CatBoost()
    model.load_model(blob=bytes(data))
    return model


def dump_keras(model: Any, file: IO[bytes]) -> None:
    """Write a Keras model as a .keras archive without times and memory addresses."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(file, "w") as target:
            for name in sorted(source.namelist()):
                data = source.read(name)
                if name in ("config.json", "metadata.json"):
                    data = _timeless(data)
                target.writestr(zipfile.ZipInfo(name, _TIMELESS), data)


def load_keras(data: Buffer) -> Any:
    """A Keras model. Imports the classes that its config names, and runs what a Lambda layer carries."""
    import keras

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(data)
        return keras.saving.load_model(path, safe_mode=False)


def _timeless(document: bytes) -> bytes:
    """Keras's JSON without the date, and with shared objects numbered in the order in which they come."""
    numbers = dict[Any, int]()

    def tidy(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        kept = {key: value for key, value in pairs if key != "date_saved"}
        if "shared_object_id" in kept:
            kept["shared_object_id"] = numbers.setdefault(kept["shared_object_id"], len(numbers) + 1)
        return kept

    return json.dumps(json.loads(document, object_pairs_hook=tidy)).encode()
