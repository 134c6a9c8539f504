"""The merge driver, called by real git: where people disagree git stops, and what is no registry never reaches ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from person import Person, apart, begin

from ifpdb.errors import MergeConflict, NotFound
from ifpdb.gitlink import driver

Cli = Callable[..., Any]
Act = Callable[[Person, str], None]


@pytest.fixture
def ada(tmp_path: Path, home: Path) -> Person:
    return begin(tmp_path)


# -- disagreements


def promote(person: Person, weights: str) -> None:
    person.register(weights)
    person.promote("fraud@latest")


def label(person: Person, weights: str) -> None:
    person.register(weights)
    with person.open() as registry:
        registry.model("fraud").label("latest", "golden")


def policy(person: Person, weights: str) -> None:
    person.register(weights)
    with person.open() as registry:
        registry.model("fraud").set_policy({"validation": {"min_f1": len(weights) / 10}})


ACTS: dict[str, Act] = {"production": promote, "label": label, "policy": policy}
acts = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)


def wanted(person: Person, kind: str) -> str | None:
    """What is in question, as the registry has it now."""
    with person.open(readonly=True) as registry:
        fraud = registry.model("fraud")
        if kind == "policy":
            return fraud.policy.digest if fraud.policy else None
        return fraud.get("fraud@production" if kind == "production" else "fraud@golden").digest


def disagree(person: Person, act: Act) -> tuple[str, str]:
    """Both branches, main (where this ends) and topic, have decided; what ours and theirs decided."""
    kind = next(name for name, one in ACTS.items() if one is act)
    person.git("switch", "--quiet", "--create", "topic")
    act(person, "two")
    theirs = str(wanted(person, kind))
    person.commit("two")
    person.git("switch", "--quiet", "main")
    act(person, "three")
    person.commit("three")
    return str(wanted(person, kind)), theirs


@acts
def test_git_stops_where_both_decided_and_names_both_until_somebody_chooses(ada: Person, act: Act, cli: Cli) -> None:
    sides = disagree(ada, act)
    before = ada.db.read_bytes()
    said = ada.git("merge", "--no-edit", "topic", code=1)
    assert "both sides moved on" in said and "ifp git resolve" in said
    assert "CONFLICT (content): Merge conflict in ifp.db" in said
    asked = cli("git", "resolve", "--db", str(ada.db))
    assert asked.code == 4
    assert all(side[:19] in text for side in sides for text in (said, asked.err))
    assert ada.db.read_bytes() == before
    assert ada.status() == ["UU ifp.db"]
    assert ada.problems() == []


@pytest.mark.parametrize(
    ("kind", "choice"),
    [("production", "ours"), ("production", "theirs"), ("production", "REF"), ("label", "REF"), ("policy", "theirs")],
)
def test_a_choice_settles_it_for_both(ada: Person, kind: str, choice: str, cli: Cli) -> None:
    ours, theirs = disagree(ada, ACTS[kind])
    ada.git("merge", "--quiet", "topic", code=1)
    prefer = choice if choice != "REF" else f"fraud@{theirs}"
    said = cli("git", "resolve", "--prefer", prefer, "--reason", "agreed", "--db", str(ada.db), "--actor", "grace")
    assert said.code == 0, said.err
    assert ada.status() == ["M  ifp.db"]
    ada.git("commit", "--quiet", "--no-verify", "--no-edit")
    assert wanted(ada, kind) == (ours if choice == "ours" else theirs)
    with ada.open(readonly=True) as registry:
        last = registry.events()[-1]
    assert (last.actor, last.reason, len(last.parents)) == ("grace", "agreed", 2)
    assert ada.weights() == {"one", "two", "three"}
    assert (ada.problems(), ada.status()) == ([], [])
    ada.git("switch", "--quiet", "topic")
    assert "Fast-forward" in ada.git("merge", "main")


@pytest.mark.parametrize(
    ("start", "go_on", "ours_is"),
    [
        (["merge", "topic"], ["commit", "--no-edit"], "three"),
        (["rebase", "topic"], ["rebase", "--continue"], "two"),
        (["rebase", "--apply", "topic"], ["rebase", "--continue"], "two"),
        (["cherry-pick", "topic"], ["cherry-pick", "--continue"], "three"),
        (["pull", "--rebase", ".", "topic"], ["rebase", "--continue"], "two"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_ours_is_what_git_calls_ours(ada: Person, start: list[str], go_on: list[str], ours_is: str) -> None:
    decided = dict(zip(("three", "two"), disagree(ada, promote), strict=True))
    ada.git(*start, code=1)
    (found,) = [one for one in driver.resolve(ada.db, prefer=["ours"], actor="ada") if one.settled]
    assert found.settled[0].chosen == decided[ours_is]
    ada.git(*go_on)
    assert ada.production() == decided[ours_is]
    assert ada.weights() == {"one", "two", "three"}
    assert (ada.problems(), ada.status()) == ([], [])


def test_a_rebase_of_several_commits_asks_once(ada: Person) -> None:
    """The commits that follow bring nothing that both decided anew."""
    disagree(ada, promote)
    ada.save("four")
    ada.save("five")
    ada.git("rebase", "--quiet", "topic", code=1)
    driver.resolve(ada.db, prefer=["theirs"])
    ada.git("rebase", "--continue")
    assert ada.weights() == {"one", "two", "three", "four", "five"}
    assert (ada.problems(), ada.status()) == ([], [])


@pytest.mark.parametrize("operation", ["merge", "rebase", "cherry-pick"])
def test_abort_leaves_what_was(ada: Person, operation: str) -> None:
    disagree(ada, promote)
    before, head = ada.db.read_bytes(), ada.at("HEAD")
    ada.git(operation, "topic", code=1)
    ada.git(operation, "--abort")
    assert (ada.db.read_bytes(), ada.at("HEAD"), ada.status()) == (before, head, [])


def test_a_stash_that_disagrees_with_new_commits_is_resolved_and_stays_until_dropped(ada: Person) -> None:
    disagree(ada, promote)
    ada.git("reset", "--quiet", "--soft", "HEAD~")
    ada.git("stash", "push", "--quiet")
    ada.git("merge", "--quiet", "--ff-only", "topic")
    assert "CONFLICT" in ada.git("stash", "pop", code=1)
    driver.resolve(ada.db, prefer=["theirs"])
    ada.commit()
    ada.git("stash", "drop", "--quiet")
    assert ada.weights() == {"one", "two", "three"}
    assert (ada.problems(), ada.status()) == ([], [])


def test_a_criss_cross_settled_twice_differently_is_asked_once_more(ada: Person) -> None:
    """Each side settled the same disagreement in its own way: that is another one, about the two decisions."""
    ours, theirs = disagree(ada, promote)
    for branch, start, other, choice in (("left", "main", "topic", "ours"), ("right", "topic", "main", "ours")):
        ada.git("switch", "--quiet", "--create", branch, start)
        ada.git("merge", "--quiet", other, code=1)
        driver.resolve(ada.db, prefer=[choice])
        ada.git("commit", "--quiet", "--no-edit", "--no-verify")
    said = ada.git("merge", "left", code=1)
    assert ours[:19] in said and theirs[:19] in said
    driver.resolve(ada.db, prefer=["theirs"])
    ada.git("commit", "--quiet", "--no-edit", "--no-verify")
    assert ada.production() == ours
    assert (ada.problems(), ada.status()) == ([], [])
    ada.git("switch", "--quiet", "left")
    assert "Fast-forward" in ada.git("merge", "right")


# -- what git can't merge by itself is united by hand


@pytest.mark.parametrize("way", [["merge", "topic"], ["rebase", "topic"], ["merge", "-s", "resolve", "topic"]], ids=" ".join)
def test_a_clone_without_the_driver_stops_and_resolve_unites(ada: Person, way: list[str]) -> None:
    both = apart(ada)
    ada.git("config", "--remove-section", "merge.ifp")
    before = ada.bytes_at("topic" if way[0] == "rebase" else "main")
    ada.git(*way, code=1)
    assert ada.db.read_bytes() == before
    assert ada.status() == ["UU ifp.db"]
    driver.resolve(ada.db)
    ada.git("-c", "core.editor=true", *(["rebase", "--continue"] if way[0] == "rebase" else ["commit", "--no-edit"]))
    assert ada.digest() == ada.united(*both)
    assert (ada.problems(), ada.status()) == ([], [])


def test_what_one_side_deleted_comes_back_whole(ada: Person) -> None:
    ada.git("switch", "--quiet", "--create", "topic")
    theirs = ada.save("two")
    ada.git("switch", "--quiet", "main")
    ada.git("rm", "--quiet", "ifp.db")
    ada.git("commit", "--quiet", "--no-verify", "-m", "gone")
    assert "CONFLICT (modify/delete)" in ada.git("merge", "topic", code=1)
    driver.resolve(ada.db)
    ada.git("commit", "--quiet", "--no-edit")
    assert ada.digest() == ada.united(theirs)
    assert (ada.problems(), ada.status()) == ([], [])


def test_what_the_other_side_deleted_stays_as_ours(ada: Person) -> None:
    ada.git("switch", "--quiet", "--create", "topic")
    ada.git("rm", "--quiet", "ifp.db")
    ada.git("commit", "--quiet", "--no-verify", "-m", "gone")
    ada.git("switch", "--quiet", "main")
    ours = ada.save("two")
    assert "CONFLICT (modify/delete)" in ada.git("merge", "topic", code=1)
    driver.resolve(ada.db)
    ada.git("commit", "--quiet", "--no-edit")
    assert ada.digest() == ada.united(ours)


def test_a_version_that_neither_side_wants_settles_nothing(ada: Person, cli: Cli) -> None:
    disagree(ada, promote)
    ada.git("merge", "--quiet", "topic", code=1)
    assert cli("git", "resolve", "--prefer", "fraud@v1", "--db", str(ada.db)).code == 2
    assert ada.status() == ["UU ifp.db"]


def test_where_nothing_is_in_question_resolve_says_so(ada: Person) -> None:
    with pytest.raises(NotFound, match=r"git has no unfinished merge of ifp\.db: see git status"):
        driver.resolve(ada.db)


def test_what_was_written_since_git_stopped_is_kept(ada: Person) -> None:
    disagree(ada, promote)
    ada.git("merge", "--quiet", "topic", code=1)
    ada.register("four")
    with pytest.raises(MergeConflict):
        driver.resolve(ada.db)
    driver.resolve(ada.db, prefer=["theirs"])
    ada.git("commit", "--quiet", "--no-edit", "--no-verify")
    assert ada.weights() == {"one", "two", "three", "four"}
    assert (ada.problems(), ada.status()) == ([], [])
