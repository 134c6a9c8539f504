"""Fixtures of the outbox: ifp.toml written, a version refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

Make = Callable[..., ifp.Version]


@pytest.fixture
def configure(home: Path) -> Callable[[str], Path]:
    """Writes ifp.toml."""

    def write(text: str, mode: int = 0o600) -> Path:
        path = home / "config" / "ifp" / "ifp.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


@pytest.fixture
def refused(registry: ifp.Registry, make: Make) -> Callable[..., ifp.GateFailed]:
    """Sets a policy that tells these targets and lets a version be refused by it."""

    def refuse(*targets: str, **more: Any) -> ifp.GateFailed:
        fraud = registry.model("fraud")
        fraud.set_policy({"validation": {"min_f1": 0.9, "notify_on_fail": list(targets), **more}})
        make(f"weights-{time.monotonic_ns()}", metrics={"f1": 0.5})
        with pytest.raises(ifp.GateFailed) as failed:
            fraud.promote("latest", "production")
        return failed.value

    return refuse
