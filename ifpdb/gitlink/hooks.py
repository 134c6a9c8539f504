"""What git's hooks do for a registry: its staged bytes checked before a commit, its heads noted in the message.

What is checked is what would be committed, the blob in the index: the file in the work tree may have been rolled back or
written since. The paths are those whose attribute `merge` is `ifp`; every other staged file is none of our business.
Every commit waits for this, so that it imports little and starts few processes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import IntegrityError
from ..store import foreign
from ..store.explaining import reachable
from ..store.repository import Repository
from ..upkeep.anchors import TRAILER

_NOTED = re.compile(rb"^Ifp-Heads: sha256:.*\n?", re.M)
_SCISSORS = re.compile(rb"^.{1,9} ?-{24} >8 -{24}$", re.M)
_HEADS = "SELECT id FROM head ORDER BY id"
_EVENT = "SELECT 1 FROM event WHERE id = ?"
_ANY_EVENT = "SELECT 1 FROM event LIMIT 1"


@dataclass(frozen=True, slots=True)
class Staged:
    """A registry that a commit would change: its path in the checkout, and the heads of its log."""

    path: str
    heads: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"path": self.path, "heads": list(self.heads)}


def check_staged(repository: Repository) -> tuple[Staged, ...]:
    """Check each registry that is staged; pre-commit's work. Raises IntegrityError for one that must not be committed."""
    return tuple(Staged(path, _checked(path, data, repository.root / path)) for path, data in _staged(repository))


def note_heads(repository: Repository, message: Path) -> tuple[Staged, ...]:
    """Note the heads of each registry that is staged in a commit's message; commit-msg's work.

    An older note gives way. A message that calls the commit off stays as it is.
    """
    staged = tuple(Staged(path, _heads(path, data)) for path, data in _staged(repository))
    with reachable(message):
        text = message.read_bytes()
    cut = _SCISSORS.search(text)
    said, below = (text[: cut.start()], text[cut.start() :]) if cut else (text, b"")
    if any(found.heads for found in staged) and not _calls_off(repository, said):
        # A merge's message has no newline at its end, and git would then set the trailer right below its one line.
        said = _NOTED.sub(b"", said).rstrip(b"\n") + b"\n"
        message.write_bytes(_with_trailers(repository, said, staged) + below)
    return staged


def _calls_off(repository: Repository, said: bytes) -> bool:
    """Whether git is going to make no commit: nothing is said, or nothing but the template."""
    strip = ("stripspace", "--strip-comments")
    text = repository.run(*strip, told=said)
    template = repository.run("config", "--type=path", "--get", "commit.template", fine=(0, 1))
    try:
        empty = repository.run(*strip, told=(repository.root / os.fsdecode(template[:-1])).read_bytes()) if template else b""
    except OSError:
        empty = b""
    return text in (b"", empty)


def _with_trailers(repository: Repository, said: bytes, staged: tuple[Staged, ...]) -> bytes:
    trailers = list[str]()
    for found in (found for found in staged if found.heads):
        whose = f" ({found.path})" if len(staged) > 1 else ""
        trailers += ["--trailer", f"{TRAILER}: {' '.join(found.heads)}{whose}"]
    how = ("--no-divider", "--where", "end", "--if-exists", "add", "--if-missing", "add")
    return repository.run("-c", "trailer.separators=:", "interpret-trailers", *how, *trailers, told=said)


def _staged(repository: Repository) -> Iterator[tuple[str, bytes]]:
    """Each registry that the index has otherwise than HEAD, or HEAD has not: its path and bytes."""
    what = ("--raw", "-z", "--no-abbrev", "--no-renames", "--no-relative", "--diff-filter=ACMT")
    words = os.fsdecode(repository.run("diff", "--cached", *what)).split("\0")
    blobs = {path: change.split(" ")[3] for change, path in zip(words[0::2], words[1::2], strict=False)}
    if not blobs:
        return
    paths = os.fsencode("".join(f"{path}\0" for path in blobs))
    words = os.fsdecode(repository.run("check-attr", "--stdin", "-z", "merge", told=paths)).split("\0")
    for path, driver in zip(words[0::3], words[2::3], strict=False):
        if driver == "ifp":
            yield path, _bytes_of(repository, path, blobs[path])


