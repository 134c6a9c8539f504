"""Deployments: which version of a model an environment has said that it serves, from when to when, read off the log.

An environment serves one version of a model at a time: from the time of one `deployed` event until that of the next.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from ..records import Deployment
from .stages import KNOWN_AT

SAID = f"""
    SELECT json_extract(e.body, '$.detail.environment'), json_extract(e.body, '$.detail.stopped'), e.version, e.run, e.actor,
           coalesce(json_extract(e.body, '$.detail.since'), e.at) AS since
      FROM event e LEFT JOIN arrival a ON a.event = e.key
     WHERE e.kind = 'deployed' AND e.model = :model AND (:known_by IS NULL OR {KNOWN_AT} <= :known_by)
     ORDER BY since, e.at, e.id"""


def intervals(tx: sqlite3.Connection, model: str, *, known_by: str | None = None) -> list[Deployment]:
    """What each environment served of a model from when to when, oldest first: what the view `deployments` says.

    Of what this file learned after `known_by` (a registry time) nothing is told.
    """
    begun, ends = list[Deployment](), dict[int, str]()
    newest = dict[str, int]()  # where the interval stands that an environment is in
    for told, stopped, version, run, actor, since in tx.execute(SAID, {"model": model, "known_by": known_by}):
        environment = str(told)
        place = newest.get(environment)
        if place is not None and begun[place].digest == version and not stopped:
            continue  # said again
        if place is not None:
            ends[newest.pop(environment)] = since
        if not stopped:
            newest[environment] = len(begun)
            begun.append(Deployment(environment, version, run, since, None, actor))
    return [replace(one, until=ends.get(place)) for place, one in enumerate(begun)]


def served(tx: sqlite3.Connection, model: str, environment: str) -> Deployment | None:
    """What an environment has said that it serves of a model now."""
    found = [one for one in intervals(tx, model) if one.environment == environment and one.until is None]
    return found[0] if found else None
