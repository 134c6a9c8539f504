"""Pickles as they are kept: streamed, at their fixed point, and with the reason when an object can't be one."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import IO, Any

FIXED_POINT_BELOW = 512 << 20
"""Larger pickles are kept as they come: the further rounds would need several times their size in memory."""

_DEPTH = 32
_FIX = "put it at the top of a module and import it from there"


def dump(model: Any, file: IO[bytes]) -> None:
    """Write the pickle of an object to an empty file, without another copy of its arrays in memory."""
    pickle.dump(model, file, protocol=5)
    if file.tell() < FIXED_POINT_BELOW:
        file.seek(0)
        kept = _fixed_point(first := file.read())
        if kept != first:
            file.seek(0)
            file.truncate()
            file.write(kept)


def _fixed_point(data: bytes) -> bytes:
    """What a pickle becomes and then stays when it is loaded and dumped again; itself where it doesn't settle.

    A plain pickle of a forest changes once after a reload: equal strings and dtypes have become one object.
    """
    try:
        second = pickle.dumps(pickle.loads(data), protocol=5)
        settled = second == data or pickle.dumps(pickle.loads(second), protocol=5) == second
    except Exception:  # __setstate__ is anybody's code: what it can't do today, it may do where the model is used
        return data
    return second if settled else data


def why_not(model: Any) -> str | None:
    """Which part of an object can't be pickled, as `steps[0][1].func is a lambda: …`; None when no part alone can't."""
    path, value = _culprit(model, "", _DEPTH)
    if what := _homeless(value):
        return f"{path.lstrip(' .') or 'it'} is {what}: {_FIX}"
    return f"{path.lstrip(' .')} is in the way, a {type(value).__name__}" if path else None


def _culprit(value: Any, path: str, depth: int) -> tuple[str, Any]:
    """(path, value) of the innermost part that fails by itself."""
    for step, part in _parts(value) if depth and not _homeless(value) else ():
        if not _can_be_pickled(part):
            return _culprit(part, path + step, depth - 1)
    return path, value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for position, (key, part) in enumerate(value.items()):
            yield f"[{key!r}]" if isinstance(key, str | int) else f"[key {position}]", part
    elif isinstance(value, list | tuple):
        yield from ((f"[{position}]", part) for position, part in enumerate(value))
    elif not isinstance(value, type):
        yield from ((f".{name}", part) for name, part in getattr(value, "__dict__", {}).items())
        try:
            _, arguments, *state = value.__reduce_ex__(5)
        except Exception:  # this very object is the one that has no pickle
            return
        yield from ((f" (part {position})", part) for position, part in enumerate((*arguments, *state[:1])))


def _can_be_pickled(value: Any) -> bool:
    try:
        pickle.Pickler(_Nowhere(), protocol=5).dump(value)
    except Exception:  # any failure is one
        return False
    return True


class _Nowhere:
    def write(self, data: Any) -> int:
        return len(data)


def _homeless(value: Any) -> str | None:
    """What is said of a function or class, or an object of such a class, that no module holds."""
    name = getattr(value, "__qualname__", None)
    if name is None:
        kind = _homeless(type(value)) if not isinstance(value, type) else None
        return f"an object of {kind}" if kind else None
    noun = "class" if isinstance(value, type) else "function"
    if name.endswith("<lambda>"):
        return "a lambda"
    return f"the {noun} {name.rpartition('.')[2]}, defined inside a function" if "<locals>" in name else None
