"""The fits that a track has seen, and which of them is the model.

A Watch belongs to one open track. Which watch a fit belongs to is a matter of the context (contextvars) that it runs in, so
that threads and tasks don't mix; while a fit runs, `current` is None in its context: whatever trains inside it is a part of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...digest import JSON
from ...errors import Ambiguous, UsageError
from .hyperparameters import seed_of


class Description(Protocol):
    """Tells what data was, without keeping it."""

    def add(self, X: object, y: object | None, sample_weight: object | None, *, last: bool) -> None:  # noqa: N803
        """Take in the data of one call, before it runs; `partial_fit` makes many, of which none is known to be the last."""


@dataclass(slots=True, eq=False)
class Fit:
    """One training. `params` are those before it began; `problem` says why the data could not be described."""

    model: Any
    method: str
    params: dict[str, JSON] = field(default_factory=dict)
    described: Description | None = None
    problem: str | None = None
    seconds: float = 0.0

    @property
    def seed(self) -> int | None:
        """The outermost seed among the parameters; None where there is none, or several that differ."""
        return seed_of(self.params)

    def __str__(self) -> str:
        """`LogisticRegression(C=0.5, …)`: the class and the first of its parameters."""
        shown = [f"{key}={value!r}" for key, value in self.params.items() if value is not None]
        text = ", ".join(shown)
        return f"{type(self.model).__qualname__}({text if len(text) <= 60 else text[:59] + '…'})"


@dataclass(slots=True, eq=False)
class Watch:
    """What one open track sees. `failed` holds (what was called, the error) of fits that raised."""

    describe: Callable[[], Description]
    fits: list[Fit] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    elsewhere: set[str] = field(default_factory=set)
    """Fits that ran meanwhile in a thread that belongs to no track."""
    is_open: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fit: Fit) -> None:
        """Keep a fit, in the place of an earlier one of the same object."""
        with self._lock:
            self.fits = [other for other in self.fits if other.model is not fit.model] + [fit]

    def find(self, model: object) -> Fit | None:
        """The fit of this very object; else the newest whose object it is a part of.

        Parts are a search's `best_estimator_`, the steps of a pipeline, the estimators among the parameters of a
        meta-estimator, and the booster inside xgboost's and lightgbm's estimators, the modules inside a torch module.
        """
        whole = (fit for fit in reversed(self.fits) if any(part is model for part in _parts(fit.model)))
        return self.fit_of(model) or next(whole, None)

    def fit_of(self, model: object) -> Fit | None:
        """The fit of this very object."""
        return next((fit for fit in self.fits if fit.model is model), None)

    def candidate(self) -> Fit:
        """The one fit that `run.register()` means; raises UsageError for none, Ambiguous for several.

        Objects that can predict come first: next to one, what only transforms was a preparation. What is a part of another
        candidate is no candidate of its own.
        """
        fits = [fit for fit in self.fits if _predicts(fit.model)] or self.fits
        if len(fits) > 1:
            inside = {id(part) for fit in fits for part in _parts(fit.model)}
            fits = [fit for fit in fits if id(fit.model) not in inside] or fits
        if not fits:
            raise UsageError(f"no fit was seen inside this track{self._reason()}; name it: run.register(model=…)")
        if len(fits) > 1:
            listed = "; ".join(str(fit) for fit in fits)
            raise Ambiguous(f"{len(fits)} models were fitted inside this track: {listed}. Say which: run.register(model=…)")
        return fits[0]

    def _reason(self) -> str:
        if self.failed:
            called, error = self.failed[-1]
            return f": {called} failed with {error}"
        if self.elsewhere:
            return (
                f": {', '.join(sorted(self.elsewhere)[:3])} ran outside its context; start the thread with "
                "contextvars.copy_context().run, or use asyncio.to_thread"
            )
        return (
            ": it was fitted before the block, by a library that isn't covered, or by a train function that was imported by "
            "name before the block (import xgboost; xgboost.train(…) is seen)"
        )


INSIDE: Any = object()
"""Stands for the watch while a fit runs in this context: all that happens is a part of that fit."""

context: ContextVar[Any] = ContextVar("ifp_watch", default=None)
"""The Watch of this context, INSIDE, or None. `current` and `inside` are the ways to it; only a wrapper reads it raw."""

_watches: set[Watch] = set()


def current() -> Watch | None:
    """The open watch that a training belongs to which begins here and now; None too while a fit is running here."""
    watch = context.get()
    return watch if isinstance(watch, Watch) and watch.is_open else None


@contextmanager
def inside() -> Iterator[None]:
    """While the block runs, what trains in this context is a part of what is being trained."""
    token = context.set(INSIDE)
    try:
        yield
    finally:
        context.reset(token)


@contextmanager
def watch_for(describe: Callable[[], Description]) -> Iterator[Watch]:
    """A new watch, current in this context for the block."""
    watch = Watch(describe)
    token = context.set(watch)
    _watches.add(watch)
    try:
        yield watch
    finally:
        watch.is_open = False
        _watches.discard(watch)
        with suppress(ValueError):  # left in another context than entered, as an async generator can be
            context.reset(token)


def note_elsewhere(what: str) -> None:
    """Tell every open watch of a fit that belongs to none."""
    text = f"{what} in thread {threading.current_thread().name}"
    for watch in list(_watches):
        if len(watch.elsewhere) < 10:
            watch.elsewhere.add(text)


def _predicts(model: object) -> bool:
    return any(hasattr(model, name) for name in ("predict", "forward", "fit_predict"))


def _parts(model: Any) -> Iterator[Any]:
    """What is inside a fitted object, at any depth."""
    waiting, seen = [model], {id(model)}
    while waiting:
        for part in _inner(waiting.pop()):
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)
                yield part


def _inner(model: Any) -> Iterator[Any]:
    fitted = vars(model) if hasattr(model, "__dict__") else {}
    if hasattr(model, "forward") and hasattr(model, "children"):  # torch's modules
        yield from model.children()
    yield from (fitted[name] for name in ("best_estimator_", "_Booster") if fitted.get(name) is not None)
    with suppress(Exception):  # someone else's get_params
        get_params = getattr(model, "get_params", None) if not isinstance(model, type) else None
        values = get_params(deep=True).values() if get_params else ()
        yield from [value for value in values if hasattr(value, "get_params") and not isinstance(value, type)]
