"""A range of commits that is reviewed: how its people work, and how somebody forges what they did."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from person import Person, begin, set_up

from ifpdb.gitlink.check import Review, commits, review
from ifpdb.store.repository import Repository


def begun(folder: Path) -> Person:
    """fraud v1 in production by force, and a policy since; all of that is committed on main, and tagged base."""
    ada = begin(folder)
    with ada.open() as registry:
        registry.model("fraud").set_policy({"validation": {"min_f1": 0.9}})
    ada.commit("policy")
    ada.git("tag", "base")
    return ada


def clone(source: Person, name: str) -> Person:
    """Somebody who has cloned this, and told git of the registry."""
    place = source.folder.with_name(name)
    source.git("clone", "--quiet", str(source.folder), str(place))
    person = Person(name, place, place / "ifp.db")
    set_up(person)
    return person


def look(person: Person, span: str = "base..HEAD") -> Review:
    repository = Repository(person.folder)
    (found,) = review(repository, *commits(repository, span))
    return found


def promote(person: Person, weights: str, f1: float, **how: Any) -> None:
    person.register(weights, metrics={"f1": f1})
    with person.open() as registry:
        registry.model("fraud").promote("latest", "production", **how)


def commit_with_heads(person: Person) -> None:
    """Commit as the hook does that `ifp git install` sets: with the heads of the log in the message."""
    with person.open(readonly=True) as registry, registry.reading() as tx:
        heads = [head for (head,) in tx.execute("SELECT id FROM head")]
    person.commit(f"more\n\nIfp-Heads: {' '.join(heads)}")


def around(db: Path, *statements: str) -> None:
    """Change a registry as somebody does who drops the rules first, and puts them back."""
    with sqlite3.connect(db) as connection:
        rules = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in rules:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in rules:
            connection.execute(sql)
    connection.close()
