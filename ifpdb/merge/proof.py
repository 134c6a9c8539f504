"""What came in, held against the log and the manifests: a row of theirs that was changed stops the merge."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from ..errors import IntegrityError
from ..records import Event
from ..upkeep import folds, rows
from .facts import Facts
from .fork import told_since
from .runs import Carried


def check(known: Facts, carried: Carried, incoming: Iterable[Event]) -> None:
    """Look at the runs that came in, once all is here. Raises IntegrityError for the first thing that is wrong."""
    tx, told, since = known.tx, folds.Told(), dict[str, str]()
    for event in incoming:
        if event.run in carried.new:
            _take(told, event)
        elif event.run is not None:
            since.setdefault(str(event.model), event.at)
    for event in told_since(tx, since.items()):
        if event.run in carried.here and event.run not in carried.new:
            _take(told, event)
    every = list(carried.here.values())
    taken = [carried.here[name] for name in carried.observed]
    for damage in chain(folds.data(tx, told, every), folds.metrics(tx, told, every), rows.parts(tx, taken)):
        raise IntegrityError(f"{known.called}: {damage.detail}: see ifp --db {known.called} fsck")


def _take(told: folds.Told, event: Event) -> None:
    told.take(event.kind, str(event.model), str(event.run), str(event.version), event.at, dict(event.detail))
