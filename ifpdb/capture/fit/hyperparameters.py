"""Hyperparameters as JSON: whatever an estimator was made with becomes a value that is the same in every process.

Numbers, text, lists and mappings stay what they are; what JSON has no word for becomes text that never holds an address: a
nested estimator is the path of its class (its own parameters follow as `step__param`), a function its qualified name, a
generator the digest of its state, a large array the digest of its content, anything else the path of its class.
"""

from __future__ import annotations

import enum
import math
import os
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache, partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from ...digest import JSON, canonical, integer_to_json, number_to_json, sha256

LARGE = 32
"""Arrays and collections of more items are kept as a digest."""

DEEP = 8
"""Levels of nesting beyond which a value is named by its class."""

_SIMPLE = frozenset({str, bool, int, float, type(None)})


def hyperparameters(estimator: Any) -> dict[str, JSON]:
    """The constructor's parameters under scikit-learn's flat names (`step__param`); empty where there is no `get_params`."""
    get_params = getattr(estimator, "get_params", None)
    if get_params is None or isinstance(estimator, type):
        return {}
    plain = getattr(getattr(type(estimator), "get_params", None), "__module__", None) == "sklearn.base"
    return _flat(estimator) if plain else parameters(_deep(get_params))


def parameters(found: Mapping[str, Any]) -> dict[str, JSON]:
    """Parameters by name, as JSON."""
    return {_key(name): to_json(value) for name, value in found.items()}


def arguments(given: Mapping[str, Any], *, prefix: str = "fit__") -> dict[str, JSON]:
    """What a call was given besides the data, where it is a number, a switch or a word: `fit__epochs`."""
    return parameters({prefix + name: value for name, value in given.items() if isinstance(value, bool | int | float | str)})


def seed_of(params: Mapping[str, JSON]) -> int | None:
    """The seed among these parameters: the outermost that is an integer; None where the outermost are several."""
    found: dict[int, set[int]] = {}
    for name, value in params.items():
        *path, last = name.split("__")
        if last in SEEDS and type(value) is int:
            found.setdefault(len(path), set()).add(value)
    outermost = found[min(found)] if found else set()
    return next(iter(outermost)) if len(outermost) == 1 else None


SEEDS = frozenset({"random_state", "random_seed", "seed"})
"""What seeds are called: by scikit-learn and lightgbm, by catboost, by xgboost."""


def to_json(value: Any, *, depth: int = 0) -> JSON:
    """`value` as canonical JSON can carry it; never raises and never holds an address."""
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _text(value)
    if kind is int:
        return integer_to_json(value)
    if kind is float:
        return value if math.isfinite(value) else number_to_json(value)
    if value is None or kind is bool:
        return value
    if depth > DEEP:
        return class_path(kind)
    try:
        return _other(value, depth + 1)
    except Exception:  # someone else's object: an array interface that lies, a mapping that raises
        return class_path(kind)


def class_path(cls: Any) -> str:
    """`sklearn.linear_model._logistic.LogisticRegression`, for classes and functions."""
    module = getattr(cls, "__module__", None) or ""
    name = getattr(cls, "__qualname__", None) or getattr(cls, "__name__", None) or type(cls).__qualname__
    return _text(f"{module}.{name}" if module not in ("", "builtins") else str(name))


def _flat(estimator: Any) -> dict[str, JSON]:
    """What BaseEstimator.get_params(deep=True) gives, by names that are looked up once for each class."""
    found: dict[str, JSON] = {}
    cls: Any = type(estimator)
    for name in _names(cls):
        value = getattr(estimator, name)
        found[name] = to_json(value)
        if type(value) not in _SIMPLE and hasattr(value, "get_params") and not isinstance(value, type):
            found |= parameters({f"{name}__{key}": inner for key, inner in value.get_params(deep=True).items()})
    return found


@lru_cache(maxsize=256)  # bounded: it keeps classes alive
def _names(cls: Any) -> tuple[str, ...]:
    return tuple(cls._get_param_names())


def _deep(get_params: Callable[..., Any]) -> dict[str, Any]:
    try:
        found = get_params(deep=True)
    except TypeError:
        found = get_params()  # one that knows nothing of `deep`
    return dict(found)


