"""The outermost successful fit inside a track, whoever's estimator it is.

While a track is open, the training methods of the libraries in TARGETS have a thin wrapper that asks the context whether a
track wants this call, and otherwise does nothing. The data is described before the call and not kept after it. Nothing that
goes wrong here reaches the user's training, and nothing of the training is changed.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .boosting import TARGETS as BOOSTING
from .deep import TARGETS as DEEP
from .fits import INSIDE, Description, Fit, Watch, context, inside, note_elsewhere, watch_for
from .hyperparameters import arguments, hyperparameters
from .patching import Call, Function, Hook, Target, Training, by_name, names_of, opened
from .torchfit import HOOKS as TORCH

__all__ = ["HOOKS", "TARGETS", "Description", "Fit", "Watch", "watching"]

LIBRARIES = frozenset(
    {"sklearn", "joblib", "imblearn", "xgboost", "lightgbm", "catboost", "mlxtend", "yellowbrick", "lime", "shap", "eli5"}
)
"""Packages that fit models on their own account, as cross_val_score does: their calls are nobody's outermost fit."""

CONTINUES = frozenset({"partial_fit"})
"""Methods whose repeated calls are one training."""


def _read(call: Call) -> Training:
    """A scikit-learn call: the first argument is the data, whatever its name."""
    given = dict(call.given)
    data = given.pop(next(iter(given))) if given else None
    y, weight = given.pop("y", None), given.pop("sample_weight", None)
    for name in list(given) if given else ():
        if name in ("Y", "*1"):  # cross_decomposition's; a signature that a decorator has hidden
            y = given.pop(name)
        elif name.endswith("__sample_weight"):
            weight = given.pop(name)
    params = hyperparameters(call.self)
    return Training(data, y, weight, params | arguments(given) if given else params)


TARGETS: tuple[Target, ...] = (
    *BOOSTING,
    *DEEP,
    Target("sklearn.base", "BaseEstimator", ("fit", "fit_transform", "fit_predict", "partial_fit"), _read),
)
"""Every library that is covered. Of two rows that meet on one class, the first to patch a method has it."""

HOOKS: tuple[Hook, ...] = TORCH
"""Libraries that are watched without patches: theirs ask `fits.current()` for the watch and `add` a Fit to it."""


@contextmanager
def watching(describe: Callable[[], Description]) -> Iterator[Watch]:
    """See the fits of this context for the block; `describe` makes what takes in the data of one fit."""
    with opened(TARGETS, HOOKS, _wrapped), watch_for(describe) as watch:
        yield watch


def _wrapped(original: Function, target: Target, method: str) -> Function:
    names: tuple[str, ...] | None = None

    @functools.wraps(original)
    def train(*args: Any, **kwargs: Any) -> Any:
        nonlocal names
        watch = context.get()
        if watch is INSIDE:
            return original(*args, **kwargs)
        caller = sys._getframe(1).f_globals.get("__name__") or ""  # noqa: SLF001  # inspect's way takes 100 times as long
        if caller.partition(".")[0] in LIBRARIES:
            with inside():
                return original(*args, **kwargs)
        if watch is None or not watch.is_open:
            if watch is None and args:
                note_elsewhere(_called(target, method, args[0]))
            return original(*args, **kwargs)
        if names is None:
            names = names_of(original)
        if target.owner is None:
            call = Call(method, None, by_name(names, args, kwargs))
        else:
            call = Call(method, args[0], by_name(names[1:], args[1:], kwargs))
        return _observe(watch, target, call, functools.partial(original, *args, **kwargs))

    return train


def _observe(watch: Watch, target: Target, call: Call, run: Callable[[], Any]) -> Any:
    """Describe, run, keep."""
    fit = _begin(watch, target, call)
    token = context.set(INSIDE)
    start = time.perf_counter()
    try:
        result = run()
    except BaseException as error:
        watch.failed.append((_called(target, call.method, call.self), f"{type(error).__name__}: {error}"))
        if fit.model is not None:
            fit.problem = f"a call of {call.method} failed, and its data is among the data described"
            fit.described = None
        raise
    finally:
        context.reset(token)
    fit.seconds += time.perf_counter() - start
    try:
        fit.model = target.model(call, result)
        if target.found is not None:
            fit.params |= target.found(call, result)
        if fit.model is not None:
            watch.add(fit)
    except Exception as error:
        watch.failed.append((_called(target, call.method, call.self), f"it could not be kept: {_said(error)}"))
    return result


def _begin(watch: Watch, target: Target, call: Call) -> Fit:
    """The fit of a call that is about to run, its data described. The data is let go when this returns."""
    earlier = watch.fit_of(call.self) if call.method in CONTINUES else None
    fit = earlier or Fit(None, call.method)
    try:
        inputs = target.read(call)
        if earlier is None:
            fit.params = inputs.params
            fit.described = watch.describe()
        fit.problem = fit.problem or inputs.problem
        if fit.problem is None and fit.described is not None:
            fit.described.add(inputs.X, inputs.y, inputs.sample_weight, last=call.method not in CONTINUES)
    except Exception as error:
        fit.problem = _said(error)
    if fit.problem is not None:
        fit.described = None
    return fit


def _called(target: Target, method: str, model: object) -> str:
    return f"{type(model).__qualname__ if target.owner else target.module}.{method}"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
