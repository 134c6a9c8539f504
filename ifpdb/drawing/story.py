"""An event of the log in plain text: what happened, and its facts, one a line.

Everything that an event says is told, in words that depend on nothing else, so that a registry's story only ever grows
by lines. Ordinals aren't told: they may differ between clones. Whatever an event holds, its lines are printable text, and
what has an unexpected shape is told as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import words

if TYPE_CHECKING:
    from ..records import Event


_json = json.JSONEncoder(ensure_ascii=False).encode


def sentences(event: Event, manifest: Mapping[str, Any] | None = None) -> list[str]:
    """One event: a line that says when, who and what, and its facts in lines of their own, indented.

    `manifest` is that of the version, which alone has the parameters and the seed of what was `registered`.
    """
    head = " ".join(part for part in (words.minute(event.at), event.actor, happened(event)) if part)
    return [_line(head), *(f"  {fact}" for fact in facts(event, manifest))]


def happened(event: Event) -> str:
    """What an event says, without time and actor: 'promoted fraud sha256:a4f9c22e9b01 to production: better'."""
    told = _settled(event) if "settles" in event.detail else _HEADS.get(event.kind, _otherwise)(event)
    return _line(f"{told}: {event.reason}" if event.reason else told)


def facts(event: Event, manifest: Mapping[str, Any] | None = None) -> list[str]:
    """What an event says besides, a line each: 'metric f1 0.93', 'param C 1.0', 'failed min_f1: f1 is 0.8, not >= 0.9'."""
    told = [line for key, say in _FACTS.items() if key in event.detail for line in _said(say, key, event.detail[key])]
    if manifest is not None and event.kind == "registered" and event.detail.get("created"):
        told += _said(_training, "training", manifest.get("training"))
    rest = event.detail.keys() - _FACTS.keys() - (_IN_HEADS if event.kind in _HEADS else set())
    return [_line(line) for line in [*told, *(f"{key} {_text(event.detail[key])}" for key in sorted(rest))]]


def _line(text: str) -> str:
    """Text as one line, so that no name or reason can pass for a line of its own or steer a terminal."""
    return text if text.isprintable() else words.printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _text(value: Any) -> str:
    try:
        return value if isinstance(value, str) else _json(value)
    except RecursionError:
        return "…"


def _short(digest: Any) -> str:
    return "nothing" if digest is None else words.short(_text(digest))


# -- what happened, by kind


def _what(event: Event) -> str:
    """What an event is about: the model, and the version or else the run."""
    about = words.short(event.version) if event.version else event.run and f"run {event.run}"
    return " ".join(part for part in (event.model, about) if part)


def _registered(event: Event) -> str:
    where = f"in {event.to_stage}" if event.to_stage else "once more"
    return f"registered {_what(event)} {where}, run {event.run}"


def _run_ended(event: Event) -> str:
    return f"ended run {event.run} of {event.model}, {_text(event.detail.get('status'))}"


def _promoted(event: Event) -> str:
    how = " by force" if event.detail.get("forced") else " without being asked" if event.detail.get("automatic") else ""
    return f"promoted {_what(event)} to {event.to_stage}{how}{_taking_over(event)}"


def _taking_over(event: Event) -> str:
    """Whom an entry into production displaced, and who approved it."""
    replaced, approvers = event.detail.get("replaced"), event.detail.get("approved_by")
    told = f", replacing {_short(replaced.get('version') if isinstance(replaced, dict) else replaced)}" if replaced else ""
    if approvers:
        told += f", approved by {', '.join(map(_text, approvers)) if isinstance(approvers, list) else _text(approvers)}"
    return told


def _approved(event: Event) -> str:
    under = f" under the policy {_short(event.detail['policy_digest'])}" if "policy_digest" in event.detail else ""
    return f"approved {_what(event)}{under}"


def _refused(event: Event) -> str:
    wanted, stage = event.detail.get("wanted"), event.detail.get("stage")
    return f"was refused to promote {_what(event)} to {_text(wanted)}, it stays in {_text(stage)}"


def _deployed(event: Event) -> str:
    if event.detail.get("stopped"):
        return f"stopped serving {_what(event)} in {_text(event.detail.get('environment'))}"
    replaced = f", replacing {_short(event.detail['replaces'])}" if "replaces" in event.detail else ""
    return f"deployed {_what(event)} in {_text(event.detail.get('environment'))}{replaced}"


def _labelled(event: Event) -> str:
    moved = f", moved from {_short(event.detail['from'])}" if "from" in event.detail else ""
    return f"labelled {_what(event)} {_text(event.detail.get('label'))}{moved}"


def _settled(event: Event) -> str:
    """Which side somebody took where a merge found two: of a label, a policy, or what is in production."""
    if event.kind == "labelled":
        return f"settled label {_text(event.detail.get('label'))} of {event.model} on {_short(event.version)}"
    if event.kind == "policy_set":
        return f"settled the policy of {event.model} on {_short(event.detail.get('policy_digest'))}"
    if event.to_stage == "production":
        return f"settled production of {event.model} on {_short(event.version)}{_taking_over(event)}"
    left = f", which archives {words.short(event.version)}" if event.version else ""
    return f"settled production of {event.model} on nothing{left}"


def _otherwise(event: Event) -> str:
    """A kind that a newer ifpdb has."""
    stage = f" to {event.to_stage}" if event.to_stage else ""
    return f"{event.kind} {_what(event)}{stage}"


_HEADS: dict[str, Callable[[Event], str]] = {
    "run_started": lambda e: f"started run {e.run} of {e.model}",
    "artifact_logged": lambda e: f"kept {_text(e.detail.get('name'))} of run {e.run} of {e.model}",
    "registered": _registered,
    "run_ended": _run_ended,
    "promoted": _promoted,
    "rolled_back": lambda e: f"rolled {e.model} back to {_short(e.version)} in {e.to_stage}{_taking_over(e)}",
    "moved": lambda e: f"moved {_what(e)} from {e.from_stage} to {e.to_stage}",
    "promotion_refused": _refused,
    "approved": _approved,
    "approval_withdrawn": lambda e: f"withdrew the approval of {_what(e)}",
    "deployed": _deployed,
    "measured": lambda e: f"measured {_what(e)}",
    "tagged": lambda e: f"tagged {_what(e)}",
    "untagged": lambda e: f"took tags off {_what(e)}",
    "labelled": _labelled,
    "linked": lambda e: f"linked run {e.run} of {e.model}, {_text(e.detail.get('lineage'))} {_text(e.detail.get('parent'))}",
    "policy_set": lambda e: f"set the policy of {e.model} to {_short(e.detail.get('policy_digest'))}",
    "settled": _settled,
}
_IN_HEADS = frozenset(
    (
        *("created", "approved_by", "forced", "automatic", "replaced", "wanted", "stage", "environment", "replaces", "stopped"),
        *("name", "label", "from", "lineage", "parent", "policy_digest", "status", "record", "measured"),
    )
)
"""Keys of a detail that the line of what happened tells; and `record` and `measured`, digests of what is told."""


# -- facts, by key of the detail


def _said(say: Callable[[Any], Iterable[str]], key: str, value: Any) -> list[str]:
    try:
        return list(say(value))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return [f"{key} {_text(value)}"]


def _part(name: str) -> Callable[[Any], Iterable[str]]:
    return lambda digest: [f"{name} {'missing' if digest is None else _text(digest)}"]


def _each(name: str) -> Callable[[Any], Iterable[str]]:
    return lambda values: [f"{name} {_text(value)}" for value in values]


def _data(datasets: Any) -> Iterable[str]:
    for one in datasets:
        name = f" {one['name']}" if one["name"] else ""
        yield f"data {one['role']}{name} {one['dataset']}"


def _metrics(measurements: Any) -> Iterable[str]:
    for one in measurements:
        on = f" on {_short(one['dataset'])}" if one["dataset"] else ""
        yield f"metric {one['metric']} {_text(one['value'])}{on}"


def _artifact(kept: Any) -> Iterable[str]:
    return [f"artifact {kept['digest']}, {kept['kind']}, {kept['format']}, {kept['size']} bytes"]


def _training(record: Any) -> Iterable[str]:
    if record is None:
        return ["training missing"]
    told = [f"param {key} {_json(value)}" for key, value in record["params"]]
    return told + [f"{key} {_text(record[key])}" for key in ("seed", "code") if record[key] is not None]


def _verdict(verdict: Any) -> Iterable[str]:
    return [f"failed {check['name']}: {check['why']}" for check in verdict["checks"] if not check["passed"]]


def _policy(document: Any) -> Iterable[str]:
    for section, rules in document.items():
        for rule, wanted in rules.items():
            name = rule if section == "validation" else f"{section} {rule}"
            if isinstance(wanted, dict) and rule != "dataset":
                yield from (f"rule {name} {key} {_text(value)}" for key, value in wanted.items())
            elif isinstance(wanted, dict):
                yield f"rule {name} {' '.join(_text(wanted[key]) for key in ('name', 'digest') if wanted[key])}"
            else:
                yield from (f"rule {name} {_text(one)}" for one in (wanted if isinstance(wanted, list) else [wanted]))


_FACTS: dict[str, Callable[[Any], Iterable[str]]] = {
    "settles": lambda sides: [f"between {' and '.join(map(_short, sides))}"],
    "error": lambda error: [f"error {_text(error)}"],
    "artifact": _artifact,
    "weights": _part("weights"),
    "data": lambda datasets: _data(datasets) if datasets else ["data missing"],
    "schema": _part("schema"),
    "metrics": _metrics,
    "parents": lambda parents: [f"{one['kind']} {one['run']}" for one in parents],
    "tags": _each("tag"),
    "labels": _each("label"),
    "verdict": _verdict,
    "policy": _policy,
    "signature": lambda _: ["signed (ifp verify --signatures tells whether that is proven)"],
    "clock": lambda clock: [f"written {words.minute(clock)}, by the clock"],
}
"""How each key of a detail is told, in this order."""
