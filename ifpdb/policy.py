"""The validation policy of a model: YAML in, a frozen Policy out, and what it says of a candidate.

Nothing here reads the registry: `evaluate` is given a Candidate, which holds what the ledger knows. Every failed
expectation becomes a Check with a sentence, never an exception, so that a refusal can list them all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from .answers import Check, Verdict
from .digest import canonical, say_parts, sha256
from .errors import UsageError
from .names import principal
from .records import Measurement

LONGEST = 50_000
"""The most characters that a policy file may have; PyYAML takes minutes for a megabyte that somebody made for that."""

_LOWER_IS_BETTER = re.compile(
    r"(?!neg_)(.*[_-])?((rmse|mae|mse|mape|smape|rmsle|msle|perplexity|brier)([_-].*)?|error|m?logloss|loss)", re.I
)
NOTIFY = ("notify_on_fail", "notify_on_promote", "notify_on_rollback")
"""The keys whose targets are told when the gate refuses, when a version enters production, and at a rollback."""
_TARGET = re.compile(r"slack:#?\S+|(hook|exec):[A-Za-z0-9][A-Za-z0-9._-]*")


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
_OP = {"min_": ">=", "max_": "<="}


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


def parse(text: str, *, source: str = "policy") -> Policy:
    """The Policy that a YAML (or JSON) text describes.

    Raises UsageError, with the line, for text that is not YAML, for unknown or repeated keys and for bad values.
    """
    import yaml

    if len(text) > LONGEST:
        raise UsageError(f"{source}, line 1: this is no policy: it has more than {LONGEST:,} characters")
    try:
        node = yaml.compose(text, Loader=_loader())
        _check_nodes(node, source)
        document = yaml.load(text, Loader=_loader())  # noqa: S506  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{source}, line {line}: this is not YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{source}, line {line}: this is not YAML: {error.reason}") from None
    except RecursionError:
        raise UsageError(f"{source}, line 1: this is no policy: it nests too deep") from None
    return _validate(document, source, lambda path: _line_of(node, path))


def from_mapping(document: Mapping[str, Any], *, source: str = "policy") -> Policy:
    """The Policy that a mapping in the shape of the YAML file describes; raises UsageError as `parse` does."""
    return _validate(document, source, lambda _path: None)


def from_event(document: Mapping[str, Any]) -> Policy:
    """The Policy that `as_dict` wrote into the log."""
    validation, approvals = document["validation"], document.get("approvals", {})
    dataset = validation.get("dataset") or {}
    return Policy(
        bounds=_bounds(validation),
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


def _bounds(validation: Mapping[str, Any]) -> tuple[Bound, ...]:
    return tuple(Bound(key[4:], _OP[key[:4]], float(value)) for key, value in validation.items() if key[:4] in _OP and key[4:])


def _validate(document: Any, source: str, line_of: Any) -> Policy:
    from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictBool, StrictInt, ValidationError

    class Validation(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        bounds: dict[str, FiniteFloat] = Field(default_factory=dict)
        dataset: str | None = Field(default=None, min_length=1)
        beats_production: dict[str, FiniteFloat] = Field(default_factory=dict)
        promote_on_pass: str | None = Field(default=None, pattern=r"^production\z")
        notify_on_fail: str | list[str] = Field(default_factory=list)
        notify_on_promote: str | list[str] = Field(default_factory=list)
        notify_on_rollback: str | list[str] = Field(default_factory=list)

    class Approvals(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        required: StrictInt = Field(default=1, ge=0)
        not_author: StrictBool = False
        approvers: list[str] = Field(default_factory=list)
        signed: StrictBool = False

    class Document(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        validation: Validation
        approvals: Approvals | None = None

    def fail(path: Sequence[Any], why: str) -> UsageError:
        line = line_of(path)
        where = f"{source}, line {line}" if line else source
        return UsageError(f"{where}: {'.'.join(map(str, path)) or 'the document'}: {why}")

    if not isinstance(document, Mapping):
        raise fail((), "must be a mapping with the key 'validation'")
    shaped = dict(document)
    if isinstance(shaped.get("validation"), Mapping):
        validation = dict(shaped["validation"])
        bounds = {k: validation.pop(k) for k in list(validation) if str(k)[:4] in _OP and len(str(k)) > 4}
        if "bounds" in validation:
            raise fail(("validation", "bounds"), "is no key of a policy")
        shaped["validation"] = validation | {"bounds": bounds}
        if empty := [("validation", key) for key in validation if validation[key] is None]:
            raise fail(empty[0], "is empty: give it a value, or leave it out")
    if "approvals" in shaped and shaped["approvals"] is None:
        raise fail(("approvals",), "is empty: give it a value, or leave it out")
    try:
        parsed = Document.model_validate(shaped)
    except ValidationError as error:
        first = error.errors()[0]
        path = [step for step in first["loc"] if step not in ("bounds", "str", "list[str]")]
        why = "is no key of a policy" if first["type"] == "extra_forbidden" else first["msg"]
        raise fail(path, why) from None
    rules = parsed.validation
    notified = {key: (said,) if isinstance(said := getattr(rules, key), str) else tuple(said) for key in NOTIFY}
    for key, targets in notified.items():
        if wrong := [target for target in targets if not _TARGET.fullmatch(target)]:
            raise fail(("validation", key), f"{wrong[0]!r} is not slack:#channel, hook:NAME or exec:NAME")
    approvals = parsed.approvals or Approvals(required=0)
    if why := _impossible(approvals.required, approvals.approvers, approvals.signed):
        raise fail(("approvals", "approvers" if approvals.approvers else "signed"), why)
    return Policy(
        bounds=_bounds(rules.bounds),
        dataset=rules.dataset,
        dataset_name=rules.dataset,
        beats_production=tuple(rules.beats_production.items()),
        promote_on_pass=rules.promote_on_pass,
        **notified,
        approvals_required=approvals.required,
        approvals_not_author=approvals.not_author,
        approvers=tuple(approvals.approvers),
        approvals_signed=approvals.signed,
    )


def _impossible(required: int, approvers: Sequence[str], signed: bool) -> str:
    """Why approvals so asked for make no sense; '' where they do."""
    if wrong := [name for name in approvers if not name.strip() or not name.isprintable()]:
        return f"{wrong[0]!r} is nobody: write an actor ('grace') or a mail address"
    if approvers and required > len(set(approvers)):
        return f"{required} approvals can't come from {len(set(approvers))} approvers"
    return "there is nothing to approve where `required` is 0" if (approvers or signed) and not required else ""


@cache
def _loader() -> Any:
    """PyYAML's SafeLoader, which takes 1e-3 for a number as YAML 1.2 does (in YAML 1.1 it is text)."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    exponent = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+\Z")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", exponent, list("-+.0123456789"))
    return Loader


