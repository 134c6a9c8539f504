"""The shell session of docs/git.md: its commands, run in order, and what they print, with what differs each time taken out.

python tests/gitlink/transcript.py     # runs it and writes what was printed into the page
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "git.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)
CHANGING = (
    (r"run-[0-9a-z]{10}", "run-…"),
    (r"sha256:[0-9a-f]+…?", "sha256:…"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME"),
    (r"\b[0-9a-f]{7,40}\b", "COMMIT"),
    (r"Date: .*", "Date: …"),
)
"""What is another one each time, and what the page is compared with instead. A table's columns may be wider, too."""


def sessions(text: str) -> Iterator[tuple[str, str]]:
    """Each command of the page and what it prints there."""
    for block in BLOCK.findall(text):
        for part in block.split("$ ")[1:] if block.startswith("$ ") else ():
            command, _, printed = part.partition("\n")
            yield command, printed


def play(text: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Each command and what it prints when it is run in `folder`, one after the other, as in one shell."""
    home = folder / "home"
    home.mkdir()
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("IFP_", "GIT_"))}
    surroundings |= {
        "HOME": str(home),
        "XDG_DATA_HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "GIT_PAGER": "cat",
        "GIT_EDITOR": "true",
    }
    here = folder
    for command, _ in sessions(text):
        script = f"{command}\ncode=$?; pwd > '{home}/here'; exit $code"
        done = subprocess.run(
            ["bash", "-c", script], cwd=here, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        here = Path((home / "here").read_text().strip())
        yield command, done.stdout


def plain(printed: str) -> str:
    """What was printed, without what differs each time."""
    for pattern, word in CHANGING:
        printed = re.sub(pattern, word, printed)
    return "\n".join(re.sub(r" {2,}", "  ", line).rstrip() for line in printed.strip("\n").split("\n"))


def main() -> None:
    """Write what the commands print into the page."""
    text = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        printed = iter(list(play(text, Path(folder))))

    def fill(found: re.Match[str]) -> str:
        if not found[1].startswith("$ "):
            return found[0]
        told = []
        for _ in found[1].split("$ ")[1:]:
            command, output = next(printed)
            told.append(f"$ {command}\n{output.rstrip()}\n" if output.strip() else f"$ {command}\n")
        return f"```console\n{''.join(told)}```"

    PAGE.write_text(BLOCK.sub(fill, text), encoding="utf-8")


if __name__ == "__main__":
    main()
