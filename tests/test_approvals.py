"""What an approval is worth: of which version, policy and measurements, by whom, taken back, signed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.ledger import events

Make = Callable[..., ifp.Version]
Act = Callable[[str], ifp.Model]

RULES: dict[str, Any] = {"validation": {"min_f1": 0.9}, "approvals": {"required": 1}}
SIGNED: dict[str, Any] = RULES | {"approvals": {"required": 1, "signed": True}}


@pytest.fixture
def fraud(make: Make, registry: ifp.Registry) -> ifp.Model:
    """v1, by ada, good enough for RULES but for an approval."""
    model = registry.model("fraud")
    make("a", metrics={"f1": 0.95})
    model.set_policy(RULES)
    return model


@pytest.fixture
def acting(registry: ifp.Registry) -> Act:
    """The model fraud, as somebody else has it."""
    return lambda actor: ifp.open(registry.path, actor=actor).model("fraud")


def why(model: ifp.Model) -> str:
    """What the gate says of the approvals of v1."""
    return next(check.why for check in model.gate("v1").checks if check.name == "approvals")


@pytest.fixture
def sign(keyring: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`sign("grace")`: from now on with grace's key; `sign("")`: with none. The keyring says whose keys count."""
    monkeypatch.setenv("IFP_ALLOWED_SIGNERS", str(keyring / "allowed"))
    return lambda name: monkeypatch.setenv("IFP_SIGNING_KEY", str(keyring / name) if name else "")


# -- bound to what was approved


def test_an_approval_opens_the_gate_and_is_on_record(fraud: ifp.Model, acting: Act) -> None:
    acting("grace").approve("v1", "read the report")
    assert why(fraud) == "1 of 1 approvals: grace"
    fraud.promote("v1", "production")
    assert fraud.at("now")[0].approved_by == ("grace",)


@pytest.mark.parametrize("again", [0.95, 0.96])
def test_a_measurement_that_says_something_new_makes_it_stale(fraud: ifp.Model, acting: Act, again: float) -> None:
    acting("grace").approve("v1")
    fraud.registry.measure("fraud@v1", {"f1": again})
    if again == 0.95:
        assert fraud.gate("v1").passed
        return
    assert why(fraud) == "0 of 1 approvals: nobody; not counted: grace (stale: more was measured since)"
    with pytest.raises(ifp.GateFailed, match="stale: more was measured since"):
        fraud.promote("v1", "production")
    fraud.promote("v1", "production", force=True, reason="now")
    assert fraud.at("now")[0].approved_by == ()
    acting("grace").approve("v1")
    assert why(fraud) == "1 of 1 approvals: grace"


def test_another_metric_or_dataset_makes_it_stale_too(fraud: ifp.Model, acting: Act) -> None:
    acting("grace").approve("v1")
    fraud.registry.measure("fraud@v1", {"latency": 3.0})
    assert "more was measured since" in why(fraud)
    acting("grace").approve("v1")
    fraud.registry.measure("fraud@v1", {"f1": 0.95}, dataset="train.csv")
    assert "more was measured since" in why(fraud)


def test_a_policy_that_was_changed_makes_it_stale_until_it_is_as_it_was(fraud: ifp.Model, acting: Act) -> None:
    acting("grace").approve("v1")
    fraud.set_policy(RULES | {"validation": {"min_f1": 0.8}})
    assert why(fraud) == "0 of 1 approvals: nobody; not counted: grace (stale: the policy was changed since)"
    fraud.set_policy(RULES)
    assert fraud.gate("v1").passed


def test_an_approval_of_before_there_was_a_policy_is_none_under_it(make: Make, registry: ifp.Registry, acting: Act) -> None:
    make("a", metrics={"f1": 0.95})
    acting("grace").approve("v1")
    registry.model("fraud").set_policy(RULES)
    assert "stale: the policy was changed since" in why(registry.model("fraud"))