def _bytes_of(repository: Repository, path: str, blob: str) -> bytes:
    """A blob's bytes: the file's, where it still hashes to git's id of it, since git needs four times as long to unpack it."""
    try:
        data = (repository.root / path).read_bytes()
    except OSError:
        data = b""
    name = hashlib.new("sha1" if len(blob) == 40 else "sha256", b"blob %d\0" % len(data), usedforsecurity=False)
    name.update(data)
    return data if name.hexdigest() == blob else repository.run("cat-file", "blob", blob)


def _heads(path: str, data: bytes) -> tuple[str, ...]:
    with foreign.opened(data, name=path) as connection:
        return tuple(head for (head,) in connection.execute(_HEADS))


def _id(head: str) -> bytes:
    try:
        return bytes.fromhex(head.removeprefix("sha256:"))
    except ValueError:
        return b""


def _checked(path: str, data: bytes, file: Path) -> tuple[str, ...]:
    """The heads of a registry's staged bytes. `file` is the one in the work tree."""
    name = shlex.quote(path)
    if _is_torn(file, data):
        raise IntegrityError(
            f"{path} was staged in the middle of a write ({file.name}-journal is there): run ifp --db {name} verify, which "
            f"rolls it back if its writer was killed, then git add {name} again"
        )
    if wrong := _wrong_header(name, data):
        raise IntegrityError(f"{path} can't be committed: as it is staged, it {wrong}")
    whole = (
        f"see whether the file itself is whole with ifp --db {name} fsck, then git add {name} again; the last commit's "
        f"comes back with git restore --staged --worktree {name}"
    )
    try:
        with foreign.opened(data, name=path) as connection:
            # Not quick_check, which takes half the time: a torn write leaves rows that an index lacks, and it looks at none.
            found = [said for (said,) in connection.execute("PRAGMA integrity_check(1)") if said != "ok"]
            heads = tuple(head for (head,) in connection.execute(_HEADS))
            if not heads and connection.execute(_ANY_EVENT).fetchone():
                found.append("its log has events but no head")
            lost = (head for head in heads if not connection.execute(_EVENT, (_id(head),)).fetchone())
            found += [f"its head {head} is no event of its log" for head in lost]
    except IntegrityError as error:
        raise IntegrityError(f"{path} can't be committed as it is staged ({error}): {whole}") from error
    if found:
        raise IntegrityError(f"{path} can't be committed: as it is staged, it is damaged ({found[0]}): {whole}")
    return heads


def _is_torn(file: Path, data: bytes) -> bool:
    """Whether these bytes are the work tree's, and a journal beside it tells how to undo them."""
    try:
        with open(f"{file}-journal", "rb") as journal:
            if journal.read(1) in (b"", b"\0"):
                return False
        return file.stat().st_size == len(data) and file.read_bytes() == data
    except OSError:
        return False


def _wrong_header(name: str, data: bytes) -> str | None:
    """What these bytes are instead of a whole registry, and the way to mend it."""
    again = f"then git add {name} again"
    if not data:
        return f"is empty: make it with ifp --db {name} init, {again}"
    if data.startswith(b"version https://git-lfs"):
        return f"is a Git LFS pointer: take it out of LFS with ifp --db {name} git install, then git add --renormalize {name}"
    if data.startswith(b"<<<<<<< "):
        return f"has git's conflict marks in it: choose a side with git checkout --ours {name} (or --theirs), {again}"
    if not foreign.is_registry(data):
        return f"is not a registry: take it out with git restore --staged {name}, or mend its line in .gitattributes"
    if 2 in data[18:20]:
        return f"is in WAL mode, where it may lack its newest rows: run ifp --db {name} doctor --fix, {again}"
    page = int.from_bytes(data[16:18], "big")
    wanted = int.from_bytes(data[28:32], "big") * (65536 if page == 1 else page)
    if wanted != len(data):
        return f"has {len(data):,} bytes where {wanted:,} belong: run ifp --db {name} verify, {again}"
    return None
