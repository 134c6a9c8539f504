"""What a range of commits does to a registry, and whether its rules were kept: for whoever reviews a pull request.

The rows and the log of the newer revision are checked as `ifp verify` and `ifp fsck` do, and the gate of each entry into
production is asked again, as the registry was then. Blobs aren't in git: their bytes are not looked at.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..desk import Registry
from ..errors import IfpError, IntegrityError, NotFound, UsageError
from ..records import Event, Version
from ..store import foreign
from ..store.repository import Repository
from ..upkeep import anchors, chain
from ..upkeep.fsck import definitions, rows_of
from ..upkeep.replay import parents_of_all
from .entries import judged
from .story import read


@dataclass(frozen=True, slots=True)
class Review:
    """One registry: the events that the range adds, the versions among them, what is broken, what is worth a look."""

    path: str
    added: tuple[Event, ...] = ()
    versions: Mapping[str, Version] | None = None
    broken: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.broken

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "ok": self.ok,
            "added": [event.as_dict() for event in self.added],
            "broken": list(self.broken),
            "noted": list(self.noted),
        }


@dataclass(frozen=True, slots=True)
class Range:
    """Two commits of a repository, by their ids."""

    repository: Repository
    base: str
    head: str

    def bytes(self, blob: str) -> bytes:
        return self.repository.run("cat-file", "blob", blob)


@dataclass(frozen=True, slots=True)
class Change:
    """A file that differs between two commits, and git's ids of both of its blobs; None where there is no file."""

    path: str
    before: str | None
    after: str | None

    @property
    def blobs(self) -> list[str]:
        return [blob for blob in (self.before, self.after) if blob]


def review(repository: Repository, base: str, head: str, *, only: str | None = None) -> list[Review]:
    """Each registry that differs between two commits, or the one at the path `only`.

    Raises NotFound where neither commit has a file at `only`.
    """
    span = Range(Repository(repository.root), base, head)
    changes = list(_changes(span))
    if only is None:
        return [_review(span, change) for change in _registries(span, changes)]
    if all(repository.bytes_at(commit, only) is None for commit in (base, head)):
        raise NotFound(f"neither {base[:12]} nor {head[:12]} has a file {only}: see git log --all -- ':/{only}'")
    return [_review(span, change) for change in changes if change.path == only]


def commits(repository: Repository, span: str) -> tuple[str, str]:
    """The ids of both ends of 'BASE..HEAD', 'BASE...HEAD' (from where they part) or 'BASE'.

    Raises NotFound for a commit that git doesn't know, UsageError without BASE: a script's empty variable would pass.
    """
    base, dots, head = span.partition("...") if "..." in span else span.partition("..")
    if not base:
        raise UsageError(f"'{span}' doesn't say where the range begins: write BASE..HEAD, as in origin/main...HEAD")
    ends = _commit(repository, base), _commit(repository, head or "HEAD")
    if dots != "...":
        return ends
    parted = repository.run("merge-base", *ends, fine=(0, 1)).decode().strip()
    if not parted:
        raise NotFound(f"{span}: the two have no commit in common here: git fetch --unshallow (fetch-depth: 0 in CI)")
    return parted, ends[1]


def _commit(repository: Repository, revision: str) -> str:
    try:
        return repository.commit(revision)
    except NotFound as error:
        raise NotFound(f"{error}; git fetch brings what is missing (fetch-depth: 0 in CI)") from None


FILE = "100"
"""How the mode of a file begins; what is no file, such as a link, holds no registry."""
SECTOR = 512
"""The size of a SQLite file is a multiple of it."""


def _changes(span: Range) -> Iterator[Change]:
    told = os.fsdecode(span.repository.run("diff-tree", "-r", "-z", "--no-renames", span.base, span.head)).split("\0")
    for what, path in zip(told[0::2], told[1::2], strict=False):
        old_mode, new_mode, before, after, _ = what.removeprefix(":").split(" ")
        change = Change(path, before if old_mode.startswith(FILE) else None, after if new_mode.startswith(FILE) else None)
        if change.blobs:
            yield change


def _registries(span: Range, changes: Collection[Change]) -> Iterator[Change]:
    """Those that git is told to merge as a registry, or that say so themselves."""
    paths = os.fsencode("".join(f"{change.path}\0" for change in changes))
    words = os.fsdecode(span.repository.run("check-attr", "--stdin", "-z", "merge", told=paths)).split("\0")
    ours = {path for path, value in zip(words[0::3], words[2::3], strict=False) if value == "ifp"}
    asked = "".join(f"{blob}\n" for change in changes for blob in change.blobs).encode()
    told = span.repository.run("cat-file", "--batch-check=%(objectname) %(objectsize)", told=asked).decode()
    sizes = dict(line.split(" ") for line in told.splitlines())
    for change in changes:
        likely = (blob for blob in change.blobs if int(sizes[blob]) % SECTOR == 0)
        if change.path in ours or any(foreign.is_registry(span.bytes(blob)) for blob in likely):
            yield change


