"""A folder as one canonical listing: which files it has, and the bytes whose SHA-256 names the folder.

The listing is canonical JSON, [[path, executable, size, digest], …] sorted by path: relative POSIX paths in NFC. What
could mean different things on different machines is refused: symbolic links, devices, `..`, names that aren't UTF-8,
and names that only differ by case or by Unicode form. Empty folders are not kept, as in git.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from . import digest
from .errors import Conflict, IntegrityError, UsageError

CHUNK = 1 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a tree: its relative POSIX path, whether it is executable, size in bytes, digest of its bytes."""

    path: str
    executable: bool
    size: int
    digest: str


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """(canonical relative path, real path) of each file under `folder`, sorted by canonical path.

    Raises UsageError for anything that a tree can't hold.
    """
    found = dict[str, Path]()
    twins = _Twins()
    for real in _files(folder):
        relative = real.relative_to(folder).as_posix()
        name = unicodedata.normalize("NFC", relative)
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise UsageError(f"{folder}: the name {relative!r} is not UTF-8; rename it") from None
        if not _is_safe_name(name):
            raise UsageError(f"{folder}: the name {relative!r} means something else on other systems; rename it")
        if twin := twins.of(relative):
            raise UsageError(f"{folder}: {twin!r} and {relative!r} would be one name on other systems; rename one")
        found[name] = real
    yield from sorted(found.items())


class _Twins:
    """Finds two names, of files or of the folders that they lie in, that differ by case or Unicode form alone."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def of(self, path: str) -> str | None:
        """The other spelling of this path, or of a folder above it, that was seen before."""
        parts = path.split("/")
        for length in range(1, len(parts) + 1):
            prefix = "/".join(parts[:length])
            folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", prefix).casefold())
            if (first := self._seen.setdefault(folded, prefix)) != prefix:
                return first
        return None


def _files(folder: Path) -> Iterator[Path]:
    try:
        listing = os.scandir(folder)
    except OSError as error:
        raise _unreadable(folder, error) from None
    with listing as entries:
        for entry in entries:
            path = folder / entry.name
            if entry.is_symlink():
                raise UsageError(f"{path} is a symbolic link: a tree holds only files and folders; copy what it points to")
            if entry.is_dir(follow_symlinks=False):
                yield from _files(path)
            elif entry.is_file(follow_symlinks=False):
                yield path
            else:
                raise UsageError(f"{path} is neither a file nor a folder")


def dump(entries: list[Entry]) -> bytes:
    """The canonical listing, whose SHA-256 is the tree's digest."""
    return digest.canonical([[e.path, e.executable, e.size, e.digest] for e in entries])


def load(listing: bytes) -> list[Entry]:
    """The entries of a listing; raises IntegrityError for anything that `dump` would not have written."""
    try:
        entries = [Entry(*row) for row in json.loads(listing)]
        valid = all(_is_sound(entry) for entry in entries) and dump(entries) == listing
    except (ValueError, TypeError, AttributeError, RecursionError, UsageError):
        valid = False
    paths, twins = [entry.path for entry in entries] if valid else [], _Twins()
    if not valid or paths != sorted(set(paths)) or any(twins.of(path) for path in paths):
        raise IntegrityError("this is not the listing of a tree")
    return entries


def _is_safe_name(path: str) -> bool:
    parts = path.split("/")
    return not any(part in ("", ".", "..") or "\\" in part or "\0" in part or part[1:2] == ":" for part in parts)


def _is_sound(entry: Entry) -> bool:
    return (
        _is_safe_name(entry.path)
        and unicodedata.is_normalized("NFC", entry.path)
        and type(entry.executable) is bool
        and type(entry.size) is int
        and entry.size >= 0
        and _DIGEST.fullmatch(entry.digest) is not None
    )


def is_executable(mode: int) -> bool:
    """Whether a file mode has the owner's x-bit."""
    return bool(mode & stat.S_IXUSR)


@dataclass(frozen=True, slots=True)
class Source:
    """A regular file, open for reading: its path, its descriptor, and its stat when it was opened."""

    path: Path
    descriptor: int
    status: os.stat_result

    def read(self, use: Callable[[memoryview], object], *, buffers: int = 1, clone: int | None = None) -> None:
        """Feed the file's bytes to `use`, chunk by chunk; or those of its clone, an open file.

        A chunk's memory is written again after `buffers - 1` further chunks. Raises UsageError when it can't be read,
        Conflict when the bytes are not as many as they were.
        """
        size, total = self.status.st_size, 0
        with open(self.descriptor if clone is None else clone, "rb", buffering=0, closefd=False) as file:
            for buffer in cycle([memoryview(bytearray(min(CHUNK, size + 1))) for _ in range(buffers)]):
                try:
                    count = file.readinto(buffer)
                except OSError as error:
                    raise _unreadable(self.path, error) from None
                total += count
                if not count or total > size:  # perhaps it grows as fast as it is read
                    break
                use(buffer[:count])
        if total != size:
            raise self.changed()

    def changed(self) -> Conflict:
        return Conflict(f"{self.path} changed while it was read; try again when its writer is done")


@contextmanager
def steady(path: Path) -> Iterator[Source]:
    """A regular file, opened; at the end, Conflict when it changed meanwhile.

    Raises UsageError when it can't be opened or is no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        raise _unreadable(path, error) from None
    try:
        source = Source(path, descriptor, os.fstat(descriptor))
        if not stat.S_ISREG(source.status.st_mode):
            raise UsageError(f"{path} is neither a file nor a folder")
        yield source
        if _identity(os.fstat(descriptor)) != _identity(source.status):
            raise source.changed()
    finally:
        os.close(descriptor)


def read_steadily(path: Path, use: Callable[[memoryview], object]) -> os.stat_result:
    """Feed a regular file's bytes to `use`, chunk by chunk; its stat. Raises what `steady` and `Source.read` raise."""
    with steady(path) as source:
        source.read(use)
    return source.status


def _unreadable(path: Path, error: OSError | ValueError) -> UsageError:
    return UsageError(f"{str(path)!r} can't be read: {getattr(error, 'strerror', None) or error}")


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def hash_path(path: Path) -> tuple[str, int, str]:
    """(digest, size in bytes, 'file' or 'tree') of a file or folder; raises what `walk` and `read_steadily` raise."""
    if not os.path.isdir(path):
        checksum = hashlib.sha256()
        status = read_steadily(path, checksum.update)
        return digest.to_text(checksum.digest()), status.st_size, "file"
    entries = []
    for name, real in walk(path):
        checksum = hashlib.sha256()
        status = read_steadily(real, checksum.update)
        executable = is_executable(status.st_mode)
        entries.append(Entry(name, executable, status.st_size, digest.to_text(checksum.digest())))
    return digest.sha256(dump(entries)), sum(entry.size for entry in entries), "tree"
