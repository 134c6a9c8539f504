"""How versions came into production: what a review tells of honest work, and what it finds in forged work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from person import Person
from reviewed import around, begun, clone, commit_with_heads, look, promote

import ifpdb as ifp
from ifpdb import digest
from ifpdb.gitlink.driver import resolve
from ifpdb.gitlink.markdown import render


@pytest.fixture
def ada(tmp_path: Path) -> Person:
    return begun(tmp_path)


def test_an_honest_range_breaks_no_rule_and_is_told(ada: Person) -> None:
    promote(ada, "two", 0.93, approved_by="grace", reason="better")
    commit_with_heads(ada)
    found = look(ada)
    assert found.ok
    assert found.noted == ()
    told = render([found])
    assert "## `ifp.db`: no rule broken" in told
    assert "| `f1 0.93` | `train train.csv` | `ada` |" in told
    assert "approved by grace: better" in told


def test_what_is_worth_a_look_is_no_broken_rule(ada: Person, clock: Callable[[str], None]) -> None:
    clock("2001-01-01T00:00:00Z")  # the event says so, but that is no rule
    promote(ada, "two", 0.1, force=True, reason="the demo is today")
    with ada.open() as registry:
        registry.model("fraud").set_policy({"validation": {"min_f1": 0.05}})
        registry.model("fraud").rollback(reason="the demo is over")
    ada.commit()
    found = look(ada)
    assert found.ok
    assert any("forced into production by ada: the demo is today (the gate: min_f1: f1 is 0.1" in one for one in found.noted)
    assert "the policy of fraud was set by ada to min_f1 0.05; it was min_f1 0.9" in found.noted


def test_a_gate_is_asked_as_it_was_then_not_as_it_is_today(ada: Person) -> None:
    promote(ada, "two", 0.93)
    with ada.open() as registry:
        registry.measure("fraud@production", {"f1": 0.2})
        registry.model("fraud").set_policy({"validation": {"min_f1": 0.99}})
    ada.commit()
    assert look(ada).ok


def test_what_another_branch_knew_does_not_judge_this_one(ada: Person) -> None:
    two = ada.register("two", metrics={"f1": 0.93})
    ada.commit()
    bob = clone(ada, "bob")
    with bob.open() as registry:
        registry.measure(two, {"f1": 0.2})
    bob.commit("worse")
    with ada.open() as registry:
        registry.model("fraud").promote(two, "production")
    ada.commit("promoted")
    ada.git("pull", "--quiet", "--no-rebase", "--no-edit", str(bob.folder), "main")
    assert look(ada).broken == ()


def test_who_made_the_same_version_on_another_branch_may_have_approved_it_here(ada: Person) -> None:
    rules = {"validation": {"min_f1": 0.9}, "approvals": {"required": 1, "not_author": True}}
    with ada.open() as registry:
        registry.model("fraud").set_policy(rules)
    ada.commit("approvals")
    bob = clone(ada, "bob")
    bob.register("two", metrics={"f1": 0.93})
    bob.commit("bob's")
    promote(ada, "two", 0.93, approved_by="bob")
    ada.commit("ada's")
    ada.git("pull", "--quiet", "--no-rebase", "--no-edit", str(bob.folder), "main")
    assert look(ada).broken == ()


def test_a_promotion_that_knew_nothing_of_the_other_branchs_policy_is_worth_a_look(ada: Person) -> None:
    bob = clone(ada, "bob")
    with bob.open() as registry:
        registry.model("fraud").set_policy({"validation": {"min_f1": 0.99}})
    bob.commit("tighter")
    promote(ada, "two", 0.93)
    ada.commit("promoted")
    ada.git("pull", "--quiet", "--no-rebase", "--no-edit", str(bob.folder), "main")
    found = look(ada)
    assert found.ok
    assert any("was promoted without knowledge of the policy that bob had set: min_f1 0.99" in one for one in found.noted)


def test_a_settled_merge_is_worth_a_look(ada: Person) -> None:
    bob = clone(ada, "bob")
    promote(ada, "two", 0.93)
    ada.commit()
    promote(bob, "three", 0.94)
    bob.commit()
    ada.git("pull", "--quiet", "--no-rebase", "--no-edit", str(bob.folder), "main", code=1)
    resolve(ada.db, prefer=["theirs"], reason="three is better", actor="ada")
    ada.commit()
    found = look(ada)
    assert found.ok
    assert any("both sides of a merge had moved production of fraud; ada chose" in one for one in found.noted)


def forge(db: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write the newest event anew, with an id that fits, as its author could have."""
    with ifp.open(db) as registry:
        event = registry.events()[-1]
        with registry.reading() as tx:
            body = json.loads(tx.execute("SELECT body FROM event WHERE id = ?", (digest.to_bytes(event.id),)).fetchone()[0])
    change(body)
    told = digest.canonical(body)
    name = digest.sha256(told)
    around(
        db,
        f"UPDATE event SET id = x'{name[7:]}', body = '{told.decode()}' WHERE id = x'{event.id[7:]}'",
        "DELETE FROM head",
        f"INSERT INTO head VALUES ('{name}')",
    )