def _check_nodes(node: Any, source: str) -> None:
    """Refuse what PyYAML lets through: repeated keys (it keeps the last) and scalars that it chokes on."""
    seen = set[int]()
    waiting = [node] if node is not None else []
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias, perhaps to what it stands in
            continue
        seen.add(id(node))
        if node.id == "scalar":
            try:
                _loader()("").construct_object(node)
            except ValueError as error:
                where = f"{source}, line {node.start_mark.line + 1}"
                raise UsageError(f"{where}: {node.value[:40]!r} can't be read ({error}): put it in quotes") from None
        elif node.id == "sequence":
            waiting += node.value
        else:
            _refuse_repeated_keys(node.value, source)
            waiting += [value for _, value in node.value]


def _refuse_repeated_keys(pairs: list[tuple[Any, Any]], source: str) -> None:
    seen = set[str]()
    for key, _ in pairs:
        where = f"{source}, line {key.start_mark.line + 1}"
        if key.id != "scalar":
            raise UsageError(f"{where}: a key is a word, not a list or a mapping")
        if key.tag == "tag:yaml.org,2002:merge":  # a few lines of them make a document of any size
            raise UsageError(f"{where}: << is no key of a policy: write its keys out")
        if key.value in seen:
            raise UsageError(f"{where}: {key.value} stands here a second time")
        seen.add(key.value)


def _line_of(node: Any, path: Sequence[Any]) -> int:
    """The line of the deepest key of `path` that the YAML node has."""
    line = node.start_mark.line + 1 if node is not None else 1
    for step in path:
        if node is None or node.id != "mapping":
            break
        for key, value in node.value:
            if key.value == str(step):
                line, node = key.start_mark.line + 1, value
                break
        else:
            break
    return int(line)
