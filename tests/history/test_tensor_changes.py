"""A diff tells weights apart tensor by tensor, and says why where it can't."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

numpy = pytest.importorskip("numpy")


@pytest.fixture
def keep(registry: ifp.Registry, parts: dict[str, Any], folder: Path) -> Callable[..., ifp.Version]:
    """Registers arrays as an npz file."""

    def register(**arrays: Any) -> ifp.Version:
        numpy.savez(folder / "model.npz", **arrays)
        return registry.register("net", "model.npz", **parts)

    return register


def weights(registry: ifp.Registry, **options: bool) -> dict[str, ifp.Change]:
    return {c.name: c for c in registry.diff("net@v1", "net@v2", **options) if c.part == "weights"}


def test_only_the_tensors_that_differ_are_listed(registry: ifp.Registry, keep: Callable[..., ifp.Version]) -> None:
    layer, bias = numpy.ones((3, 2)), numpy.zeros(2)
    keep(layer=layer, bias=bias)
    keep(layer=layer * 1.5, bias=bias, extra=numpy.arange(3))
    found = weights(registry)
    assert set(found) == {"weights", "layer", "extra"}
    assert found["extra"].change == "added"
    assert found["layer"].before == {"dtype": "float64", "shape": [3, 2]}
    assert found["layer"].after["max_abs"] == pytest.approx(0.5)
    assert found["layer"].after["relative"] == pytest.approx(0.5)
    assert found["weights"].note
    assert weights(registry, everything=True)["bias"].change == "unchanged"


def test_rounding_is_told_from_another_training(registry: ifp.Registry, keep: Callable[..., ifp.Version]) -> None:
    layer = numpy.linspace(0.5, 2, 100)
    keep(layer=layer)
    keep(layer=layer * (1 + 1e-14))
    assert "rounding" in (weights(registry)["weights"].note or "")


def test_a_pickle_is_not_run_to_be_compared(registry: ifp.Registry, parts: dict[str, Any], folder: Path) -> None:
    for number in (1, 2):
        (folder / "model.pkl").write_bytes(b"\x80\x04K" + bytes([number]) + b".")
        registry.register("net", "model.pkl", **parts)
    found = weights(registry)
    assert set(found) == {"weights"}
    assert "pickle" in (found["weights"].note or "")


def test_bytes_that_are_not_here_are_a_note(registry: ifp.Registry, keep: Callable[..., ifp.Version]) -> None:
    a = keep(layer=numpy.ones(3))
    keep(layer=numpy.zeros(3))
    assert a.weights is not None
    registry.blobs.path(a.weights.digest).unlink()
    found = weights(registry)
    assert set(found) == {"weights"}
    assert a.weights.digest in (found["weights"].note or "")
