"""Fixtures of the fault harnesses: one server of forks, and one bench and reference for each work, for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from forks import WITHOUT_STRACE, Forks, has_strace
from sweep import Bench, Reference


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    if not has_strace():
        pytest.skip(WITHOUT_STRACE)
    with Forks() as opened:
        yield opened


@pytest.fixture(scope="session")
def bench(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Bench, Reference]]:
    """A work's bench, and the work without a fault: `bench("promote")`."""

    @cache
    def make(name: str) -> tuple[Bench, Reference]:
        folder: Path = tmp_path_factory.mktemp("bench")
        made = Bench(forks, name, folder)
        return made, made.reference()

    return make
