"""Loading what a run kept: by hash, verified, and never running code that this user didn't vouch for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import tree
from .errors import Refused, Untrusted, UsageError
from .records import Artifact, Run
from .store import formats, trust
from .store.blobs import BlobStore


def load(blobs: BlobStore, artifact: Artifact, run: Run, *, trusted: bool) -> Any:
    """The object that an artifact is. The bytes that are verified are the bytes that are loaded.

    Raises Untrusted for bytes that could run code and that nobody vouched for, Refused for a folder, a format without
    a loader or bytes that its loader can't read, UsageError when a package is missing, NotFound and IntegrityError as
    `BlobStore.read` does.
    """
    if artifact.kind == "tree" or artifact.format == formats.BYTES:
        what = "a folder" if artifact.kind == "tree" else "a file of no known format"
        raise Refused(f"artifact '{artifact.name}' of {run.id} is {what}: get it with ifp checkout {run.id} DEST")
    if formats.runs_code(artifact.format) and not (trusted or trust.is_trusted(artifact.digest)):
        raise Untrusted(
            f"artifact '{artifact.name}' of {run.id} is {artifact.format} from disk, which can run code when it is loaded: "
            f"see what it would import and vouch for it with ifp trust {run.id}, or pass trust=True once"
        )
    data = blobs.read(artifact.digest)
    try:
        return formats.load(data, artifact.format)
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        number = run.environment.get("packages", {}).get(package.replace("_", "-"))
        trained = f"; it was trained with {package} {number}" if number else ""
        raise UsageError(f"loading this {artifact.format} needs '{error.name}', which can't be imported{trained}") from error
    except Exception as error:  # each loader fails in its own ways; all of them mean "not readable as this format"
        raise Refused(
            f"artifact '{artifact.name}' of {run.id} can't be loaded as {artifact.format} ({type(error).__name__}: {error}): "
            f"get its bytes with ifp checkout {run.id} DEST"
        ) from error


def imports(blobs: BlobStore, artifact: Artifact) -> list[str]:
    """What loading an artifact would import, as far as that can be read without running it; [] for inert formats."""
    files: list[Path] = []
    if artifact.kind == "file":
        path = blobs.verify(artifact.digest)
        files = [path] if formats.runs_code(artifact.format) else []
    else:
        for entry in tree.load(blobs.read(artifact.digest)):
            path = blobs.verify(entry.digest)
            if formats.runs_code(formats.guess(path)) or formats.runs_code(formats.guess_by_name(entry.path)):
                files.append(path)
    return sorted({found for path in files for found in trust.imports_of(path)})
