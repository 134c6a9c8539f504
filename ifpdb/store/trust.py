"""Who said that a file which can run code may be loaded: a per-user list of digests, as direnv keeps one.

The list lies in the user's data folder, one small file an entry, and never in a registry: trust doesn't travel with
what it is about. What this user's own process serialized is on it from the start; anything else gets there by
`ifp trust REF`, which first shows what loading it would import. The same bytes may be harmless to one loader and not to
another, so that a digest is trusted as a format. It is trusted as long as its file is there, whatever the file says; each
appears whole or not at all, however many processes write at once.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .. import times
from ..errors import StorageError

_NAME = re.compile(r"([0-9a-f]{64})\.([a-z]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Vouched:
    """A digest that this user trusts as a format: since when, and why ('' where the list doesn't say)."""

    digest: str
    format: str
    at: str
    why: str

    def as_dict(self) -> dict[str, str]:
        return {"digest": self.digest, "format": self.format, "at": self.at, "why": self.why}


def is_trusted(digest: str, format: str) -> bool:
    """Whether this user vouched for the bytes with this digest, loaded as this format."""
    return _entry(digest, format).is_file()


def trust(digest: str, format: str, why: str) -> None:
    """Remember that this user vouches for these bytes, loaded as this format. `why` is kept for people to read."""
    entry = _entry(digest, format)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="backslashreplace", dir=entry.parent, prefix=".", delete=False
        ) as file:
            file.write(f"{times.now()} {why}\n")
        try:
            os.replace(file.name, entry)
        except OSError:
            os.unlink(file.name)
            raise
    except OSError as error:
        raise StorageError(f"the trust list {entry.parent} can't be written: {error.strerror}") from error


def distrust(digest: str) -> bool:
    """Take these bytes off the list, whatever the format; False when they weren't on it."""
    listed = [entry for entry in trusted() if entry.digest == digest]
    try:
        for entry in listed:
            _entry(entry.digest, entry.format).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"the trust list {_folder()} can't be written: {error.strerror}") from error
    return bool(listed)


def trusted() -> list[Vouched]:
    """Everything that this user vouched for, by time. What else lies in the folder is passed over."""
    folder = _folder()
    names = os.listdir(folder) if folder.is_dir() else []
    found = [_read(folder / name) for name in names if _NAME.fullmatch(name) and (folder / name).is_file()]
    return sorted(found, key=lambda entry: (entry.at, entry.digest, entry.format))


def _read(entry: Path) -> Vouched:
    try:
        text = entry.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # taken off by another process meanwhile, or not ours to read
        text = ""
    at, _, why = text.partition(" ")
    digest, _, format = entry.name.partition(".")
    return Vouched("sha256:" + digest, format, at, why)


def _entry(digest: str, format: str) -> Path:
    name = f"{digest.removeprefix('sha256:')}.{format}"
    assert _NAME.fullmatch(name), f"{digest} is no digest, or {format} no format"
    return _folder() / name


def _folder() -> Path:
    import platformdirs

    return platformdirs.user_data_path("ifp", appauthor=False) / "trust"
