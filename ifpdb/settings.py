"""What the shell around us says: which registry, who acts, what time it is.

The argument wins, then the environment (IFP_DB, IFP_ACTOR, IFP_NOW), then what is found: the nearest ifp.db, git's
user, the clock.
"""

from __future__ import annotations

import getpass
import os
import socket
import stat
import subprocess
from functools import cache
from pathlib import Path

from . import times
from .errors import NotFound, UsageError
from .names import check_key

DEFAULT_NAME = "ifp.db"


def find_registry(path: str | os.PathLike[str] | None = None) -> Path:
    """The registry to use: `path`, else IFP_DB, else the nearest ifp.db in this folder or a parent.

    Raises NotFound, with the command that makes one, when none is found. A path given outright is taken as it is.
    """
    if named := named_registry(path):
        return named
    for folder in (here := Path.cwd(), *here.parents):
        if (folder / DEFAULT_NAME).is_file():
            return folder / DEFAULT_NAME
    raise NotFound(f"no {DEFAULT_NAME} in {here} or a folder above it: make one with ifp init, or name one with --db")


def find_or_place_registry(path: str | os.PathLike[str] | None = None) -> Path:
    """As `find_registry`, but ./ifp.db where there is none yet."""
    try:
        return find_registry(path)
    except NotFound:
        return Path.cwd() / DEFAULT_NAME


def named_registry(path: str | os.PathLike[str] | None = None) -> Path | None:
    """The registry that `path` or IFP_DB names outright; None where neither does."""
    named = path if path is not None else os.environ.get("IFP_DB")
    if not named:
        return None
    absolute = Path(os.path.abspath(named))
    try:
        mode = os.stat(absolute).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return absolute
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        raise UsageError(f"{str(named)!r} can't be a registry: {getattr(error, 'strerror', None) or error}") from None
    return absolute / DEFAULT_NAME if stat.S_ISDIR(mode) else absolute


def blob_folder(db: Path) -> Path:
    """The folder of a registry's blobs: NAME.cas beside NAME.db."""
    return db.with_name(db.stem + ".cas")


def project_folder(db: Path) -> Path:
    """The project that a registry belongs to: the git checkout it lies in, else its own folder."""
    here = db.absolute().parent.resolve()
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            return folder
    return here


def who(actor: str | None = None) -> str:
    """Who acts: `actor`, else IFP_ACTOR, else git's `user.name <user.email>`, else `user@host`."""
    named = actor or os.environ.get("IFP_ACTOR")
    return check_key(named, "actor") if named else _git_user(os.getcwd()) or f"{_user()}@{socket.gethostname()}"


def time_now() -> tuple[str, str | None]:
    """The time that events bear, and the clock's own time where IFP_NOW overrides it (for imports and rehearsals).

    The log keeps both, so that a backdated event can be told from one written at its time.
    """
    clock = times.now()
    told = os.environ.get("IFP_NOW")
    if not told:
        return clock, None
    when = times.parse_when(told, now=clock)
    if when.start > clock:
        raise UsageError(f"IFP_NOW={told} is in the future")
    return when.start, clock


@cache
def _git_user(_folder: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "config", "--get-regexp", r"^user\.(name|email)$"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    if "user.name" in found and "user.email" in found:
        return f"{found['user.name']} <{found['user.email']}>"
    return found.get("user.name") or found.get("user.email")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid{os.getuid()}"
