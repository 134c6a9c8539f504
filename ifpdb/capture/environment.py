"""Where and with which packages and code a run takes place.

Versions come from the names of `.dist-info` folders, since importlib.metadata would cost 400 ms. The registry's own
package and what it depends on are left out, so that looking doesn't change what is seen. The project's source files
are digested when they are first noticed: at the start of the run, and at its end those that were imported since.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ..digest import JSON, code_body, sha256
from ..records import Code
from ..tree import hash_path

OWN_PACKAGES = frozenset(
    [
        "ifpdb",
        "annotated-types",
        "click",
        "click-default-group",
        "narwhals",
        "pip",
        "pluggy",
        "platformdirs",
        "pydantic",
        "pydantic-core",
        "python-dateutil",
        "pyyaml",
        "rfc8785",
        "setuptools",
        "six",
        "sqlite-fts4",
        "sqlite-utils",
        "tabulate",
        "typing-extensions",
        "typing-inspection",
        "xxhash",
    ]
)
"""ifpdb, what it depends on, and installers: importing these says nothing about the training."""

_OWN_FOLDER = Path(__file__).resolve().parent.parent
_INSTALLED = re.compile(
    rf"[\\/](site|dist)-packages[\\/]|^({re.escape(os.path.dirname(os.__file__))}|{re.escape(str(_OWN_FOLDER))})[\\/]"
)
"""Tells most installed modules by their path alone: to resolve each of a thousand would cost 40 ms."""
_GIT_TIMEOUT = 10
_SECRET_KEY = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|token(?!i|s)|api[_-]?key|auth(?!or(?!iz))|credential|private|session|cookie|dsn|signature"
    r"|conn(ection)?[_-]?str|access[_-]?key|\bsas\b)"
)
_SECRET_VALUE = re.compile(
    r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_\w{22,}|\bglpat-[\w-]{20,}"
    r"|\bxox[abeprs]-[\w-]{10,}|\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{20,}|\bAIza[0-9A-Za-z_-]{35}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*"
    r"|(?<=://)[^/\s]+(?=@)"
    r"|(?i:(?<=bearer )|(?<=basic ))[\w+/.~-]+=*"
)
_SECRET_FIELD = re.compile(
    r"(?i)([?&;][\w.-]*(?:sig|token|key|secret|pass|auth|cred|x-amz-)[\w.-]*=)[^&;\s]+"  # in a URL
    r"|([\w-]*(?:passw|passphrase|secret|token(?!i|s)|api[_-]?key|authorization|credential|cookie)[\w-]*[\"']?\s*[:=]\s*)(?!//).+"
)


class Observer:
    """Notes a process's code, packages and surroundings while a run is open."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._files: dict[str, str] = {}
        self._looked_at: set[str] = set()
        self._git = git_state(project)
        self._look()

    def _look(self) -> None:
        for path in _project_files(self._project, self._looked_at):
            name = _project_name(path, self._project)
            if name not in self._files:
                self._files[name] = hash_path(path)[0]

    def code(self) -> Code:
        """The project's source files imported so far; each one's bytes as they were when first noticed."""
        self._look()
        files = tuple(sorted(self._files.items()))
        digest = sha256(code_body(files)) if files else None
        return Code(self._git.commit, self._git.dirty, self._git.diff, digest, files)


def describe_environment() -> dict[str, JSON]:
    """Python, platform and processor of this process, and the packages that it has imported."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": imported_packages(),
    }


def imported_packages() -> dict[str, str]:
    """The distributions that this process has imported, name → version, without the registry's own."""
    modules = {name.partition(".")[0] for name in list(sys.modules)}
    found = dict[str, str]()
    for folder in _package_folders():
        provided = _distributions(str(folder))
        for module in modules:
            for name, version in provided.get(module, ()):
                if name not in OWN_PACKAGES:
                    found.setdefault(name, version)
    return dict(sorted(found.items()))


