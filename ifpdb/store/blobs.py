"""Content-addressed files and trees, in the folder beside the database: `ifp.cas/sha256/a4/f9c22e…`.

The order that keeps every promise: write a temporary file, fsync it, rename it to its digest, fsync the folder, and
only then may a row name it. A crash leaves at most a file that nothing names. A blob is never changed once it has its
name; the bytes that were hashed are the bytes that were written, whatever becomes of the source meanwhile: those of its
reflink, where there can be one. A file that is as it was when it was last kept is not read again (`statcache.py`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import xxhash

from .. import digest as digests
from .. import tree
from ..errors import IfpError, IntegrityError, NotFound, StorageError, UsageError
from ..records import Artifact, Blob
from ..tree import Source
from . import reflink, statcache
from .overlap import BUFFERS, Flushing, Hashing
from .statcache import StatCache

OVERLAP_FROM = 8 << 20
"""Files of this many bytes are hashed and flushed by other threads while the first one reads and writes."""

CLONE_FROM = 1 << 20
"""Files of this many bytes share their blocks with the blob where the file system can; smaller ones are copied faster."""


class BlobStore:
    """The blobs of one registry. Every method that adds bytes returns only when they are durable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._durable_shards: set[Path] = set()

    def path(self, digest: str) -> Path:
        """Where the blob lies, or would lie."""
        name = digest.removeprefix("sha256:")
        return self.root / "sha256" / name[:2] / name[2:]

    def has(self, digest: str) -> bool:
        """Whether the blob's file is here; says nothing of its bytes."""
        name = digest.removeprefix("sha256:")  # a merge asks for each of a hundred thousand: no Path is made
        return os.path.isfile(f"{self.root}/sha256/{name[:2]}/{name[2:]}")

    def put_path(self, path: Path, *, name: str, format: str, progress: Callable[[int], None] | None = None) -> Artifact:
        """Keep a file or folder. `progress` is told the number of bytes of each chunk.

        Raises UsageError for what is missing, unreadable or no plain file or folder, Conflict for a file that changes
        while it is read, StorageError when the disk is full; each leaves nothing behind but whole blobs.
        """
        with StatCache(self.root) as cache:
            if not os.path.isdir(path):
                blob, anew, _ = self._put_file(path, cache, progress)
                return Artifact(name, blob.digest, blob.size, format, "file", anew, (blob,))
            entries, blobs, any_anew = [], list[Blob](), False
            for relative, real in tree.walk(path):
                blob, anew, status = self._put_file(real, cache, progress)
                entries.append(tree.Entry(relative, tree.is_executable(status.st_mode), blob.size, blob.digest))
                blobs.append(blob)
                any_anew = any_anew or anew
        if not entries:
            raise UsageError(f"{path} holds no file")
        listing, anew = self._put(tree.dump(entries))
        size = sum(blob.size for blob in blobs)
        return Artifact(name, listing.digest, size, format, "tree", anew or any_anew, (listing, *blobs))

    def put_bytes(self, data: bytes, *, name: str, format: str) -> Artifact:
        """Keep these bytes as a file."""
        blob, anew = self._put(data)
        return Artifact(name, blob.digest, blob.size, format, "file", anew, (blob,))

    def put_written(self, write: Callable[[IO[bytes]], tuple[str, bool]], *, name: str) -> tuple[Artifact, bool]:
        """Keep what `write` puts into an empty file; it says the format, and something that is handed on.

        The bytes go to the disk as they are written, so that an object of any size needs no second copy in memory.
        """
        with self._temporary() as (temporary, descriptor):
            with open(descriptor, "w+b", closefd=False) as file:
                format, said = write(file)
                file.flush()
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                with Hashing(overlapped=False) as hashing:
                    while chunk := file.read(1 << 20):
                        hashing.update(memoryview(chunk))
                    blob = hashing.result(size)
            return Artifact(name, blob.digest, size, format, "file", self._name(temporary, descriptor, blob), (blob,)), said

    def replace(self, digest: str, source: Path, *, progress: Callable[[int], None] | None = None) -> None:
        """Put a copy of `source`, if it holds the bytes of this digest, in the place of a file that is missing or damaged.

        Raises UsageError when there is no such file, IntegrityError when it holds other bytes; what was here then stays.
        """
        with self._temporary() as (temporary, descriptor):
            with tree.steady(source) as opened:
                blob = _fill(descriptor, opened, progress, durable=True)
            if blob.digest != digest:
                raise IntegrityError(f"{source} doesn't hold the bytes of {digest} either")
            self._name(temporary, descriptor, blob, again=True)

    def read(self, digest: str) -> bytes:
        """A blob's bytes, verified. Raises NotFound when they are not here, IntegrityError when they are others."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise self._missing(digest) from None
        except OSError as error:
            raise StorageError(f"{self.path(digest)} can't be read: {error.strerror}") from error
        if digests.sha256(data) != digest:
            raise self._damaged(digest)
        return data

    def verify(self, digest: str) -> Path:
        """The path of a blob whose bytes were read and are the ones it is named by; raises as `read` does."""
        path = self.path(digest)
        if not path.is_file():
            raise self._missing(digest)
        if tree.hash_path(path)[0] != digest:
            raise self._damaged(digest)
        return path

    def checkout(self, artifact: Artifact, dest: Path) -> Path:
        """Write an artifact to `dest`, verified: a file, or a folder for a tree. An existing folder takes a file in.

        The whole appears at once, under its final name, or not at all. It isn't flushed to the disk, as with git: after a
        power cut it can be checked out again. Raises UsageError when `dest` is taken.
        """
        dest = dest.absolute()
        dest = dest / artifact.digest.removeprefix("sha256:")[:12] if dest.is_dir() and artifact.kind == "file" else dest
        if os.path.lexists(dest) and not (dest.is_dir() and not any(dest.iterdir())):
            raise UsageError(f"{dest} is there already: name a new path, or remove it first")
        staging = dest.with_name(f".{dest.name}.{_nonce()}")
        try:
            dest.parent.mkdir(parents=True, exist_ok=True)
            if artifact.kind == "file":
                self._copy_out(artifact.digest, staging, executable=False)
            else:
                staging.mkdir()
                for entry in tree.load(self.read(artifact.digest)):
                    target = staging / entry.path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self._copy_out(entry.digest, target, executable=entry.executable)
            os.replace(staging, dest)
        except OSError as error:
            raise StorageError(f"{dest} can't be written: {error.strerror}") from error
        finally:
            if staging.is_dir():
                shutil.rmtree(staging, ignore_errors=True)
            elif os.path.lexists(staging):
                staging.unlink()
        return dest

    def _copy_out(self, digest: str, target: Path, *, executable: bool) -> None:
        source = self.path(digest)
        if not source.is_file():
            raise self._missing(digest)
        with open(target, "x+b") as file, tree.steady(source) as blob:
            if _fill(file.fileno(), blob, None, durable=False).digest != digest:
                raise self._damaged(digest)
        if executable:
            target.chmod(target.stat().st_mode | 0o111)

    def _put(self, data: bytes) -> tuple[Blob, bool]:
        with self._temporary() as (temporary, descriptor):
            with open(descriptor, "wb", buffering=0, closefd=False) as file:
                _write_all(file.fileno(), memoryview(data))
            blob = Blob(digests.sha256(data), len(data), xxhash.xxh3_128_hexdigest(data))
            return blob, self._name(temporary, descriptor, blob)

    def _put_file(
        self, path: Path, cache: StatCache, progress: Callable[[int], None] | None
    ) -> tuple[Blob, bool, os.stat_result]:
        if found := self._known(path, cache):
            blob, status = found
            if progress is not None:
                progress(blob.size)
            return blob, False, status
        with self._temporary() as (temporary, descriptor):
            with tree.steady(path) as source:
                noting = cache.is_worth_noting(source)
                blob = _fill(descriptor, source, progress, durable=True)
            anew = self._name(temporary, descriptor, blob)
            if noting:
                cache.note(source.status, blob, os.stat(self.path(blob.digest)))
            return blob, anew, source.status

    def _known(self, path: Path, cache: StatCache) -> tuple[Blob, os.stat_result] | None:
        """The blob of a file that is as it was when it was last read, if the blob's own file is too."""
        try:
            status = os.stat(path)
            known = cache.find(status)
            if known is None:
                return None
            kept = os.stat(self.path(known.blob.digest))
        except (OSError, ValueError):  # reading it will tell
            return None
        return (known.blob, status) if (kept.st_size, statcache.mark_of(kept)) == (known.blob.size, known.mark) else None

    def _name(self, temporary: Path, descriptor: int, blob: Blob, *, again: bool = False) -> bool:
        """Give a written temporary file its digest as name, durably; False when the blob was here before, unless `again`."""
        final = self.path(blob.digest)
        anew = again or not _holds(final, blob)
        if anew:
            os.fchmod(descriptor, 0o444)
            os.fsync(descriptor)
            final.parent.mkdir(parents=True, exist_ok=True)
        # Another process may have made the shard and died before its name was durable: look once in each process.
        if final.parent not in self._durable_shards:
            fsync_path(final.parent.parent)
            self._durable_shards.add(final.parent)
        if anew:
            os.rename(temporary, final)
        fsync_path(final.parent)
        return anew

    @contextmanager
    def _temporary(self) -> Iterator[tuple[Path, int]]:
        """An empty file in the store's own tmp folder; gone afterwards unless it was renamed."""
        folder = self.root / "tmp"
        path = folder / f"{os.getpid()}-{_nonce()}"
        descriptor = -1
        try:
            if not folder.is_dir():
                self.make_folders()
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o600)
            yield path, descriptor
        except OSError as error:
            raise StorageError(f"{self.root} can't be written: {error.strerror}; nothing was registered") from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)
            with suppress(OSError):  # it has its name, or the next gc removes it
                path.unlink()

    def make_folders(self) -> None:
        """Make the folders of the store, durably."""
        for folder in (self.root / "tmp", self.root / "sha256"):
            folder.mkdir(parents=True, exist_ok=True)
        fsync_path(self.root)
        fsync_path(self.root.parent)

    def _missing(self, digest: str) -> NotFound:
        return NotFound(
            f"the bytes of {digest} are not here: copy {self.path(digest).relative_to(self.root.parent)} from a machine that "
            f"has them"
        )

    def _damaged(self, digest: str) -> IntegrityError:
        return IntegrityError(
            f"{self.path(digest)} no longer holds the bytes that it is named by: replace it with a good copy of {digest}"
        )


