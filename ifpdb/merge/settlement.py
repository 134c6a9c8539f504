"""A disagreement settled: somebody decides, and an event after both sides says who, when and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from ..errors import MergeConflict, UsageError
from ..ledger import approvals, events, resolve, stages, versions
from .disagreement import Disagreement, Side

SIDES = ("ours", "theirs")


@dataclass(frozen=True, slots=True)
class Settled:
    """A disagreement and what was decided: a digest, or None for nothing in production."""

    disagreement: Disagreement
    chosen: str | None

    def as_dict(self) -> dict[str, Any]:
        return {**self.disagreement.as_dict(), "chosen": self.chosen}


def settle(
    tx: Connection, by: events.Author, found: Sequence[Disagreement], *, prefer: Sequence[str], reason: str | None
) -> list[Settled]:
    """Decide each disagreement as `prefer` says ('ours', 'theirs', or a REF of one side's version); all events are here.

    Raises MergeConflict for those that it doesn't say, UsageError for a REF that settles none.
    """
    choices = _choices(tx, by, found, prefer)
    if left := [one for one in found if one not in choices]:
        raise MergeConflict(_say(left), left)
    why = reason or f"settled in a merge in favour of {', '.join(prefer)}"
    for one in found:
        _write(tx, by, one, choices[one], why)
    return [Settled(one, choices[one].wanted) for one in found]


def _choices(
    tx: Connection, by: events.Author, found: Sequence[Disagreement], prefer: Sequence[str]
) -> dict[Disagreement, Side]:
    choices = dict[Disagreement, Side]()
    general = [choice for choice in prefer if choice in SIDES]
    if len(set(general)) > 1:
        raise UsageError("ours and theirs exclude each other: name versions for what is not as that side has it")
    for choice in general:
        choices.update({one: one.ours if choice == "ours" else one.theirs for one in found})
    for ref in prefer:
        if ref in SIDES or not found:
            continue
        name = versions.digest_of(tx, resolve.resolve_version(tx, ref, now=by.now))
        fitting = {one: side for one in found for side in (one.ours, one.theirs) if side.wanted == name}
        if not fitting:
            raise UsageError(f"'{ref}' ({name[:19]}) is on neither side of what is in question: {_say(found)}")
        choices.update(fitting)
    return choices


def _say(found: Iterable[Disagreement]) -> str:
    listed = list(found)
    refs = [f"{one.model}@{side.wanted[:19]}" for one in listed for side in (one.ours, one.theirs) if side.wanted]
    others = f", or one version by its name, such as {refs[0]}" if refs and listed[0].kind != "policy" else ""
    return f"both sides moved on: {'; '.join(map(str, listed))}. Choose with --prefer ours or --prefer theirs{others}"


def _write(tx: Connection, by: events.Author, one: Disagreement, side: Side, reason: str) -> None:
    detail: dict[str, Any] = {"settles": sorted({one.ours.wanted, one.theirs.wanted}, key=str)}
    if one.kind == "policy":
        chosen = {key: side.event.detail[key] for key in ("policy", "policy_digest")}
        events.append(tx, by, "policy_set", model=one.model, reason=reason, detail=chosen | detail)
        return
    model = resolve.model_key(tx, one.model)
    if one.kind == "label":
        version = _version(tx, model, side)
        versions.set_label(tx, model, one.name, version)
        named = {"model": one.model, "run": versions.own_run_id(tx, version), "version": side.wanted}
        events.append(tx, by, "labelled", **named, reason=reason, detail={"label": one.name, **detail})
    elif side.wanted is not None:
        version = _version(tx, model, side)
        approved = approvals.of_entries(tx, one.model, side.wanted)
        stages.move(
            tx, by, version, "settled", to_stage="production", reason=reason, detail={"approved_by": approved, **detail}
        )
    elif (held := stages.production(tx, one.model)) is not None:
        stages.move(tx, by, held, "settled", to_stage="archived", reason=reason, detail=detail)
    else:
        events.append(tx, by, "settled", model=one.model, reason=reason, detail=detail)


def _version(tx: Connection, model: int, side: Side) -> int:
    version = versions.find(tx, model, str(side.wanted))
    assert version is not None
    return version