def _review(span: Range, change: Change) -> Review:
    path, name = change.path, f"{change.path} at {span.head[:12]}"
    if change.after is None:
        return Review(path, broken=(f"the registry is gone: git checkout {span.base[:12]} -- {path}",))
    known, noted, after = set[str](), list[str](), span.bytes(change.after)
    if change.before is not None:
        try:
            known = {event.id for event in read(span.bytes(change.before), name=f"{path} at {span.base[:12]}").events()}
        except IfpError as error:
            noted.append(f"what was there before can't be read, so that everything counts as new: {error}")
    for begins, what in ELSE.items():
        if after.startswith(begins):
            return Review(path, broken=(f"{name} is {what}",), noted=tuple(noted))
    try:
        with _placed(after, name) as place, Registry(place, readonly=True) as registry:
            return _look(registry, span, path, tuple(read(after, name=name).events()), known, noted)
    except IfpError as error:
        return Review(path, broken=(str(error),), noted=tuple(noted))


ELSE = {
    b"version https://git-lfs": "a Git LFS pointer: take it out of Git LFS (ifp git install), so that git has its bytes",
    b"<<<<<<< ": "a text with git's conflict marks: git checkout --ours or --theirs, then ifp git resolve",
}
"""What git may have left in a registry's place, by its first bytes."""


@contextmanager
def _placed(data: bytes, name: str) -> Iterator[Path]:
    """A file of these bytes, in today's schema, in a private folder that goes when the block ends.

    Nothing in it is asked before its rules and views are known to be ours: a crafted view may be one that never ends.
    """
    with foreign.opened(data, name=name) as connection:
        foreign.in_our_schema(connection, name)
        if strange := [one.detail for one in definitions(connection)]:
            raise IntegrityError(f"{name} is not built as ifpdb builds a registry: {'; '.join(strange)}")
        data = connection.serialize()
    with TemporaryDirectory(prefix="ifp-") as folder:
        path = Path(folder) / "ifp.db"
        path.write_bytes(data)
        yield path


def _look(registry: Registry, span: Range, path: str, log: Sequence[Event], known: set[str], noted: list[str]) -> Review:
    here = {event.id for event in log}
    broken = [*_lost(span, known - here), *_lost_on_the_way(span, path, here, noted)]
    damage = [f"{kind}: {detail} {event[:19]}".rstrip() for kind, event, detail in chain.verify(registry).problems]
    damage += [f"{one.kind}: {one.detail} {one.digest[:19]}".rstrip() for one in rows_of(registry)]
    damage += [f"form: no ifpdb writes an event so {event.id[:19]}" for event in log if event.kind == UNREADABLE]
    if damage:  # what a damaged file tells needs no interpretation
        return Review(path, broken=tuple(dict.fromkeys(broken + damage)), noted=tuple(noted))
    added = tuple(event for event in log if event.id not in known)
    with registry.reading() as tx:
        parents, policies = parents_of_all(tx), dict[str | None, Event]()
        for event in log:
            if event.id not in known:
                for is_broken, what in judged(tx, event, parents, policies.get(event.model)):
                    (broken if is_broken else noted).append(what)
            if event.kind == "policy_set":
                policies[event.model] = event
        heads = tx.execute("SELECT count(*) FROM head").fetchone()[0]
    if heads > 1:
        noted.append(f"the log has {heads} heads: a merge that no event has followed yet")
    versions = {
        event.id: registry.resolve(event.run) for event in added if event.kind == "registered" and event.to_stage and event.run
    }
    noted += [f"{one.name} is partial: it lacks its {', '.join(one.missing)}" for one in versions.values() if one.missing]
    return Review(path, added, versions, tuple(broken), tuple(dict.fromkeys(noted)))


UNREADABLE = "unreadable"
"""How `read` calls an event whose fields aren't what they should be."""


def _lost(span: Range, events: Collection[str]) -> Iterator[str]:
    """The log is append-only; that of a branch which doesn't come from BASE may lack what is new there."""
    if not events:
        return
    count = "1 event is" if len(events) == 1 else f"{len(events)} events are"
    parted = span.repository.run("merge-base", span.base, span.head, fine=(0, 1)).decode().strip()
    hint = ""
    if parted == span.head:
        hint = " (HEAD is older than BASE: is the range the wrong way round?)"
    elif parted != span.base:
        hint = " (HEAD doesn't come from BASE: BASE...HEAD begins where the two part)"
    yield f"{count} lost that the log had before, and it is append-only: ifp git recover brings back{hint}"


def _lost_on_the_way(span: Range, path: str, here: set[str], noted: list[str]) -> Iterator[str]:
    """What a commit of the range noted that its end lacks; commits that noted nothing are worth a look."""
    which = (f"{span.base}..{span.head}", "--", f":(top,literal){path}")
    told = span.repository.run("log", "--full-history", "--no-merges", f"--format={anchors.FORMAT}", *which)
    silent = list[str]()
    for commit, _, message in (entry.strip().partition(" ") for entry in os.fsdecode(told).split("\0")[1:]):
        if "sha256:" not in message:
            silent.append(commit[:10])
        elif not here.issuperset(anchors.heads_noted(message, path)):
            yield f"events are lost that commit {commit[:10]} had: ifp git recover {commit[:10]} brings back"
    if silent:
        more = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
        noted.append(f"no heads are noted in the message of {silent[-1]}{more}: ifp git install does so in each clone")
