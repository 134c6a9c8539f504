"""The validation policy of a model, and what it says of a candidate.

Nothing here reads the registry: `evaluate` is given a Candidate, which holds what the ledger knows. Every failed
expectation becomes a Check with a sentence, never an exception, so that a refusal can list them all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .answers import Check, Verdict
from .digest import canonical, say_parts, sha256
from .names import principal
from .records import Measurement

_LOWER_IS_BETTER = re.compile(
    r"(?!neg_)(.*[_-])?((rmse|mae|mse|mape|smape|rmsle|msle|perplexity|brier)([_-].*)?|error|m?logloss|loss)", re.I
)
NOTIFY = ("notify_on_fail", "notify_on_promote", "notify_on_rollback")
"""The keys whose targets are told when the gate refuses, when a version enters production, and at a rollback."""


@dataclass(frozen=True, slots=True)
class Bound:
    """min_<metric> or max_<metric>: the metric's value must be `>=` or `<=` the limit."""

    metric: str
    op: str
    limit: float


@dataclass(frozen=True, slots=True)
class Policy:
    """What a version must show before it enters production.

    `dataset` is the digest or pointer that metrics must have been measured on, `dataset_name` what the file called
    it; `beats_production` maps a metric to how much better than production it must be.
    """

    bounds: tuple[Bound, ...] = ()
    dataset: str | None = None
    dataset_name: str | None = None
    beats_production: tuple[tuple[str, float], ...] = ()
    promote_on_pass: str | None = None
    notify_on_fail: tuple[str, ...] = ()
    notify_on_promote: tuple[str, ...] = ()
    notify_on_rollback: tuple[str, ...] = ()
    approvals_required: int = 0
    approvals_not_author: bool = False
    approvers: tuple[str, ...] = ()
    approvals_signed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The policy in the shape of its YAML file, with the dataset's digest beside its name."""
        validation: dict[str, Any] = {f"{_PREFIX[b.op]}{b.metric}": b.limit for b in self.bounds}
        if self.dataset:
            validation["dataset"] = {"name": self.dataset_name, "digest": self.dataset}
        if self.beats_production:
            validation["beats_production"] = dict(self.beats_production)
        if self.promote_on_pass:
            validation["promote_on_pass"] = self.promote_on_pass
        validation |= {key: list(targets) for key in NOTIFY if (targets := getattr(self, key))}
        document: dict[str, Any] = {"validation": validation}
        if self.approvals_required or self.approvals_not_author:
            approvals: dict[str, Any] = {"required": self.approvals_required, "not_author": self.approvals_not_author}
            if self.approvers:
                approvals["approvers"] = list(self.approvers)
            if self.approvals_signed:
                approvals["signed"] = True
            document["approvals"] = approvals
        return document

    @property
    def digest(self) -> str:
        """`sha256:…` of the canonical JSON of `as_dict()`."""
        return sha256(canonical(self.as_dict()))


_PREFIX = {">=": "min_", "<=": "max_"}
OPERATORS = {"min_": ">=", "max_": "<="}
"""How the keys begin that bound a metric."""


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody's approval of a version; `doubt` says why it can't count under any policy like this ('': it can)."""

    actor: str
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the gate is told of a version: its measurements, what it was trained on, who made and who approved it."""

    missing: Sequence[str]
    measurements: Sequence[Measurement]
    training_data: frozenset[str]
    authors: frozenset[str]
    approvals: Sequence[Approval]
    production: Sequence[Measurement] | None
    production_data: frozenset[str] = frozenset()


def from_event(document: Mapping[str, Any]) -> Policy:
    """The Policy that `as_dict` wrote into the log."""
    validation, approvals = document["validation"], document.get("approvals", {})
    dataset = validation.get("dataset") or {}
    return Policy(
        bounds=bounds_of(validation),
        dataset=dataset.get("digest"),
        dataset_name=dataset.get("name"),
        beats_production=tuple((metric, float(by)) for metric, by in validation.get("beats_production", {}).items()),
        promote_on_pass=validation.get("promote_on_pass"),
        **{key: tuple(validation.get(key, ())) for key in NOTIFY},
        approvals_required=approvals.get("required", 0),
        approvals_not_author=approvals.get("not_author", False),
        approvers=tuple(approvals.get("approvers", ())),
        approvals_signed=approvals.get("signed", False),
    )


def evaluate(policy: Policy | None, candidate: Candidate) -> Verdict:
    """The gate's verdict: one Check for completeness, each bound, each comparison and the approvals."""
    if policy is None:
        why = "the model has no policy: set one with ifp policy set, or promote with --force --reason"
        return Verdict(False, (Check("policy", False, why),), None)
    checks = [_check_complete(candidate)]
    checks += [_check_bound(policy, bound, candidate) for bound in policy.bounds]
    checks += [_check_beats(policy, metric, by, candidate) for metric, by in policy.beats_production]
    if policy.approvals_required:
        checks.append(_check_approvals(policy, candidate))
    passed = all(check.passed for check in checks)
    return Verdict(passed, tuple(checks), policy.digest, policy.notify_on_fail)


