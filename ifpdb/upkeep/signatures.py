"""Which decisions in the log are proven to come from whom they name: every signature verified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from .. import signing
from ..desk import Registry
from ..digest import to_text
from ..errors import IntegrityError
from ..ledger import events
from ..policy import from_event
from ..records import Event
from .chain import Problem
from .replay import parents_of_all, past_of


@dataclass(frozen=True, slots=True)
class Signature:
    """What one decision's signature is worth: `proven`, `unproven` or `unsigned`.

    `key` is the fingerprint of the key that made it; `why` says what is wrong. `demanded`: the policy that its author knew
    asks for a proof.
    """

    event: Event
    status: str
    key: str
    why: str
    demanded: bool = False

    def as_dict(self) -> dict[str, Any]:
        about = {name: getattr(self.event, name) for name in ("kind", "model", "version", "actor")}
        return {"event": self.event.id, **about, "status": self.status, "key": self.key, "why": self.why}

    @property
    def problem(self) -> Problem | None:
        """What is wrong with it: a signature that proves nothing, or none where there must be one."""
        if self.status == "unproven":
            why = self.why
        elif self.demanded and self.status == "unsigned":
            why = "not signed, but the policy asks for it"
        else:
            return None
        return "signature", self.event.id, f"{self.event.kind} by {self.event.actor}: {why}"


DECIDED = f"SELECT id, body FROM event WHERE kind IN ({', '.join('?' * len(events.DECISIONS))}) ORDER BY at, id"


def signatures(
    registry: Registry, signers: signing.Signers, *, progress: Callable[[int, int], None] | None = None
) -> list[Signature]:
    """Every decision of the log, oldest first, with what its signature is worth.

    `progress` is told how many are done, of how many. The registry isn't locked meanwhile. Raises Refused where ssh-keygen
    can't be run, IntegrityError for an event that no ifpdb wrote.
    """
    with registry.reading() as tx:
        rows = tx.execute(DECIDED, events.DECISIONS).fetchall()
    found = list[Signature]()
    for number, (id, body) in enumerate(rows, 1):
        proof = signing.prove(body, signers)
        status = "proven" if proof.proven else "unsigned" if proof == signing.UNSIGNED else "unproven"
        found.append(Signature(_event(id, body), status, proof.key, proof.why))
        if progress is not None:
            progress(number, len(rows))
    suspects = [one.event for one in found if one.status == "unsigned" and one.event.kind == "promoted"]
    demanded = set(_demanded(registry, suspects, [one.event for one in found if one.event.kind == "policy_set"]))
    return [replace(one, demanded=one.event.id in demanded) for one in found]


def _event(id: bytes, body: str) -> Event:
    try:
        event = events.from_body(id, body)
        if isinstance(event.actor, str) and isinstance(event.detail, dict):
            return event
    except (KeyError, TypeError, ValueError):
        pass
    raise IntegrityError(f"event {to_text(id)} is not as ifpdb writes one: ifp fsck tells more")


def _demanded(registry: Registry, suspects: list[Event], policies: list[Event]) -> Iterator[str]:
    """The unsigned promotions through a gate whose policy asked for signatures, as their author knew it."""
    strict = {event.id: event.model for event in policies if _asks(event)}
    suspects = [event for event in suspects if event.model in strict.values() and not event.detail.get("forced")]
    if not suspects:
        return
    with registry.reading() as tx:
        parents = parents_of_all(tx)
    for event in suspects:
        known = past_of(event.id, parents)
        in_force = [one.id for one in policies if one.model == event.model and one.id in known]
        if in_force and in_force[-1] in strict:
            yield event.id


def _asks(policy_set: Event) -> bool:
    """Whether a policy asks for signatures; one that isn't as ifpdb writes them asks for nothing."""
    try:
        return from_event(policy_set.detail["policy"]).approvals_signed is True
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def summary(found: Iterable[Signature]) -> str:
    """How many there are of each: '3 proven, 1 unsigned, 0 unproven'."""
    counts = Counter(one.status for one in found)
    return ", ".join(f"{counts[status]} {status}" for status in ("proven", "unsigned", "unproven"))
