"""Approvals, read off the log: given by somebody, and not taken back since."""

from __future__ import annotations

import sqlite3

from ..names import principal
from ..records import Event
from . import events

SAID = """
    SELECT id, body FROM event
     WHERE kind IN ('approved', 'approval_withdrawn') AND model = ? AND version = ? ORDER BY at, id"""


def given(tx: sqlite3.Connection, model: str, version: str) -> list[Event]:
    """The approvals of a version that their giver hasn't withdrawn, oldest first."""
    found = list[Event]()
    for row in tx.execute(SAID, (model, version)):
        event = events.from_body(*row)
        if event.kind == "approved":
            found.append(event)
        else:
            found = [one for one in found if principal(one.actor) != principal(event.actor)]
    return found
