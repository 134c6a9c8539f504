"""References looked up: from the text that a person wrote to one run and the version it registered. Never a guess."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from .. import refs, times
from ..digest import to_text
from ..errors import Ambiguous, NotFound
from ..names import STAGES
from . import facts, lineage, runs, stages, versions


@dataclass(frozen=True, slots=True)
class Found:
    """What a reference names: a run, and the version it registered, if it did. Both are local keys."""

    run: int
    version: int | None


def resolve(tx: sqlite3.Connection, text: str, *, now: str) -> Found:
    """The run and version that a reference names.

    Raises UsageError for what is no reference, NotFound with the nearest names, Ambiguous with the candidates.
    """
    ref = refs.parse(text)
    if ref.run is not None:
        found = _run(tx, ref)
    else:
        version = _by_digest(tx, ref) if ref.digest is not None else _by_name(tx, ref, now)
        found = Found(versions.own_run(tx, version), version)
    for step in ref.steps:
        walk = lineage.ancestor if step.kind == "ancestor" else lineage.nth_parent
        run = walk(tx, found.run, step.count)
        found = Found(run, _version_of(tx, run)) if run != found.run else found
    return found


def resolve_version(tx: sqlite3.Connection, text: str, *, now: str, model: str | None = None) -> int:
    """The version that a reference names; with `model`, one of that model, whose name the reference may leave out.

    Raises what `resolve` raises, and NotFound for a run that registered nothing.
    """
    base = refs.base_of(text)
    if model is not None and base != model and "@" not in base and not base.startswith("run-"):
        text = f"{model}@{text}"
    found = resolve(tx, text, now=now)
    if found.version is None:
        raise NotFound(f"{lineage.name(tx, found.run)} registered no version (ifp show {lineage.name(tx, found.run)})")
    if model is not None and (other := tx.execute(MODEL_OF, (found.version,)).fetchone()[0]) != model:
        raise NotFound(f"'{text}' is a version of {other}, not of {model}")
    return found.version


RUNS_OF = "SELECT key FROM run WHERE version = ? ORDER BY registered_at, id"


def resolve_above(tx: sqlite3.Connection, text: str, below: int, *, now: str) -> int:
    """The run that a reference names, as an ancestor of `below`; raises what `resolve` raises.

    Where several runs gave the version, it is the one that `below` came from, if it came from any of them.
    """
    found = resolve(tx, text, now=now)
    return found.run if found.version is None else above(tx, found.version, lineage.Above(tx, below)) or found.run


def above(tx: sqlite3.Connection, version: int, line: lineage.Above) -> int | None:
    """The earliest run of a version that is in a line of ancestors; None where there is none."""
    return next((int(row[0]) for row in tx.execute(RUNS_OF, (version,)).fetchall() if row[0] in line), None)


MODEL_OF = "SELECT m.name FROM version v JOIN model m ON m.key = v.model WHERE v.key = ?"
VERSION_OF = "SELECT version FROM run WHERE key = ?"


def _version_of(tx: sqlite3.Connection, run: int) -> int | None:
    version = tx.execute(VERSION_OF, (run,)).fetchone()[0]
    return None if version is None else int(version)


ALL_RUNS = "SELECT id FROM run ORDER BY key DESC LIMIT 1000"


def _run(tx: sqlite3.Connection, ref: refs.Ref) -> Found:
    assert ref.run is not None
    key = runs.find(tx, ref.run)
    if key is None:
        ids = runs.ids_with_prefix(tx, ref.run)
        if len(ids) > 1:
            raise Ambiguous(f"'{ref.run}' names several runs: {_listed(ids)}; write more of the one you mean")
        if not ids:
            known = [row[0] for row in tx.execute(ALL_RUNS)]
            raise NotFound(f"there is no run '{ref.run}'{_nearest(ref.run, known)} (ifp runs)")
        key = runs.find(tx, ids[0])
        assert key is not None
    return Found(key, _version_of(tx, key))


BY_DIGEST = """
    SELECT key FROM version
     WHERE sha256 BETWEEN 'sha256:' || :prefix AND 'sha256:' || :prefix || 'g' AND (:model IS NULL OR model = :model)
    UNION
    SELECT v.key FROM blob b JOIN version v ON v.weights = b.key
     WHERE b.digest BETWEEN :low AND :high AND (:model IS NULL OR v.model = :model)"""


def _by_digest(tx: sqlite3.Connection, ref: refs.Ref) -> int:
    assert ref.digest is not None
    model = model_key(tx, ref.model) if ref.model else None
    low, high = bytes.fromhex(ref.digest.ljust(64, "0")), bytes.fromhex(ref.digest.ljust(64, "f"))
    found = [row[0] for row in tx.execute(BY_DIGEST, {"prefix": ref.digest, "low": low, "high": high, "model": model})]
    if not found:
        raise NotFound(f"no version and no weights begin with sha256:{ref.digest} (ifp ls)")
    return _only(tx, found, ref.text)


ALL_MODELS = "SELECT name FROM model ORDER BY name"


def model_key(tx: sqlite3.Connection, name: str) -> int:
    """The key of a model; raises NotFound with the nearest names."""
    key = facts.find_model(tx, name)
    if key is None:
        known = [row[0] for row in tx.execute(ALL_MODELS)]
        raise NotFound(f"there is no model '{name}'{_nearest(name, known)} (ifp ls)")
    return key


BY_ORDINAL = "SELECT key FROM version WHERE model = ? AND ordinal = ?"
NEWEST = """
    SELECT v.key FROM version v WHERE v.model = :model AND v.sha256 = (
      SELECT e.version FROM event e WHERE e.model = :name AND e.kind = 'registered' AND e.to_stage IS NOT NULL
       ORDER BY e.at DESC, e.id DESC LIMIT 1)"""
ALL_LABELS = "SELECT name FROM label WHERE model = ? ORDER BY name"


def _by_name(tx: sqlite3.Connection, ref: refs.Ref, now: str) -> int:
    assert ref.model is not None and ref.name is not None
    model = model_key(tx, ref.model)
    if ref.at is not None:
        return _held_at(tx, ref, now)
    if ref.name in STAGES:
        found = versions.select(tx, model, stage=ref.name)
        if not found:
            raise NotFound(f"no version of {ref.model} is in {ref.name} (ifp ls {ref.model})")
        return _only(tx, found, ref.text)
    if ref.name == "latest":
        row = tx.execute(NEWEST, {"model": model, "name": ref.model}).fetchone()
        if row is None:
            raise NotFound(f"{ref.model} has no version yet (ifp register {ref.model} FILE)")
        return int(row[0])
    row = tx.execute(versions.GET_LABEL, (model, ref.name)).fetchone()
    if row:
        return int(row[0])
    if ref.name[0] == "v" and ref.name[1:].isdigit():
        found = [row[0] for row in tx.execute(BY_ORDINAL, (model, int(ref.name[1:19])))]
        if found:
            return _only(tx, found, ref.text)
    known = [row[0] for row in tx.execute(ALL_LABELS, (model,))] + [*STAGES, "latest"]
    raise NotFound(f"{ref.model} has no version '{ref.name}'{_nearest(ref.name, known)} (ifp ls {ref.model})")


def _held_at(tx: sqlite3.Connection, ref: refs.Ref, now: str) -> int:
    """`MODEL@stage@{time}`: what the stage held at that time; a day stands for its last moment, or for now if today."""
    assert ref.at is not None and ref.model is not None
    when = times.parse_when(ref.at, now=now)
    moment = when.start if not when.is_day else min(times.one_microsecond_before(when.end), now)
    history = list(stages.intervals(tx, model=ref.model, stage=ref.name))
    held = [interval.digest for interval in history if stages.held_during(interval, moment, moment)]
    if not held:
        first = f"; the first entered it on {history[0].since}" if history else ""
        raise NotFound(f"no version of {ref.model} was in {ref.name} on {ref.at}{first} (ifp history {ref.model})")
    model = model_key(tx, ref.model)
    keys = [versions.find(tx, model, digest) for digest in dict.fromkeys(held)]
    return _only(tx, [key for key in keys if key is not None], ref.text)


DIGEST = "SELECT m.name, v.ordinal, v.digest, v.stage FROM version v JOIN model m ON m.key = v.model WHERE v.key = ?"


def _only(tx: sqlite3.Connection, keys: Sequence[int], text: str) -> int:
    if len(keys) == 1:
        return keys[0]
    names = []
    for key in keys[:10]:
        model, ordinal, digest, stage = tx.execute(DIGEST, (key,)).fetchone()
        names.append(f"{model}@{to_text(digest)[:19]} (v{ordinal}, {stage})")
    raise Ambiguous(f"'{text}' names {len(keys)} versions: {_listed(names, len(keys))}; name one by its digest")


def _listed(names: Sequence[str], total: int = 0) -> str:
    more = max(total, len(names)) - 10
    return ", ".join(names[:10]) + (f" and {more} more" if more > 0 else "")


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(one) for one in near)}?" if near else ""
