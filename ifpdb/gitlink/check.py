"""What a range of commits does to a registry, and whether its rules were kept: for whoever reviews a pull request.

The rows and the log of the newer revision are checked as `ifp verify` and `ifp fsck` do, and the gate of each entry into
production is asked again, as the registry was then. Blobs aren't in git: their bytes are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from .. import promotion
from ..desk import Registry
from ..errors import IfpError, NotFound
from ..ledger import stages
from ..records import Event, Version
from ..store import foreign
from ..store.repository import Repository
from ..upkeep import chain
from ..upkeep.fsck import rows_of
from ..upkeep.replay import as_it_was, parents_of_all, version_key
from .past import Past
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


def review(repository: Repository, base: str, head: str, *, only: str | None = None) -> list[Review]:
    """Each registry that differs between two commits, or the one at the path `only`.

    Raises NotFound for a commit that git doesn't know.
    """
    return [_review(repository, base, head, path) for path in _changed(repository, base, head) if only in (None, path)]


def commits(repository: Repository, span: str) -> tuple[str, str]:
    """The ids of both ends of 'BASE..HEAD', 'BASE...HEAD' (from where they part) or 'BASE'. Raises NotFound."""
    base, dots, head = span.partition("...") if "..." in span else span.partition("..")
    ends = _commit(repository, base or "HEAD"), _commit(repository, head or "HEAD")
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


def _changed(repository: Repository, base: str, head: str) -> Iterator[str]:
    """The registries that differ: what git is told to merge as one, or a .db that says so itself."""
    told = repository.run("diff", "--name-only", "--no-renames", "-z", base, head).decode("utf-8", "surrogateescape")
    paths = [path for path in told.split("\0") if path]
    asked = "".join(f"{path}\0" for path in paths).encode("utf-8", "surrogateescape")
    words = repository.run("check-attr", "--stdin", "-z", "merge", told=asked).decode("utf-8", "surrogateescape").split("\0")
    ours = {path for path, value in zip(words[0::3], words[2::3], strict=False) if value == "ifp"}
    for path in paths:
        if path in ours or (path.endswith(".db") and _says_so(repository, path, base, head)):
            yield path


def _says_so(repository: Repository, path: str, *commits: str) -> bool:
    return any(foreign.is_registry(repository.bytes_at(commit, path) or b"") for commit in commits)


def _review(repository: Repository, base: str, head: str, path: str) -> Review:
    before, after = (repository.bytes_at(commit, path) for commit in (base, head))
    if after is None:
        return Review(path, broken=(f"the registry is gone: git checkout {base[:12]} -- {path}",))
    known, noted = set[str](), list[str]()
    if before is not None:
        try:
            known = {event.id for event in read(before, name=f"{path} at {base[:12]}").events()}
        except IfpError as error:
            noted.append(f"what was there before can't be read, so that everything counts as new: {error}")
    try:
        with Past(head, f"{path} at {head[:12]}", after).placed() as place, Registry(place, readonly=True) as registry:
            return _look(registry, path, known, noted)
    except IfpError as error:
        return Review(path, broken=(str(error),), noted=tuple(noted))


def _look(registry: Registry, path: str, known: set[str], noted: list[str]) -> Review:
    broken = [f"{kind}: {detail} {event[:19]}".rstrip() for kind, event, detail in chain.verify(registry).problems]
    broken += [f"{one.kind}: {one.detail} {one.digest[:19]}".rstrip() for one in rows_of(registry)]
    if broken:  # what a damaged file tells needs no interpretation
        return Review(path, broken=tuple(dict.fromkeys(broken)), noted=tuple(noted))
    log = registry.events()
    added = tuple(event for event in log if event.id not in known)
    if lost := len(known - {event.id for event in log}):
        count = "1 event is" if lost == 1 else f"{lost} events are"
        broken.append(f"{count} lost that the log had before, and it is append-only: ifp git recover brings back")
    with registry.reading() as tx:
        parents = parents_of_all(tx)
        for event in added:
            for is_broken, what in _judged(tx, event, parents):
                (broken if is_broken else noted).append(what)
        heads = tx.execute("SELECT count(*) FROM head").fetchone()[0]
    if heads > 1:
        noted.append(f"the log has {heads} heads: a merge that no event has followed yet")
    found = {
        event.id: registry.run(event.run) for event in added if event.kind == "registered" and event.to_stage and event.run
    }
    versions = {id: registry.resolve(run.id) for id, run in found.items()}
    noted += [f"{one.name} is partial: it lacks its {', '.join(one.missing)}" for one in versions.values() if one.missing]
    return Review(path, added, versions, tuple(broken), tuple(dict.fromkeys(noted)))


Finding = tuple[bool, str]
"""(whether a rule is broken, what is found)"""


def _judged(tx: Connection, event: Event, parents: Mapping[str, list[str]]) -> Iterator[Finding]:
    """What there is to say of an event that puts a version into production, and of a policy that was changed."""
    name = f"{event.model}@{(event.version or '')[:19]}"
    if event.kind == "policy_set":
        yield False, f"the policy of {event.model} was set by {event.actor}: what was promoted later was judged by it"
    if event.to_stage != "production":
        return
    if event.kind not in ENTRIES:
        yield True, f"{name} is in production by an event '{event.kind}', which is no way into it"
        return
    with as_it_was(tx, event, parents) as past:
        version = version_key(past, event)
        assert version is not None  # the log and the rows agree
        yield from ENTRIES[event.kind](past, event, version, name)
    if event.kind in ("rolled_back", "settled") and not event.reason:
        yield True, f"{name} went back into production without a reason"


def _promoted(past: Connection, event: Event, version: int, name: str) -> Iterator[Finding]:
    verdict = promotion.judge(past, version, also_approved_by=event.detail.get("approved_by", ()))
    failures = "; ".join(f"{check.name}: {check.why}" for check in verdict.failures)
    recorded = event.detail.get("verdict", {})
    if event.detail.get("forced"):
        if not event.reason:
            yield True, f"{name} was forced into production without a reason"
        yield False, f"{name} was forced into production by {event.actor}: {event.reason} (the gate: {failures or 'passes'})"
    elif not verdict.passed:
        yield True, f"{name} is in production, but the gate says no: {failures}"
    if recorded.get("policy") != verdict.policy:
        yield True, f"{name} was promoted under another policy than the one in force then"
    elif recorded.get("passed") != verdict.passed:
        yield True, f"the verdict that {name} was promoted with isn't the gate's"


def _returned(past: Connection, _event: Event, version: int, name: str) -> Iterator[Finding]:
    if not stages.was_in_production(past, version):
        yield True, f"{name} went back into production, but had never been there"


def _settled(past: Connection, event: Event, version: int, name: str) -> Iterator[Finding]:
    yield from _returned(past, event, version, name)
    yield False, f"both sides of a merge had moved production of {event.model}; {event.actor} chose {name}: {event.reason}"


ENTRIES: dict[str, Callable[[Connection, Event, int, str], Iterator[Finding]]] = {
    "promoted": _promoted,
    "rolled_back": _returned,
    "settled": _settled,
}
"""How a version may come into production."""