def test_one_that_was_written_before_approvals_were_bound_counts_on(fraud: ifp.Model, registry: ifp.Registry) -> None:
    version = fraud.get("v1")
    with registry.writing() as (tx, _):
        grace = events.Author("grace", "2026-01-01T00:00:00.000000Z")
        events.append(tx, grace, "approved", model="fraud", run=version.run, version=version.digest)
    registry.measure("fraud@v1", {"latency": 3.0})
    assert why(fraud) == "1 of 1 approvals: grace"


def test_only_the_same_version_is_approved(make: Make, fraud: ifp.Model, acting: Act) -> None:
    acting("grace").approve("v1")
    make("b", metrics={"f1": 0.95})
    assert not fraud.gate("v2").passed


# -- taken back


def test_an_approval_is_withdrawn_and_given_again(fraud: ifp.Model, acting: Act) -> None:
    grace = acting("grace")
    grace.approve("v1")
    grace.withdraw_approval("v1", "misread it")
    assert why(fraud) == "0 of 1 approvals: nobody"
    assert fraud.registry.events()[-1].kind == "approval_withdrawn"
    assert fraud.registry.events()[-1].reason == "misread it"
    grace.approve("v1")
    assert fraud.gate("v1").passed


def test_who_has_taken_it_back_is_not_on_record_for_a_rollback(fraud: ifp.Model, make: Make, acting: Act) -> None:
    acting("grace").approve("v1")
    fraud.promote("v1", "production", approved_by="heidi")
    make("b", metrics={"f1": 0.99})
    fraud.promote("v2", "production", approved_by="heidi")
    acting("Grace <grace>").withdraw_approval("v1")
    fraud.rollback(reason="worse")
    assert fraud.at("now")[0].approved_by == ("heidi",)
    assert fraud.history()[0].approved_by == ("grace", "heidi"), "it was so then"


def test_nobody_withdraws_another_ones_approval(fraud: ifp.Model, acting: Act) -> None:
    acting("grace").approve("v1")
    before = fraud.registry.path.read_bytes()
    with pytest.raises(ifp.NotFound, match=r"ada has given fraud@sha256:.* no approval that could be withdrawn"):
        fraud.withdraw_approval("v1")
    assert fraud.registry.path.read_bytes() == before
    assert fraud.gate("v1").passed


def test_a_person_is_known_by_the_mail_address(fraud: ifp.Model, acting: Act) -> None:
    acting("Grace <grace@example.org>").approve("v1")
    acting("Grace Hopper <grace@example.org>").withdraw_approval("v1")
    assert why(fraud) == "0 of 1 approvals: nobody"


# -- by whom


def test_only_those_on_the_list_count(fraud: ifp.Model, acting: Act) -> None:
    fraud.set_policy(RULES | {"approvals": {"required": 1, "approvers": ["grace", "heidi@example.org"]}})
    acting("mallory").approve("v1")
    assert why(fraud) == "0 of 1 approvals: nobody; not counted: mallory (none of the approvers)"
    with pytest.raises(ifp.GateFailed, match=r"eve \(none of the approvers\)"):
        fraud.promote("v1", "production", approved_by="eve")
    acting("Heidi <heidi@example.org>").approve("v1")
    assert fraud.gate("v1").passed


def test_the_author_is_told_by_the_mail_address(make: Make, registry: ifp.Registry, folder: Path, acting: Act) -> None:
    with ifp.open(registry.path, actor="Ada <ada@example.org>") as opened:
        (folder / "model.bin").write_text("x")
        opened.register("fraud", "model.bin", data="train.csv", schema="schema.json", params={}, metrics={"f1": 0.95})
    fraud = registry.model("fraud")
    fraud.set_policy(RULES | {"approvals": {"required": 1, "not_author": True}})
    acting("Ada Lovelace <ada@example.org>").approve("v1")
    assert why(fraud) == "0 of 1 approvals: nobody; not counted: Ada Lovelace <ada@example.org> (its author)"


# -- signed


