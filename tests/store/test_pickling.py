"""Pickles: written at their fixed point where they have one, and the culprit named where there can be none."""

from __future__ import annotations

import functools
import io
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from ifpdb.store import pickling

X, Y = load_iris(return_X_y=True)


def dumped(value: Any) -> bytes:
    buffer = io.BytesIO()
    pickling.dump(value, buffer)
    return buffer.getvalue()


def test_a_forest_is_written_at_its_fixed_point() -> None:
    forest = RandomForestClassifier(n_estimators=3, random_state=0).fit(X, Y)
    data = dumped(forest)
    assert data != pickle.dumps(forest, 5)  # else this test shows nothing
    assert dumped(pickle.loads(data)) == data


class BreaksWhenLoaded:
    def __setstate__(self, state: object) -> None:
        raise ValueError("not today")

    def __getstate__(self) -> object:
        return {"a": 1}


class CountsLoads:
    loads = 0

    def __getstate__(self) -> object:
        return {"loads": self.loads}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.loads = state["loads"] + 1


@pytest.mark.parametrize("make", [BreaksWhenLoaded, CountsLoads])
def test_what_cannot_be_loaded_or_never_settles_is_kept_as_it_comes(make: Callable[[], Any]) -> None:
    value = make()
    assert dumped(value) == pickle.dumps(value, 5)


def test_a_large_pickle_is_kept_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickling, "FIXED_POINT_BELOW", 1000)
    forest = RandomForestClassifier(n_estimators=3, random_state=0).fit(X, Y)
    assert dumped(forest) == pickle.dumps(forest, 5)


def test_a_large_array_goes_to_the_file_without_a_copy() -> None:
    array = numpy.zeros(1 << 20)
    written = list[Any]()

    class File(io.BytesIO):
        def write(self, data: Any) -> int:
            written.append(type(data).__name__)
            return super().write(data)

    pickling.dump(array, File())
    assert set(written) - {"bytes"}  # the array's own memory was handed over


class Holder:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def inside() -> tuple[Any, Any]:
    class Local:
        pass

    def local() -> None: ...

    return Local, local


LOCAL, FUNCTION = inside()
FIX = "put it at the top of a module and import it from there"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (lambda x: x, f"it is a lambda: {FIX}"),
        (Holder(name="x", callback=lambda x: x), f"callback is a lambda: {FIX}"),
        (
            Holder(steps=[("a", Holder()), ("b", Holder(func=FUNCTION))]),
            f"steps[1][1].func is the function local, defined inside a function: {FIX}",
        ),
        ({"a": {"b": LOCAL}}, f"['a']['b'] is the class Local, defined inside a function: {FIX}"),
        ([LOCAL()], f"[0] is an object of the class Local, defined inside a function: {FIX}"),
        (Holder(lock=threading.Lock()), "lock is in the way, a lock"),
        (functools.partial(lambda x: x), f"(part 0) is a lambda: {FIX}"),
        (threading.Lock(), None),
    ],
)
def test_the_innermost_culprit_is_named_with_its_path(value: Any, reason: str | None) -> None:
    assert pickling.why_not(value) == reason


def test_a_value_within_itself_ends_the_search() -> None:
    holder = Holder(lock=threading.Lock())
    holder.__dict__ = {"itself": holder, **holder.__dict__}
    assert pickling.why_not(holder) is not None