def _fill(target: int, source: Source, progress: Callable[[int], None] | None, *, durable: bool) -> Blob:
    """Give an empty file the bytes of another, cloned or copied; what it then holds. `durable`: an fsync will follow."""
    size = source.status.st_size
    cloned = size >= CLONE_FROM and reflink.clone(source.descriptor, target)
    large, flushing = size >= OVERLAP_FROM, Flushing(target)
    with Hashing(large) as hashing:

        def take(chunk: memoryview) -> None:
            hashing.update(chunk)
            if not cloned:
                _write_all(target, chunk)
                if durable:
                    flushing.wrote(len(chunk))
            if progress is not None:
                progress(len(chunk))

        source.read(take, buffers=BUFFERS if large else 1, clone=target if cloned else None)
        return hashing.result(size)


def _holds(path: Path, blob: Blob) -> bool:
    """Whether a file is this blob, whole and without rot. So bytes that are registered again mend a blob that isn't."""
    checksum = xxhash.xxh3_128()
    try:
        return tree.read_steadily(path, checksum.update).st_size == blob.size and checksum.hexdigest() == blob.xxh3
    except IfpError:
        return False


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _nonce() -> str:
    return os.urandom(6).hex()


def fsync_path(path: Path) -> None:
    """Make a file's bytes durable, or the names in a folder where the system can (Windows can't open a folder)."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
