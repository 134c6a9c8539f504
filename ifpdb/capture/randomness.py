"""The states of the random generators that training draws from, so that the same numbers can be drawn again."""

from __future__ import annotations

import base64
import json
import random
import sys
from typing import Any

from ..digest import canonical
from ..errors import UsageError

TYPE = "ifp-random-state/1"


def observe() -> bytes:
    """The states of Python's, numpy's and torch's global generators, of those that are imported, as canonical JSON."""
    version, words, gauss = random.getstate()
    found: dict[str, Any] = {"type": TYPE, "python": {"version": version, "words": list(words), "gauss": gauss}}
    numpy, torch = (sys.modules.get(f"{name}.random") for name in ("numpy", "torch"))
    if numpy is not None:
        state = numpy.get_state(legacy=False)
        if state["bit_generator"] == "MT19937":
            inner = state["state"]
            found["numpy"] = {
                "key": _text(inner["key"].astype("<u4").tobytes()),
                "pos": int(inner["pos"]),
                "has_gauss": int(state["has_gauss"]),
                "gauss": float(state["gauss"]),
            }
    if torch is not None:
        found["torch"] = _text(torch.get_rng_state().numpy().tobytes())
    return canonical(found)


def restore(state: bytes) -> None:
    """Put back the states that `observe` saw; raises UsageError for bytes that are something else."""
    try:
        found = json.loads(state)
        if found["type"] != TYPE:
            raise ValueError(found["type"])
    except (ValueError, TypeError, KeyError):
        raise UsageError("these bytes are no random state: give those of a run's artifact 'random-state'") from None
    python = found["python"]
    random.setstate((python["version"], tuple(python["words"]), python["gauss"]))
    if "numpy" in found:
        import numpy

        own = found["numpy"]
        key = numpy.frombuffer(base64.b64decode(own["key"]), "<u4")
        numpy.random.set_state(("MT19937", key, own["pos"], own["has_gauss"], own["gauss"]))
    if "torch" in found:
        import torch

        torch.set_rng_state(torch.frombuffer(bytearray(base64.b64decode(found["torch"])), dtype=torch.uint8))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
