"""Whose approval of a version stands: under the policy in force, for what is measured today, proven where that is asked for.

Each function works inside the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from . import digest
from .errors import IfpError, NotFound, Refused
from .ledger import approvals, events
from .names import principal
from .policy import Approval, Policy
from .records import Event, Measurement, Version


def approve(tx: sqlite3.Connection, by: events.Author, version: Version, policy: Policy | None, reason: str | None) -> Event:
    """Write down that somebody approves of a version as it is today, under the policy in force."""
    return events.append(tx, by, "approved", **_about(version), reason=reason, detail=_bound_to(version, policy))


def withdraw(tx: sqlite3.Connection, by: events.Author, version: Version, reason: str | None) -> Event:
    """Take back all approvals that somebody has given. Raises NotFound where there is none."""
    if all(principal(one.actor) != principal(by.actor) for one in approvals.given(tx, version.model, version.digest)):
        raise NotFound(f"{by.actor} has given {version.name} no approval that could be withdrawn (ifp events --kind approved)")
    return events.append(tx, by, "approval_withdrawn", **_about(version), reason=reason)


def _about(version: Version) -> dict[str, Any]:
    return {"model": version.model, "run": version.run, "version": version.digest}


def of(tx: sqlite3.Connection, version: Version, policy: Policy | None) -> list[Approval]:
    """Every approval that wasn't withdrawn, with the doubt about it, oldest first."""
    today = _bound_to(version, policy)
    found = list[Approval]()
    for event in approvals.given(tx, version.model, version.digest):
        doubt = _stale(event, today)
        if not doubt and policy is not None and policy.approvals_signed:
            doubt = unproven(tx, event.id)
        found.append(Approval(event.actor, doubt))
    return found


def unproven(tx: sqlite3.Connection, event: str) -> str:
    """Why an event isn't proven to come from its actor; '' where it is."""
    from . import signing  # few policies ask for it

    try:
        return signing.prove(events.body(tx, event), signing.signers()).why
    except IfpError as error:
        return str(error)


def require_proof(tx: sqlite3.Connection, event: Event) -> None:
    """See that an event which was just written is signed by a key that counts. Raises Refused."""
    if why := unproven(tx, event.id):
        raise Refused(
            f"nothing was written: the policy of {event.model} asks for signatures, and this promotion has none that is proven "
            f"({why}). Name your key in IFP_SIGNING_KEY, whose keys count in IFP_ALLOWED_SIGNERS"
        )


def _bound_to(version: Version, policy: Policy | None) -> dict[str, digest.JSON]:
    """What an approval is about besides the version: the policy in force, and a digest of all that is measured."""
    bound: dict[str, digest.JSON] = {"measured": _digest_of(version.measurements)}
    if policy is not None:
        bound["policy_digest"] = policy.digest
    return bound


def _digest_of(measurements: tuple[Measurement, ...]) -> str:
    """SHA-256 of the canonical JSON of [metric, dataset, last value], sorted."""
    told = sorted(measurements, key=lambda one: (one.metric, one.dataset or ""))
    return digest.sha256(digest.canonical([[one.metric, one.dataset, digest.number_to_json(one.value)] for one in told]))


def _stale(event: Event, today: dict[str, digest.JSON]) -> str:
    """Why an approval is none of the version as it is today. One of before they were bound to that is good for ever."""
    if "measured" not in event.detail:
        return ""
    if event.detail.get("policy_digest") != today.get("policy_digest"):
        return "stale: the policy was changed since"
    return "" if event.detail["measured"] == today["measured"] else "stale: more was measured since"