def unforced(body: dict[str, Any]) -> None:
    del body["detail"]["forced"]
    body["detail"]["verdict"] |= {"passed": True}


def no_reason(body: dict[str, Any]) -> None:
    del body["reason"]


def moved(body: dict[str, Any]) -> None:
    body["kind"] = "moved"


def came_back(body: dict[str, Any]) -> None:
    body["kind"] = "rolled_back"


def settled(body: dict[str, Any]) -> None:
    body["kind"] = "settled"


FORGED: dict[Callable[[dict[str, Any]], None], str] = {
    unforced: "is in production, but the gate says no: min_f1: f1 is 0.1, not >= 0.9",
    no_reason: "was forced into production without a reason",
    moved: "is in production by an event 'moved', which is no way into it",
    came_back: "went back into production, but had never been there",
    settled: "went back into production, but had never been there",
}


@pytest.mark.parametrize("change", FORGED, ids=lambda change: change.__name__)
def test_a_forged_entry_into_production_is_found(ada: Person, change: Callable[[dict[str, Any]], None]) -> None:
    promote(ada, "two", 0.1, force=True, reason="x")
    ada.commit()
    assert look(ada).ok
    forge(ada.db, change)
    ada.commit("forged")
    assert any(FORGED[change] in one for one in look(ada, "base..HEAD").broken)


WRITTEN_BY_NO_IFPDB: dict[str, tuple[str, Any]] = {
    "approvers that are a number": ("detail", {"approved_by": 5}),
    "a verdict that is a text": ("detail", {"verdict": "yes"}),
    "details that are a list": ("detail", [1]),
    "no details": ("detail", None),
    "an actor that is a number": ("actor", 5),
    "a stage that is a number": ("to_stage", 5),
    "a version that never was": ("version", "sha256:" + "a" * 64),
}


@pytest.mark.parametrize("case", WRITTEN_BY_NO_IFPDB)
def test_an_event_that_no_ifpdb_writes_is_a_broken_rule_and_no_crash(ada: Person, case: str) -> None:
    field, value = WRITTEN_BY_NO_IFPDB[case]
    promote(ada, "two", 0.95)
    forge(ada.db, lambda body: body.update({field: body[field] | value if isinstance(value, dict) else value}))
    ada.commit()
    assert not look(ada).ok
    assert "broken rule" in render([look(ada)])


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("ada", ""),
        ("", "isn't proven, and the policy asks for it: not signed"),
        ("eve", "doesn't allow it to ada"),
    ],
)
def test_a_review_asks_for_the_signatures_that_the_policy_wants(
    ada: Person, keyring: Path, monkeypatch: pytest.MonkeyPatch, key: str, said: str
) -> None:
    """Whoever promotes may say whose keys count for themselves; whoever reviews does so anew."""
    believed = keyring.parent / "believed"
    everybody = [
        f"{who} {(keyring / name).with_suffix('.pub').read_text()}" for who, name in (("ada", "eve"), ("grace", "eve"))
    ]
    believed.write_text((keyring / "allowed").read_text() + "".join(everybody))
    monkeypatch.setenv("IFP_ALLOWED_SIGNERS", str(believed))
    with ada.open() as registry:
        rules = {"required": 1, "signed": True}
        registry.model("fraud").set_policy({"validation": {"min_f1": 0.9}, "approvals": rules})
    ada.register("two", metrics={"f1": 0.95})
    monkeypatch.setenv("IFP_SIGNING_KEY", str(keyring / "grace"))
    with ifp.open(ada.db, actor="grace") as registry:
        registry.model("fraud").approve("latest")
    monkeypatch.setenv("IFP_SIGNING_KEY", str(keyring / (key or "ada")))
    with ada.open() as registry:
        registry.model("fraud").promote("latest", "production")
    if not key:
        forge(ada.db, lambda body: body["detail"].pop("signature"))
    ada.commit("signed")
    monkeypatch.setenv("IFP_ALLOWED_SIGNERS", str(keyring / "allowed"))
    found = look(ada)
    assert found.ok is (not said), found.broken
    assert said in " ".join(found.broken)


def test_an_entry_that_hides_its_past_is_found(ada: Person) -> None:
    promote(ada, "two", 0.95)
    with ada.open() as registry:
        before = registry.events()[-2].id
    forge(ada.db, lambda body: body.update(parents=[]))
    around(ada.db, f"INSERT INTO head VALUES ('{before}')")
    ada.commit()
    assert look(ada).broken == (f"{name_of_newest(ada)} went into production before it was registered",)


def name_of_newest(person: Person) -> str:
    with person.open(readonly=True) as registry:
        return f"fraud@{registry.model('fraud').versions()[0].digest[:19]}"


def test_a_lying_verdict_and_another_policy_are_found(ada: Person) -> None:
    promote(ada, "two", 0.95)
    forge(ada.db, lambda body: body["detail"]["verdict"].update(passed=False, policy="sha256:" + "0" * 64))
    ada.commit()
    assert any("under another policy than the one in force then" in one for one in look(ada).broken)
    forge(ada.db, lambda body: body["detail"]["verdict"].update(policy=None))
    ada.commit()
    assert not look(ada).ok
