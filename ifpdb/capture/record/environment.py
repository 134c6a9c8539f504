"""The record of a run's surroundings: code, packages, machine, git, and how the process was started.

Only the code's digest and the packages define a version. Nothing here raises: what can't be seen is listed in `not_seen`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ...digest import JSON, code_body, sha256
from ...records import Code
from ..redaction import redact
from .code import SourceFiles
from .git import git_state
from .machine import describe_machine
from .packages import imported_packages


class Observer:
    """Notes a process's code, packages and surroundings while a run is open; git's state when it is made."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._sources = SourceFiles(project)
        self._git = git_state(project)
        self._machine: dict[str, JSON] | None = None

    def code(self) -> Code:
        """The project's source files imported so far; each one's bytes as they were when first noticed."""
        files, git = self._sources.look(), self._git.code
        return Code(git.commit, git.dirty, git.diff, sha256(code_body(files)) if files else None, files)

    def environment(self) -> dict[str, JSON]:
        """Everything else that is worth knowing, in the keys that docs/format.md lists."""
        if self._machine is None:
            self._machine = describe_machine()
        found: dict[str, JSON] = self._machine | {"packages": imported_packages()}
        if self._git.details:
            found["git"] = self._git.details
        if entry := entry_point(self._project):
            found["entry_point"] = entry
        if cell := notebook_cell():
            found["cell"] = cell
        if not_seen := [*self._sources.not_seen, *([self._git.not_seen] if self._git.not_seen else [])]:
            found["not_seen"] = not_seen
        return found


def entry_point(project: Path) -> str | None:
    """What was started: a script's path, or `-m module`; None in an interactive session."""
    main: Any = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and isinstance(spec.name, str):
        return f"-m {spec.name.removesuffix('.__main__')}"
    file = getattr(main, "__file__", None)
    return _shorten(os.path.abspath(file), project) if isinstance(file, str) else None


def notebook_cell() -> dict[str, JSON] | None:
    """In IPython, the number of the cell that runs, the digest of its source, and the notebook's name where that is known."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return None
    sources = shell.user_ns.get("In") or [""]
    name = shell.user_ns.get("__vsc_ipynb_file__") or shell.user_ns.get("__session__")
    notebook = os.path.basename(name) if isinstance(name, str) else None
    return {"number": int(shell.execution_count), "digest": sha256(str(sources[-1]).encode()), "notebook": notebook}


def command_line(project: Path) -> tuple[str, ...]:
    """This process's argv without secrets, its absolute paths made relative to the project or cut to base names."""
    return tuple(_shorten(argument, project) for argument in redact(list(sys.argv)))


def _shorten(argument: str, project: Path) -> str:
    option, equals, value = ("", "", argument) if os.path.isabs(argument) else argument.partition("=")
    if not os.path.isabs(value):
        return argument
    path = Path(value)
    short = path.relative_to(project).as_posix() if path.is_relative_to(project) else path.name
    return option + equals + short
