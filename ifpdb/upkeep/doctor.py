"""Is a registry set up so that it can keep its promises: its file, its folder, git around it, this machine.

Each check looks at one thing and says what it found, why that matters and what mends it; it changes nothing. `mend` does
what can be done without asking. Whether the bytes are right is the business of fsck and verify.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from .. import digest, settings, times
from ..desk import Registry
from ..errors import IfpError, Refused
from ..gitlink import setup
from ..ledger import deployments
from ..outbox import delivery
from ..records import Deployment
from ..store import claims, db, foreign, live
from ..store.explaining import TIMEOUT, explain
from ..store.filesystem import network_kind
from .anchors import in_commits

PROBLEM, HINT = "problem", "hint"
CLOCK = 60_000_000
"""Microseconds that the log may be ahead of the clock."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that isn't as it should be, and what mends it. A hint can stay; a problem should not."""

    kind: str
    severity: str
    detail: str
    fix: str
    mend: Callable[[], object] | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "severity": self.severity, "detail": self.detail, "fix": self.fix}


@dataclass(frozen=True, slots=True)
class Examination:
    """What the doctor found, and the kinds of what was mended."""

    findings: tuple[Finding, ...]
    mended: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return all(found.severity == HINT for found in self.findings)

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "findings": [found.as_dict() for found in self.findings],
            "mended": list(self.mended),
        }


def examine(path: Path, *, mend: bool = False) -> Examination:
    """Look at the registry at `path`; with `mend`, put right what can be and look again. Raises NotFound without a file."""
    found = _findings(path)
    mendable = [finding for finding in found if finding.mend] if mend else []
    for finding in mendable:
        assert finding.mend is not None
        finding.mend()
    if not mendable:
        return Examination(found)
    left = _findings(path)
    still = {finding.kind for finding in left}
    return Examination(left, tuple(dict.fromkeys(f.kind for f in mendable if f.kind not in still)))


def _findings(path: Path) -> tuple[Finding, ...]:
    place, found = Place(path), list[Finding]()
    for check in CHECKS:
        try:
            found += check(place)
        except OSError as error:
            why = f"{error.filename} can't be looked at: {error.strerror}"
            found.append(Finding("no-access", PROBLEM, why, "give yourself permission to read it"))
    return tuple(found)


