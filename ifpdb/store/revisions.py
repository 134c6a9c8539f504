"""The revisions of a registry that git can still bring back, and their bytes.

Whatever `git checkout`, `git stash pop` or a reflog can put into the work tree counts: every commit that a ref, a reflog or
a half-done merge reaches, and the index of every worktree. Followed is every file with this one's ending, wherever it lies,
that says that it is a registry: so one that was moved or renamed is found under its old names too. A repository that
doesn't have its whole history is refused, as is a git that fails: half an answer would look like a whole one.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from ..errors import Refused
from .foreign import is_registry

HALF_DONE = (
    *("MERGE_HEAD", "MERGE_AUTOSTASH", "FETCH_HEAD", "ORIG_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD"),
    *("rebase-merge/autostash", "rebase-apply/autostash"),
)
"""Files of a .git folder that name commits which perhaps no ref and no reflog reaches."""

PARTIAL = r"^(remote\..*\.(promisor|partialclonefilter)|extensions\.partialclone)$"
HEAD = 100
"""Bytes that tell what a file is."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of a registry: git's id of its bytes, a path that it had, the bytes."""

    id: str
    path: str
    data: bytes


class History:
    """What the git repository around a registry knows of it; where there is none, it knows nothing."""

    def __init__(self, db: Path) -> None:
        """Raises Refused for a repository whose history isn't here as a whole, or that git doesn't read."""
        self.name = db.name
        self.folder = db.absolute().parent.resolve()
        self.is_there = any((place / ".git").exists() for place in (self.folder, *self.folder.parents))
        if "GIT_DIR" in os.environ:
            raise Refused("GIT_DIR is set, so that git speaks of another repository than the one around the registry: unset it")
        if self.is_there:
            self._check_whole()

    def revisions(self, looked: set[str]) -> Iterator[Revision]:
        """Each different state, one in memory at a time, but those whose ids are in `looked`; all that are read get into it.

        Files that are no registry are passed over, but a Git LFS pointer under this name is refused: what it stands for
        isn't in git's hands.
        """
        if not self.is_there:
            return
        paths = {id: path for id, path in self._objects() if id not in looked}
        with TemporaryFile() as wanted:
            wanted.write("".join(f"{id}\n" for id in paths).encode())
            wanted.seek(0)
            with self._start("cat-file", "--batch", "--buffer", stdin=wanted) as process:
                assert process.stdout is not None
                for id, path in paths.items():
                    data = _next_registry(process.stdout)
                    if data.startswith(b"version https://git-lfs") and path.rpartition("/")[2] == self.name:
                        raise Refused(
                            f"git has {path} ({id[:12]}) in Git LFS, where its revisions can't be read: take the registry "
                            f"out of it with git lfs migrate export --include='{self.name}' --everything"
                        )
                    if is_registry(data):
                        yield Revision(id, path, data)
                    looked.add(id)

    def siblings(self) -> Iterator[Path]:
        """The same file in the other worktrees, where it is there: they may share the blob folder by a link."""
        if not self.is_there:
            return
        here = Path(os.fsdecode(self._git("rev-parse", "--show-toplevel").rstrip(b"\n"))).resolve()
        for line in self._git("worktree", "list", "--porcelain").split(b"\n"):
            if line.startswith(b"worktree "):
                path = Path(os.fsdecode(line.removeprefix(b"worktree "))) / self.folder.relative_to(here) / self.name
                if path.is_file() and not path.samefile(self.folder / self.name):
                    yield path

    def _objects(self) -> Iterator[tuple[str, str]]:
        """(id, path) of what lies at such a path in a commit or an index, or bears a tag itself; a few are no files."""
        common = Path(os.fsdecode(self._git("rev-parse", "--git-common-dir").rstrip(b"\n")))
        private = [self.folder / common, *(self.folder / common).glob("worktrees/*")]
        ending = _literally(Path(self.name).suffix)
        paths = ("--", f":(top,icase,glob)**/{'*' + ending if ending else _literally(self.name)}")
        # Not by rev-list --objects: it doesn't look for a pattern in folders. --full-history, because git else leaves out
        # the side of a merge whose file the merge didn't take; -m, to see a merge from each side.
        commits = self._git("rev-list", "--full-history", "--all", "--reflog", *self._half_done(private), *paths)
        seen = self._git(
            "diff-tree", "--stdin", "-m", "-r", "-z", "--root", "--no-renames", "--no-commit-id", *paths, told=commits
        )
        words = os.fsdecode(seen).split("\0")
        for change, path in zip(words[0::2], words[1::2], strict=False):
            _, _, before, after, _ = change.split(" ")
            yield from ((id, path) for id in (before, after) if id.strip("0"))
        for index in (place / "index" for place in private):
            if index.exists():
                for entry in self._git("ls-files", "--stage", "-z", *paths, index=index).split(b"\0")[:-1]:
                    told, _, path = os.fsdecode(entry).partition("\t")
                    yield told.split()[1], path
        refs = self._git("for-each-ref", "--format=%(objecttype) %(objectname)%0a%(*objecttype) %(*objectname)").decode()
        for kind, id in (line.split() for line in refs.splitlines() if line.strip()):
            if kind in ("blob", "tree"):
                for line in self._git("rev-list", "--objects", id).splitlines():
                    yield os.fsdecode(line).partition(" ")[0], ""

    def _half_done(self, private: Collection[Path]) -> list[str]:
        files = [place / name for place in private for name in HALF_DONE if (place / name).is_file()]
        named = {id for file in files for id in re.findall(r"^[0-9a-f]{40,64}\b", file.read_text(errors="replace"), re.M)}
        return self._git("rev-list", "--no-walk", "--ignore-missing", *named).decode().split() if named else []

    def _check_whole(self) -> None:
        if self._git("rev-parse", "--is-shallow-repository").strip() != b"false":
            raise Refused("this is a shallow clone, which doesn't have every revision: get them with git fetch --unshallow")
        if self._git("config", "--get-regexp", PARTIAL, fine=(0, 1)).strip():
            raise Refused("this is a partial clone, which doesn't have every revision: work in a full one")

    def _git(
        self, *arguments: str, fine: Collection[int] = (0,), index: Path | None = None, told: bytes | None = None
    ) -> bytes:
        with self._start(*arguments, index=index, stdin=subprocess.DEVNULL if told is None else subprocess.PIPE) as process:
            said, complaint = process.communicate(told)
        if process.returncode not in fine:
            words = complaint.decode(errors="replace").strip().partition("\n")[0]
            raise Refused(f"git {arguments[0]} fails, so that the registry's revisions aren't known ({words}): mend that first")
        return said

    def _start(self, *arguments: str, stdin: IO[bytes] | int, index: Path | None = None) -> subprocess.Popen[bytes]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name.startswith("GIT_CONFIG")
        }
        whole = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": os.devnull, "GIT_NO_LAZY_FETCH": "1"}  # nothing is hidden
        quiet = {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        try:
            return subprocess.Popen(
                ["git", "-c", "core.fsmonitor=false", "-C", str(self.folder), *arguments],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if isinstance(stdin, int) else subprocess.DEVNULL,
                env=kept | whole | quiet | ({"GIT_INDEX_FILE": str(index)} if index else {}),
            )
        except OSError as error:
            raise Refused(
                f"the registry lies in a git repository, but git can't be run ({error.strerror}): install it, or run this "
                f"where it is"
            ) from error


def _literally(text: str) -> str:
    """Text as a glob that matches only itself."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


def _next_registry(answers: IO[bytes]) -> bytes:
    """The next object of `git cat-file --batch`: its bytes where it says that it is a registry, else its first ones."""
    told = answers.readline().decode().split()
    if len(told) != 3 or told[2] == "missing":
        raise Refused(f"git lacks an object of the registry's history ({' '.join(told) or 'it ended'}): see git fsck")
    kind, rest = told[1], int(told[2])
    head = answers.read(min(HEAD, rest))
    rest -= len(head)
    data = head + answers.read(rest) if is_registry(head) else head
    while rest > 0 and not is_registry(head):
        rest -= len(answers.read(min(rest, 1 << 20))) or rest
    if answers.read(1) != b"\n":
        raise Refused("git broke off in the middle of the registry's history: see git fsck")
    return data if kind == "blob" else b""
