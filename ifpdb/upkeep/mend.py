"""Blobs that are missing or damaged here, fetched from another registry's folder by their digest.

A copy is verified while it is written and takes a damaged file's place only then; rows are never touched. What was fetched
stays fetched when the rest fails, so that mending can be done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from .. import settings
from ..desk import Registry
from ..errors import IfpError, NotFound, StorageError
from ..store import claims
from ..store.blobs import BlobStore
from .findings import Damage

MENDABLE = frozenset({"missing", "damaged", "unreadable", "tree"})


def folder_of(place: Path) -> Path:
    """The blob folder that `place` means: itself, that of a .db, or the only one in a folder. Raises NotFound."""
    if place.suffix == ".db":
        found = [settings.blob_folder(place)]
    elif (place / "sha256").is_dir():
        found = [place]
    else:
        found = sorted(place.glob("*.cas"))
    if len(found) != 1 or not found[0].is_dir():
        raise NotFound(f"{place} has no blob folder: name another registry's .db, its .cas folder or the folder of both")
    return found[0]


def mend(
    registry: Registry, other: Path, problems: Iterable[Damage], *, progress: Callable[[int], None] | None = None
) -> tuple[list[str], list[Damage]]:
    """Fetch the blobs that `problems` are about from the registry at `other`: the digests mended, and why others were not.

    Raises NotFound when no blob folder is at `other`, StorageError when this one can't be written.
    """
    source, mended, failed = BlobStore(folder_of(other)), list[str](), list[Damage]()
    wanted = dict.fromkeys(problem.digest for problem in problems if problem.digest and problem.kind in MENDABLE)
    with claims.shared(registry.blobs.root):
        for digest in wanted:
            try:
                registry.blobs.replace(digest, source.path(digest), progress=progress)
                mended.append(digest)
            except StorageError:
                raise
            except IfpError as error:
                failed.append(Damage("not mended", digest, str(error)))
    return mended, failed
