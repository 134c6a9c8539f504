"""The states of the random generators that training draws from, so that the same numbers can be drawn again."""

from __future__ import annotations

import base64
import json
import math
import random
import sys
from collections.abc import Callable
from typing import Any

from ...digest import canonical
from ...errors import UsageError
from .machine import answers

TYPE = "ifp-random-state/1"


def observe() -> bytes:
    """The states of Python's, numpy's and torch's global generators, of those that are imported, as canonical JSON.

    What can't be seen is listed in its `not_seen`: a run is not lost for it.
    """
    return canonical({"type": TYPE} | answers({"python": _python_state, "numpy": _numpy_state, "torch": _torch_state}))


def restore(state: bytes) -> None:
    """Put back the states that `observe` saw, all of them or none.

    Raises UsageError for bytes that are something else, and for a library that is not installed here.
    """
    putters = {"python": _put_python, "numpy": _put_numpy, "torch": _put_torch}
    try:
        found = json.loads(state)
        if found.pop("type") != TYPE or not found:
            raise ValueError
        found.pop("not_seen", None)
        put_back = [putters[name](own) for name, own in found.items()]
    except ImportError as error:
        raise UsageError(f"this random state holds that of {error.name}, which is not installed: install it first") from None
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OverflowError, RecursionError):
        raise UsageError("these bytes are no random state: give those of a run's artifact 'random-state'") from None
    for put in put_back:
        put()


def _python_state() -> dict[str, Any]:
    version, words, gauss = random.getstate()
    return {"version": version, "words": list(words), "gauss": gauss}


def _numpy_state() -> dict[str, Any] | None:
    numpy = _imported("numpy")
    state: dict[str, Any] = numpy.random.get_state(legacy=False) if numpy else {"bit_generator": None}
    if state["bit_generator"] != "MT19937":
        return None
    inner, gauss = state["state"], float(state["gauss"])
    if not math.isfinite(gauss):
        raise ValueError("no JSON")
    key = _text(inner["key"].astype("<u4").tobytes())
    return {"key": key, "pos": int(inner["pos"]), "has_gauss": int(state["has_gauss"]), "gauss": gauss}


def _torch_state() -> str | None:
    torch = _imported("torch")
    return _text(torch.get_rng_state().numpy().tobytes()) if torch else None


def _put_python(own: Any) -> Callable[[], None]:
    state = (own["version"], tuple(own["words"]), own["gauss"])
    random.Random().setstate(state)  # noqa: S311 - no secret is drawn: it refuses a state that is none, before any is put back
    return lambda: random.setstate(state)


def _put_numpy(own: Any) -> Callable[[], None]:
    import numpy

    key = numpy.frombuffer(base64.b64decode(own["key"], validate=True), "<u4")
    state = ("MT19937", key, own["pos"], own["has_gauss"], own["gauss"])
    numpy.random.RandomState().set_state(state)
    return lambda: numpy.random.set_state(state)


def _put_torch(own: Any) -> Callable[[], None]:
    import torch

    state = torch.frombuffer(bytearray(base64.b64decode(own, validate=True)), dtype=torch.uint8)
    torch.Generator().set_state(state)
    return lambda: torch.set_rng_state(state)


def _imported(name: str) -> Any:
    """The library, if it and its `random` are imported whole."""
    return sys.modules.get(name) if f"{name}.random" in sys.modules else None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
