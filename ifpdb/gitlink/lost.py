"""Events that git has and the registry lacks: reverted, or left out by a merge that never asked the driver; brought back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import digest
from ..desk import Registry
from ..errors import NotFound
from ..merge.union import Merged
from ..store.repository import Repository
from ..upkeep.anchors import Noted, noted
from .driver import take_in

HAS = "SELECT 1 FROM event WHERE id = ?"


def find(registry: Registry) -> list[Noted]:
    """The commits that HEAD comes from and whose log has something that this one lacks, the newest first."""
    repository = Repository(registry.path.absolute().parent)
    with registry.reading() as tx:
        return [
            one
            for one in noted(repository, repository.path_of(registry.path))
            if any(tx.execute(HAS, (digest.to_bytes(head),)).fetchone() is None for head in one.heads)
        ]


def recover(
    registry_at: Path,
    revisions: Sequence[str] = (),
    *,
    prefer: Sequence[str] = (),
    reason: str | None = None,
    actor: str | None = None,
) -> dict[str, Merged]:
    """Bring back what the log lacks: of these commits, or of every one that HEAD comes from; what each brought.

    Raises NotFound for a commit without the registry, and what `merge` raises; what earlier ones brought is then kept.
    """
    repository = Repository(registry_at.absolute().parent)
    path = repository.path_of(registry_at)
    names = dict[str, str]()
    for revision in revisions:
        commit = repository.commit(revision)
        if repository.bytes_at(commit, path) is None:
            raise NotFound(f"there is no {path} in {revision} (git log --oneline -- {path})")
        names[f"{commit}:{path}"] = revision
    if not revisions:
        with Registry(registry_at, readonly=True) as registry:
            names = {one.revision: one.commit for one in find(registry)}
    found = dict[str, Merged]()
    for name, commit in names.items():
        found[commit] = take_in(registry_at, repository, [name], prefer=prefer, reason=reason, actor=actor)[0]
    return found
