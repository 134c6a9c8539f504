"""What a run sees by itself while it is open: its fits, its code and packages, where it runs, the state of randomness."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from .capture.fit.estimator import Fit, watching
from .capture.fit.inputs import Inputs
from .capture.fit.torchfit import unwrapped
from .capture.record import environment, randomness
from .capture.schema.features import FeatureSchema
from .digest import JSON
from .errors import Ambiguous, IfpError, UsageError
from .records import Code, Dataset

RANDOM_STATE = "random-state"
"""The artifact that holds the states of the generators when the run began."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What a fit tells of a version: everything but the bytes of the model. `problem` says what it could not tell."""

    params: dict[str, JSON] = field(default_factory=dict)
    seed: int | None = None
    data: Sequence[Dataset] = ()
    schema: FeatureSchema | None = None
    fit: dict[str, JSON] | None = None
    problem: str | None = None


class Observation:
    """Watches from its making until `close`."""

    def __init__(self, project: Path, *, lengths: Collection[int] = ()) -> None:
        """`lengths` are the row counts of tables that the data of its fits may have grown from."""
        self._process = environment.Observer(project)
        self._logged: Fit | None = None
        self.command = environment.command_line(project)
        self.random_state = randomness.observe()
        self._watching = watching(partial(Inputs, lengths))
        self._watch = self._watching.__enter__()

    def close(self) -> None:
        """Look no longer."""
        self._watching.__exit__(None, None, None)

    def code(self) -> Code:
        """The project's code that was imported so far, and git's commit."""
        return self._process.code()

    def environment(self) -> dict[str, JSON]:
        """Where the run takes place, and with which packages."""
        return self._process.environment()

    def logged(self, model: object) -> None:
        """Remember that this object was kept as the run's model."""
        self._logged = self._watch.find(unwrapped(model))

    @property
    def fitted(self) -> bool:
        """Whether any fit was seen."""
        return bool(self._watch.fits)

    def model(self) -> Any:
        """The one object that was fitted. Raises UsageError for none, Ambiguous for several."""
        return self._watch.candidate().model

    def of(self, model: object) -> Captured:
        """What was captured of a model: of this object, or, for a path or None, of the one that was logged or fitted."""
        fit = self._fit_of(model)
        return Captured() if fit is None else _captured(fit)

    def changed(self, model: object) -> list[str]:
        """Which inputs of that fit are no longer what they were, by name; those that are gone can't be told."""
        fit = self._fit_of(model)
        return fit.described.changed() if fit is not None and isinstance(fit.described, Inputs) else []

    def _fit_of(self, model: object) -> Fit | None:
        unnamed = model is None or isinstance(model, str | os.PathLike)
        return (self._logged or self._only()) if unnamed else self._watch.find(unwrapped(model))

    def _only(self) -> Fit | None:
        try:
            return self._watch.candidate()
        except (Ambiguous, UsageError):
            return None


def _captured(fit: Fit) -> Captured:
    kind = type(fit.model)
    seen: dict[str, JSON] = {"estimator": f"{kind.__module__}.{kind.__qualname__}", "method": fit.method}
    seen["seconds"] = round(fit.seconds, 6)
    if (steps := getattr(fit, "steps", None)) is not None:
        seen["steps"] = steps
    known = Captured(fit.params, fit.seed, fit=seen, problem=fit.problem)
    if not isinstance(fit.described, Inputs):
        return known
    try:
        return replace(known, data=fit.described.datasets(), schema=fit.described.schema())
    except IfpError as error:
        return replace(known, problem=str(error))
