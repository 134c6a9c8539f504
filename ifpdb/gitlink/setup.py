"""What git is told of a registry: lines in the project's .gitattributes and .gitignore, drivers and hooks in this clone.

The lines are the project's and are committed; they are known by their very words, so that everything else in these files
stays byte by byte. Drivers and hooks are this clone's alone: git takes none from a repository.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import IfpError, NotFound, Refused
from ..settings import blob_folder
from ..store.explaining import reachable
from ..store.repository import Repository
from . import hookfiles

IGNORED, COMMITTED, LFS = "ignored", "committed", "lfs"
"""What becomes of the blobs in git."""

OURS = "merge=ifp diff=ifp -text"
UNDONE = ("filter", "ident", "working-tree-encoding")
"""Attributes that would have git keep other bytes than the registry's."""

DRIVERS = ("merge.ifp.name", "merge.ifp.driver", "diff.ifp.textconv", "diff.ifp.cachetextconv")

BLOBS = {IGNORED: "", COMMITTED: "-text -diff -merge", LFS: "filter=lfs diff=lfs merge=lfs -text"}


@dataclass(frozen=True, slots=True)
class Told:
    """A place where git is told something, and what was done there: written, changed, there, removed, left or absent."""

    place: str
    done: str

    def as_dict(self) -> dict[str, Any]:
        return {"place": self.place, "done": self.done}


@dataclass(frozen=True, slots=True)
class Setup:
    """What was done for a registry in its clone. `blobs` is what becomes of them: ignored, committed or lfs."""

    registry: str
    blobs: str
    told: tuple[Told, ...]

    @property
    def changed(self) -> bool:
        return any(one.done in ("written", "changed", "removed") for one in self.told)

    def as_dict(self) -> dict[str, Any]:
        return {"registry": self.registry, "blobs": self.blobs, "told": [one.as_dict() for one in self.told]}


def install(db: Path, blobs: str | None = None) -> Setup:
    """Tell git of the registry at `db`; what is told already stays as it is. `blobs` is IGNORED, COMMITTED, LFS or as it was.

    Raises NotFound for a registry that isn't there or in no checkout, Refused where attributes of the user's would win or
    Git LFS isn't set up, StorageError where a file can't be written.
    """
    if not db.is_file():
        raise NotFound(f"there is no registry at {db}: make one with ifp init")
    if not db.name.isprintable():
        raise Refused(f"{db.name!r} has control characters in its name, which .gitignore can't say: rename it")
    with reachable(db):
        clone, ifp = _Clone(db), _command()
        blobs = blobs or blobs_in_git(db)
        if blobs == LFS:
            clone.check_lfs()
        told = [
            Told(clone.beside(".gitattributes"), clone.write_attributes(blobs)),
            Told(clone.beside(".gitignore"), clone.write_ignored(blobs)),
            Told("merge and diff driver", clone.write_drivers(ifp)),
        ]
        # A hook in the work tree is everybody's: what stands in it must not be a path of this machine.
        in_hooks = "ifp" if clone.hooks_are_shared else ifp
        told += [Told(f"{name} hook", hookfiles.put(clone.hooks, name, in_hooks)) for name in hookfiles.CALLS]
        return Setup(clone.path, blobs, tuple(told))


def uninstall(db: Path) -> Setup:
    """Take the drivers and hooks out of this clone; the project's .gitattributes and .gitignore stay."""
    with reachable(db):
        return _uninstalled(db, _Clone(db))


def _uninstalled(db: Path, clone: _Clone) -> Setup:
    told = [Told(clone.beside(name), "left") for name in (".gitattributes", ".gitignore") if db.with_name(name).is_file()]
    told.append(Told("merge and diff driver", "removed" if clone.remove_drivers() else "absent"))
    told += [Told(f"{name} hook", "removed" if hookfiles.take_out(clone.hooks, name) else "absent") for name in hookfiles.CALLS]
    return Setup(clone.path, blobs_in_git(db), tuple(told))


def missing(db: Path) -> tuple[tuple[str, str], ...]:
    """What `install` would mend: (kind, what is missing), kind one of git-attributes, git-lfs, git-driver, git-hooks.

    Nothing where there is no checkout, or git can't be asked.
    """
    try:
        return tuple(_Clone(db).missing())
    except (IfpError, OSError):
        return ()


def blobs_in_git(db: Path) -> str:
    """What the project's lines say of the blobs: IGNORED, COMMITTED or LFS."""
    lines = _lines(_bytes(db.with_name(".gitattributes")))
    return next((blobs for blobs in (COMMITTED, LFS) if _blob_lines(db, blobs)[0] in lines), IGNORED)


