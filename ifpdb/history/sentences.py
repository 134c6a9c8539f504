"""Changes in words that a person can paste into an incident report, the most telling first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..answers import Change

_PARTS = ("feature", "data", "param", "seed", "code", "environment", "weights", "metric")
_CHANGES = ("added", "removed", "changed", "moved", "unchanged")
COLUMN = " column "
"""What stands in a change's name between a dataset and its column."""

_TOLD = ("package ", "python", "record")
"""What is told of an environment, of which much else differs from run to run."""


def by_weight(changes: Iterable[Change]) -> list[Change]:
    """Changes, the most telling first: what the model sees, then how it was trained, where, and what came out.

    Among ranges that moved, those that moved by the greatest part of their value.
    """

    def weight(change: Change) -> tuple[int, bool, int, float]:
        moved = _moved_by(change.before, change.after)
        return _PARTS.index(change.part), COLUMN in change.name, _CHANGES.index(change.change), -moved

    return sorted(changes, key=weight)


def _moved_by(before: Any, after: Any) -> float:
    """By which part of its greater end, 0 to 2, a range moved; infinitely where more than a range changed."""
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return 0.0
    if before.keys() - {"min", "max", "digest"}:
        return float("inf")
    ends = [(before[end], after[end]) for end in ("min", "max") if end in before and end in after]
    numbers = [(a, b) for a, b in ends if isinstance(a, int | float) and isinstance(b, int | float)]
    return max((abs(b - a) / (max(abs(a), abs(b)) or 1) for a, b in numbers), default=0.0)


def sentences(changes: Iterable[Change], *, most: int = 12) -> list[str]:
    """A sentence for each change, the most telling first, one for all columns of a table; those beyond `most` are counted."""
    ordered = by_weight(changes)
    columns: dict[str, list[Change]] = {}
    for change in ordered:
        if change.part == "data" and COLUMN in change.name:
            columns.setdefault(change.name.partition(COLUMN)[0], []).append(change)
    told, aside = list[str](), 0
    for change in ordered:
        if change.part == "environment" and not change.name.startswith(_TOLD):
            aside += 1
        elif change.part != "data" or COLUMN not in change.name:
            told.append(say(change))
            if change.part == "data" and (those := columns.get(change.name)):
                told.append(_say_columns(change, those))
    found, left = told[:most], len(told[most:]) + aside
    if left:
        found.append(f"{left} more{' in its surroundings' if left == aside else ''} (ifp diff)")
    return found


def _say_columns(table: Change, columns: list[Change]) -> str:
    """Which columns differ, those first of which more is known than that they do."""
    telling = [(c.name.partition(COLUMN)[2], c) for c in columns]
    telling.sort(key=lambda pair: _column(pair[1]) == "")  # stable: the ranges that moved the most stay in front
    named = [f"{name}{_column(change)}" for name, change in telling[:4]]
    more = f" and {len(columns) - 4} more" if len(columns) > 4 else ""
    count = "1 column differs" if len(columns) == 1 else f"{len(columns)} columns differ"
    return f"{_what(table)}: {count}, {', '.join(named)}{more}"


def _column(change: Change) -> str:
    """What is known of a column that differs, in brackets; '' where it is just other values."""
    if change.change != "changed":
        return f" ({change.change})"
    facts = _facts(change.before, change.after)
    return f" ({facts})" if facts else ""


def say(change: Change) -> str:
    """One change in words."""
    note = f": {change.note}" if change.note else ""
    if change.change == "unchanged":
        return f"{_what(change)} stayed {_value(change.after)}"
    if change.change in ("added", "removed"):
        value = change.after if change.change == "added" else change.before
        telling = change.part not in ("data", "code", "weights")
        return f"{_what(change)} was {change.change}" + (f" ({_value(value)})" if telling and value is not None else "") + note
    if change.change == "moved":
        return f"{_what(change)} moved from position {change.before} to {change.after}"
    if change.part == "weights" or (change.part in ("data", "code") and not isinstance(change.before, Mapping)):
        commits = f" from {change.before[:10]} to {change.after[:10]}" if change.name == "commit" else ""
        return f"{_what(change)} changed{commits}{note}"
    if isinstance(change.before, Mapping) and isinstance(change.after, Mapping):
        return f"{_what(change)} changed: {_facts(change.before, change.after) or 'other values'}"
    return f"{_what(change)} went from {_value(change.before)} to {_value(change.after)}{note}"


def _what(change: Change) -> str:
    if change.part == "data":
        role, _, name = change.name.partition(":")
        where = "training data" if role == "train" else f"{role} data"
        return f"{where} {name}".rstrip()
    if change.part == "code":
        return {"commit": "git's commit", "dirty": "uncommitted changes", "diff": "the uncommitted changes' content"}.get(
            change.name, f"source file {change.name}"
        )
    if change.part in ("seed", "weights"):
        return "the seed" if change.part == "seed" else "the weights" if change.name == "weights" else f"tensor {change.name}"
    if change.part == "environment":
        return "the environment's record" if change.name == "record" else change.name
    return f"{'parameter' if change.part == 'param' else change.part} {change.name}"


def _facts(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The facts that differ; a range as one, a digest only where nothing else tells more."""
    keys = [key for key in dict.fromkeys([*before, *after]) if key not in ("min", "max", "digest")]
    found = [f"{key} {_value(before.get(key))} → {_value(after.get(key))}" for key in keys]
    if {"min", "max"} & (before.keys() | after.keys()):
        found.append(_range(before, after))
    return ", ".join(found)


def _range(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    ends = [f"{end} {_value(before[end])} → {_value(after[end])}" for end in ("min", "max") if end in before and end in after]
    return ", ".join(ends)


def _value(value: Any, most: int = 60) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        value = {key: one for key, one in value.items() if one is not None and key not in ("position", "name", "digest")}
        return ", ".join(f"{key} {_value(one)}" for key, one in value.items())
    text = value if isinstance(value, str) else "none" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else text[: most - 1] + "…"
