"""Letters carried out: each target in order and beside the others, with pauses that grow where nobody answers."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from ..ifptoml import Unconfigured
from ..ledger import events
from ..reader import Reader
from ..records import Event
from . import addresses, carriers
from .carriers import Undelivered, Unreachable
from .letters import Box, Letter, machine
from .waking import delivering

BOUND = 30.0
"""Seconds after which a pass begins no other delivery; what is left waits for the next command."""
FIRST, LONGEST = 30.0, 6 * 3600.0
"""The bounds of the pause after a failure, in seconds: it doubles from the first to the longest."""
GIVEN_UP = 7 * 86400.0
"""Seconds after which a letter rests: it is then sent only by `ifp outbox --deliver`."""
_UNCOMMITTED = 3600.0
"""Seconds that a letter whose event isn't in the log is kept: its transaction may be under way."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a pass has delivered, and what waits, with why."""

    delivered: tuple[Letter, ...]
    waiting: tuple[Letter, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"delivered": [one.as_dict() for one in self.delivered], "waiting": [one.as_dict() for one in self.waiting]}


def box_of(registry: Reader) -> Box:
    """The letters of a registry."""
    return Box(registry.blobs.root, registry.path)


def look(registry: Reader) -> Delivery:
    """What waits, and what it waits for; delivers nothing."""
    box = box_of(registry)
    return Delivery((), tuple(_explained(box, letter) for letter in box.waiting()))


def deliver(registry: Reader, *, due_only: bool = False) -> Delivery:
    """Deliver what waits, or what is due; by this machine's process alone, and for about BOUND seconds."""
    box, until = box_of(registry), time.monotonic() + BOUND
    delivered = list[Letter]()
    while True:
        with delivering(box) as free:
            if not free:
                break
            found = _due(box) if due_only else [one for one in box.waiting() if box.is_ours(one)]
            delivered += _pass(registry, box, found, until)
        if not due_only or time.monotonic() >= until or not _due(box):
            break  # it is asked after the lock was let go: who wrote a letter before that has started nobody
    return Delivery(tuple(delivered), look(registry).waiting)


def _due(box: Box) -> list[Letter]:
    return [one for one in box.waiting() if box.is_ours(one) and one.due is not None and one.due <= time.time()]


def _pass(registry: Reader, box: Box, letters: Sequence[Letter], until: float) -> list[Letter]:
    by_target = defaultdict[str, list[Letter]](list)
    told = _events(registry, letters)
    for letter in letters:
        if letter.event in told:
            by_target[letter.target].append(letter)
        elif time.time() - letter.since > _UNCOMMITTED:
            box.drop([letter])
        else:
            box.postpone(letter, due=int(time.time() + FIRST), why="its event isn't in the log yet", attempts=letter.attempts)
    with ThreadPoolExecutor(max_workers=8) as pool:
        passes = pool.map(lambda own: _to_one(registry, box, own, told, until), by_target.values())
        return [letter for delivered in passes for letter in delivered]


def _events(registry: Reader, letters: Sequence[Letter]) -> dict[str, Event]:
    with registry.reading() as tx:
        found = {letter.event: events.find(tx, letter.event) for letter in letters}
    return {id: event for id, event in found.items() if event is not None}


def _to_one(registry: Reader, box: Box, letters: Sequence[Letter], told: dict[str, Event], until: float) -> list[Letter]:
    """Deliver one target's letters, oldest first, until nobody answers."""
    delivered = list[Letter]()
    try:
        address = addresses.find(letters[0].target)
    except Unconfigured as error:
        for letter in letters:
            _put_off(box, letter, str(error))
        return delivered
    for number, letter in enumerate(letters):
        if time.monotonic() >= until:
            break
        try:
            carriers.carry(told[letter.event], address, registry.path.parent)
        except Unreachable as error:
            for other in letters[number:]:
                _put_off(box, other, str(error))
            break
        except Undelivered as error:
            _put_off(box, letter, str(error))
        else:
            box.drop([letter])
            delivered.append(letter)
    return delivered


def _put_off(box: Box, letter: Letter, why: str) -> None:
    now, attempts = time.time(), letter.attempts + 1
    pause = random.uniform(FIRST / 2, min(LONGEST, FIRST * 2 ** min(attempts, 20)))  # noqa: S311  # to spread, not to hide
    due = None if now - letter.since > GIVEN_UP else int(now + pause)
    box.postpone(letter, due=due, why=why, attempts=attempts)


def _explained(box: Box, letter: Letter) -> Letter:
    if letter.machine != (here := machine()):
        return replace(letter, why=f"written on {letter.machine.split()[0]}, which sends it; this is {here.split()[0]}")
    if letter.registry != box.registry:
        return replace(letter, why=f"written for {letter.registry}, of which this is a copy")
    try:
        addresses.find(letter.target)
    except Unconfigured as error:
        return replace(letter, why=str(error))
    if letter.due is None:
        return replace(letter, why=f"{letter.why}; it rests after 7 days: ifp outbox --deliver tries again")
    return letter
