"""What each tool offers for the same work, behind one shape. A library is loaded by its own class, when its store is opened.

`raw` is the hand-written limit; ifpdb registers with data and a schema, so that its versions have all four parts.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).parent.parent))
from material import MODEL, write_data

Facts = tuple[Mapping[str, str], Mapping[str, float], Sequence[str]]


class Store(Protocol):
    """One tool's registry in a folder. A method that a tool has no notion of is missing."""

    def __init__(self, folder: Path) -> None: ...

    def register(self, path: Path, facts: Facts) -> Any:
        """A new version with parameters, metrics and tags; what `promote` takes."""

    def promote(self, version: Any) -> None:
        """Let the name 'production' point to this version."""

    def count(self) -> int:
        """How many versions a fresh look finds."""


class Raw:
    """sqlite3 by hand: no log, no checks."""

    imports = "sqlite3"

    def __init__(self, folder: Path) -> None:
        import raw

        self.raw = raw.Raw(folder)

    def register(self, path: Path, facts: Facts) -> int:
        return self.raw.register(MODEL, path, facts)

    def promote(self, version: int) -> None:
        self.raw.promote(MODEL, "production", version)

    def count(self) -> int:
        return len(self.raw.newest(MODEL, -1))


class Ifpdb:
    imports = "ifpdb"
    command = ("ifp", "--version")

    def __init__(self, folder: Path) -> None:
        import ifpdb

        self.library = ifpdb
        self.folder = folder
        self.registry = ifpdb.init(folder / "ifp.db")
        self.model = self.registry.model(MODEL)
        if not (folder / "train.csv").exists():
            write_data(folder)

    def register(self, path: Path, facts: Facts) -> str:
        params, metrics, tags = facts
        data, schema = self.folder / "train.csv", self.folder / "schema.json"
        found = self.registry.register(MODEL, path, data=data, schema=schema, params=params, metrics=metrics, seed=1, tags=tags)
        return found.run

    def promote(self, version: str) -> None:
        self.model.promote(version, "production", force=True, reason="benchmark")

    def log(self, count: int) -> None:
        with self.library.track(MODEL, db=self.folder / "ifp.db", autocapture=False) as run:
            for step in range(count):
                run.log_metric("loss", step * 0.5, step=step)

    def count(self) -> int:
        return len(self.model.versions())


class Mlflow:
    """MLflow's client over sqlite:/// and a local artifact folder."""

    imports = "mlflow"
    command = ("mlflow", "--version")

    def __init__(self, folder: Path) -> None:
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        logging.disable(logging.WARNING)
        address = f"sqlite:///{folder / 'mlflow.db'}"
        self.client = MlflowClient(address, address)
        with contextlib.suppress(MlflowException):  # another process made them
            self.client.create_experiment("benchmark", artifact_location=(folder / "artifacts").as_uri())
            self.client.create_registered_model(MODEL)
        self.experiment = self.client.get_experiment_by_name("benchmark").experiment_id

    def register(self, path: Path, facts: Facts) -> str:
        from mlflow.entities import Metric, Param

        params, metrics, tags = facts
        run = self.client.create_run(self.experiment)
        self.client.log_batch(
            run.info.run_id,
            [Metric(key, value, 0, 0) for key, value in metrics.items()],
            [Param(key, value) for key, value in params.items()],
        )
        self.client.log_artifact(run.info.run_id, str(path), "model")
        self.client.set_terminated(run.info.run_id)
        source = f"{run.info.artifact_uri}/model"
        return self.client.create_model_version(MODEL, source, run.info.run_id, tags=dict.fromkeys(tags, "1")).version

    def promote(self, version: str) -> None:
        self.client.set_registered_model_alias(MODEL, "production", version)

    def log(self, count: int) -> None:
        run = self.client.create_run(self.experiment).info.run_id
        for step in range(count):
            self.client.log_metric(run, "loss", step * 0.5, step=step)

    def count(self) -> int:
        return len(self.client.search_model_versions(f"name='{MODEL}'", max_results=10_000))


class Trackio:
    """Trackio's artifacts and its local registry."""

    imports = "trackio"
    command = ("trackio", "--version")

    def __init__(self, folder: Path) -> None:
        os.environ |= {"TRACKIO_DIR": str(folder), "HF_HUB_OFFLINE": "1"}
        import trackio

        self.trackio, self.folder = trackio, folder
        self.quiet = contextlib.redirect_stdout(io.StringIO())
        with self.quiet:
            try:
                self.collections = trackio.Api().create_registry("r")
            except ValueError:
                self.collections = trackio.Api().registry("r")
        self.artifacts: dict[str, Any] = {}

    def _start(self, config: Mapping[str, str]) -> Any:
        return self.trackio.init(project="benchmark", config=dict(config), auto_log_gpu=False, auto_log_cpu=False, embed=False)

    def register(self, path: Path, facts: Facts) -> str:
        params, metrics, tags = facts
        with self.quiet:
            run = self._start(params)
            run.log(dict(metrics))
            artifact = self.trackio.Artifact(name=MODEL, type="model", metadata={**params, **metrics, "tags": list(tags)})
            artifact.add_file(str(path), name="model.bin")
            linked = run.link_artifact(run.log_artifact(artifact), f"registry-r/{MODEL}")
            self.trackio.finish()
        self.artifacts[linked.version] = artifact
        return str(linked.version)

    def promote(self, version: str) -> None:
        self.artifacts[version].link(f"registry-r/{MODEL}", aliases=["production"])

    def log(self, count: int) -> None:
        with self.quiet:
            run = self._start({})
            for step in range(count):
                run.log({"loss": step * 0.5}, step=step)
            self.trackio.finish()

    def count(self) -> int:
        return len(self.collections.collection(MODEL).links)


class Pins:
    """pins on a folder: versions, but neither aliases nor a log of metrics."""

    imports = "pins"

    def __init__(self, folder: Path) -> None:
        import pins

        (folder / "board").mkdir(exist_ok=True)
        self.board = pins.board_folder(str(folder / "board"))

    def register(self, path: Path, facts: Facts) -> str:
        params, metrics, tags = facts
        told = {"params": dict(params), "metrics": dict(metrics), "tags": list(tags)}
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return str(self.board.pin_upload([str(path)], MODEL, metadata=told).version.version)

    def count(self) -> int:
        return len(self.board.pin_versions(MODEL, as_df=False))


STORES: dict[str, type[Any]] = {"raw": Raw, "ifpdb": Ifpdb, "mlflow": Mlflow, "trackio": Trackio, "pins": Pins}
