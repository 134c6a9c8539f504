"""An embedded model registry in one SQLite file.

    import ifpdb as ifp

    with ifp.track("fraud-detector") as run:
        model.fit(X_train, y_train)
        run.log_metric("f1", f1_score(y_val, model.predict(X_val)))
        run.register(stage="staging", tags=["q1-retrain"])

Everything public is listed in `__all__` and loaded when it is first asked for, so that importing costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .answers import Change, Check, Interval, Kin, Node, Verdict
    from .capture.data.dataset import hash_data
    from .capture.schema.features import Feature, FeatureSchema
    from .capture.schema.validation import Problem, Validation
    from .desk import Registry, init, open
    from .doors import get_run, register, registry
    from .errors import (
        Ambiguous,
        Busy,
        Conflict,
        GateFailed,
        IfpError,
        IntegrityError,
        NeedsReason,
        NotFound,
        Refused,
        StorageError,
        Untrusted,
        UsageError,
    )
    from .history.bisect import Bisection
    from .history.blame import Origin
    from .history.explain import Explanation, Step
    from .model import Model
    from .policy import Policy
    from .records import Artifact, Code, Dataset, Deployment, Event, Measurement, ModelSummary, Parent, Run, Version
    from .tracking import TrackedRun, track

_HOME = {
    "capture.data.dataset": "hash_data",
    "capture.schema.features": "Feature FeatureSchema",
    "capture.schema.validation": "Problem Validation",
    "doors": "get_run register registry",
    "errors": "Ambiguous Busy Conflict GateFailed IfpError IntegrityError NeedsReason NotFound Refused StorageError "
    "Untrusted UsageError",
    "history.bisect": "Bisection",
    "history.blame": "Origin",
    "history.explain": "Explanation Step",
    "model": "Model",
    "policy": "Policy",
    "answers": "Change Check Interval Kin Node Verdict",
    "records": "Artifact Code Dataset Deployment Event Measurement ModelSummary Parent Run Version",
    "desk": "Registry init open",
    "tracking": "TrackedRun track",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = [  # noqa: RUF022  # by task: a newcomer reads it
    # do
    "track",
    "register",
    "registry",
    "get_run",
    "open",
    "init",
    "hash_data",
    # hold
    "Registry",
    "Model",
    "TrackedRun",
    "Policy",
    # read
    "Artifact",
    "Bisection",
    "Change",
    "Check",
    "Code",
    "Dataset",
    "Deployment",
    "Event",
    "Explanation",
    "Feature",
    "FeatureSchema",
    "Interval",
    "Kin",
    "Measurement",
    "ModelSummary",
    "Node",
    "Origin",
    "Parent",
    "Problem",
    "Run",
    "Step",
    "Validation",
    "Verdict",
    "Version",
    # catch
    "IfpError",
    "Ambiguous",
    "Busy",
    "Conflict",
    "GateFailed",
    "IntegrityError",
    "NeedsReason",
    "NotFound",
    "Refused",
    "StorageError",
    "Untrusted",
    "UsageError",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ifpdb' has no attribute {name!r}")
    found = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