class _Clone:
    """The checkout around a registry."""

    def __init__(self, db: Path) -> None:
        self.db = db
        self.repository = Repository(Repository(db.parent).root)
        self.path = self.repository.path_of(db)
        common, hooks = os.fsdecode(self.repository.run("rev-parse", "--git-common-dir", "--git-path", "hooks")).splitlines()
        self.hooks = self.repository.root / hooks
        self._common = self.repository.root / common

    @property
    def hooks_are_shared(self) -> bool:
        hooks = self.hooks.resolve()
        return hooks.is_relative_to(self.repository.root.resolve()) and not hooks.is_relative_to(self._common.resolve())

    def beside(self, name: str) -> str:
        return self.repository.path_of(self.db.with_name(name))

    def check_lfs(self) -> None:
        """Raises Refused where git would silently commit the blobs themselves."""
        try:
            there = self.repository.run("lfs", "version") and self._filters_lfs()
        except Refused:
            there = False
        if not there:
            raise Refused(
                "Git LFS isn't set up here: install git-lfs (https://git-lfs.com), run git lfs install, then ifp git install "
                "--lfs again"
            )

    def _filters_lfs(self) -> bool:
        return bool(self.repository.run("config", "--get", "filter.lfs.clean", fine=(0, 1)))

    def write_attributes(self, blobs: str) -> str:
        """Have the lines win over all others. Raises Refused, with the file as it was, where they can't."""
        path = self.db.with_name(".gitattributes")
        was_there, before = path.exists(), _bytes(path)
        standing = [line for line in _lines(before) if self._is_registry_line(line)][:1]
        plain = f"{_quoted(_literally(self.db.name))} {OURS}"
        firm = " ".join([plain, *(f"-{name}" for name in UNDONE)])
        for line, last in (*((line, False) for line in standing), (plain, True), (firm, True)):
            after = _with_lines(before, [line, *_blob_lines(self.db, blobs)], self._is_ours, last=last)
            if after != _bytes(path) or not was_there:
                path.write_bytes(after)
            if not (wrong := self.overruled(blobs)):
                return "written" if not was_there else "changed" if after != before else "there"
        if was_there:
            path.write_bytes(before)
        else:
            path.unlink()
        raise Refused(f"{wrong}, and no line beside the registry can change that: git check-attr -a {shlex.quote(self.path)}")

    def overruled(self, blobs: str) -> str | None:
        """What git is told by somebody else; None where it does as our lines say."""
        said = os.fsdecode(self.repository.run("check-attr", "-z", "merge", "diff", "text", *UNDONE, "--", self.path))
        found = list(zip((words := said.split("\0"))[1::3], words[2::3], strict=False))
        if blobs == LFS:
            blob = f"{self.beside(blob_folder(self.db).name)}/sha256/00/00"
            said = os.fsdecode(self.repository.run("check-attr", "-z", "filter", "--", blob))
            found.append(("filter of blobs", said.split("\0")[2]))
        wanted = {"merge": ["ifp"], "diff": ["ifp"], "text": ["unset"], "filter of blobs": ["lfs"]}
        for name, value in found:
            if value not in wanted.get(name, ["unspecified", "unset"]):
                return f"git's attribute {name} is {value} for {self.path}"
        return None

    def _is_registry_line(self, line: str) -> bool:
        return re.fullmatch(rf"{re.escape(_quoted(_literally(self.db.name)))} {OURS}( -[a-z-]+)*", line) is not None

    def _is_ours(self, line: str) -> bool:
        return self._is_registry_line(line) or line in [*_blob_lines(self.db, COMMITTED), *_blob_lines(self.db, LFS)]

    def write_ignored(self, blobs: str) -> str:
        path = self.db.with_name(".gitignore")
        was_there, before = path.exists(), _bytes(path)
        ever = {line for mode in BLOBS for line in _ignored(self.db, mode)}
        after = _with_lines(before, _ignored(self.db, blobs), ever.__contains__)
        if was_there and after == before:
            return "there"
        path.write_bytes(after)
        return "changed" if was_there else "written"

    def write_drivers(self, ifp: str) -> str:
        before = self._config()
        wanted = {
            "merge.ifp.name": "union of two registries",
            "merge.ifp.driver": f"{ifp.replace('%', '%%')} git merge-driver %O %A %B %P",
            "diff.ifp.textconv": f"{ifp} git textconv",
            "diff.ifp.cachetextconv": "true",
        }
        for name, value in wanted.items():
            if before.get(name) != value:
                self.repository.run("config", "--local", "--replace-all", name, value)
        return "written" if not before else "there" if wanted.items() <= before.items() else "changed"

    def remove_drivers(self) -> bool:
        """Take our settings out; whether there were any."""
        before = [name for name in self._config() if name in DRIVERS]
        for name in before:
            self.repository.run("config", "--local", "--unset-all", name)
        return bool(before)

    def _config(self) -> dict[str, str]:
        said = self.repository.run("config", "--local", "--null", "--get-regexp", r"^(merge|diff)\.ifp\.", fine=(0, 1))
        return dict(line.split("\n", 1) for line in os.fsdecode(said).split("\0") if "\n" in line)

    def missing(self) -> Iterator[tuple[str, str]]:
        if wrong := self.overruled(blobs_in_git(self.db)):
            yield "git-attributes", f"{wrong}: git takes it for bytes that it can neither show nor merge"
        if blobs_in_git(self.db) == LFS and not self._filters_lfs():
            yield "git-lfs", "its blobs belong in Git LFS, which isn't set up here: git would commit them as they are"
        driver = self._config().get("merge.ifp.driver")
        if driver is None:
            yield "git-driver", "this clone has no merge driver for it (no clone has, by itself): git can't merge two sides"
        elif gone := _gone(driver):
            yield "git-driver", f"this clone's merge driver, {gone}, can't be found: git can't merge two sides"
        commands = {name: hookfiles.command(self.hooks, name) for name in hookfiles.CALLS}
        if lacking := [name for name, command in commands.items() if command is None]:
            yield "git-hooks", f"this clone has no {' and no '.join(lacking)} hook for it: nobody checks what is committed"
        elif gone := next((gone for command in commands.values() if (gone := _gone(command or ""))), None):
            yield "git-hooks", f"this clone's hooks call {gone}, which can't be found: nobody checks what is committed"


