"""What a policy says of a candidate, and how it stands in the log."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_policyfile import WHOLE

from ifpdb import policy, policyfile
from ifpdb.answers import Check, Verdict
from ifpdb.digest import canonical
from ifpdb.errors import UsageError
from ifpdb.policy import Approval, Bound, Candidate, Policy
from ifpdb.records import Measurement

HOLDOUT, OTHER, TRAIN = ("sha256:" + letter * 64 for letter in "abc")


def measured(metric: str, value: float, dataset: str | None = None) -> Measurement:
    return Measurement(metric, value, value, value, 1, dataset, "2026-01-01T00:00:00.000000Z")


def candidate(*measurements: Measurement, **changed: Any) -> Candidate:
    facts: dict[str, Any] = {
        "missing": (),
        "measurements": measurements,
        "training_data": frozenset({TRAIN}),
        "authors": frozenset({"ada"}),
        "approvals": (),
        "production": None,
    }
    return Candidate(**facts | changed)


def check(verdict: Verdict, name: str) -> Check:
    return next(found for found in verdict.checks if found.name == name)


LIMITS = st.floats(allow_nan=False, allow_infinity=False)
METRICS = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
POLICIES = st.builds(
    Policy,
    bounds=st.dictionaries(st.tuples(METRICS, st.sampled_from([">=", "<="])), LIMITS, max_size=3).map(
        lambda found: tuple(Bound(metric, op, limit) for (metric, op), limit in sorted(found.items()))
    ),
    dataset=st.none() | st.sampled_from([HOLDOUT, "s3://x#1"]),
    beats_production=st.dictionaries(METRICS, LIMITS, max_size=3).map(lambda found: tuple(sorted(found.items()))),
    promote_on_pass=st.none() | st.just("production"),
    notify_on_fail=st.lists(st.sampled_from(["slack:#a", "hook:b"]), max_size=2).map(tuple),
    approvals_required=st.integers(0, 3),
    approvals_not_author=st.booleans(),
    approvers=st.lists(st.sampled_from(["ada", "bob@example.org"]), max_size=2).map(tuple),
    approvals_signed=st.booleans(),
).filter(lambda found: found.approvals_required > 0 or not (found.approvers or found.approvals_signed))


@given(POLICIES)
def test_a_policy_comes_back_from_its_event(original: Policy) -> None:
    assert policy.from_event(original.as_dict()) == original
    from_log = policy.from_event(json.loads(canonical(original.as_dict())))
    assert from_log.digest == original.digest
    assert set(from_log.bounds) == set(original.bounds)


def test_the_digest_follows_the_meaning_and_not_the_text() -> None:
    assert (
        policyfile.parse("validation: {min_f1: 0.90}").digest
        == policyfile.parse("# why\nvalidation:\n  'min_f1': 9.0e-1\n").digest
    )
    assert policyfile.parse("validation: {min_f1: 0.90}").digest != policyfile.parse("validation: {min_f1: 0.91}").digest


def test_without_a_policy_nothing_passes() -> None:
    verdict = policy.evaluate(None, candidate(measured("f1", 1.0)))
    assert not verdict.passed
    assert "ifp policy set" in verdict.checks[0].why
    assert "--force --reason" in verdict.checks[0].why


@pytest.mark.parametrize(
    ("rule", "value", "passed"),
    [
        ("min_f1: 0.9", 0.9, True),
        ("min_f1: 0.9", 0.91, True),
        ("min_f1: 0.9", math.nextafter(0.9, 0), False),
        ("min_f1: 0.9", math.nan, False),
        ("min_f1: 0.9", -math.inf, False),
        ("max_f1: 0.9", 0.9, True),
        ("max_f1: 0.9", math.nextafter(0.9, 1), False),
        ("max_f1: 0.9", math.nan, False),
        ("max_f1: 0.9", math.inf, False),
    ],
)
def test_a_bound_holds_up_to_its_limit(rule: str, value: float, passed: bool) -> None:
    verdict = policy.evaluate(policyfile.parse(f"validation: {{{rule}}}"), candidate(measured("f1", value)))
    assert verdict.passed is passed
    found = check(verdict, rule.partition(":")[0])
    assert found.metric == "f1"
    assert found.threshold == 0.9
    assert repr(found.value) == repr(value)


@pytest.mark.parametrize(
    ("measurements", "why"),
    [
        ([], "never measured"),
        ([measured("accuracy", 1.0)], "never measured"),
        ([measured("f1", 1.0, TRAIN)], "only measured on the training data"),
        ([measured("f1", 1.0, HOLDOUT), measured("f1", 1.0, OTHER)], "`dataset:`"),
        ([measured("f1", 1.0, HOLDOUT), measured("f1", 1.0)], "`dataset:`"),
    ],
)
def test_a_metric_that_does_not_count_fails_with_the_reason(measurements: list[Measurement], why: str) -> None:
    verdict = policy.evaluate(policyfile.parse("validation: {min_f1: 0.5}"), candidate(*measurements))
    assert not verdict.passed
    assert why in check(verdict, "min_f1").why


def test_the_training_datas_metric_does_not_stand_beside_the_one_that_counts() -> None:
    both = candidate(measured("f1", 0.99, TRAIN), measured("f1", 0.4, HOLDOUT))
    found = check(policy.evaluate(policyfile.parse("validation: {min_f1: 0.5}"), both), "min_f1")
    assert (found.passed, found.value, found.dataset) == (False, 0.4, HOLDOUT)


@pytest.mark.parametrize(
    ("dataset", "passed"), [(HOLDOUT, True), (OTHER, False), (TRAIN, False), ("sha256:" + "d" * 64, False)]
)
def test_with_a_dataset_only_metrics_on_it_count(dataset: str, passed: bool) -> None:
    rules = Policy(bounds=(Bound("f1", ">=", 0.5),), dataset=dataset, dataset_name="q4")
    known = candidate(measured("f1", 0.9, HOLDOUT), measured("f1", 0.1, OTHER), measured("f1", 1.0, TRAIN), measured("f1", 1.0))
    found = check(policy.evaluate(rules, known), "min_f1")
    assert found.passed is passed
    assert found.value == {HOLDOUT: 0.9, OTHER: 0.1}.get(dataset)


@pytest.mark.parametrize(
    ("metric", "by", "ours", "theirs", "passed"),
    [
        ("f1", 0.0, 0.9, 0.9, True),
        ("f1", 0.0, 0.89, 0.9, False),
        ("f1", 0.5, 0.9, 0.25, True),
        ("f1", 0.5, 0.7, 0.25, False),
        ("f1", -0.5, 0.5, 1.0, True),
        ("rmse", 0.0, 1.0, 1.0, True),
        ("rmse", 0.0, 1.1, 1.0, False),
        ("rmse", 0.5, 0.5, 1.0, True),
        ("rmse", 0.5, 0.6, 1.0, False),
        ("log_loss", 0.0, 0.1, 0.2, True),
        ("Loss", 0.0, 0.2, 0.1, False),
        ("val-rmse", 0.0, 2.0, 1.0, False),
        ("mean_absolute_error", 0.0, 2.0, 1.0, False),
        ("neg_mean_absolute_error", 0.0, -1.0, -2.0, True),
        ("neg_mean_absolute_error", 0.0, -2.0, -1.0, False),
        ("lossless", 0.0, 2.0, 1.0, True),
        ("f1", 0.0, math.nan, 0.5, False),
        ("f1", 0.0, 0.5, math.nan, False),
    ],
)
def test_production_is_beaten_in_the_metrics_own_direction(
    metric: str, by: float, ours: float, theirs: float, passed: bool
) -> None:
    rules = policyfile.parse(f"validation: {{beats_production: {{{metric}: {by}}}}}")
    verdict = policy.evaluate(rules, candidate(measured(metric, ours), production=[measured(metric, theirs)]))
    assert verdict.passed is passed


def test_the_policys_own_bound_says_which_way_is_better() -> None:
    rules = policyfile.parse("validation: {max_latency: 9, beats_production: {latency: 0.0}}")
    for ours, passed in ((4.0, True), (6.0, False)):
        verdict = policy.evaluate(rules, candidate(measured("latency", ours), production=[measured("latency", 5.0)]))
        assert check(verdict, "beats_production.latency").passed is passed


def test_where_nothing_is_in_production_there_is_nothing_to_beat() -> None:
    rules = policyfile.parse("validation: {beats_production: {f1: 0.1}}")
    assert policy.evaluate(rules, candidate(measured("f1", 0.1))).passed
    assert not policy.evaluate(rules, candidate()).passed


@pytest.mark.parametrize("production", [[], [measured("f1", 0.1, OTHER)], [measured("f1", 0.1)], [measured("f1", 0.1, TRAIN)]])
def test_a_production_version_that_cannot_be_compared_is_not_beaten(production: list[Measurement]) -> None:
    rules = policyfile.parse("validation: {beats_production: {f1: 0.0}}")
    ours = candidate(measured("f1", 0.9, HOLDOUT), production=production, production_data=frozenset({TRAIN}))
    assert not policy.evaluate(rules, ours).passed


@pytest.mark.parametrize(
    ("required", "not_author", "approvers", "passed"),
    [
        (1, False, [], False),
        (1, False, ["ada"], True),
        (1, True, ["ada"], False),
        (1, True, ["ada", "bob"], True),
        (2, False, ["bob", "bob"], False),
        (2, True, ["bob", "cleo"], True),
        (0, True, [], True),
    ],
)
def test_approvals_are_counted_by_person(required: int, not_author: bool, approvers: list[str], passed: bool) -> None:
    rules = Policy(approvals_required=required, approvals_not_author=not_author)
    assert policy.evaluate(rules, candidate(approvals=[Approval(actor) for actor in approvers])).passed is passed


@pytest.mark.parametrize(
    ("approvals", "counted", "why"),
    [
        ([Approval("ada")], 0, "nobody; not counted: ada (its author)"),
        ([Approval("Ada L <ada>")], 0, "nobody; not counted: Ada L <ada> (its author)"),
        ([Approval("mallory")], 0, "nobody; not counted: mallory (none of the approvers)"),
        ([Approval("bob <mallory@x.org>")], 0, "nobody; not counted: bob <mallory@x.org> (none of the approvers)"),
        ([Approval("Bob <bob@x.org>")], 1, "Bob <bob@x.org>"),
        ([Approval("Bob <bob@x.org>"), Approval("bob@x.org")], 1, "Bob <bob@x.org>"),
        ([Approval("cleo", "stale: why")], 0, "nobody; not counted: cleo (stale: why)"),
        ([Approval("cleo", "stale: why"), Approval("cleo")], 1, "cleo"),
        ([Approval("cleo"), Approval("cleo", "not signed"), Approval("bob@x.org")], 2, "cleo, bob@x.org"),
    ],
)
def test_an_approval_that_does_not_count_is_told_with_the_reason(approvals: list[Approval], counted: int, why: str) -> None:
    rules = Policy(approvals_required=2, approvals_not_author=True, approvers=("ada", "bob@x.org", "cleo"))
    found = check(policy.evaluate(rules, candidate(approvals=approvals)), "approvals")
    assert (found.value, found.passed, found.why) == (float(counted), counted >= 2, f"{counted} of 2 approvals: {why}")


def test_a_partial_version_does_not_pass() -> None:
    verdict = policy.evaluate(Policy(), candidate(missing=("data", "schema")))
    assert not verdict.passed
    assert "data and schema" in check(verdict, "complete").why


def test_a_verdict_lists_every_failure_and_keeps_whom_to_tell() -> None:
    rules = policyfile.parse(WHOLE)
    verdict = policy.evaluate(rules, candidate())
    assert [found.name for found in verdict.failures] == [
        "min_f1",
        "max_rmse",
        "beats_production.f1",
        "beats_production.auc",
        "approvals",
    ]
    assert verdict.policy == rules.digest
    assert verdict.notify_on_fail == rules.notify_on_fail
    assert canonical(verdict.as_dict())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x: &x {min_f1: 0.9}\nvalidation:\n  <<: *x\n", "line 3: << is no key of a policy"),
        ("validation: {min_f1: 0.9}\n" + "# why\n" * 10_000, "more than 50,000 characters"),
    ],
)
def test_a_file_that_could_take_for_ever_to_read_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        policyfile.parse(text)
