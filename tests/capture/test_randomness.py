"""The states of random generators are kept as JSON and put back, in another process too."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import numpy as np
import pytest

from ifpdb.capture import randomness
from ifpdb.errors import UsageError

FRESH = """
import random, sys
import numpy as np
from ifpdb.capture import randomness
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
    script = "from ifpdb.capture import randomness; print(randomness.observe().decode())"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert set(json.loads(said)) == {"type", "python"}


@pytest.mark.parametrize("data", [b"", b"\x80\x04N.", b"{}", b"[]", b'{"type": "ifp-random-state/2"}'])
def test_other_bytes_are_refused(data: bytes) -> None:
    before = randomness.observe()
    with pytest.raises(UsageError, match="no random state"):
        randomness.restore(data)
    assert randomness.observe() == before


@pytest.mark.frameworks
def test_torchs_generator_is_put_back_too() -> None:
    torch = pytest.importorskip("torch")
    state = randomness.observe()
    drawn = torch.rand(3)
    torch.rand(100)
    randomness.restore(state)
    assert (torch.rand(3) == drawn).all()
