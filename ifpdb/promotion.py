"""The rules by which versions move between stages: the gate, promotion, rollback, approval.

Each function works inside the caller's transaction. A refusal by the gate is itself an event and has to be committed,
so it is returned as an error for the caller to raise afterwards, not raised.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from . import approvals, digest
from .answers import Verdict
from .errors import Ambiguous, GateFailed, NeedsReason, NotFound, Refused
from .ledger import events, facts, stages, versions
from .ledger.approvals import given, of_entries
from .policy import Approval, Candidate, Policy, evaluate
from .records import Version

MANIFEST = "SELECT m.name, v.digest, v.manifest, v.stage FROM version v JOIN model m ON m.key = v.model WHERE v.key = ?"


def judge(tx: sqlite3.Connection, version: int, *, also_approved_by: Sequence[str] = ()) -> Verdict:
    """What the gate says of a version today; writes nothing."""
    record = versions.read(tx, [version], None)[0]
    policy = stages.policy(tx, record.model)
    return evaluate(policy, _candidate(tx, version, record, _approvals(tx, record, policy, also_approved_by)))


def _approvals(tx: sqlite3.Connection, record: Version, policy: Policy | None, named: Sequence[str]) -> list[Approval]:
    """Who approved, themselves or as whoever promotes says, with the doubts about it."""
    hearsay = "only named, not signed" if policy is not None and policy.approvals_signed else ""
    return [*approvals.of(tx, record, policy), *(Approval(actor, hearsay) for actor in named)]


def _standing(approved: Sequence[Approval], named: Sequence[str]) -> list[str]:
    """Those without a doubt and those whom the promotion names, each once."""
    return list(dict.fromkeys(one.actor for one in approved if not one.doubt or one.actor in named))


def _candidate(tx: sqlite3.Connection, version: int, record: Version, approved: Sequence[Approval]) -> Candidate:
    rival_key = stages.production(tx, record.model)
    rival = versions.read(tx, [rival_key], None)[0] if rival_key is not None and rival_key != version else None
    return Candidate(
        missing=record.missing,
        measurements=record.measurements,
        training_data=_training_data(record.manifest),
        authors=versions.authors(tx, version),
        approvals=approved,
        production=rival.measurements if rival else None,
        production_data=_training_data(rival.manifest) if rival else frozenset(),
    )


def _training_data(manifest: str) -> frozenset[str]:
    return frozenset(part.get("digest") or part["uri"] for part in json.loads(manifest)["data"] or ())


def promote(
    tx: sqlite3.Connection,
    by: events.Author,
    version: int,
    to_stage: str,
    *,
    reason: str | None = None,
    approved_by: Sequence[str] = (),
    force: bool = False,
) -> Refused | None:
    """Move a version to a stage; the refusal, already in the log, when the gate doesn't let it into production.

    A version that is there already stays. Raises NeedsReason for a rollback or a forced promotion without a reason, Refused
    where the policy asks for signatures and this promotion can't be proven.
    """
    model, _, _, stage = tx.execute(MANIFEST, (version,)).fetchone()
    if stage == to_stage:
        return None
    if force and not reason:
        raise NeedsReason("a forced promotion must say why: add --reason '…' (reason=)")
    if to_stage != "production":
        stages.move(tx, by, version, "moved", to_stage=to_stage, reason=reason)
        return None
    if stages.was_in_production(tx, version):
        _roll_back(tx, by, version, reason, approved_by)
        return None
    record, policy = versions.read(tx, [version], None)[0], stages.policy(tx, model)
    approved = _approvals(tx, record, policy, approved_by)
    verdict = evaluate(policy, _candidate(tx, version, record, approved))
    if not verdict.passed and not force:
        return _refuse(tx, by, version, verdict, reason)
    detail: dict[str, digest.JSON] = {"approved_by": _standing(approved, approved_by), "verdict": verdict.as_dict()}
    if force:
        detail["forced"] = True
    event = stages.move(tx, by, version, "promoted", to_stage=to_stage, reason=reason, detail=detail)
    if policy is not None and policy.approvals_signed and not force:
        approvals.require_proof(tx, event)
    return None


def _roll_back(tx: sqlite3.Connection, by: events.Author, version: int, reason: str | None, named: Sequence[str]) -> None:
    """Back into production; on record are those who approved an entry before, and those who do now."""
    model, identity, _, _ = tx.execute(MANIFEST, (version,)).fetchone()
    name = digest.to_text(identity)
    if not reason:
        raise NeedsReason(
            f"{model}@{name[:19]} has been in production before: going back to it is a rollback, "
            f"which must say why: add --reason '…' (reason=)"
        )
    approvers = [*of_entries(tx, model, name), *named]
    if given(tx, model, name):  # few are, and it takes the whole version to see whether they stand
        record, policy = versions.read(tx, [version], None)[0], stages.policy(tx, model)
        approvers += _standing(approvals.of(tx, record, policy), ())
    detail = {"approved_by": list(dict.fromkeys(approvers))}
    stages.move(tx, by, version, "rolled_back", to_stage="production", reason=reason, detail=detail)


def promote_on_pass(tx: sqlite3.Connection, by: events.Author, version: int) -> None:
    """Judge a version that was just registered and promote it if it passes; a refusal is only written down."""
    verdict = judge(tx, version)
    if not verdict.passed:
        _refuse(tx, by, version, verdict, None)
        return
    detail = {"approved_by": [], "verdict": verdict.as_dict(), "automatic": True}
    stages.move(tx, by, version, "promoted", to_stage="production", reason="passed the gate on registration", detail=detail)


def _refuse(tx: sqlite3.Connection, by: events.Author, version: int, verdict: Verdict, reason: str | None) -> Refused:
    model, identity, _, stage = tx.execute(MANIFEST, (version,)).fetchone()
    name = f"{model}@{digest.to_text(identity)[:19]}"
    detail = {"verdict": verdict.as_dict(), "wanted": "production", "stage": stage}
    run = versions.own_run_id(tx, version)
    found = digest.to_text(identity)
    events.append(tx, by, "promotion_refused", model=model, run=run, version=found, reason=reason, detail=detail)
    if verdict.policy is None:
        return Refused(
            f"{name} can't enter production: {model} has no policy to judge it by. Set one with ifp policy set {model} "
            f"FILE, or insist with --force --reason '…'"
        )
    failures = "; ".join(f"{check.name}: {check.why}" for check in verdict.failures)
    return GateFailed(f"{name} didn't pass the gate: {failures} (ifp gate {name}; --force --reason '…' to insist)", verdict)


def rollback_target(tx: sqlite3.Connection, model: str) -> int:
    """The version that a rollback without a target goes to. Raises NotFound when there is none."""
    version = stages.version_before(tx, model)
    if version is None:
        raise NotFound(
            f"{model} has no earlier production version that wasn't rolled away from; name one with --to REF "
            f"(ifp history {model})"
        )
    return version


def check_rollback(tx: sqlite3.Connection, version: int) -> None:
    """Raise Refused for a version that has never been in production: the way there is the gate."""
    if not stages.was_in_production(tx, version):
        model, identity, _, _ = tx.execute(MANIFEST, (version,)).fetchone()
        name = f"{model}@{digest.to_text(identity)[:19]}"
        raise Refused(f"{name} has never been in production, so nothing rolls back to it: ifp promote {name} production")


NAMED_DATASETS = """
    SELECT DISTINCT d.digest, d.pointer FROM run_dataset rd JOIN dataset d ON d.key = rd.dataset WHERE rd.name = ?
     ORDER BY d.digest, d.pointer"""


def dataset_named(tx: sqlite3.Connection, name: str) -> str:
    """The digest or pointer of the dataset that runs have called so, or of itself if it is one.

    Raises NotFound when nothing bears the name, Ambiguous when different data do.
    """
    if name.startswith("sha256:") or "#" in name:
        return name
    found = [digest.to_text(row[0]) if row[0] else row[1] for row in tx.execute(NAMED_DATASETS, (name,))]
    if not found:
        raise NotFound(
            f"no run has used a dataset called '{name}': log it first (run.log_dataset(…, name='{name}')), or give its "
            f"digest (ifp data hash PATH)"
        )
    if len(found) > 1:
        raise Ambiguous(f"'{name}' is the name of {len(found)} different datasets: {', '.join(found)}; give the digest")
    return found[0]


def set_policy(tx: sqlite3.Connection, by: events.Author, model: str, policy: Policy) -> Policy:
    """Make `policy` the model's; the name of its dataset is fixed to the digest that it has today."""
    facts.keep_model(tx, model)
    if policy.dataset is not None:
        policy = replace(policy, dataset=dataset_named(tx, policy.dataset))
    events.append(tx, by, "policy_set", model=model, detail={"policy": policy.as_dict(), "policy_digest": policy.digest})
    return policy
