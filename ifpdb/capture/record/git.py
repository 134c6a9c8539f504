"""What git says of a folder: the commit, the branch, the remote, and which tracked files differ from the commit."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ...digest import JSON, sha256
from ...records import Code
from ..redaction import redact_text

TIMEOUT = 10
"""Seconds. A git that hangs is not waited for."""
MOST_CHANGED = 200
"""The most changed files that are listed."""
DIFF = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--full-index", "--unified=3", "-O/dev/null")
SETTINGS = ("noprefix=false", "mnemonicPrefix=false", "relative=false", "interHunkContext=0", "algorithm=myers")
"""What makes one difference the same bytes, whatever the user's settings say of how to show it."""
HERE = ("--", ".", ":(exclude)*.db")
"""The project's files; a registry that is written while a run is open is no change of the code."""


@dataclass(frozen=True, slots=True)
class GitState:
    """`code` has the commit, whether it is dirty and the digest of the difference; `details` the rest, `not_seen` why not."""

    code: Code
    details: dict[str, JSON] | None = None
    not_seen: str | None = None


def git_state(folder: Path) -> GitState:
    """Looks once; says nothing of a folder that is no checkout, or of git where that is missing."""
    status = ("status", "--porcelain=v2", "--branch", "--untracked-files=no", "-z", *HERE)
    try:
        (code, said, complaint), (_, url, _) = _ask(folder, status, ("config", "--get", "remote.origin.url"))
    except (OSError, subprocess.TimeoutExpired) as error:
        return GitState(Code(), not_seen=f"git: {type(error).__name__}")
    if code:
        return GitState(Code(), not_seen=_reason(folder, code, complaint))
    heads, changed = _read_status(said.decode("utf-8", "replace"))
    commit = heads.get("branch.oid", "(initial)")
    more = [f"and {len(changed) - MOST_CHANGED} more"] if len(changed) > MOST_CHANGED else []
    details: dict[str, JSON] = {
        "branch": heads.get("branch.head"),
        "remote": _remote(url.decode("utf-8", "replace").strip()) or None,
        "changed": changed[:MOST_CHANGED] + more,
    }
    if commit == "(initial)":
        return GitState(Code(), details)
    diff = _diff(folder) if changed else b""
    if diff is None:
        return GitState(Code(commit=commit, dirty=True), details, "git: diff")
    return GitState(Code(commit=commit, dirty=bool(diff), diff=sha256(diff) if diff else None), details)


def _reason(folder: Path, code: int, complaint: bytes) -> str | None:
    """Why git answered nothing; None where there is just no checkout. Its own words would hold paths."""
    if b"not a git repository" in complaint:
        is_there = any(os.path.exists(place / ".git") for place in (folder, *folder.parents))
        return "git: takes the .git there for no repository" if is_there else None
    return "git: refused by safe.directory" if b"safe.directory" in complaint else f"git: exit {code}"


def _remote(url: str) -> str:
    """A remote without credentials or user; of one that is a folder, the base name."""
    if re.match(r"file:|[/\\.~]|[A-Za-z]:[/\\]", url):
        return re.split(r"[/\\]", url.rstrip("/\\"))[-1]
    return redact_text(re.sub(r"^(?!git@)[^@/:]+@(?=[\w.-]+:)", "", url))


def _read_status(said: str) -> tuple[dict[str, str], list[str]]:
    """The header lines, and the paths that differ, relative to the checkout; of a renamed file the new one."""
    heads, changed, entries = dict[str, str](), list[str](), iter(said.split("\0"))
    for entry in entries:
        if entry.startswith("# "):
            key, _, value = entry[2:].partition(" ")
            heads[key] = value
        elif entry[:1] in ("1", "u"):
            changed.append(entry.split(" ", 8 if entry[0] == "1" else 10)[-1])
        elif entry[:1] == "2":
            changed.append(entry.split(" ", 9)[-1])
            next(entries, None)  # where it came from
    return heads, sorted(changed)


def _diff(folder: Path) -> bytes | None:
    settings = [word for setting in SETTINGS for word in ("-c", f"diff.{setting}")]
    try:
        ((code, said, _),) = _ask(folder, (*settings, "diff", "HEAD", *DIFF, *HERE))
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said if code == 0 else None


def _ask(folder: Path, *commands: tuple[str, ...]) -> list[tuple[int, bytes, bytes]]:
    """(exit code, stdout, stderr) of several git commands that run at once."""
    running = list[subprocess.Popen[bytes]]()
    try:
        running += (_start(folder, *command) for command in commands)
        said = [process.communicate(timeout=TIMEOUT) for process in running]
        return [(process.returncode, *texts) for process, texts in zip(running, said, strict=True)]
    finally:
        for process in running:
            if process.returncode is None:
                process.kill()
                process.wait()
            for pipe in (process.stdout, process.stderr):  # not read to the end: git's own children may hold them
                if pipe is not None:
                    pipe.close()


def _start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    strange = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = {**strange, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    return subprocess.Popen(
        ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