class Place:
    """A registry's file, its folders and what git says of them."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.blobs = settings.blob_folder(self.path)
        self.in_wal_mode = False

    @cached_property
    def problem(self) -> str | None:
        """Why the registry can't be read; None where it can."""
        try:
            db.check_header(self.path)
        except Refused as error:
            self.in_wal_mode = True
            return str(error)
        except IfpError as error:
            return str(error)
        try:
            with Registry(self.path, readonly=True) as registry, registry.reading() as tx:
                tx.execute("SELECT count(*) FROM event").fetchone()
        except IfpError as error:
            return str(error)
        return None

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the registry answers; nothing where it can't be read."""
        if self.problem:
            return []
        with Registry(self.path, readonly=True) as registry, registry.reading() as tx:
            return tx.execute(query).fetchall()

    def git(self, *arguments: str) -> str | None:
        """What git says in the registry's folder; None where it fails, or isn't there."""
        command = ["git", "-C", str(self.path.parent), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    @cached_property
    def in_git(self) -> bool:
        return self.git("rev-parse", "--is-inside-work-tree") == "true\n"

    @cached_property
    def not_set_up(self) -> dict[str, str]:
        """What `ifp git install` would mend here, by kind."""
        return dict(setup.missing(self.path)) if self.in_git else {}


def machine(_place: Place) -> Iterator[Finding]:
    if sys.version_info < (3, 11):  # noqa: UP036  # somebody may have forced it in
        yield Finding("python", PROBLEM, f"Python {sys.version.split()[0]} is too old", "install Python 3.11 or newer")
    if sqlite3.sqlite_version_info < db.MIN_SQLITE:
        found = sqlite3.sqlite_version
        yield Finding("sqlite", PROBLEM, f"SQLite {found} is too old", "install a Python with SQLite 3.37 or newer")
    if not claims.POSSIBLE:
        why = "this system has no flock: gc can't run here, and a run that was killed is not noticed"
        yield Finding("flock", HINT, why, "run ifp gc on Linux or macOS")


def readable(place: Place) -> Iterator[Finding]:
    if place.problem and place.in_wal_mode:
        why = "it is in WAL mode, where the file that git commits may lack its newest rows"
        convert = f"sqlite3 {place.path.name} 'PRAGMA journal_mode=DELETE'"
        yield Finding("wal", PROBLEM, why, f"ifp doctor --fix, or {convert}", partial(_leave_wal, place.path))
    elif place.problem:
        yield Finding("unreadable", PROBLEM, place.problem, "restore it from git or a backup, where nothing else is said")


def _leave_wal(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=TIMEOUT)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    except sqlite3.Error as error:
        explain(error, path)


def journal(place: Place) -> Iterator[Finding]:
    path = Path(f"{place.path}-journal")
    if path.is_file() and path.stat().st_size:
        why = f"{path.name} is there: somebody writes at this moment, or was killed in the middle"
        fix = "run ifp verify, which rolls it back; never remove it, and don't commit the .db before"
        yield Finding("journal", HINT, why, fix)


def older_schema(place: Place) -> Iterator[Finding]:
    number = db.SCHEMA_NUMBER if place.problem else db.check_header(place.path)
    if number < db.SCHEMA_NUMBER:
        why = f"it has schema {number}, this ifpdb writes {db.SCHEMA_NUMBER}: the next write migrates it"
        yield Finding("schema", HINT, why, "nothing, or ifp doctor --fix to migrate it now", partial(_write, place.path))


def _write(path: Path) -> None:
    """What every write does first: migrate, seal what dead runs left."""
    with Registry(path) as registry, registry.writing():
        pass


def folder(place: Place) -> Iterator[Finding]:
    try:
        with tempfile.TemporaryFile(dir=place.path.parent):
            pass
        if not os.access(place.path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError(13, "the file is read-only")
    except OSError as error:
        why = f"{place.path.parent} can't be written ({error.strerror}): this registry can only be read"
        yield Finding("read-only", HINT, why, "give yourself write permission on the .db and its folder, or leave it so")


def network(place: Place) -> Iterator[Finding]:
    for path in (place.path, place.blobs):
        if kind := network_kind(path):
            why = f"{path.name} lies on a network file system ({kind}), where locks between machines may not hold"
            yield Finding("network", HINT, why, "let one machine at a time write to it, or move it to a local disk")
            break


def missing_blobs(place: Place) -> Iterator[Finding]:
    names = [digest.hex() for (digest,) in place.rows("SELECT digest FROM blob")]
    lacking = sum(not (place.blobs / "sha256" / name[:2] / name[2:]).is_file() for name in names)
    if lacking:
        why = f"{lacking} of {len(names)} blobs are not in {place.blobs.name}"
        if not place.blobs.is_dir():
            why += ", which is not here"
        fix = f"copy {place.blobs.name} from a machine that has it; ifp fsck names them. Until then, questions are answered"
        yield Finding("blobs", PROBLEM, why, fix)


def copies(place: Place) -> Iterator[Finding]:
    events = set(place.rows("SELECT id FROM event"))
    for other in sorted(place.path.parent.glob("*.db")) if events else []:
        if other == place.path or not other.is_file():
            continue
        try:
            with foreign.opened(other) as connection:
                shared = len(events & set(connection.execute("SELECT id FROM event")))
        except (IfpError, OSError):
            continue
        if shared:
            why = f"{other.name} looks like a copy of it: {shared} events are in both"
            yield Finding("copy", HINT, why, "work in one of them only; a copy's news don't come into the other by themselves")


def dead_runs(place: Place) -> Iterator[Finding]:
    dead = [run for run in live.live_runs(place.blobs) if live.is_dead(place.blobs, run)]
    if dead and not place.problem:
        why = f"the process of {', '.join(dead[:3])}{' …' if dead[3:] else ''} is gone; the next write ends {len(dead)} run(s)"
        yield Finding("dead-run", HINT, why, "nothing, or ifp doctor --fix to end them now", partial(_write, place.path))


def clock(place: Place) -> Iterator[Finding]:
    for (newest,) in place.rows("SELECT max(at) FROM event WHERE at IS NOT NULL"):
        ahead = times.to_microseconds(newest) - times.to_microseconds(times.now()) if newest else 0
        if ahead > CLOCK:
            why = f"the newest event is of {newest}, {ahead / 1e6:.0f} s after this machine's clock: new ones come after it"
            yield Finding("clock", PROBLEM, why, "set the clock (timedatectl set-ntp true), or find out whose was wrong")


DEPLOYED = """
    SELECT m.name, v.sha256 FROM model m LEFT JOIN version v ON v.model = m.key AND v.stage = 'production'
     WHERE m.name IN (SELECT model FROM event WHERE kind = 'deployed') ORDER BY m.name"""
LEFT_PRODUCTION = """
    SELECT max(until) FROM stage_intervals WHERE model = ? AND version = ? AND stage = 'production'"""


def unacknowledged(place: Place) -> Iterator[Finding]:
    if place.problem:
        return
    with Registry(place.path, readonly=True) as registry, registry.reading() as tx:
        for model, production in tx.execute(DEPLOYED).fetchall():
            served = [one for one in deployments.intervals(tx, model) if one.until is None]
            if production is not None and all(one.digest != production for one in served):
                why = f"{model}@{production[:19]} is in production, and no environment says that it serves it"
                say = f"ifp deployed {model}@{production[:19]} --environment {_environment(served)}"
                yield Finding("not-deployed", HINT, why, f"deploy it, then {say}")
            for one in served:
                (left,) = tx.execute(LEFT_PRODUCTION, (model, one.digest)).fetchone()
                if one.digest != production and left is not None:
                    why = f"{one.environment} says that it serves {model}@{one.digest[:19]}, which left production on {left}"
                    say = f"ifp deployed {model}@{one.digest[:19]} --environment {shlex.quote(one.environment)} --stopped"
                    yield Finding("still-deployed", HINT, why, f"say what it serves now (ifp deployed), or {say}")


def undelivered(place: Place) -> Iterator[Finding]:
    """Notifications that have met with something: the next command tries those again that are new."""
    if place.problem:
        return
    with Registry(place.path, readonly=True) as registry:
        waiting = [one for one in delivery.look(registry).waiting if one.attempts]
    if waiting:
        targets = ", ".join(sorted({one.target for one in waiting}))
        count = "1 notification waits" if len(waiting) == 1 else f"{len(waiting)} notifications wait"
        why = f"{count} for {targets}: {waiting[0].why}"
        yield Finding("undelivered", HINT, why, "see ifp outbox; when that is mended, ifp outbox --deliver")


def _environment(served: list[Deployment]) -> str:
    return shlex.quote(served[0].environment) if len(served) == 1 else "E"


def git_tracking(place: Place) -> Iterator[Finding]:
    if not place.in_git:
        return
    name, cas = place.path.name, place.blobs.name
    tracked = bool(place.git("ls-files", "--", f":(literal){name}"))
    if not tracked and place.git("check-ignore", "-q", "--", name) is not None:
        yield Finding("git-ignored", HINT, f".gitignore leaves {name} out: its history is not in git", f"git add -f {name}")
    elif not tracked:
        yield Finding("git-untracked", HINT, f"{name} is not in git: no colleague sees it", f"git add {name}")
    if setup.blobs_in_git(place.path) != setup.IGNORED:
        return
    if blobs := place.git("ls-files", "--", f":(literal){cas}"):
        why = f"git tracks {len(blobs.splitlines())} files of {cas}: every clone carries them for ever"
        fix = f"git rm -r --cached {cas} && ifp git install; to keep them in git, ifp git install --with-blobs, or --lfs"
        yield Finding("git-blobs", PROBLEM, why, fix)
    elif place.blobs.is_dir() and place.git("check-ignore", "-q", "--", f"{cas}/") is None:
        yield Finding("git-blobs", HINT, f"{cas} is not in .gitignore: git add . would commit every blob", "ifp git install")


def git_attributes(place: Place) -> Iterator[Finding]:
    said = place.git("check-attr", "-z", "text", "filter", "--", place.path.name) if place.in_git else None
    words = (said or "").split("\0")
    found = dict(zip(words[1::3], words[2::3], strict=False))
    filtered = found.get("filter", "unspecified") not in ("unspecified", "unset")
    if found.get("text") == "set":
        why = ".gitattributes calls it text: git would change bytes that look like line ends, and damage it"
        yield Finding("git-text", PROBLEM, why, "ifp git install")
    if filtered:
        why = f"git passes it through the filter {found['filter']}: what it keeps is not the database (ifp gc can't read it)"
        yield Finding("git-filter", PROBLEM, why, "ifp git install; git add --renormalize .")
    if found.get("text") != "set" and not filtered and "git-attributes" in place.not_set_up:
        yield Finding("git-attributes", HINT, place.not_set_up["git-attributes"], "ifp git install")


def git_clone(place: Place) -> Iterator[Finding]:
    for kind, why in place.not_set_up.items():
        if kind != "git-attributes":
            fix = "install git-lfs, then git lfs install" if kind == "git-lfs" else "ifp git install"
            yield Finding(kind, HINT, why, fix)
    if place.in_git and place.git("rev-parse", "--is-shallow-repository") == "true\n":
        why = "this is a shallow clone: ifp gc can't see what older revisions name, and won't remove anything"
        yield Finding("git-shallow", HINT, why, "git fetch --unshallow")


def lost_events(place: Place) -> Iterator[Finding]:
    noted = in_commits(place.path) if place.in_git and not place.problem else {}
    known = {digest.to_text(id) for (id,) in place.rows("SELECT id FROM event")} if noted else set()
    lost = [where for head, where in noted.items() if head not in known]
    if lost:
        others = f" and {len(lost) - 1} others" if lost[1:] else ""
        why = f"the log lacks what it had {lost[0]}{others}: a revert or a merge lost it"
        yield Finding("git-lost", PROBLEM, why, "ifp git recover, then commit")


def trust_folder(_place: Place) -> Iterator[Finding]:
    import platformdirs

    path = platformdirs.user_data_path("ifp", appauthor=False)
    for place in (path, path / "trust"):
        if place.is_dir() and os.name != "nt" and place.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            why = f"others may write to {place}: they could vouch for pickles in your name"
            yield Finding("trust", PROBLEM, why, f"ifp doctor --fix, or chmod go-w {place}", partial(_tighten, place))


def _tighten(folder: Path) -> None:
    folder.chmod(folder.stat().st_mode & ~(stat.S_IWGRP | stat.S_IWOTH))


CHECKS: tuple[Callable[[Place], Iterator[Finding]], ...] = (
    *(machine, journal, readable, older_schema, folder, network, missing_blobs, copies),
    *(dead_runs, clock, unacknowledged, undelivered, git_tracking, git_attributes, git_clone, lost_events, trust_folder),
)
"""In the order in which their findings are shown."""
