"""What git makes of a registry that is committed after each registration."""

from __future__ import annotations

import os
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from growth import model_name
from questions import copy

import ifpdb as ifp


@dataclass(frozen=True, slots=True)
class Packed:
    """Bytes: the .db, the .db deflated, git's objects after the first commit and `git gc`, after the
    other commits, and after another `git gc`; how many other commits."""

    file: int
    deflated: int
    first: int
    loose: int
    packed: int
    commits: int

    @property
    def per_commit(self) -> tuple[int, int]:
        """What a further commit adds to git's objects before and after `git gc`."""
        return (self.loose - self.first) // self.commits, (self.packed - self.first) // self.commits


def commit_each(folder: Path, scratch: Path, *, commits: int) -> Packed:
    """Register and commit so many times in a copy of the registry in `folder`."""
    copy(folder, scratch)
    (scratch / ".gitignore").write_text("*\n!ifp.db\n")
    _git(scratch, "init", "-q")
    _commit(scratch, "first")
    first = _collected(scratch)
    for number in range(commits):
        with ifp.open(scratch / "ifp.db", actor="ada") as registry:
            (scratch / "model.bin").write_text(f"weights {number}")
            model = model_name(number)
            registry.register(
                model,
                scratch / "model.bin",
                data=scratch / "batch.csv",
                schema={"features": [{"position": n, "name": f"f{n}", "type": "number", "max": number} for n in range(30)]},
                params={f"param_{n}": n for n in range(10)},
                metrics=dict.fromkeys(("f1", "auc", "precision", "recall", "accuracy"), 0.9),
                tags=["weekly", "team-a", f"n{number}"],
                derived_from=f"{model}@latest",
            )
        _commit(scratch, f"v{number}")
    loose = _objects(scratch)
    file = scratch / "ifp.db"
    return Packed(file.stat().st_size, sum(_deflated(file)), first, loose, _collected(scratch), commits)


def _commit(folder: Path, message: str) -> None:
    _git(folder, "add", "ifp.db")
    _git(folder, "-c", "gc.auto=0", "commit", "-q", "-m", message)


def _git(folder: Path, *words: str) -> None:
    names = {"GIT_AUTHOR_NAME": "ada", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "ada", "GIT_COMMITTER_EMAIL": "a@b"}
    subprocess.run(["git", *words], cwd=folder, check=True, env=os.environ | names)


def _collected(folder: Path) -> int:
    """The bytes in git's objects folder after `git gc`."""
    _git(folder, "gc", "-q", "--prune=now")
    return _objects(folder)


def _objects(folder: Path) -> int:
    """The bytes in git's objects folder."""
    return sum(path.stat().st_size for path in (folder / ".git" / "objects").rglob("*") if path.is_file())


def _deflated(path: Path) -> Iterator[int]:
    """The lengths of the file's pieces as zlib's level 6 writes them."""
    work = zlib.compressobj()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            yield len(work.compress(chunk))
    yield len(work.flush())
