"""The project's own source files among the modules that a process has imported, each digested when it is first noticed."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ...errors import IfpError
from ...tree import hash_path

_OWN_FOLDER = Path(__file__).resolve().parents[2]
_INSTALLED = re.compile(
    rf"[\\/](site|dist)-packages[\\/]|^({re.escape(os.path.dirname(os.__file__))}|{re.escape(str(_OWN_FOLDER))})[\\/]"
)
"""Tells most installed modules by their path alone: to resolve each of a thousand would cost 40 ms."""
_ELSEWHERE = set[str]()
"""The names of modules that are known to be installed: no run of this process need look at them again."""


class SourceFiles:
    """Notes the project's files, and their bytes as they were when first noticed."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._looked_at: set[str] = set()
        self._files: dict[str, str] = {}
        self.not_seen: list[str] = []

    def look(self) -> tuple[tuple[str, str], ...]:
        """(path, digest) of what was imported so far, by path."""
        for path in _project_files(self._project, self._looked_at):
            name = _project_name(path, self._project)
            if name in self._files:
                continue
            try:
                name.encode()
                self._files[name] = hash_path(path)[0]
            except (IfpError, UnicodeEncodeError):  # gone or changing since it was imported; a name that no JSON can hold
                self.not_seen.append(f"code: {name.encode('utf-8', 'replace').decode()} can't be read")
        return tuple(sorted(self._files.items()))


def _project_files(project: Path, looked_at: set[str]) -> Iterator[Path]:
    """Source files of the project among the modules imported since; the script itself counts wherever it lies."""
    for name in sys.modules.keys() - looked_at - _ELSEWHERE:
        looked_at.add(name)
        try:  # a lazy module would be loaded by asking it for an attribute
            file = object.__getattribute__(sys.modules.get(name), "__dict__").get("__file__")
        except AttributeError:
            continue
        if not isinstance(file, str) or not file.endswith((".py", ".pyw")):
            continue
        if _INSTALLED.search(file):
            _ELSEWHERE.add(name)
            continue
        try:
            path = Path(file).resolve()
        except (OSError, ValueError, RuntimeError):  # no path at all: a NUL in it, links in a ring
            continue
        script = name == "__main__" and not _is_installed(path)
        if script or (path.is_relative_to(project) and not _is_installed(path)):
            yield path


def _is_installed(path: Path) -> bool:
    return (
        path.is_relative_to(_OWN_FOLDER)
        or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
        or path.is_relative_to(Path(os.__file__).resolve().parent)
    )


def _project_name(path: Path, project: Path) -> str:
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else path.name
