"""A registry as a commit has it, read without checking it out: the work tree and its blob folder aren't touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import NotFound, Refused
from ..store import foreign
from ..store.repository import Repository


@dataclass(frozen=True, slots=True)
class Past:
    """The bytes that a commit has of a registry; `name` is what errors call it."""

    commit: str
    name: str
    data: bytes

    @contextmanager
    def placed(self) -> Iterator[Path]:
        """A file of these bytes in a private folder that goes when the block ends. Raises what `foreign.opened` raises."""
        with foreign.opened(self.data, name=self.name):
            pass  # it is what it says
        with TemporaryDirectory(prefix="ifp-") as folder:
            path = Path(folder) / "ifp.db"
            path.write_bytes(self.data)
            yield path


def past(registry: Path, revision: str) -> Past:
    """The registry at this path as a commit has it. Raises NotFound where git doesn't know the commit, or the file in it.

    Raises Refused where git has it but its bytes are elsewhere.
    """
    repository = Repository(registry.parent)
    path = repository.path_of(registry)
    commit = _commit(repository, revision)
    name = f"{path} at {commit[:12]}"
    try:
        data = repository.bytes_at(commit, path)
    except Refused as error:
        raise Refused(f"{name} can't be read ({error}): {_ELSEWHERE}") from error
    if data is None:
        raise _not_there(repository, commit, path, revision)
    if data.startswith(b"version https://git-lfs"):
        raise Refused(
            f"{name} is a Git LFS pointer, whose bytes aren't in git's hands: take the registry out of Git LFS with "
            f"git lfs migrate export --include='{registry.name}' --everything"
        )
    return Past(commit, name, data)


_ELSEWHERE = "a partial clone fetches them from where it was cloned, so go online; else see git fsck"


def _commit(repository: Repository, revision: str) -> str:
    try:
        return repository.commit(revision)
    except NotFound as error:
        if repository.run("rev-parse", "--is-shallow-repository").strip() == b"true":
            raise NotFound(f"{error}; this is a shallow clone: git fetch --unshallow brings the rest") from None
        raise


def _not_there(repository: Repository, commit: str, path: str, revision: str) -> NotFound | Refused:
    """Why a commit doesn't give the bytes of a path, with what to do."""
    where = f":(top,literal){path}"
    if repository.run("ls-tree", "--full-tree", "-r", "--name-only", commit, "--", path):
        return Refused(f"{path} is in {revision}, but no bytes of a file: {_ELSEWHERE}")
    commits = repository.run("rev-list", "--all", "--", where).decode().split()
    if not commits:
        return NotFound(f"{path} is in no commit yet: git add it and commit")
    return NotFound(f"{path} isn't in {revision}: it was first committed in {commits[-1][:12]} (git log --all -- ':/{path}')")