def _check_complete(candidate: Candidate) -> Check:
    if candidate.missing:
        return Check("complete", False, f"the version is partial: it lacks its {say_parts(candidate.missing)}")
    return Check("complete", True, "all four parts are there")


def _check_bound(policy: Policy, bound: Bound, candidate: Candidate) -> Check:
    check = Check(_PREFIX[bound.op] + bound.metric, False, "", bound.metric, bound.op, bound.limit)
    found, why = _measured(policy, bound.metric, candidate.measurements, candidate.training_data)
    if found is None:
        return replace(check, why=why)
    check = replace(check, value=found.value, dataset=found.dataset)
    if math.isnan(found.value):
        return replace(check, why=f"{bound.metric} is not a number")
    passed = _holds(found.value, bound.op, bound.limit)
    return replace(
        check, passed=passed, why=f"{bound.metric} is {found.value:g}, {'and' if passed else 'not'} {bound.op} {bound.limit:g}"
    )


def _check_beats(policy: Policy, metric: str, by: float, candidate: Candidate) -> Check:
    op = "<=" if _lower_is_better(policy, metric) else ">="
    check = Check(f"beats_production.{metric}", False, "", metric, op)
    found, why = _measured(policy, metric, candidate.measurements, candidate.training_data)
    if found is None:
        return replace(check, why=why)
    check = replace(check, value=found.value, dataset=found.dataset)
    if math.isnan(found.value):
        return replace(check, why=f"{metric} is not a number")
    if candidate.production is None:
        return replace(check, passed=True, why="there is no production version to beat")
    rival, why = _measured(policy, metric, candidate.production, candidate.production_data)
    if rival is None or math.isnan(rival.value):
        return replace(check, why=f"the production version can't be compared: {why or metric + ' is not a number'}")
    threshold = rival.value - by if op == "<=" else rival.value + by
    passed = _holds(found.value, op, threshold)
    word = "and" if passed else "not"
    why = f"{metric} is {found.value:g}, {word} {op} {threshold:g} (production has {rival.value:g}, to be beaten by {by:g})"
    if policy.dataset is None and rival.dataset != found.dataset:
        passed, why = False, f"{metric} was measured on another dataset than production's; say which with `dataset:`"
    return replace(check, passed=passed, threshold=threshold, why=why)


def _check_approvals(policy: Policy, candidate: Candidate) -> Check:
    """Approvals are counted by person; of those that don't count it is told why."""
    counted, others = dict[str, str](), dict[str, str]()
    for approval in candidate.approvals:
        who = principal(approval.actor)
        if doubt := approval.doubt or _excluded(policy, candidate, approval.actor):
            others[who] = f"{approval.actor} ({doubt})"
        else:
            counted.setdefault(who, approval.actor)
    passed = len(counted) >= policy.approvals_required
    why = f"{len(counted)} of {policy.approvals_required} approvals: {', '.join(counted.values()) or 'nobody'}"
    if left := [said for who, said in others.items() if who not in counted]:
        why += f"; not counted: {', '.join(left)}"
    return Check("approvals", passed, why, None, ">=", float(policy.approvals_required), float(len(counted)))


def _excluded(policy: Policy, candidate: Candidate, actor: str) -> str:
    """Why somebody's approval isn't asked for; '' where it is."""
    if policy.approvals_not_author and principal(actor) in map(principal, candidate.authors):
        return "its author"
    if policy.approvers and not {actor, principal(actor)} & set(policy.approvers):
        return "none of the approvers"
    return ""


def _measured(
    policy: Policy, metric: str, measurements: Sequence[Measurement], training_data: frozenset[str]
) -> tuple[Measurement | None, str]:
    """The one measurement that counts, or None and why there is none."""
    named = [m for m in measurements if m.metric == metric]
    held_out = [m for m in named if m.dataset is None or m.dataset not in training_data]
    if policy.dataset is not None:
        wanted = policy.dataset_name or policy.dataset
        if policy.dataset in training_data:
            return None, f"{wanted} is this version's own training data: no metric on it counts"
        found = [m for m in held_out if m.dataset == policy.dataset]
        return (found[0], "") if found else (None, f"{metric} was not measured on {wanted}")
    if not named:
        return None, f"{metric} was never measured"
    if not held_out:
        return None, f"{metric} was only measured on the training data"
    if len(held_out) > 1:
        return None, f"{metric} was measured on {len(held_out)} datasets: the policy must say which with `dataset:`"
    return held_out[0], ""


def _holds(value: float, op: str, limit: float) -> bool:
    return value >= limit if op == ">=" else value <= limit


def _lower_is_better(policy: Policy, metric: str) -> bool:
    """The policy's own bounds say which way is better; else scikit-learn's names: …_loss and …_error do, neg_… don't."""
    ops = {bound.op for bound in policy.bounds if bound.metric == metric}
    return ops == {"<="} or (not ops and bool(_LOWER_IS_BETTER.fullmatch(metric)))


def bounds_of(validation: Mapping[str, Any]) -> tuple[Bound, ...]:
    """The bounds among the keys of a policy's `validation`."""
    named = ((key[:4], key[4:], value) for key, value in validation.items())
    return tuple(
        Bound(metric, OPERATORS[prefix], float(value)) for prefix, metric, value in named if prefix in OPERATORS and metric
    )
