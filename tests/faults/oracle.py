"""What must hold after any fault, as a fresh process sees it; and that the same work can be done again at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import work
from work import say

import ifpdb as ifp
from ifpdb.upkeep import chain, fsck

NO_REGISTRY = "no registry"
"""In the place of a logical digest, before a registry was made."""


def inspect(name: str, box: str, seed: int, facts: Sequence[str] = ()) -> None:
    """Print what holds: the logical digest first, then a line for each problem; then do the work again and look anew.

    `facts` are what steps said whose process was killed after them.
    """
    place = Path(box)
    work.steady(place, seed)
    say(logical_digest(place))
    for problem in problems(place):
        say(f"found: {problem}")
    work.perform(name, box, seed)
    for problem in [*problems(place), *left_running(place), *lost_points(place, facts)]:
        say(f"found after doing it again: {problem}")


def digest(box: str) -> None:
    """Print the registry's logical digest."""
    work.steady(Path(box), 0)
    say(logical_digest(Path(box)))


def logical_digest(box: Path) -> str:
    """What the registry says, and its backup where there is one, hashed; opened read-only, as an auditor would."""
    return " ".join(_digest(place) for place in (box / "ifp.db", box / "copy" / "ifp.db") if place.parent.is_dir())


def _digest(place: Path) -> str:
    try:
        with ifp.open(place, readonly=True) as registry:
            return chain.verify(registry).digest
    except (ifp.NotFound, ifp.IntegrityError) as error:
        if "ifp init" in str(error):
            return NO_REGISTRY
        raise


def problems(box: Path) -> Iterator[str]:
    """Everything that is wrong, whatever the fault was."""
    for place in (box / "ifp.db", box / "copy" / "ifp.db"):
        yield from _misnamed(place.with_suffix(".cas"))
        if _digest(place) != NO_REGISTRY:
            with ifp.open(place) as registry:
                yield from _problems(registry)


def _problems(registry: ifp.Registry) -> Iterator[str]:
    yield from (json.dumps(problem) for problem in chain.verify(registry).problems)
    yield from (json.dumps(problem.as_dict()) for problem in fsck.fsck(registry).problems)
    with registry.reading() as tx:
        said = [row[0] for row in tx.execute("PRAGMA integrity_check")]
        yield from said if said != ["ok"] else []
        yield from (f"foreign key: {row}" for row in tx.execute("PRAGMA foreign_key_check"))
        named = [digest for (digest,) in tx.execute("SELECT 'sha256:' || lower(hex(digest)) FROM blob")]
    yield from (f"bytes of {digest} are missing" for digest in named if not registry.blobs.has(digest))


def _misnamed(cas: Path) -> Iterator[str]:
    """Files that lie under a digest which isn't theirs."""
    for path in sorted(path for path in (cas / "sha256").rglob("*") if path.is_file()):
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.parent.name + path.name:
            yield f"{path} doesn't hold the bytes that it is named by"


def lost_points(box: Path, facts: Sequence[str]) -> Iterator[str]:
    """Points that were in the live file of a run when it was killed; whoever wrote next has sealed them."""
    if "twenty points" in facts:
        with ifp.open(box / "ifp.db") as registry:
            found = len(registry.points(facts[0], "loss"))
        if found != 20:
            yield f"{found} points of 20 are left"


def left_running(box: Path) -> Iterator[str]:
    """Runs that the log leaves open though nobody is at work, and what is left of a transaction."""
    with ifp.open(box / "ifp.db") as registry:
        yield from (f"{row['id']} is still running" for row in registry.sql("SELECT id FROM run WHERE status = 'running'"))
    yield from (f"{path.name} is left" for path in box.glob("ifp.db-*"))
