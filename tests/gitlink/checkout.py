"""A checkout that the tests of this folder drive with real git."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git(*arguments: str, fails: bool = False, cwd: Path | None = None) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=cwd)
    assert (done.returncode != 0) == fails, done.stderr
    return done.stdout + done.stderr


def configure(checkout: Path) -> None:
    git("config", "user.name", "ada", cwd=checkout)
    git("config", "user.email", "ada@example.org", cwd=checkout)


def break_and_commit(db: Path, *, fails: bool) -> str:
    """Whether the hook looks: a commit of something that is no registry."""
    db.write_bytes(b"x" * 5000)
    git("add", str(db))
    return git("commit", "-m", "broken", fails=fails)
