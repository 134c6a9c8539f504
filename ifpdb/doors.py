"""The short way in: functions for scripts that use the registry around them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from .desk import Lineage, init
from .desk import open as open_registry
from .model import Model
from .records import Run, Version
from .settings import named_registry


def registry(model: str, *, db: str | os.PathLike[str] | None = None, actor: str | None = None) -> Model:
    """A model of the registry around here. Raises NotFound where there is no registry."""
    return Model(open_registry(db, actor=actor), model)


def get_run(ref: str, *, db: str | os.PathLike[str] | None = None) -> Run:
    """The run that a reference names. Raises UsageError, NotFound or Ambiguous."""
    return open_registry(db).run(ref)


def register(
    model_name: str,
    path_or_object: object,
    *,
    data: object = None,
    schema: object = None,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    seed: int | None = None,
    derived_from: Lineage = (),
    stage: str = "staging",
    tags: Sequence[str] = (),
    labels: Sequence[str] = (),
    partial: bool = False,
    allow_name: bool = False,
    db: str | os.PathLike[str] | None = None,
    actor: str | None = None,
) -> Version:
    """Register a model that was trained elsewhere; see `Registry.register`.

    Makes ./ifp.db when no registry was named and none is found. Raises NotFound for one that was named and isn't there.
    """
    place = init(actor=actor) if named_registry(db) is None else open_registry(db, actor=actor)
    return place.register(
        model_name,
        path_or_object,
        data=data,
        schema=schema,
        params=params,
        metrics=metrics,
        seed=seed,
        derived_from=derived_from,
        stage=stage,
        tags=tags,
        labels=labels,
        partial=partial,
        allow_name=allow_name,
    )
