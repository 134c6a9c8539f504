"""Several at once: merges and a registration stand in line for one registry, and each finds its place in the log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from clones import Clone, Put, answers, digest_of

import ifpdb as ifp
from ifpdb.merge.union import merge
from ifpdb.upkeep.chain import verify
from ifpdb.upkeep.fsck import fsck

MERGE = """
import sys, ifpdb as ifp
from pathlib import Path
from ifpdb.merge.union import merge
sys.stdin.read(1)
for name in sys.argv[2:]:
    with ifp.open(sys.argv[1]) as registry:
        merge(registry, Path(name))
"""
REGISTER = """
import sys, ifpdb as ifp
sys.stdin.read(1)
with ifp.open(sys.argv[1]) as registry:
    for number in range(8):
        registry.register("fraud", sys.argv[2], data="train.csv", schema="schema.json", params={"C": number}, seed=7)
"""


def test_two_merges_and_a_registration_at_once_lose_nothing(
    two: ifp.Registry, clone: Clone, put: Put, folder: Path, parts: dict[str, Any]
) -> None:
    others = [clone(name) for name in ("bob", "carol")]
    for number, other in enumerate(others):
        for count in range(5):
            put(other, f"{number} {count}")
    (folder / "weights").write_text("w")
    first, second = (str(other.path) for other in others)
    commands = [(MERGE, first, second), (MERGE, second, first), (REGISTER, "weights")]
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(two.path), *words], stdin=subprocess.PIPE, cwd=folder)
        for script, *words in commands
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in started:
        process.communicate()
        assert process.returncode == 0
    assert len(two.model("fraud").versions()) == 2 + 5 + 5 + 8
    assert not verify(two).problems
    assert not fsck(two).problems
    for other in others:
        merge(other, two.path)
        assert digest_of(other.path) == digest_of(two.path)
        assert answers(other.path) == answers(two.path)
