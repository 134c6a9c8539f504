"""Somebody with a clone: real git in it, and what this person does to the registry there.

Setting a scene calls the library, and hooks are off unless asked for, since every `ifp` that git starts takes its time.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ifpdb as ifp
from ifpdb.gitlink import setup
from ifpdb.merge.union import merge
from ifpdb.store.repository import Repository
from ifpdb.upkeep.anchors import in_commits
from ifpdb.upkeep.chain import verify
from ifpdb.upkeep.fsck import fsck
from ifpdb.upkeep.logical import logical_digest

SCHEMA = '{"features": [{"position": 0, "name": "a", "type": "number", "nullable": false, "min": 0, "max": 25}]}'

SETTINGS = """
[user]
name = ada
email = ada@example.org
[protocol "file"]
allow = always
"""


@dataclass(frozen=True, slots=True)
class Person:
    """`db` is the registry in this person's clone, `folder` the clone."""

    name: str
    folder: Path
    db: Path

    # -- git

    def git(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """What git says on both streams; it must exit with `code`."""
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments],
            capture_output=True,
            env={**os.environ, "GIT_EDITOR": "true", **environment},
        )
        said = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == code, said
        return said.strip()

    def commit(self, message: str = "more") -> str:
        """Commit everything, past all hooks; the commit's id."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--no-verify", "--message", message)
        return self.at("HEAD")

    def at(self, revision: str) -> str:
        return self.git("rev-parse", "--verify", revision)

    def status(self) -> list[str]:
        """What git sees besides what is committed, the ignored too, but for the blobs."""
        lines = self.git("status", "--porcelain", "--ignored").splitlines()
        return [line.strip() for line in lines if not line.endswith("ifp.cas/")]

    def bytes_at(self, revision: str) -> bytes:
        repository = Repository(self.folder)
        data = repository.bytes_at(revision, repository.path_of(self.db))
        assert data is not None
        return data

    # -- the registry

    def open(self, *, readonly: bool = False) -> ifp.Registry:
        return ifp.open(self.db, readonly=readonly, actor=self.name)

    def register(self, weights: str, model: str = "fraud", **given: Any) -> str:
        """Register a version whose weights are this text; its digest."""
        with self.open() as registry:
            return register(registry, weights, model, **given).digest

    def save(self, weights: str, **given: Any) -> str:
        """Register a version and commit; the commit's id."""
        self.register(weights, **given)
        return self.commit(weights)

    def promote(self, ref: str, stage: str = "production") -> None:
        with self.open() as registry:
            registry.model(ref.partition("@")[0]).promote(ref, stage, force=True, reason=f"{self.name} says so")

    def production(self, model: str = "fraud") -> str | None:
        with self.open(readonly=True) as registry:
            found = registry.model(model).production
            return found.digest if found else None

    def weights(self) -> set[str]:
        """The texts that are the weights of a version here."""
        with self.open(readonly=True) as registry:
            return {version.params["of"] for model in registry.models() for version in registry.model(model.model).versions()}

    def digest(self) -> str:
        return digest_of(self.db)

    def problems(self) -> list[str]:
        """What `ifp verify` and `ifp fsck` find, by kind; blobs that never came by git aside."""
        with self.open() as registry:
            found = [kind for kind, _, _ in verify(registry, anchors=in_commits(registry.path)).problems]
            return found + [one.kind for one in fsck(registry).problems if one.kind != "missing"]

    def united(self, *revisions: str) -> str:
        """The digest that these revisions have together: without git, in a file elsewhere."""
        place = Path.home() / "united.db"
        place.write_bytes(self.bytes_at(revisions[0]))
        with ifp.open(place, actor="nobody") as registry:
            for revision in revisions[1:]:
                merge(registry, self.bytes_at(revision))
        return digest_of(place)


def begin(folder: Path, *, inside: str = "", hooks: bool = False) -> Person:
    """ada, in a new checkout with a registry that `ifp git install` has set up, and fraud v1 in production."""
    ada = Person("ada", folder / "ada", folder / "ada" / inside / "ifp.db")
    ada.db.parent.mkdir(parents=True)
    _furnish_home()
    ada.git("init", "--quiet", "--initial-branch", "main")
    ifp.init(ada.db).close()
    set_up(ada, hooks=hooks)
    ada.register("one")
    ada.promote("fraud@v1")
    ada.commit("begin")
    return ada


def set_up(person: Person, *, hooks: bool = False) -> None:
    """`ifp git install` in this person's clone, with its hooks called or not."""
    setup.install(person.db)
    if not hooks:
        person.git("config", "core.hooksPath", os.devnull)


def apart(person: Person) -> tuple[str, str]:
    """Two branches with something new on each: 'two' on topic, 'three' on main, where this ends; both commits, main's first."""
    person.git("switch", "--quiet", "--create", "topic")
    theirs = person.save("two")
    person.git("switch", "--quiet", "main")
    return person.save("three"), theirs


def register(registry: ifp.Registry, weights: str, model: str = "fraud", **given: Any) -> ifp.Version:
    home = Path.home()
    (home / "model.bin").write_text(weights)
    parts: dict[str, Any] = {"data": home / "train.csv", "schema": home / "schema.json", "params": {"of": weights}, "seed": 7}
    return registry.register(model, home / "model.bin", **parts | given)


def digest_of(path: Path) -> str:
    with ifp.open(path, readonly=True) as registry, registry.reading() as tx:
        return logical_digest(tx)


def _furnish_home() -> None:
    """What git and a registration need, in the home that the test has to itself."""
    Path(os.environ["GIT_CONFIG_GLOBAL"]).write_text(SETTINGS)
    (Path.home() / "train.csv").write_text("a\n1\n")
    (Path.home() / "schema.json").write_text(SCHEMA)