def _command() -> str:
    """`ifp`, as a shell finds it from anywhere: beside this Python, else on the PATH, else as a module of this Python."""
    beside = Path(sys.executable).with_name("ifp")
    found = str(beside) if beside.is_file() else shutil.which("ifp")
    return shlex.quote(os.path.abspath(found)) if found else f"{shlex.quote(sys.executable)} -m ifpdb"


def _gone(command: str) -> str | None:
    """The program that a command begins with, where it is no longer there."""
    program = shlex.split(command)[0].replace("%%", "%")
    return None if shutil.which(program) else program


def _blob_lines(db: Path, blobs: str) -> list[str]:
    return [f"{_quoted(_literally(blob_folder(db).name) + '/sha256/**')} {BLOBS[blobs]}"] if BLOBS[blobs] else []


def _ignored(db: Path, blobs: str) -> list[str]:
    """The lines of .gitignore. A folder that is ignored has to be let in before something in it can be."""
    cas, journal = (_literally(name).replace(" ", "\\ ") for name in (blob_folder(db).name, f"{db.name}-journal"))
    folder = [f"{cas}/"] if blobs == IGNORED else [f"!{cas}/", f"{cas}/*", f"!{cas}/sha256/"]
    return [*folder, journal]


def _literally(name: str) -> str:
    """A name as a pattern that matches only itself, in .gitignore and .gitattributes."""
    return re.sub(r"^[#!]|[*?\[\\]", r"\\\g<0>", name)


def _quoted(pattern: str) -> str:
    """A pattern as .gitattributes wants it: in quotes, as a C string, where it has spaces."""
    if not re.search(r'\s|^"', pattern):
        return pattern
    return '"' + re.sub(r'["\\]', r"\\\g<0>", pattern) + '"'


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _lines(text: bytes) -> list[str]:
    return [line.removesuffix("\r") for line in os.fsdecode(text).split("\n")]


def _with_lines(text: bytes, wanted: Sequence[str], is_ours: Callable[[str], bool], *, last: bool = False) -> bytes:
    """A file with the lines `wanted` and no other one of ours; `last` has them at its end, even if they stand before."""
    standing = [line for line in _lines(text) if is_ours(line)]
    new = wanted[len(standing) :]
    if last or standing != wanted[: len(standing)]:
        kept = [line for line in os.fsdecode(text).split("\n") if not is_ours(line.removesuffix("\r"))]
        text, new = os.fsencode("\n".join(kept)), wanted
    end = "\r\n" if b"\r\n" in text else "\n"
    begin = end if new and text and not text.endswith(b"\n") else ""
    return text + os.fsencode(begin + "".join(line + end for line in new))
