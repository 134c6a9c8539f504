"""How versions came into production, judged anew: each entry's gate is asked again, as the registry was then.

An event whose id fits may still tell what no ifpdb would have written; nothing that it says is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from sqlite3 import Connection

from .. import approvals, promotion
from ..drawing.story import facts
from ..ledger import stages
from ..records import Event
from ..upkeep.replay import as_it_was, version_key

Finding = tuple[bool, str]
"""(whether a rule is broken, what is found)"""


def judged(tx: Connection, event: Event, parents: Mapping[str, list[str]], policy: Event | None) -> Iterator[Finding]:
    """What there is to say of an event that puts a version into production, and of a policy that was changed.

    `policy` is the event that had set the model's before, by the order of the log.
    """
    name = f"{event.model}@{(event.version or '')[:19]}"
    if event.kind == "policy_set":
        before = f"it was {_rules(policy)}" if policy else "it had none"
        yield False, f"the policy of {event.model} was set by {event.actor} to {_rules(event)}; {before}"
    elif event.to_stage == "production" and event.kind not in ENTRIES:
        yield True, f"{name} is in production by an event '{event.kind}', which is no way into it"
    elif event.to_stage == "production":
        try:
            yield from _entered(tx, event, parents, policy, name)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            yield True, f"{name} went into production by an event as ifpdb writes none: {type(error).__name__}: {error}"


def _entered(
    tx: Connection, event: Event, parents: Mapping[str, list[str]], policy: Event | None, name: str
) -> Iterator[Finding]:
    with as_it_was(tx, event, parents) as past:
        version = version_key(past, event)
        if version is None or not past.execute(REGISTERED, (event.model, event.version)).fetchone():
            yield True, f"{name} went into production before it was registered"
            return
        yield from ENTRIES[event.kind](past, event, version, name)
        known = stages.policy(past, str(event.model))
    asked = event.kind == "promoted" and known and known.approvals_signed and not event.detail.get("forced")
    if asked and (why := approvals.unproven(tx, event.id)):
        yield True, f"the promotion of {name} isn't proven, and the policy asks for it: {why}"
    if event.kind == "promoted" and policy and policy.detail["policy_digest"] != (known and known.digest):
        yield False, f"{name} was promoted without knowledge of the policy that {policy.actor} had set: {_rules(policy)}"
    if event.kind in ("rolled_back", "settled") and not event.reason:
        yield True, f"{name} went back into production without a reason"


REGISTERED = "SELECT 1 FROM event WHERE kind = 'registered' AND model = ? AND version = ?"


def _rules(event: Event) -> str:
    """The rules that an event sets: 'min_f1 0.9, approvals required 1'."""
    rules = [line.removeprefix("rule ") for line in facts(event) if line.startswith(("rule ", "policy "))]
    return ", ".join(rules) or "no rule"


def _promoted(past: Connection, event: Event, version: int, name: str) -> Iterator[Finding]:
    verdict = promotion.judge(past, version, also_approved_by=event.detail.get("approved_by", ()))
    failures = "; ".join(f"{check.name}: {check.why}" for check in verdict.failures)
    recorded = event.detail.get("verdict", {})
    if event.detail.get("forced"):
        if not event.reason:
            yield True, f"{name} was forced into production without a reason"
        yield False, f"{name} was forced into production by {event.actor}: {event.reason} (the gate: {failures or 'passes'})"
    elif not verdict.passed:
        yield True, f"{name} is in production, but the gate says no: {failures}"
    if recorded.get("policy") != verdict.policy:
        yield True, f"{name} was promoted under another policy than the one in force then"
    elif recorded.get("passed") != verdict.passed:
        yield True, f"the verdict that {name} was promoted with isn't the gate's"


def _returned(past: Connection, _event: Event, version: int, name: str) -> Iterator[Finding]:
    if not stages.was_in_production(past, version):
        yield True, f"{name} went back into production, but had never been there"


def _settled(past: Connection, event: Event, version: int, name: str) -> Iterator[Finding]:
    yield from _returned(past, event, version, name)
    yield False, f"both sides of a merge had moved production of {event.model}; {event.actor} chose {name}: {event.reason}"


ENTRIES: dict[str, Callable[[Connection, Event, int, str], Iterator[Finding]]] = {
    "promoted": _promoted,
    "rolled_back": _returned,
    "settled": _settled,
}
"""How a version may come into production."""
