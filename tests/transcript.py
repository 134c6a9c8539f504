"""The shell sessions in the documents: their commands, run in order, and what they print, but for what differs each time.

python tests/transcript.py docs/git.md     # runs it and writes what was printed into the page
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import unescape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)
CHANGING = (
    (r"run-[0-9a-z]{10}", "run-…"),
    (r"sha256:[0-9a-f]+…?", "sha256:…"),
    (r"SHA256:[A-Za-z0-9+/]+", "SHA256:…"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\b[0-9a-f]{7,40}\b", "COMMIT"),
    (r"Date: .*", "Date: …"),
    (r"\bf1 (has |is )?0\.\d+", "f1 0.…"),
)
"""What is another one each time, and what the page is compared with instead. A table's columns may be wider, too."""


def sessions(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a page and what it prints there."""
    for block in BLOCK.findall(text):
        for part in block.split("$ ")[1:] if block.startswith("$ ") else ():
            command, _, printed = part.partition("\n")
            yield command, printed


def play(text: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Each command and what it prints when it is run in `folder`, one after the other, as in one shell.

    `examples` is there, `$PORT` is free, and `$SLACK_WEBHOOK` is a stand-in that appends what it is told to ~/slack.txt. What
    runs in the background is stopped at the end.
    """
    home = folder / "home"
    home.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("IFP_", "GIT_"))}
    surroundings |= {
        "HOME": str(home),
        "XDG_DATA_HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "GIT_PAGER": "cat",
        "GIT_EDITOR": "true",
        "PORT": str(free_port()),
    }
    here, begun = folder, list[int]()
    try:
        with slack(home / "slack.txt") as surroundings["SLACK_WEBHOOK"]:
            for command, _ in sessions(text):
                script = f"{command}\ncode=$?; pwd > '{home}/here'; exit $code"
                process = subprocess.Popen(
                    ["bash", "-c", script],
                    cwd=here,
                    env=surroundings,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    start_new_session=True,
                )
                begun.append(process.pid)
                printed, _ = process.communicate(timeout=60)
                here = Path((home / "here").read_text().strip())
                yield command, printed
    finally:
        for group in begun:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def slack(told: Path) -> Iterator[str]:
    """The address of an incoming webhook that writes the text of each message into a file."""
    sys.path.insert(0, str(ROOT / "tests" / "outbox"))
    from receiver import listening

    with told.open("w") as file:

        def hear(message: dict[str, str]) -> None:
            file.write(unescape(message["text"]) + "\n")
            file.flush()

        with listening(heard=hear) as receiver:
            yield receiver.url


def plain(printed: str) -> str:
    """What was printed, without what differs each time."""
    for pattern, word in CHANGING:
        printed = re.sub(pattern, word, printed)
    return "\n".join(re.sub(r" {2,}", "  ", line).rstrip() for line in printed.strip("\n").split("\n"))


def main(page: Path) -> None:
    """Write what the commands print into the page."""
    text = page.read_text(encoding="utf-8")
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

    page.write_text(BLOCK.sub(fill, text), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
