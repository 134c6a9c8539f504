"""What the workloads register: files, parameters, metrics, tags, data and a schema."""

from __future__ import annotations

import json
import random
from pathlib import Path

MODEL = "fraud-detector"
SIZE = 100_000
"""Bytes of a small artifact."""

POLICY = {"validation": {"min_acc": 0.0}}
"""A gate that lets every version pass."""


def write_artifact(folder: Path, number: int, *, of: str = "") -> Path:
    """A file whose bytes no other number and owner has."""
    path = folder / f"model{of}-{number}.bin"
    path.write_bytes(random.Random(f"{of}-{number}").randbytes(SIZE))
    return path


def facts(number: int) -> tuple[dict[str, str], dict[str, float], list[str]]:
    """10 parameters, 5 metrics and 3 tags. `acc` is spread evenly over [0, 1); one in ten bears `team-a`."""
    params = {f"p{k}": str((number * 7 + k) % 97) for k in range(10)}
    metrics = {"acc": number * 7919 % 10007 / 10007} | {f"m{k}": number * 0.1 + k for k in range(4)}
    return params, metrics, [f"team-{'abcdefghij'[number % 10]}", "bench", f"seq-{number}"]


def write_data(folder: Path) -> tuple[Path, Path]:
    """A training file and a schema file."""
    data, schema = folder / "train.csv", folder / "schema.json"
    data.write_text("a,b\n" * 250)
    columns = [{"position": i, "name": f"x{i}", "type": "number", "min": 0, "max": 1} for i in range(8)]
    schema.write_text(json.dumps({"features": columns}))
    return data, schema
