"""Is a version good or bad? By a metric that is on record, or by a command that is given the artifact."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from ..desk import Registry
from ..errors import UsageError
from ..records import Run, Version

Verdict = Literal["good", "bad", "skip"]
Judge = Callable[[Run, Version | None], Verdict]
"""Told a run and the version that it registered, if any."""


def by_function(test: Callable[[Version], bool | None]) -> Judge:
    """What a function says of a version: True is good, False bad, None skip. A run that registered nothing is skipped."""

    def judge(_run: Run, version: Version | None) -> Verdict:
        said = None if version is None else test(version)
        return "skip" if said is None else "good" if said else "bad"

    return judge


def by_metric(metric: str, *, below: float | None = None, above: float | None = None, dataset: str | None = None) -> Judge:
    """Bad where the metric is below (or above) a limit; skipped where it was not measured or is no number.

    `dataset` (a name or digest) says on what, where a version was measured on several. Raises UsageError unless exactly one
    limit is given; the judge raises it where measurements on several datasets would give different verdicts.
    """
    if (below is None) == (above is None):
        raise UsageError("a metric needs one limit: --below 0.9 where more is better, --above 3 where less is")

    def verdict_of(value: float) -> Verdict:
        if math.isnan(value):
            return "skip"
        return "bad" if (below is not None and value < below) or (above is not None and value > above) else "good"

    def judge(run: Run, version: Version | None) -> Verdict:
        record = version or run
        wanted = {one.identity for one in record.data if dataset in (one.name, one.identity)} | {dataset}
        found = {
            one.dataset: verdict_of(one.value)
            for one in record.measurements
            if one.metric == metric and (dataset is None or one.dataset in wanted)
        }
        if len(set(found.values())) > 1:
            raise UsageError(
                f"{run.id} has {metric} on several data, and they don't agree: say on which with --dataset "
                f"({', '.join(sorted(str(identity)[:19] for identity in found))})"
            )
        return next(iter(found.values()), "skip")

    return judge


def by_command(registry: Registry, command: Sequence[str], good: tuple[Run, Version | None]) -> Judge:
    """What a command's exit code says, as `git bisect run` has it: 0 good, 125 skip, 1 to 127 bad.

    It gets IFP_REF, IFP_RUN, IFP_DB and IFP_ARTIFACT, a path of the artifact, checked out and verified. A run that kept none is
    skipped. Raises UsageError for a command that can't be found; the judge raises it for one that dies by a signal, exits
    with more than 127, or with 126 or 127 (the shell's "can't be run") for the `good` run as well.
    """
    if not command or shutil.which(command[0]) is None:
        raise UsageError(f"there is no command '{command[0] if command else ''}': write it behind --, as in -- python check.py")

    @cache
    def good_can_t_run() -> bool:
        return "model" in good[0].artifacts and exit_code(registry, command, *good) in (126, 127)

    def judge(run: Run, version: Version | None) -> Verdict:
        if "model" not in run.artifacts:
            return "skip"
        code = exit_code(registry, command, run, version)
        if code < 0 or code > 127:
            how = f"died by signal {-code}" if code < 0 else f"exited with {code}"
            raise UsageError(f"'{command[0]}' {how} for {run.id}: that is no verdict; the verdicts so far are kept")
        if code in (126, 127) and good_can_t_run():
            raise UsageError(f"'{command[0]}' can't be run for {good[0].id} as well, which is good: look at the command")
        return "good" if code == 0 else "skip" if code == 125 else "bad"

    return judge


def exit_code(registry: Registry, command: Sequence[str], run: Run, version: Version | None) -> int:
    """How a command ends for one run; its output goes to stderr. The artifact is gone afterwards, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="ifp-bisect-") as folder:
        place = registry.checkout(run.id, Path(folder) / "model")
        given = {
            "IFP_REF": version.name if version else run.id,
            "IFP_RUN": run.id,
            "IFP_ARTIFACT": str(place),
            "IFP_DB": str(registry.path.absolute()),
        }
        try:
            return subprocess.run(command, env={**os.environ, **given}, stdout=_stderr(), check=False).returncode
        except OSError as error:
            raise UsageError(f"'{command[0]}' can't be run: {error.strerror}") from None


def _stderr() -> int:
    """The descriptor of stderr: what a command prints is talk, not the result."""
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError):  # a notebook's, or a test's
        return subprocess.DEVNULL
