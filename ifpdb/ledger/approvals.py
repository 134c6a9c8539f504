"""Approvals, read off the log: given by somebody, and not taken back since."""

from __future__ import annotations

import json
import sqlite3

from ..names import principal
from ..records import Event
from . import events

SAID = """
    SELECT id, body FROM event
     WHERE kind IN ('approved', 'approval_withdrawn') AND model = ? AND version = ? ORDER BY at, id"""


def given(tx: sqlite3.Connection, model: str, version: str) -> list[Event]:
    """The approvals of a version that their giver hasn't withdrawn, oldest first."""
    return _said(tx, model, version)[0]


def _said(tx: sqlite3.Connection, model: str, version: str) -> tuple[list[Event], set[str]]:
    """The approvals that stand, and who has taken theirs back and not given another one since."""
    found, withdrawn = list[Event](), set[str]()
    for row in tx.execute(SAID, (model, version)):
        event = events.from_body(*row)
        who = principal(event.actor)
        if event.kind == "approved":
            found.append(event)
            withdrawn.discard(who)
        else:
            found = [one for one in found if principal(one.actor) != who]
            withdrawn.add(who)
    return found, withdrawn


ENTRY = """
    SELECT json_extract(body, '$.detail.approved_by') FROM event
     WHERE model = ? AND version = ? AND to_stage IS NOT NULL AND to_stage = 'production' ORDER BY at DESC, id DESC LIMIT 1"""


def of_entries(tx: sqlite3.Connection, model: str, version: str) -> list[str]:
    """Who was on record as approving when a version last entered production, but for those who have taken it back since.

    Each entry repeats those before it.
    """
    row = tx.execute(ENTRY, (model, version)).fetchone()
    named = list(json.loads(row[0] or "[]")) if row else []
    withdrawn = _said(tx, model, version)[1] if named else set[str]()
    return [actor for actor in named if principal(actor) not in withdrawn]
