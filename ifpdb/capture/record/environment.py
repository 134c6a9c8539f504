"""The record of a run's surroundings: code, packages, machine, git, and how the process was started.

Only the code's digest and the packages define a version. Nothing here raises: what can't be seen is listed in `not_seen`.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path, PureWindowsPath
from typing import Any

from ...digest import JSON, code_body, sha256
from ...records import Code
from ..redaction import redact, redact_text
from .code import SourceFiles
from .git import git_state
from .machine import answers, describe_machine
from .packages import imported_packages

_PATH = re.compile(
    r"(?:(?<![\w.~/\\+%@)\]}<>-])|(?<=^-\w)|(?<=file://)|(?<=:///))"
    r"(?:[A-Za-z]:[/\\]+|\\\\(?=[\w.-]+\\)|/(?![/\\]))[^\s\"',;:|=]+"
)
"""An absolute path inside an argument, such as in JSON, in a list or behind `-I`; a URL's path is none."""
_WINDOWS = re.compile(r"[A-Za-z]:[/\\]|\\\\")


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
        found = answers(
            {
                "packages": imported_packages,
                "git": lambda: self._git.details,
                "entry_point": lambda: entry_point(self._project),
                "cell": notebook_cell,
            }
        )
        unseen: list[Any] = [*self._sources.not_seen, *([self._git.not_seen] if self._git.not_seen else [])]
        for part in (self._machine, found):
            unseen += part.get("not_seen", [])
        return self._machine | {"packages": {}} | found | ({"not_seen": sorted(unseen)} if unseen else {})


def entry_point(project: Path) -> str | None:
    """What was started: a script's path, or `-m module`; None in an interactive session."""
    main: Any = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if isinstance(name := getattr(spec, "name", None), str) and name != "__main__":  # a folder or zip file is that
        return f"-m {name.removesuffix('.__main__')}"
    file = getattr(main, "__file__", None)
    return redact_text(_shorten(os.path.abspath(file), project)) if isinstance(file, str) else None


def notebook_cell() -> dict[str, JSON] | None:
    """In IPython, the number of the cell that runs, the digest of its source, and the notebook's name where that is known."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return None
    sources = shell.user_ns.get("In") or [""]
    name = shell.user_ns.get("__vsc_ipynb_file__") or shell.user_ns.get("__session__")
    notebook = os.path.basename(name) if isinstance(name, str) else None
    digest = sha256(str(sources[-1]).encode("utf-8", "replace"))
    return {"number": len(sources) - 1, "digest": digest, "notebook": notebook}


def command_line(project: Path) -> tuple[str, ...]:
    """This process's argv without secrets, its absolute paths made relative to the project or cut to base names."""
    arguments = [argument for argument in getattr(sys, "argv", []) if isinstance(argument, str)]
    return tuple(redact([_shorten(argument, project) for argument in arguments]))


def _shorten(argument: str, project: Path) -> str:
    """The argument, or the value behind its first `=`, if that is a path; then every other path that stands in it."""
    option, equals, value = ("", "", argument) if os.path.isabs(argument) else argument.partition("=")
    if os.path.isabs(value) and not value.startswith("//"):  # that is a host
        argument = option + equals + _short(value, project)
    return _PATH.sub(lambda path: _short(path[0], project), argument)


def _short(text: str, project: Path) -> str:
    if _WINDOWS.match(text) and os.name != "nt":
        return PureWindowsPath(text).name or text
    path = Path(os.path.normpath(text))
    inside = path.is_relative_to(project) and project not in Path(os.path.expanduser("~")).parents
    return path.relative_to(project).as_posix() if inside else path.name or text
