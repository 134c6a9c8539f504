"""What recording all four parts costs ordinary training code, beside MLflow's autolog where MLflow is installed."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from report import Result
from stopwatch import Turn, take_turns

import ifpdb as ifp

LIMIT = 30.0
"""Milliseconds."""


def snippet(folder: Path, *, rounds: int, turns: int) -> Iterator[Result]:
    """A forest fitted to 569 x 30 values: alone, inside a track that registers it, inside an MLflow run that logs it."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import f1_score

    X, y = load_breast_cancer(return_X_y=True)  # noqa: N806  # scikit-learn's name
    os.chdir(folder)
    ifp.init(folder / "ifp.db").close()

    def train(turn: int) -> tuple[Any, float]:
        model = RandomForestClassifier(20, random_state=turn).fit(X, y)
        return model, float(f1_score(y, model.predict(X)))

    def tracked(turn: int) -> None:
        with ifp.track("fraud-detector", db=folder / "ifp.db") as run:
            run.log_metric("f1", train(turn)[1])
            run.register(stage="staging", tags=["q1-retrain"])

    work: dict[str, Turn] = {"plain": train, "track": tracked}
    if find_spec("mlflow") is not None:
        work["mlflow"] = _mlflow(folder, train)
    for do in work.values():
        do(1_000_000)  # the first one of each loads what the others find loaded
    laps = take_turns(work, rounds=rounds, turns=turns)
    plain = laps.seconds("plain")
    for name, what, limit in (("track", "ifp.track, fit, log_metric, register", LIMIT), ("mlflow", "MLflow's autolog", None)):
        if name in work:
            over = (laps.seconds(name) - plain) * 1e3
            yield Result(
                f"569 x 30 fitted: {what}, over the training alone", "ms", over, limit, f"training {plain * 1e3:.0f} ms"
            )


def _mlflow(folder: Path, train: Turn) -> Turn:
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")

    def logged(turn: int) -> None:
        mlflow.sklearn.autolog(registered_model_name="fraud-detector", log_datasets=True, silent=True)
        try:
            with mlflow.start_run():
                mlflow.log_metric("f1", train(turn)[1])  # type: ignore[index]
        finally:
            mlflow.sklearn.autolog(disable=True)

    return logged
