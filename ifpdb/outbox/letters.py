"""Letters: one file in NAME.cas/outbox for each event and each target that is to be told of it.

A letter is written inside of the event's transaction, so that a process killed after COMMIT has left it behind; one whose
event never came is dropped. It names the machine and the registry's path, and goes out from there only: a clone, a copy
or a merge sends nothing twice. The file's name tells when it is due and for which place it is to send it, so that a writer
need not open it. It is not flushed: a power cut right after COMMIT may lose the letter, never the event.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Self

from .. import digest, times
from ..errors import UsageError
from ..ledger import stages
from ..policy import Policy
from ..records import Event

_NEVER = "9999"
"""When a letter is due that rests, in its file's name."""
_SENT_FOR = {"promotion_refused", "promoted", "rolled_back", "settled"}


@dataclass(frozen=True, slots=True)
class Letter:
    """An event that one target is to be told of; `why` is what the last attempt met with.

    `since` and `due` are Unix times in seconds; `due` is None for a letter that rests.
    """

    event: str
    target: str
    machine: str
    registry: str
    since: float
    due: int | None
    attempts: int = 0
    why: str = ""

    @property
    def name(self) -> str:
        """The file's name: when it is due, a digest of the event and the target, one of the place that sends it."""
        due = _NEVER if self.due is None else _stamp(self.due)
        return f"{due}-{_hash(self.event, self.target)[:16]}{_ending(self.machine, self.registry)}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"since": _time(self.since), "due": None if self.due is None else _time(self.due)}


def _time(seconds: float) -> str:
    return times.from_microseconds(round(seconds * 1e6))


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _hash(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()


def _ending(machine: str, registry: str) -> str:
    """How the names of one place's letters end."""
    return f"-{_hash(machine, registry)[:8]}.json"


@cache
def machine() -> str:
    """This machine: its name, and its id where the system has one, which a container or a copied disk may share."""
    try:
        identity = Path("/etc/machine-id").read_text(encoding="ascii").strip()[:12]
    except (OSError, ValueError):
        identity = ""
    return f"{socket.gethostname()} {identity}".strip()


def targets(policy: Policy, event: Event) -> tuple[str, ...]:
    """Who is told of an event by the policy of its model."""
    if event.kind == "promotion_refused":
        return policy.notify_on_fail
    if event.kind == "rolled_back":
        return policy.notify_on_rollback
    return policy.notify_on_promote if event.to_stage == "production" else ()


class Box:
    """The letters of one registry."""

    def __init__(self, cas: Path, registry: Path) -> None:
        self.folder = cas / "outbox"
        self._path = registry

    @cached_property
    def registry(self) -> str:
        """The registry's path without links, as letters name it."""
        return os.path.realpath(self._path)

    def address(self, tx: Connection, events: Iterable[Event], *, now: float) -> list[Letter]:
        """The letters that a transaction's events ask for, by the policies in force."""
        found = list[Letter]()
        for event in events:
            policy = stages.policy(tx, event.model) if event.kind in _SENT_FOR and event.model else None
            for target in dict.fromkeys(targets(policy, event) if policy else ()):
                found.append(Letter(event.id, target, machine(), self.registry, now, int(now)))
        return found

    def put(self, letters: Iterable[Letter]) -> None:
        """Write letters that are new. Raises OSError."""
        for letter in letters:
            try:
                self._write(letter, letter.name)
            except FileNotFoundError:  # the first of all
                self.folder.mkdir(parents=True, exist_ok=True)
                self._write(letter, letter.name)

    def drop(self, letters: Iterable[Letter]) -> None:
        """Remove letters: they were delivered, or their event was rolled back."""
        for letter in letters:
            with suppress(FileNotFoundError, NotADirectoryError):
                (self.folder / letter.name).unlink()

    def postpone(self, letter: Letter, *, due: int | None, why: str, attempts: int) -> None:
        """Keep a letter for later, with what it met with."""
        later = replace(letter, due=due, why=why, attempts=attempts)
        self._write(later, letter.name)
        os.replace(self.folder / letter.name, self.folder / later.name)

    def has_due(self, now: float) -> bool:
        """Whether a letter of this place waits for now; looks at names only."""
        stamp = _stamp(now)
        due = [name for name in self._names() if name[:16] <= stamp]
        return bool(due) and any(name.endswith(_ending(machine(), self.registry)) for name in due)

    def waiting(self) -> list[Letter]:
        """The letters, the first due first, then the oldest; a file that is none is passed over."""
        found = [letter for name in self._names() if (letter := self._read(name)) is not None]
        return sorted(found, key=lambda letter: (letter.name[:16], letter.since))

    def is_ours(self, letter: Letter) -> bool:
        """Whether it is for this machine and this copy of the registry to send it."""
        return letter.machine == machine() and letter.registry == self.registry

    def _names(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.folder) if name.endswith(".json")]
        except OSError:  # no letter was ever written, or the folder can't be read: there is nothing to send
            return []

    def _read(self, name: str) -> Letter | None:
        try:
            letter = Letter(**json.loads((self.folder / name).read_text(encoding="utf-8")))
            digest.to_bytes(letter.event), _time(letter.since)
            return letter if letter.name == name else None
        except (OSError, ValueError, TypeError, AttributeError, OverflowError, UsageError):  # gone meanwhile, or no letter
            return None

    def _write(self, letter: Letter, name: str) -> None:
        place = os.path.join(self.folder, name)
        draft = f"{place}.{os.getpid()}"
        with open(draft, "wb") as file:
            file.write(json.dumps({field: getattr(letter, field) for field in letter.__slots__}).encode())
        os.replace(draft, place)


class Posting:
    """The letters of one transaction: written before COMMIT, taken back where that fails."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self.letters: list[Letter] = []

    def __enter__(self) -> Self:
        return self

    def write(self, letters: list[Letter]) -> None:
        """Write them; a folder that can't be written stops no promotion, but it is said."""
        self.letters = letters
        try:
            self._box.put(letters)
        except OSError as error:
            from warnings import warn

            warn(f"nobody will be notified: {self._box.folder} can't be written: {error.strerror}", stacklevel=2)

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is not None:
            self._box.drop(self.letters)
