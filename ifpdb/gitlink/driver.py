"""What git calls to merge a registry, and what settles what it couldn't.

The driver works on a copy in the .git folder, and writes git's file only when the merge is whole: killed, refused or in
conflict it leaves ours, and nothing in the work tree.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ..desk import Registry
from ..errors import NotFound
from ..merge.union import Merged, merge
from ..store import foreign
from ..store.explaining import reachable
from ..store.repository import Repository

OURS, THEIRS = ":2", ":3"
"""What git calls the two sides of a file in the index, while they are not merged."""


def drive(ours: Path, theirs: Path, *, path: str) -> Merged:
    """Unite two revisions of the registry that lies at `path` in the checkout; the result is in `ours`.

    Raises what `merge` raises; `ours` is then as it was.
    """
    with reachable(ours):
        mine, other = ours.read_bytes(), theirs.read_bytes()
        with foreign.opened(mine, name=f"our side's {path}") as looked_at:  # what is wrong is said of it, not of the copy
            foreign.in_our_schema(looked_at, f"our side's {path}")
        with TemporaryDirectory(dir=_git_folder(), prefix="ifp-merge-") as scratch:
            copy = Path(scratch) / Path(path).name
            copy.write_bytes(mine)
            with Registry(copy, actor="git") as registry:
                found = merge(registry, other, name=f"the other side's {path}")
            shutil.move(copy, ours)  # a rename where it can be: git takes the file even of a driver that was killed
    return found


def _git_folder() -> Path:
    try:
        found = Repository(Path.cwd()).run("rev-parse", "--absolute-git-dir")
    except NotFound:  # a bare repository, as on a server, which is its own folder
        return Path.cwd()
    return Path(os.fsdecode(found.rstrip(b"\n")))


def resolve(
    registry_at: Path, *, prefer: Sequence[str] = (), reason: str | None = None, actor: str | None = None
) -> list[Merged]:
    """Unite both sides of a merge that git stopped at, in the work tree's file, and tell git that it is resolved.

    Raises NotFound where git has nothing to resolve, and what `merge` raises.
    """
    repository = Repository(registry_at.parent)
    path = repository.path_of(registry_at)
    sides = [side for side in (OURS, THEIRS) if repository.bytes_at(side, path) is not None]
    if not sides:
        raise NotFound(f"git has no unfinished merge of {path}: see git status")
    with reachable(registry_at):
        if not registry_at.exists():  # one side removed it: nothing of the other's is lost
            registry_at.write_bytes(repository.bytes_at(sides[0], path) or b"")
    found = take_in(registry_at, repository, [f"{side}:{path}" for side in sides], prefer=prefer, reason=reason, actor=actor)
    repository.run("add", "--", f":(top,literal){path}")
    return found


def take_in(
    registry_at: Path,
    repository: Repository,
    revisions: Sequence[str],
    *,
    prefer: Sequence[str] = (),
    reason: str | None = None,
    actor: str | None = None,
) -> list[Merged]:
    """Unite the work tree's file with revisions of it, as git names them; what each brought."""
    with Registry(registry_at, actor=actor) as registry:
        return [
            merge(registry, repository.run("cat-file", "blob", name), name=name, prefer=prefer, reason=reason)
            for name in revisions
        ]
