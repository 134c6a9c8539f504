"""The states of random generators are kept as JSON and put back, in another process too."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from ifpdb.capture.record import randomness
from ifpdb.errors import UsageError

FRESH = """
import random, sys
import numpy as np
from ifpdb.capture.record import randomness
randomness.restore(sys.stdin.buffer.read())
print(random.random(), np.random.random(), np.random.normal())
"""


def test_the_same_numbers_are_drawn_again_in_a_fresh_process() -> None:
    np.random.normal()  # leaves half a pair of gaussians in the state
    state = randomness.observe()
    drawn = f"{random.random()} {np.random.random()} {np.random.normal()}\n"
    done = subprocess.run([sys.executable, "-c", FRESH], input=state, capture_output=True, check=True)
    assert done.stdout.decode() == drawn


def test_looking_draws_nothing() -> None:
    assert randomness.observe() == randomness.observe()


def test_what_is_not_imported_is_not_looked_at() -> None:
    script = "from ifpdb.capture.record import randomness; print(randomness.observe().decode())"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert set(json.loads(said)) == {"type", "python"}


def damaged(**changes: Any) -> bytes:
    return json.dumps(json.loads(randomness.observe()) | changes).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04N.",
        b"\xff",
        b"{}",
        b"[]",
        b"7",
        b"[" * 100_000,
        b'{"type": "ifp-random-state/1"}',
        damaged(type="ifp-random-state/2"),
        damaged(python=None),
        damaged(python={"version": 3, "words": [1, 2], "gauss": None}),
        damaged(python={"version": 3, "words": [-1] * 625, "gauss": None}),
        damaged(numpy={"key": "AAAA", "pos": 0, "has_gauss": 0, "gauss": 0}),
        damaged(numpy={"key": "not base64!", "pos": 0, "has_gauss": 0, "gauss": 0}),
        damaged(numpy={}),
        damaged(os="rm"),
    ],
)
def test_other_bytes_are_refused_and_nothing_is_put_back(data: bytes) -> None:
    before = randomness.observe()
    random.random(), np.random.random()
    moved = randomness.observe()
    with pytest.raises(UsageError, match="no random state"):
        randomness.restore(data)
    assert randomness.observe() == moved != before


def test_a_state_that_cannot_be_seen_is_listed_and_the_others_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "getstate", lambda: 1 // 0)
    state = randomness.observe()
    assert json.loads(state)["not_seen"] == ["python: ZeroDivisionError"]
    drawn = np.random.random()
    randomness.restore(state)
    assert np.random.random() == drawn


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    state = randomness.observe()
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(UsageError, match="numpy, which is not installed"):
        randomness.restore(state)


def test_another_generator_in_numpys_place_is_left_out() -> None:
    script = (
        "import numpy as np; from ifpdb.capture.record import randomness; "
        "np.random.set_bit_generator(np.random.PCG64(1)); print(randomness.observe().decode())"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert set(json.loads(said)) == {"type", "python"}


@pytest.mark.frameworks
def test_a_torch_that_shows_no_state_costs_no_run() -> None:
    pytest.importorskip("torch")
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        assert json.loads(randomness.observe())["not_seen"] == ["torch: AssertionError"]


@pytest.mark.frameworks
def test_torchs_generator_is_put_back_too() -> None:
    torch = pytest.importorskip("torch")
    state = randomness.observe()
    drawn = torch.rand(3)
    torch.rand(100)
    randomness.restore(state)
    assert (torch.rand(3) == drawn).all()
