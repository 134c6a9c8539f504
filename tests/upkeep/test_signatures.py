"""`ifp verify --signatures`: which decisions are proven, and what is a problem."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb import signing
from ifpdb.ledger import events
from ifpdb.upkeep.chain import verify
from ifpdb.upkeep.signatures import signatures

Make = Callable[..., ifp.Version]
SIGNED = {"validation": {"min_f1": 0.9}, "approvals": {"required": 1, "signed": True}}


@pytest.fixture
def signers(keyring: Path, monkeypatch: pytest.MonkeyPatch) -> signing.Signers:
    monkeypatch.setenv("IFP_ALLOWED_SIGNERS", str(keyring / "allowed"))
    return signing.Signers(keyring / "allowed")


@pytest.fixture
def fraud(make: Make, registry: ifp.Registry, keyring: Path, signers: Any, monkeypatch: pytest.MonkeyPatch) -> ifp.Model:
    """An unsigned policy, v1 approved by grace and promoted by ada, both signed, and tagged, which nobody signs."""
    model = registry.model("fraud")
    make("a", metrics={"f1": 0.95})
    model.set_policy(SIGNED)
    monkeypatch.setenv("IFP_SIGNING_KEY", str(keyring / "grace"))
    ifp.open(registry.path, actor="grace").model("fraud").approve("v1")
    monkeypatch.setenv("IFP_SIGNING_KEY", str(keyring / "ada"))
    model.promote("v1", "production")
    model.tag("v1", "live")
    return model


def statuses(registry: ifp.Registry, signers: signing.Signers) -> list[tuple[str, str]]:
    return [(one.event.kind, one.status) for one in signatures(registry, signers)]


def forge(registry: ifp.Registry, kind: str, actor: str = "ada", **said: Any) -> None:
    """An event as a thief may write it: with a right id."""
    version = registry.resolve("fraud@v1")
    with registry.writing() as (tx, by):
        thief = events.Author(actor, by.now)
        events.append(tx, thief, kind, model="fraud", run=version.run, version=version.digest, **said)


def test_decisions_are_told_with_what_their_signatures_are_worth(fraud: ifp.Model, signers: signing.Signers) -> None:
    assert statuses(fraud.registry, signers) == [("policy_set", "unsigned"), ("approved", "proven"), ("promoted", "proven")]
    assert all(one.problem is None for one in signatures(fraud.registry, signers))
    assert verify(fraud.registry).ok


def test_a_signature_of_another_event_is_a_problem(fraud: ifp.Model, signers: signing.Signers) -> None:
    taken = fraud.registry.events(kind="approved")[0].detail
    forge(fraud.registry, "approved", "grace", detail=taken)
    found = signatures(fraud.registry, signers)[-1]
    assert (found.status, found.key) == ("unproven", "")
    assert found.problem == ("signature", found.event.id, "approved by grace: its signature doesn't fit what it says")


def test_an_unsigned_promotion_is_a_problem_where_the_policy_asked_for_it(fraud: ifp.Model, signers: signing.Signers) -> None:
    for detail in ({"approved_by": []}, {"signature": None}):
        forge(fraud.registry, "promoted", to_stage="production", detail=detail)
        assert signatures(fraud.registry, signers)[-1].problem is not None
    forge(fraud.registry, "promoted", to_stage="production", detail={"forced": True}, reason="drill")
    forge(fraud.registry, "rolled_back", to_stage="production", reason="drill")
    assert [one.problem for one in signatures(fraud.registry, signers)][-2:] == [None, None]
    fraud.set_policy({"validation": {}})
    forge(fraud.registry, "promoted", to_stage="production", detail={"approved_by": []})
    assert signatures(fraud.registry, signers)[-1].problem is None


def test_a_policy_that_the_promoter_could_not_know_asks_for_nothing(
    make: Make, registry: ifp.Registry, signers: signing.Signers, tmp_path: Path
) -> None:
    from ifpdb.merge.union import merge

    make("a", metrics={"f1": 0.95})
    registry.model("fraud").set_policy({"validation": {}})
    registry.close()
    (tmp_path / "other.db").write_bytes(registry.path.read_bytes())
    with ifp.open(tmp_path / "other.db") as other, ifp.open(registry.path) as ours:
        ours.model("fraud").set_policy(SIGNED)
        other.model("fraud").promote("v1", "production")
        merge(ours, tmp_path / "other.db")
        assert [one.problem for one in signatures(ours, signers)] == [None, None, None]


@pytest.mark.parametrize("detail", [{}, {"policy": 7}, {"policy": {"validation": 3, "approvals": {"signed": True}}}])
def test_a_policy_as_ifpdb_writes_none_stops_nothing(fraud: ifp.Model, signers: signing.Signers, detail: Any) -> None:
    with fraud.registry.writing() as (tx, by):
        events.append(tx, by, "policy_set", model="fraud", detail=detail)
    assert len(signatures(fraud.registry, signers)) == 4


@pytest.mark.parametrize("odd", [{"actor": 7}, {"detail": 7}, {"detail": None}])
def test_an_event_that_no_ifpdb_wrote_is_said_to_be_none(fraud: ifp.Model, signers: signing.Signers, odd: Any) -> None:
    told = {"actor": "eve", "at": "2099-01-01T00:00:00.000000Z", "detail": {}, "kind": "approved", "parents": []} | odd
    with sqlite3.connect(fraud.registry.path) as thief:
        thief.execute("DROP TRIGGER event_is_whole") if "actor" in odd else None
        thief.execute("INSERT INTO event (id, body) VALUES (randomblob(32), ?)", (json.dumps(told),))
    with pytest.raises(ifp.IntegrityError, match="is not as ifpdb writes one"):
        signatures(fraud.registry, signers)


def test_progress_is_told(fraud: ifp.Model, signers: signing.Signers) -> None:
    told: list[tuple[int, int]] = []
    signatures(fraud.registry, signers, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


# -- on the shell


def test_the_command_tells_each_decision_and_exits_by_what_is_proven(
    fraud: ifp.Model, cli: Callable[..., Any], keyring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = cli("verify", "--signatures")
    assert said.code == 0
    assert "signatures: 2 proven, 1 unsigned, 0 unproven\n" in said.out
    assert said.out.count("SHA256:") == 2
    said = cli("verify", "--signatures", "--revoked", str(keyring / "grace.pub"))
    assert said.code == 1
    assert "approved by grace: its key SHA256:" in said.out
    assert "was revoked" in said.out
    assert "ask whom the events name" in said.err
    said = cli("verify", "--signatures", "--json", "--allowed-signers", str(keyring / "eve.pub"))
    document = json.loads(said.out)
    assert (said.code, document["ok"]) == (1, False)
    assert [one["status"] for one in document["signatures"]] == ["unsigned", "unproven", "unproven"]
    assert {problem["kind"] for problem in document["problems"]} == {"signature"}


def test_a_borrowed_name_does_not_hide_whose_key_it_is(fraud: ifp.Model, cli: Callable[..., Any]) -> None:
    with ifp.open(fraud.registry.path, actor="Grace Hopper <ada>") as pretending:
        pretending.model("fraud").approve("v1")
    assert "Grace Hopper <ada>  proven" in cli("verify", "--signatures").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--signatures"], "IFP_ALLOWED_SIGNERS"),
        (["--signatures", "--allowed-signers", "nowhere"], "nowhere can't be read"),
        (["--revoked", "x"], "go with --signatures"),
    ],
)
def test_what_it_lacks_is_said(registry: ifp.Registry, cli: Callable[..., Any], arguments: list[str], said: str) -> None:
    found = cli("verify", *arguments)
    assert (found.code, found.out) == (2, "")
    assert said in found.err
