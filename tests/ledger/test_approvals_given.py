"""Approvals are found by their index, in a log of any length."""

from __future__ import annotations

import ifpdb as ifp
from ifpdb.ledger import approvals


def test_approvals_are_found_by_their_index(registry: ifp.Registry) -> None:
    """Without the time in it, SQLite would rather read the model's whole log, which is in order already."""
    with registry.reading() as tx:
        ((_, _, _, how), *_) = tx.execute(f"EXPLAIN QUERY PLAN {approvals.SAID}", ("fraud", "sha256:")).fetchall()
    assert "event_approval (model=? AND version=?)" in how
