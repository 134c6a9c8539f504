"""A registry in a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkout import configure, git

import ifpdb as ifp


@pytest.fixture
def db(registry: ifp.Registry, folder: Path) -> Path:
    """An empty registry in a new checkout, which is the current folder."""
    registry.close()
    git("init", "-q", "-b", "main")
    configure(folder)
    return registry.path