def test_every_decision_is_signed_where_somebody_has_a_key(fraud: ifp.Model, make: Make, sign: Callable[[str], None]) -> None:
    sign("ada")
    make("b", metrics={"f1": 0.99})
    fraud.set_policy({"validation": {"min_f1": 0.5}})
    fraud.approve("v2")
    fraud.withdraw_approval("v2")
    fraud.promote("v1", "production")
    fraud.promote("v2", "production")
    fraud.rollback(reason="drill")
    fraud.promote("v2", "shadow")
    fraud.tag("v2", "x")
    signed = {event.kind for event in fraud.registry.events() if "signature" in event.detail}
    assert signed == set(events.DECISIONS) - {"settled"}  # what merges write: tests/merge/test_settlement.py


def test_without_anybody_whose_keys_count_nothing_is_proven(fraud: ifp.Model, acting: Act) -> None:
    fraud.set_policy(SIGNED)
    acting("grace").approve("v1")
    assert "not counted: grace (nothing says whose keys count: name an allowed-signers file" in why(fraud)


def test_the_signed_policy_counts_only_what_is_proven(fraud: ifp.Model, acting: Act, sign: Callable[[str], None]) -> None:
    fraud.set_policy(SIGNED)
    sign("")
    acting("grace").approve("v1")
    assert why(fraud) == "0 of 1 approvals: nobody; not counted: grace (not signed)"
    sign("eve")
    acting("grace").approve("v1")
    assert "not counted: grace (it is signed by the key SHA256:" in why(fraud)
    assert "doesn't allow it to grace" in why(fraud)
    with pytest.raises(ifp.GateFailed, match=r"heidi \(only named, not signed\)"):
        fraud.promote("v1", "production", approved_by="heidi")
    sign("grace")
    acting("grace").approve("v1")
    assert why(fraud) == "1 of 1 approvals: grace"


@pytest.mark.parametrize(("key", "said"), [("", "not signed"), ("eve", "doesn't allow it to ada")])
def test_the_promotion_itself_has_to_be_proven(
    fraud: ifp.Model, acting: Act, sign: Callable[[str], None], key: str, said: str
) -> None:
    fraud.set_policy(SIGNED)
    sign("grace")
    acting("grace").approve("v1")
    sign(key)
    before = fraud.registry.path.read_bytes()
    with pytest.raises(ifp.Refused, match=f"nothing was written.*{said}"):
        fraud.promote("v1", "production")
    assert fraud.registry.path.read_bytes() == before
    sign("ada")
    assert fraud.promote("v1", "production").stage == "production"


def test_damage_control_needs_no_key(fraud: ifp.Model, make: Make, sign: Callable[[str], None]) -> None:
    fraud.promote("v1", "production", force=True, reason="first")
    fraud.set_policy(SIGNED)
    make("b", metrics={"f1": 0.2})
    sign("")
    fraud.promote("v2", "production", force=True, reason="by hand")
    assert fraud.rollback(reason="worse").digest == fraud.get("v1").digest


def test_a_key_that_cannot_be_used_changes_nothing(fraud: ifp.Model, sign: Callable[[str], None]) -> None:
    sign("nobody")
    before = fraud.registry.path.read_bytes()
    with pytest.raises(ifp.Refused, match=r"nothing was written, since it can't be signed with .*nobody"):
        fraud.approve("v1")
    assert fraud.registry.path.read_bytes() == before


# -- on the shell


def test_the_command_approves_withdraws_and_says_what_it_counts_for(fraud: ifp.Model, cli: Callable[..., Any]) -> None:
    said = cli("approve", "fraud@v1", "--actor", "grace")
    assert said.code == 0
    assert said.out.endswith("approved by grace\n")
    assert said.err == "1 of 1 approvals: grace\n"
    said = cli("approve", "fraud@v1", "--withdraw", "--actor", "grace", "--reason", "misread")
    assert said.out.endswith("approval withdrawn by grace\n")
    assert said.err == "0 of 1 approvals: nobody\n"
    said = cli("approve", "fraud@v1", "--withdraw", "--actor", "grace")
    assert (said.code, said.out) == (3, "")
    assert "no approval that could be withdrawn" in said.err
