"""Every command of `ifp`, asked as a process of its own of a registry that growth.py made."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

IFP = Path(sys.executable).with_name("ifp")
LIMIT = 600
"""Seconds after which a command is given up."""

MODEL, LAST = "model-07", "model-07@latest"
GROUPS = ("git", "schema", "policy", "data")
QUESTIONS: dict[str, tuple[str, ...]] = {
    "ls": ("ls",),
    "ls MODEL": ("ls", MODEL),
    "ls MODEL --stage production": ("ls", MODEL, "--stage", "production"),
    "ls MODEL --tag reviewed": ("ls", MODEL, "--tag", "reviewed"),
    "ls MODEL --where 'f1 > 0.895'": ("ls", MODEL, "--where", "f1 > 0.895"),
    "ls MODEL --limit 20": ("ls", MODEL, "--limit", "20"),
    "runs": ("runs",),
    "runs MODEL": ("runs", MODEL),
    "runs --status failed": ("runs", "--status", "failed"),
    "show MODEL@production": ("show", MODEL),
    "show MODEL@v8": ("show", f"{MODEL}@v8"),
    "schema show": ("schema", "show", LAST),
    "validate": ("validate", LAST, "batch.csv"),
    "log v40": ("log", f"{MODEL}@v40"),
    "log latest": ("log", LAST),
    "log latest --graph": ("log", LAST, "--graph"),
    "ancestors latest": ("ancestors", LAST),
    "ancestors latest --depth 5": ("ancestors", LAST, "--depth", "5"),
    "descendants v1": ("descendants", f"{MODEL}@v1"),
    "descendants v1 --depth 5": ("descendants", f"{MODEL}@v1", "--depth", "5"),
    "merge-base of neighbours": ("merge-base", LAST, f"{MODEL}@latest~3"),
    "merge-base with v8": ("merge-base", LAST, f"{MODEL}@v8"),
    "diff of neighbours": ("diff", LAST, f"{LAST}~1"),
    "explain production": ("explain", f"{MODEL}@production"),
    "explain latest": ("explain", LAST),
    "explain five steps": ("explain", f"{LAST}~10", f"{LAST}~15"),
    "bisect by a command, 9 back": ("bisect", "--good", f"{LAST}~9", "--bad", LAST, "--restart", "--", "false"),
    "blame": ("blame", LAST),
    "gate": ("gate", LAST),
    "policy show": ("policy", "show", MODEL),
    "history MODEL": ("history", MODEL),
    "history MODEL --stage all": ("history", MODEL, "--stage", "all"),
    "at DAY": ("at", "2024-05-01"),
    "at DAY MODEL": ("at", "2024-05-01", MODEL),
    "at DAY MODEL --stage staging": ("at", "2024-05-01", MODEL, "--stage", "staging"),
    "at DAY --as-known-on": ("at", "2024-05-01", "--as-known-on", "2024-06-01"),
    "show MODEL@production@{DAY}": ("show", f"{MODEL}@production@{{2024-05-01}}"),
    "exposure": ("exposure", MODEL),
    "events": ("events",),
    "events --model": ("events", "--model", MODEL),
    "events --kind promoted": ("events", "--kind", "promoted"),
    "events --since last week": ("events", "--since", "2026-02-03"),
    "at DAY --stage staging": ("at", "2024-05-01", "--stage", "staging"),
    "sql: count of versions": ("sql", "SELECT count(*) FROM versions"),
    "sql: production_history of a model": ("sql", f"SELECT * FROM production_history WHERE model = '{MODEL}'"),
    "sql: promotions with their versions": (
        "sql",
        "SELECT e.at, v.ordinal FROM events e JOIN versions v ON v.model = e.model AND v.version = e.version"
        " WHERE e.kind = 'promoted'",
    ),
    "sql: events with their versions": (
        "sql",
        "SELECT count(v.ordinal) FROM events e JOIN versions v ON v.model = e.model AND v.version = e.version",
    ),
    "resolve": ("resolve", MODEL),
    "git textconv": ("git", "textconv", "ifp.db"),
    "verify": ("verify",),
    "fsck": ("fsck",),
    "gc": ("gc",),
    "doctor": ("doctor",),
    "data hash": ("data", "hash", "batch.csv"),
    "trust --list": ("trust", "--list"),
}
"""What is asked and changes nothing."""

CHANGES: dict[str, tuple[str, ...]] = {
    "register": (
        *("register", MODEL, "model.bin", "--data", "batch.csv", "--schema-from", "batch.csv", "--param", "C=1"),
        *("--metric", "f1=0.9", "--from", LAST, "--tag", "new"),
    ),
    "link": ("link", LAST, f"{LAST}~3"),
    "metric": ("metric", LAST, "live_f1=0.8"),
    "tag": ("tag", LAST, "tagged"),
    "label": ("label", LAST, "newest"),
    "approve": ("approve", LAST, "--reason", "fine"),
    "promote": ("promote", LAST, "production", "--reason", "better"),
    "rollback": ("rollback", MODEL, "--reason", "worse"),
    "policy set": ("policy", "set", MODEL, "policy.yaml"),
    "deployed": ("deployed", MODEL, "--environment", "prod-eu"),
    "checkout": ("checkout", f"{MODEL}@v8", "copy.bin"),
    "backup": ("backup", "copies"),
    "backup again": ("backup", "copies"),
}
"""What is asked of a copy of the registry, in this order."""

NOT_TIMED = {
    "init": "makes a registry; that there is one is all it sees",
    "merge": "the benchmarks of sharing have it, next to how much is new",
    "outbox": "looks at the letters beside the registry, not into it",
    "trust": "asks about one file; its list is timed",
}
"""Commands without a row of their own, and why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Processor seconds of one call as JSON and as a table; seconds by the clock when nothing of the file was in memory."""

    seconds: float
    table: float
    cold: float
    rows: int
    bytes: int
    code: int


@dataclass(frozen=True, slots=True)
class Call:
    """One process: its processor seconds, its seconds by the clock, what it printed, its exit code."""

    seconds: float
    clock: float
    out: bytes
    code: int


def ask(folder: Path, command: tuple[str, ...]) -> Answer:
    """Ask as JSON, cold and then warm (of what is quick the best of three), and once as a table."""
    _forget(folder / "ifp.db")
    cold = _call(folder, command, "--json")
    again = [_call(folder, command, "--json") for _ in range(3 if cold.seconds < 3 else 0)]
    warm = min([cold, *again], key=lambda call: call.seconds)
    return Answer(warm.seconds, _call(folder, command).seconds, cold.clock, _rows(warm.out), len(warm.out), warm.code)


def change(folder: Path, command: tuple[str, ...]) -> Answer:
    """Ask once: a second time it would change nothing."""
    done = _call(folder, command, *([] if command[0] == "checkout" else ["--json"]))
    return Answer(done.seconds, done.seconds, done.clock, _rows(done.out), len(done.out), done.code)


def _call(folder: Path, command: tuple[str, ...], *form: str) -> Call:
    environment = {**os.environ, "IFP_DB": str(folder / "ifp.db"), "IFP_ACTOR": "heidi", "XDG_DATA_HOME": str(folder / "home")}
    words = [str(IFP), *command[:1], *form, *command[1:]] if command[0] not in GROUPS else [str(IFP), *command, *form]
    begin, before = time.perf_counter(), _children()
    try:
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return Call(_children() - before, time.perf_counter() - begin, b"", -9)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr.decode()}")
    return Call(_children() - before, time.perf_counter() - begin, done.stdout, done.returncode)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _rows(said: bytes) -> int:
    """How many records the answer has: of a list its items, of a document its longest list, or 1."""
    try:
        found = json.loads(said)
    except ValueError:
        return len(list(csv.reader(io.StringIO(said.decode()))))
    if isinstance(found, list):
        return len(found)
    return max([1, *(len(value) for value in found.values() if isinstance(value, list))])


def _forget(path: Path) -> None:
    """Ask the kernel to drop the file from its memory."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def furnish(folder: Path) -> None:
    """The files that some commands are given."""
    names = [*(f"feature_{n}" for n in range(29)), "country"]
    rows = [",".join([*(f"{n}.5" for n in range(29)), "DE"])] * 100
    (folder / "batch.csv").write_text("\n".join([",".join(names), *rows]) + "\n", encoding="utf-8")
    (folder / "model.bin").write_bytes(b"weights")
    (folder / "policy.yaml").write_text("validation:\n  min_f1: 0.2\n", encoding="utf-8")


def copy(folder: Path, to: Path) -> None:
    """A copy that may be changed; its blobs are hard links, since no command changes a blob."""
    to.mkdir(parents=True)
    shutil.copyfile(folder / "ifp.db", to / "ifp.db")
    shutil.copytree(folder / "ifp.cas", to / "ifp.cas", copy_function=os.link)
    furnish(to)


def all_answers(folder: Path, scratch: Path, *, only: str = "", told: Callable[[str], object]) -> Iterator[tuple[str, Answer]]:
    """Every question of the registry in `folder`, then every change, to a copy of it in `scratch`."""
    furnish(folder)
    for name, command in QUESTIONS.items():
        if only in name:
            found = ask(folder, command)
            told(f"{name}: {found}")
            yield name, found
    if any(only in name for name in CHANGES):
        copy(folder, scratch)
        for name, command in CHANGES.items():
            if only in name:
                found = change(scratch, command)
                told(f"{name}: {found}")
                yield name, found
        shutil.rmtree(scratch)
