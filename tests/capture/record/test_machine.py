"""The machine is described in words that stay the same, and of the environment's variables only those that are listed."""

from __future__ import annotations

import platform
import sys

import numpy as np
import pytest

from ifpdb.capture.record.machine import VARIABLES, answers, describe_machine
from ifpdb.digest import canonical


def test_the_machine_is_described_twice_alike() -> None:
    found = describe_machine()
    assert canonical(found) == canonical(describe_machine())
    assert (found["python"], found["machine"]) == (platform.python_version(), platform.machine())
    assert found["memory"] > 1 << 28
    assert 1 <= found["cpus_usable"] <= found["cpus"]


def test_blas_is_named_whoever_tells_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert np.zeros(1).size
    by_numpy_or_threadpoolctl = describe_machine()["blas"]
    assert by_numpy_or_threadpoolctl[0]["library"]
    monkeypatch.delitem(sys.modules, "threadpoolctl", raising=False)
    assert describe_machine()["blas"][0]["version"]


def test_a_question_that_fails_is_listed_and_costs_no_other_answer() -> None:
    found = answers({"cpu": lambda: "x", "gpus": list, "blas": lambda: [1 // 0], "memory": lambda: None})
    assert found == {"cpu": "x", "not_seen": ["blas: ZeroDivisionError"]}


def test_only_listed_variables_are_recorded_and_no_secret_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("KERAS_BACKEND", "https://ada:hunter2@host")
    found = describe_machine()
    assert found["variables"] == {"KERAS_BACKEND": "https://<redacted>@host", "OMP_NUM_THREADS": "2"}
    assert "hunter2" not in str(found)
