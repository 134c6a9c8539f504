"""What a track costs the training inside it: a captured fit, a call inside a fit, entering and leaving."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from report import Result
from stopwatch import Turn, take_turns

from ifpdb.capture.fit import fits
from ifpdb.capture.fit.estimator import watching

CALLS = 5000
"""Calls in one turn: a single one is too short for the clock."""


class Undescribed:
    """Data that costs nothing to describe."""

    def add(self, X: object, y: object | None, sample_weight: object | None, *, last: bool) -> None:  # noqa: N803
        return None


def captured(_folder: Path, *, rounds: int, turns: int) -> Iterator[Result]:
    """Fits that do nothing, of an estimator with eight parameters, outside a track, inside one and inside a fit."""
    import sklearn.cluster
    import sklearn.ensemble
    import sklearn.linear_model
    import sklearn.neural_network
    import sklearn.svm  # noqa: F401  # what a program has typically loaded when it opens a track
    from sklearn.base import BaseEstimator

    class Bare(BaseEstimator):
        def fit(self, X: Any, y: Any = None) -> Bare:  # noqa: N803
            return self

    class Told(Bare):
        def __init__(self, a=1, b=2.0, c="c", d=None, e=True, f=0.5, g="auto", h=100):  # type: ignore[no-untyped-def]
            self.a, self.b, self.c, self.d, self.e, self.f, self.g, self.h = a, b, c, d, e, f, g, h

    data, labels = [[1.0]], [1]

    def call(model: Bare) -> None:
        for _ in range(CALLS):
            model.fit(data, labels)

    def outermost(model: Bare) -> None:
        with watching(Undescribed):
            call(model)

    def inner(model: Bare) -> None:
        with watching(Undescribed), fits.inside():
            call(model)

    def track() -> None:
        with watching(Undescribed):
            pass

    work: dict[str, Turn] = {
        "plain": lambda _: call(Bare()),
        "captured": lambda _: outermost(Bare()),
        "told": lambda _: outermost(Told()),
        "inner": lambda _: inner(Bare()),
        "track": lambda _: track(),
    }
    laps = take_turns(work, rounds=rounds, turns=turns)
    plain, empty = laps.seconds("plain"), laps.seconds("track")
    for name, what, limit in (
        ("captured", "a captured fit, over a plain call", 5.0),
        ("told", "a captured fit of 8 hyperparameters, over a plain call", 5.0),
        ("inner", "a call inside a fit, over a plain call", 0.3),
    ):
        over = (laps.seconds(name) - plain - empty) / CALLS * 1e6
        yield Result(what, "µs", over, limit, f"plain {plain / CALLS * 1e6:.2f} µs; data not described")
    start = time.perf_counter()
    with watching(Undescribed):
        pass
    first = time.perf_counter() - start
    yield Result("a track entered and left, scikit-learn loaded", "ms", empty * 1e3, 5.0, f"once, cold: {first * 1e3:.2f} ms")
