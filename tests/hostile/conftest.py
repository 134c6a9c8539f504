"""The fixture that fuzzes: derandomized and short in the ordinary run, random and twenty times as long at night."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

Fuzz = Callable[..., Callable[[Callable[..., None]], None]]


@pytest.fixture(params=["short", pytest.param("long", marks=pytest.mark.nightly)])
def fuzz(request: pytest.FixtureRequest) -> Fuzz:
    """`@fuzz(x=strategy)` above a function runs it at once for so many examples of `x`."""
    long = request.param == "long"

    def decorate(examples: int = 100, **strategies: Any) -> Callable[[Callable[..., None]], None]:
        chosen = settings(
            max_examples=examples * (20 if long else 1),
            derandomize=not long,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        return lambda test: chosen(given(**strategies)(test))()

    return decorate
