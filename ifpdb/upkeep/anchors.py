"""Anchors in git: the heads that the log had in each commit, so that what a later one lost shows.

A commit notes them in its message, as `Ifp-Heads: sha256:…` (the hook of `ifp git install` does); of one that doesn't, the
revision itself is looked at, the newest first, as far as that is quickly done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import IfpError, NotFound, Refused
from ..store import foreign
from ..store.repository import Repository

TRAILER = "Ifp-Heads"
FORMAT = f"%x00%H %(trailers:key={TRAILER},valueonly,separator=%x1f)"
QUICKLY = 64 << 20
"""Bytes of revisions that are read to find heads that no message notes."""
HEADS = "SELECT id FROM head"


@dataclass(frozen=True, slots=True)
class Noted:
    """A commit that brought a revision of the registry, git's id of that revision, and the heads that its log had."""

    commit: str
    revision: str
    heads: tuple[str, ...]


def in_commits(db: Path) -> dict[str, str]:
    """Each head that a commit before this one had, and where: 'in commit 1a2b3c4'; of several, in the first.

    None where no git repository holds the file. Every side of a merge counts: what a careless one left out is missed here.
    """
    try:
        repository = Repository(db.absolute().parent)
        found = list(noted(repository, repository.path_of(db)))
    except (NotFound, Refused):
        return {}
    return {head: f"in commit {one.commit[:10]}" for one in found for head in one.heads}


def noted(repository: Repository, path: str) -> Iterator[Noted]:
    """The commits that HEAD comes from and that changed the file, the newest first."""
    if not repository.run("rev-parse", "--verify", "--quiet", "HEAD", fine=(0, 1)):
        return
    told = repository.run(
        *("log", "--full-history", "-m", "--raw", "--no-abbrev", "--no-renames", f"--format={FORMAT}", "HEAD"),
        *("--", f":(top,literal){path}"),
    )
    left, seen = QUICKLY, set[tuple[str, str]]()
    for entry in told.decode(errors="replace").split("\0")[1:]:
        first, *rest = entry.splitlines()
        commit, _, message = first.partition(" ")
        revision = next((line.split(" ")[3] for line in rest if line.startswith(":")), "")
        if not revision.strip("0") or (commit, revision) in seen:
            continue
        seen.add((commit, revision))
        heads = heads_noted(message, path)
        if not heads and left > 0:
            data = _bytes(repository, revision)
            left -= len(data)
            heads = heads_in(data)
        if heads:
            yield Noted(commit, revision, heads)


def _bytes(repository: Repository, revision: str) -> bytes:
    """Nothing where this clone lacks it, and can't fetch it from where it was cloned."""
    try:
        return repository.run("cat-file", "blob", revision)
    except Refused:
        return b""


def heads_noted(message: str, path: str) -> tuple[str, ...]:
    """The heads in what FORMAT gives of a message, but for those that are another registry's, changed in the same commit."""
    notes = (note.strip().partition(" (") for note in message.split("\x1f"))
    ours = (heads for heads, _, whose in notes if whose in ("", f"{path})"))
    return tuple(head for heads in ours for head in re.findall(r"sha256:[0-9a-f]{64}\b", heads))


def heads_in(data: bytes) -> tuple[str, ...]:
    """The heads of the log in a revision's bytes; none where that can't be read as a registry."""
    try:
        with foreign.opened(data) as connection:
            return tuple(head for (head,) in connection.execute(HEADS))
    except IfpError:
        return ()