def _other(value: Any, depth: int) -> JSON:
    """A value that is not simply JSON."""
    if isinstance(value, enum.Enum):
        return to_json(value.value, depth=depth)
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, bool | int | float):  # numpy's float64 is a float
        return to_json(float(value) if isinstance(value, float) else int(value), depth=depth)
    if isinstance(value, type | FunctionType | BuiltinFunctionType | MethodType | ModuleType):
        return value.__name__ if isinstance(value, ModuleType) else class_path(value)
    if isinstance(value, partial):
        inner = [to_json(part, depth=depth) for part in value.args]
        named = {_text(name): to_json(part, depth=depth) for name, part in value.keywords.items()}
        return {"partial": to_json(value.func, depth=depth), "args": inner, "kwargs": named}
    if isinstance(value, os.PathLike):
        return _text(os.fspath(value)) if isinstance(os.fspath(value), str) else class_path(type(value))
    if isinstance(value, bytes | bytearray):
        return sha256(bytes(value))
    if isinstance(value, Mapping):
        return _sized({_text(str(to_json(key, depth=depth))): to_json(item, depth=depth) for key, item in value.items()})
    if isinstance(value, AbstractSet):
        return _sized(sorted((to_json(item, depth=depth) for item in value), key=canonical))
    if isinstance(value, list | tuple | range):
        return _sized([to_json(item, depth=depth) for item in value])
    return _scientific(value, depth)


def _scientific(value: Any, depth: int) -> JSON:
    """numpy's, scipy's and other libraries' values, told by what they can do."""
    cls = type(value)
    if hasattr(value, "get_params"):
        return class_path(cls)
    if (state := _state(value)) is not None:
        return sha256(canonical(to_json(state, depth=depth)))
    if hasattr(value, "dist") and hasattr(value, "args") and hasattr(value, "kwds"):  # scipy.stats: uniform(0, 4)
        given = [_word(part, depth) for part in value.args]
        given += [f"{name}={_word(part, depth)}" for name, part in sorted(value.kwds.items())]
        return _text(f"{value.dist.name}({', '.join(given)})")
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return _array(value, depth)
    if hasattr(value, "isoformat"):
        return _text(str(value.isoformat()))
    if cls.__name__.lower().endswith("dtype"):  # numpy.float32, torch.float32: their text is their name
        return _text(str(value))
    if hasattr(value, "__index__"):
        return integer_to_json(int(value))
    if hasattr(value, "__float__") and not hasattr(value, "__len__"):
        return number_to_json(float(value))
    return class_path(cls)


def _state(value: Any) -> Any:
    """The state of numpy's and Python's generators."""
    if hasattr(value, "bit_generator"):
        return value.bit_generator.state
    if hasattr(value, "get_state") and hasattr(value, "randint"):
        return value.get_state(legacy=False)
    if hasattr(value, "getstate") and hasattr(value, "getrandbits"):
        return value.getstate()
    return None


def _array(value: Any, depth: int) -> JSON:
    """A scalar as such, a small array as lists, a large one as the digest of its type, shape and bytes."""
    if value.shape == () and hasattr(value, "item"):
        item = value.item()
        return class_path(type(value)) if type(item) is type(value) else to_json(item, depth=depth)
    size = math.prod(value.shape)
    if size <= LARGE and hasattr(value, "tolist"):
        return to_json(value.tolist(), depth=depth)
    if str(value.dtype) == "object" or not hasattr(value, "tobytes"):
        listed = value.tolist() if hasattr(value, "tolist") else None
        return class_path(type(value)) if listed is None else to_json(listed, depth=depth)
    content = canonical([str(value.dtype), list(value.shape)]) + value.tobytes()
    return sha256(content)


def _sized(value: JSON) -> JSON:
    """A collection as it is while small, else as a digest."""
    return value if len(value) <= LARGE else sha256(canonical(value))


def _word(value: Any, depth: int) -> str:
    plain = to_json(value, depth=depth)
    return plain if isinstance(plain, str) else canonical(plain).decode()


def _text(value: str) -> str:
    """Text that UTF-8 can carry."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


@lru_cache(maxsize=4096)
def _key(name: object) -> str:
    """A parameter's name as the registry takes it: up to 250 characters, none of them control characters."""
    if type(name) is str and name.isidentifier() and len(name) <= 250:
        return name
    plain = "".join(char if char.isprintable() else " " for char in _text(str(name)))
    return (plain if len(plain) <= 250 else f"{plain[:180]}…{sha256(plain.encode())[7:71]}") or "?"
