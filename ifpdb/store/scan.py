"""What loading a file would import: the verdict of the inert machine, run in a process of its own.

That nothing is flagged doesn't prove a file harmless: trust is a decision about who made it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .usual import is_usual

TIMEOUT = 300
"""Seconds. The machine's own limit of steps ends sooner, unless unpacking is slow."""

_PROGRAM = "import sys; sys.path += sys.argv[3:]; from ifpdb.store.containers import main; main()"


@dataclass(frozen=True, slots=True)
class Scan:
    """The names that a file would import, as `module.name`, sorted; those to look at twice; why it can't be read whole."""

    imports: tuple[str, ...] = ()
    flagged: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, list[str]]:
        return {"imports": list(self.imports), "flagged": list(self.flagged), "problems": list(self.problems)}


def scan_file(path: Path, format: str) -> Scan:
    """What loading `path` as this format would import. Never raises for what the file holds."""
    root = str(Path(__file__).resolve().parents[2])
    packages = sysconfig.get_paths()
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(path), format, root, packages["purelib"], packages["platlib"]]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return Scan(problems=(f"reading it takes more than {TIMEOUT} seconds",))
    except ValueError:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return Scan(problems=(f"reading it ended with {last or f'exit code {done.returncode}'}",))
    imports, changed = ([(module, name) for module, name in found[key]] for key in ("imports", "changed"))
    return Scan(
        _written(imports),
        _written([*changed, *(name for name in imports if not is_usual(*name))]),
        () if found["problem"] is None else (found["problem"],),
    )


def merged(scans: Iterable[Scan]) -> Scan:
    """Several files' scans as one."""
    scans = list(scans)
    columns = ((name for scan in scans for name in getattr(scan, column)) for column in Scan.__slots__)
    return Scan(*(tuple(sorted(set(column))) for column in columns))


def _written(names: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(sorted({_printable(f"{module}.{name}") for module, name in names}))


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
