"""Tags and labels after a merge: what the newest event on each says, whichever side wrote it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from sqlite3 import Connection

from ..errors import IntegrityError
from ..ledger import facts, versions
from ..records import Event
from .fork import told_since

TAG = "INSERT INTO tag VALUES (?, ?) ON CONFLICT DO NOTHING"
UNTAG = "DELETE FROM tag WHERE version = ? AND name = ?"


def carry(tx: Connection, incoming: Sequence[Event], *, new: Collection[int]) -> None:
    """Fold the incoming events on names into the rows, but for what ours has said later; of `new` versions it said nothing."""
    said, since = dict[tuple[str, ...], tuple[Event, bool]](), dict[str, str]()
    for event in incoming:
        for place, is_set in _named(event):
            said[place] = event, is_set
            model, version = _keys(tx, event)
            if version not in new if place[0] == "tag" else tx.execute(versions.GET_LABEL, (model, place[2])).fetchone():
                since.setdefault(str(event.model), event.at)
    for event in told_since(tx, since.items()):
        for place, _ in _named(event):
            if place in said and (event.at, event.id) > (said[place][0].at, said[place][0].id):
                del said[place]
    for (kind, *_, name), (event, is_set) in said.items():
        model, version = _keys(tx, event)
        if kind == "label":
            versions.set_label(tx, model, name, version)
        else:
            tx.execute(TAG if is_set else UNTAG, (version, name))


def labels(events: Iterable[Event]) -> Iterator[tuple[tuple[str, str], Event]]:
    """(model, label) of each label that these events put somewhere."""
    for event in events:
        for place, _ in _named(event):
            if place[0] == "label":
                yield (place[1], place[2]), event


def _named(event: Event) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The tags and labels that an event sets, or takes off."""
    model, version, detail = str(event.model), str(event.version), event.detail
    if event.kind in ("tagged", "untagged", "registered"):
        for tag in detail.get("tags", ()):
            yield ("tag", model, version, tag), event.kind != "untagged"
    if event.kind == "registered":
        for label in detail.get("labels", ()):
            yield ("label", model, label), True
    elif event.kind == "labelled":
        yield ("label", model, detail["label"]), True


def _keys(tx: Connection, event: Event) -> tuple[int, int]:
    model = facts.find_model(tx, str(event.model))
    version = None if model is None else versions.find(tx, model, str(event.version))
    if model is None or version is None:
        raise IntegrityError(f"the event {event.id[:19]} names {event.version}, but that version is nowhere")
    return model, version