def _package_folders() -> list[Path]:
    return [Path(p) for p in sys.path if p.endswith(("site-packages", "dist-packages")) and os.path.isdir(p)]


@cache
def _distributions(folder: str) -> dict[str, list[tuple[str, str]]]:
    """Top-level module → [(normalized distribution name, version)] of one site-packages folder."""
    provided: dict[str, list[tuple[str, str]]] = {}
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if not entry.name.endswith(".dist-info"):
            continue
        raw, _, version = entry.name.removesuffix(".dist-info").partition("-")
        name = re.sub(r"[-_.]+", "-", raw).lower()
        for module in _top_level(Path(entry.path), raw):
            provided.setdefault(module, []).append((name, version))
    return provided


def _top_level(info: Path, name: str) -> set[str]:
    """The modules of a distribution: by its own name where such a module is there, else as its RECORD says."""
    for guess in (name, name.lower()):
        if (info.parent / guess / "__init__.py").exists() or (info.parent / f"{guess}.py").exists():
            return {guess}
    try:
        record = (info / "RECORD").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    paths = (line.partition(",")[0] for line in record.splitlines())
    return {
        path.partition("/")[0].partition(".")[0]
        for path in paths
        if path.endswith((".py", ".so", ".pyd")) and not path.startswith((".", "/"))
    }


def _project_files(project: Path, looked_at: set[str]) -> Iterator[Path]:
    """Source files of the project among the modules imported since; the script itself counts wherever it lies."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith((".py", ".pyw")) or file in looked_at:
            continue
        looked_at.add(file)
        if _INSTALLED.search(file):
            continue
        path = Path(file).resolve()
        script = name == "__main__" and not _is_installed(path)
        if (script or (path.is_relative_to(project) and not _is_installed(path))) and path.is_file():
            yield path


def _is_installed(path: Path) -> bool:
    return (
        path.is_relative_to(_OWN_FOLDER)
        or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
        or path.is_relative_to(Path(os.__file__).resolve().parent)
    )


def _project_name(path: Path, project: Path) -> str:
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else path.name


def git_state(folder: Path) -> Code:
    """Git's commit, and whether tracked files differ from it; nothing at all outside a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return Code()
    diff = _git(folder, "diff", "HEAD", "--no-ext-diff", "--no-color", "--", ".", ":(exclude)*.db")
    if diff is None:
        return Code(commit=commit.decode().strip())
    return Code(commit=commit.decode().strip(), dirty=bool(diff), diff=sha256(diff) if diff else None)


def _git(folder: Path, *arguments: str) -> bytes | None:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, timeout=_GIT_TIMEOUT, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def command_line(project: Path) -> tuple[str, ...]:
    """This process's argv without secrets, its absolute paths made relative to the project or cut to base names."""
    return tuple(_shorten(argument, project) for argument in redact(list(sys.argv)))


def redact(arguments: list[str]) -> list[str]:
    """The arguments with what looks like a secret replaced by <redacted>: by the option's name, or by its own form."""
    shown, hide_next = [], False
    for argument in arguments:
        argument = _SECRET_FIELD.sub(r"\1\2<redacted>", _SECRET_VALUE.sub("<redacted>", argument))
        key, equals, _ = argument.partition("=")
        if hide_next and not argument.startswith("-"):
            shown.append("<redacted>")
            hide_next = False
        elif _SECRET_KEY.search(key) and (equals or key.startswith("-")):
            shown.append(key + equals + ("<redacted>" if equals else ""))
            hide_next = not equals
        else:
            shown.append(argument)
            hide_next = False
    return shown


def _shorten(argument: str, project: Path) -> str:
    option, equals, value = ("", "", argument) if os.path.isabs(argument) else argument.partition("=")
    if not os.path.isabs(value):
        return argument
    path = Path(value)
    short = path.relative_to(project).as_posix() if path.is_relative_to(project) else path.name
    return option + equals + short
