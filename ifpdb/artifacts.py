"""Loading what a run kept: by hash, verified, and never running code that this user didn't vouch for."""

from __future__ import annotations

import hashlib
import mmap
import re
from collections.abc import Iterator
from typing import Any

from . import digest as digests
from . import tree
from .errors import Refused, Untrusted, UsageError
from .records import Artifact, Run
from .store import formats, trust
from .store.blobs import BlobStore
from .store.scan import Scan, merged, scan_file
from .store.tensors import Buffer

DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Packages that are installed under another name than they are imported by."""

_ABSENT = re.compile(r"Can't get attribute '(.+)' on <module '([\w.]+)'")


def load(blobs: BlobStore, artifact: Artifact, run: Run, *, trusted: bool) -> Any:
    """The object that an artifact is. The bytes that are verified are the bytes that are loaded, without a copy.

    Raises Untrusted for bytes that could run code and that nobody vouched for, Refused for a folder, a format without
    a loader or bytes that its loader can't read, UsageError when a package is missing or has changed, NotFound and
    IntegrityError as `BlobStore.read` does.
    """
    if artifact.kind == "tree" or artifact.format == formats.BYTES:
        what = "a folder" if artifact.kind == "tree" else "a file of no known format"
        raise Refused(f"artifact '{artifact.name}' of {run.id} is {what}: get it with ifp checkout {run.id} DEST")
    if formats.runs_code(artifact.format) and not (trusted or trust.is_trusted(artifact.digest, artifact.format)):
        raise Untrusted(
            f"artifact '{artifact.name}' of {run.id} is {artifact.format} from disk, which can run code when it is loaded; "
            f"{_wish(scan(blobs, artifact))}: look at it and vouch for it with ifp trust {run.id}, or pass trust=True once"
        )
    data = mapped(blobs, artifact.digest)
    try:
        return formats.load(data, artifact.format)
    except Exception as error:  # each loader fails in its own ways; a missing or changed package is told from the rest
        if lacking := _lacking(error, run):
            raise UsageError(f"loading this {artifact.format} needs {lacking}") from error
        raise Refused(
            f"artifact '{artifact.name}' of {run.id} can't be loaded as {artifact.format} ({type(error).__name__}: {error}): "
            f"get its bytes with ifp checkout {run.id} DEST"
        ) from error


def can_run_code(blobs: BlobStore, artifact: Artifact) -> bool:
    """Whether loading an artifact, or a file of a folder, can run code."""
    return any(True for _ in _code(blobs, artifact))


def scan(blobs: BlobStore, artifact: Artifact) -> Scan:
    """What loading an artifact would import, read without running it; an empty Scan for formats that run no code."""
    return merged(scan_file(blobs.verify(digest), format) for digest, format in _code(blobs, artifact))


def _code(blobs: BlobStore, artifact: Artifact) -> Iterator[tuple[str, str]]:
    """(digest, format) of each file that can run code; a file in a folder counts as all that its bytes or name promise."""
    if artifact.kind == "file":
        if formats.runs_code(artifact.format):
            yield artifact.digest, artifact.format
        return
    for entry in tree.load(blobs.read(artifact.digest)):
        promised = {formats.guess(blobs.path(entry.digest)), formats.guess_by_name(entry.path)}
        yield from ((entry.digest, format) for format in sorted(promised) if formats.runs_code(format))


def _wish(found: Scan) -> str:
    """What an untrusted file wants, flagged names first, in half a sentence."""
    names = [*found.flagged, *(name for name in found.imports if name not in found.flagged)]
    if found.problems:
        return f"what it wants to import can't be read whole ({found.problems[0]})"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"it wants to import {', '.join(names[:3])}{more}" if names else "it wants to import nothing"


def mapped(blobs: BlobStore, digest: str) -> Buffer:
    """A blob's bytes, verified: the file itself in memory, of which a page is copied when somebody writes to an array."""
    try:
        with open(blobs.path(digest), "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError):  # not here, empty, or on a file system that can't: read it, or say what is wrong
        return blobs.read(digest)
    return data if digests.to_text(hashlib.sha256(data).digest()) == digest else blobs.read(digest)


def _lacking(error: BaseException, run: Run) -> str | None:
    """The package that an error is about, with the versions it was trained with and is installed in; None for another error."""
    while not isinstance(error, ImportError | AttributeError):
        inner = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if inner is None:
            return None
        error = inner
    absent = _ABSENT.search(str(error))
    if isinstance(error, ImportError):
        module, what = error.name or "", f"'{error.name}', which can't be imported ({error})"
    elif absent:
        module, what = absent[2], f"'{absent[2]}.{absent[1]}', which is not in the package here"
    else:
        return None
    package = module.partition(".")[0]
    distribution = DISTRIBUTIONS.get(package, package).replace("_", "-")
    trained = run.environment.get("packages", {}).get(distribution)
    here = _installed(distribution)
    notes = [f"it was trained with {distribution} {trained}"] if trained else []
    notes += [f"installed is {distribution} {here}"] if here else [] if absent else [f"install {distribution}"]
    return "; ".join([what, ", ".join(notes)]) if notes else what


def _installed(distribution: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError):
        return None
