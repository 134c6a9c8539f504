"""The distributions that a process has imported, with their versions.

Versions come from the names of `.dist-info` folders, since importlib.metadata would cost 400 ms. The registry's own package
and what it depends on are left out, so that looking doesn't change what is seen.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path

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


def imported_packages() -> dict[str, str]:
    """The distributions that this process has imported, name → version, without the registry's own."""
    modules = {name.partition(".")[0] for name in list(sys.modules) if isinstance(name, str)}
    found = dict[str, str]()
    for folder in _package_folders():
        provided = _distributions(str(folder), folder.stat().st_mtime_ns)
        for module in modules:
            for name, version in provided.get(module, ()):
                if name not in OWN_PACKAGES:
                    found.setdefault(name, version)
    return dict(sorted(found.items()))


def _package_folders() -> list[Path]:
    paths = (os.fspath(p) for p in sys.path if isinstance(p, str | os.PathLike))
    return [Path(p) for p in paths if p.endswith(("site-packages", "dist-packages")) and os.access(p, os.R_OK | os.X_OK)]


@cache
def _distributions(folder: str, _changed: int) -> dict[str, list[tuple[str, str]]]:
    """Top-level module → [(normalized distribution name, version)] of one site-packages folder, as it was when it changed."""
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
