"""The git checkout that a registry lies in, asked and changed by git's own command.

Unlike revisions.py, which must not miss a single object, this is git as the user means it: with the user's settings, in the
environment that a hook or a merge driver was started in.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection
from pathlib import Path

from ..errors import NotFound, Refused


class Repository:
    """A checkout: `root` is its work tree's top. Raises Refused where git fails, with what it said."""

    def __init__(self, folder: Path) -> None:
        """The checkout that holds `folder`. Raises NotFound where none does, Refused where git can't be run."""
        self._folder = folder
        try:
            self.root = Path(os.fsdecode(self.run("rev-parse", "--show-toplevel").rstrip(b"\n")))
        except Refused as error:
            raise NotFound(f"{folder} is in no git checkout: make one with git init") from error

    def run(self, *arguments: str, told: bytes | None = None, fine: Collection[int] = (0,)) -> bytes:
        """What git prints. `told` is its input, `fine` are the exit codes that are no failure."""
        try:
            done = subprocess.run(["git", "-C", str(self._folder), *arguments], input=told or b"", capture_output=True)
        except OSError as error:
            raise Refused(f"git can't be run ({error.strerror}): install it, or run this where it is") from error
        if done.returncode not in fine:
            said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ").partition("\n")[0]
            raise Refused(f"git {arguments[0]} fails: {said or f'exit code {done.returncode}'}")
        return done.stdout

    def path_of(self, file: Path) -> str:
        """Where a file of this checkout lies in it, as git writes paths. Raises NotFound for one outside."""
        place = file.parent.resolve() / file.name
        try:
            return place.relative_to(self.root.resolve()).as_posix()
        except ValueError:
            raise NotFound(f"{file} is not in the git checkout {self.root}") from None

    def commit(self, revision: str) -> str:
        """The full id of the commit that a revision names. Raises NotFound."""
        try:
            return self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
        except Refused:
            raise NotFound(f"git knows no commit '{revision}' (git log --oneline)") from None

    def bytes_at(self, revision: str, path: str) -> bytes | None:
        """The bytes of a file in a commit, or in the index for revision ''; with ':1', ':2', ':3' a stage of a merge.

        None where it isn't there. Raises Refused where git has it but can't read it.
        """
        name = f"{revision}:{path}"
        kind = self.run("cat-file", "--batch-check=%(objecttype)", told=f"{name}\n".encode()).decode().strip()
        if kind != "blob":
            return None
        return self.run("cat-file", "blob", name)
