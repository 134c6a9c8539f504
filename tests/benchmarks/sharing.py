"""A registry in git and merged: what is new put into much that is old, the story that git shows, hooks, the packed size."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from lookups import register_all
from material import MODEL, facts, write_artifact, write_data
from report import Result

import ifpdb as ifp
from ifpdb.gitlink.setup import install
from ifpdb.merge.union import merge

MERGE, STORY, HOOK, PACKED = 3.0, 1.0, 150.0, 2.5
"""Seconds, seconds, milliseconds beyond git itself, KB a commit."""
IFP = str(Path(sys.executable).with_name("ifp"))
IDENTITY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"} | {
    f"GIT_{who}_{what}": "benchmark@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}


def sharing(folder: Path, *, rounds: int, sizes: tuple[int, int], new: int, commits: int) -> Iterator[Result]:
    """Merging, textconv, the commit hooks, and a history of small commits."""
    os.environ |= IDENTITY
    for size in sizes:
        yield _merging(folder / f"merge-{size}", size, new, rounds)
    yield _jobs(folder / "jobs", jobs=50, each=20)
    yield _committing(folder / "git", versions=1000, turns=commits // 10)
    for small in (False, True):
        yield _packing(folder / f"packed-{small}", commits, small=small)
    yield _story(folder / "story", sizes[0], rounds)


def _merging(place: Path, old: int, new: int, rounds: int) -> Result:
    """Two people begin with the same `old` versions; one merges the other's `new` ones."""
    place.mkdir()
    with ifp.init(place / "start.db") as registry:
        register_all(registry, place, range(old))
    shutil.copy(place / "start.db", place / "theirs.db")
    for name, numbers in (("theirs", range(old, old + new)), ("start", range(old + new, old + 2 * new))):
        with ifp.open(place / f"{name}.db") as registry:
            register_all(registry, place, numbers)
    taken, again = [], []
    for _ in range(rounds):
        shutil.copy(place / "start.db", place / "ours.db")
        with ifp.open(place / "ours.db") as ours:
            for laps in (taken, again):
                begin = time.perf_counter()
                found = merge(ours, place / "theirs.db")
                laps.append(time.perf_counter() - begin)
            assert found.events == 0 and len(ours.model(MODEL).versions()) == old + 2 * new
    size = (place / "theirs.db").stat().st_size / 1e6
    figures = f"{median(taken):.2f} s [{min(taken):.2f}–{max(taken):.2f}]; the same again {median(again):.2f} s; {size:.0f} MB"
    return Result(f"merge {new:,} new versions into {old:,} of both sides", "s", median(taken), MERGE, figures)


def _jobs(place: Path, *, jobs: int, each: int) -> Result:
    """An evening's merge: many jobs, each with a small registry and real blobs of its own, into one."""
    place.mkdir()
    for job in range(jobs):
        (place / f"job-{job}").mkdir()
        with ifp.init(place / f"job-{job}" / "ifp.db") as registry:
            data, schema = write_data(place / f"job-{job}")
            for number in range(job * each, (job + 1) * each):
                params, metrics, tags = facts(number)
                artifact = write_artifact(place / f"job-{job}", number)
                registry.register(MODEL, artifact, data=data, schema=schema, params=params, metrics=metrics, tags=tags)
    begin = time.perf_counter()
    with ifp.init(place / "ifp.db") as registry:
        for job in range(jobs):
            merge(registry, place / f"job-{job}" / "ifp.db")
        taken = time.perf_counter() - begin
        assert len(registry.model(MODEL).versions()) == jobs * each
    figures = f"{taken / jobs * 1e3:.0f} ms a job, {taken / jobs / each * 1e3:.1f} ms a version with its 100 KB"
    return Result(f"merge {jobs} jobs of {each} versions each into one", "s", taken, None, figures)


HOOKS = {"none": (), "pre-commit": ("pre-commit",), "both": ("pre-commit", "commit-msg")}


def _committing(place: Path, versions: int, turns: int) -> Result:
    """What a commit of a registry of so many versions costs with our hooks and without."""
    with _in_git(place) as registry:
        register_all(registry, place, range(versions))
        for name, hooks in HOOKS.items():
            (place / name).mkdir()
            for hook in hooks:
                (place / name / hook).symlink_to(place / ".git" / "hooks" / hook)
        taken: dict[str, list[float]] = {name: [] for name in HOOKS}
        for number in range(turns):
            for name, laps in taken.items():
                registry.model(MODEL).tag("v1", f"{name}-{number}")
                _git(place, "add", "ifp.db")
                begin = time.perf_counter()
                _git(place, "-c", f"core.hooksPath={place / name}", "commit", "-qm", "tag")
                laps.append(time.perf_counter() - begin)
    none, checked, both = (median(laps) * 1e3 for laps in taken.values())
    figures = f"{checked:.0f} ms, {none:.0f} ms without; with the note in the message too {both:.0f} ms"
    return Result(f"the pre-commit hook, {versions:,} versions, beyond git itself", "ms", checked - none, HOOK, figures)


SMALL = ({"C": 1.0, "depth": 7}, {"f1": 0.93}, ["q1"])
"""Parameters, metrics and tags of a registration that is as small as people make them."""


def _packing(place: Path, commits: int, *, small: bool) -> Result:
    """What a commit of one registration each adds to the packed repository."""
    with _in_git(place) as registry:
        data, schema = write_data(place)
        sizes = dict[int, int]()
        for number in range(commits + 1):
            params, metrics, tags = SMALL if small else facts(number)
            artifact = write_artifact(place, number)
            registry.register(MODEL, artifact, data=data, schema=schema, params=params, metrics=metrics, tags=tags)
            artifact.unlink()
            _git(place, "commit", "-qam", f"register {number}", "--no-verify")
            if number in (0, commits):
                _git(place, "gc", "-q", "--prune=now")
                sizes[number] = sum(path.stat().st_size for path in (place / ".git" / "objects" / "pack").glob("*.pack"))
    grown, kilobytes = (sizes[commits] - sizes[0]) / commits / 1e3, (place / "ifp.db").stat().st_size / 1e3
    figures = f"{sizes[0] / 1e3:.0f} KB, then {sizes[commits] / 1e3:.0f} KB packed; the .db has {kilobytes:.0f} KB"
    what = " of 2 parameters, 1 metric, 1 tag" if small else " of 10 parameters, 5 metrics, 3 tags"
    return Result(f"{commits} commits of a registration each{what}, packed", "KB a commit", grown, PACKED, figures)


@contextmanager
def _in_git(place: Path) -> Iterator[ifp.Registry]:
    """A new registry in a new checkout that is set up for it."""
    place.mkdir()
    _git(place, "init", "-q")
    with ifp.init(place / "ifp.db") as registry:
        install(registry.path)
        _git(place, "add", ".gitattributes", ".gitignore", "ifp.db")
        _git(place, "commit", "-qm", "begin")
        yield registry


def _story(place: Path, versions: int, rounds: int) -> Result:
    place.mkdir()
    with ifp.init(place / "ifp.db") as registry:
        register_all(registry, place, range(versions))
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        told = subprocess.run([IFP, "git", "textconv", str(place / "ifp.db")], check=True, capture_output=True).stdout
        taken.append(time.perf_counter() - begin)
    lines = told.count(b"\n")
    figures = f"{median(taken):.2f} s, {lines:,} lines"
    return Result(f"textconv of {versions:,} versions, a whole process", "s", median(taken), STORY, figures)


def _git(place: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(place), *words], check=True, capture_output=True)
