"""The policy language: all of it, and every way to get it wrong, with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifpdb import policyfile
from ifpdb.errors import UsageError
from ifpdb.policy import Bound, Policy

WHOLE = """\
validation:
  min_f1: 0.90                 # as in the contract
  max_rmse: 3
  dataset: holdout-2025q4
  beats_production: {f1: 0.0, auc: -0.01}
  promote_on_pass: production
  notify_on_fail: [slack:#ml-alerts, hook:pager, exec:mail-me]
approvals: {required: 2, not_author: true}
"""


def test_the_whole_language_is_understood() -> None:
    assert policyfile.parse(WHOLE) == Policy(
        bounds=(Bound("f1", ">=", 0.9), Bound("rmse", "<=", 3.0)),
        dataset="holdout-2025q4",
        dataset_name="holdout-2025q4",
        beats_production=(("f1", 0.0), ("auc", -0.01)),
        promote_on_pass="production",
        notify_on_fail=("slack:#ml-alerts", "hook:pager", "exec:mail-me"),
        approvals_required=2,
        approvals_not_author=True,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("validation: {}", Policy()),
        ('{"validation": {"min_f1": 1}}', Policy(bounds=(Bound("f1", ">=", 1.0),))),
        ("validation: {min_val/f1@0.5: -1e-3}", Policy(bounds=(Bound("val/f1@0.5", ">=", -0.001),))),
        ("validation: {min_max_error: 1, max_min_x: 2}", Policy(bounds=(Bound("max_error", ">=", 1), Bound("min_x", "<=", 2)))),
        ("validation: {notify_on_fail: slack:#ml}", Policy(notify_on_fail=("slack:#ml",))),
        ("validation: {}\napprovals: {}", Policy(approvals_required=1)),
        ("validation: &v {min_f1: &x 0.9, max_f1: *x}", Policy(bounds=(Bound("f1", ">=", 0.9), Bound("f1", "<=", 0.9)))),
    ],
)
def test_each_part_may_stand_alone(text: str, expected: Policy) -> None:
    assert policyfile.parse(text) == expected


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (1, ""),
        (1, "just words"),
        (1, "- a list"),
        (1, "approvals: {required: 1}"),
        (2, "validation:\n  min_f1: high"),
        (2, "validation:\n  min_f1: '0.9'"),
        (2, "validation:\n  min_f1: '1e-3'"),
        (2, "validation:\n  min_f1: 1e999"),
        (2, "validation:\n  min_f1: true"),
        (2, "validation:\n  min_f1: [0.9]"),
        (2, "validation:\n  min_f1:"),
        (2, "validation:\n  min_f1: .nan"),
        (2, "validation:\n  min_f1: .inf"),
        (2, "validation:\n  f1: 0.9"),
        (2, "validation:\n  min_: 0.9"),
        (2, "validation:\n  bounds: {f1: 0.9}"),
        (3, "validation:\n  min_f1: 0.9\n  promote_on_pas: production"),
        (3, "validation:\n  min_f1: 0.9\n  min_f1: 0.8"),
        (2, "validation:\n  dataset:"),
        (2, "validation:\n  dataset: 7"),
        (2, "validation:\n  dataset: ''"),
        (2, "validation:\n  dataset: 2025-13-45"),
        (2, "validation:\n  beats_production: 0.1"),
        (3, "validation:\n  beats_production:\n    f1: much"),
        (2, "validation:\n  promote_on_pass: staging"),
        (2, "validation:\n  promote_on_pass: true"),
        (2, "validation:\n  notify_on_fail: mail:ada"),
        (2, "validation:\n  notify_on_fail: [slack:#ml, 7]"),
        (2, "validation:\n  notify_on_fail: 'exec:rm -rf /'"),
        (2, "validation: {}\napprovals:"),
        (2, "validation: {}\napprovals: {required: -1}"),
        (2, "validation: {}\napprovals: {required: 1.5}"),
        (2, "validation: {}\napprovals: {required: true}"),
        (3, "validation: {}\napprovals:\n  not_author: 'yes'"),
        (3, "validation: {}\napprovals:\n  approver: [ada]"),
        (3, "validation: {}\napprovals:\n  approvers: ada"),
        (3, "validation: {}\napprovals:\n  approvers: []"),
        (3, "validation: {}\napprovals:\n  approvers:"),
        (3, "validation: {}\napprovals:\n  approvers: [ada, 7]"),
        (3, "validation: {}\napprovals:\n  approvers: ['']"),
        (4, "validation: {}\napprovals:\n  required: 2\n  approvers: [ada, ada]"),
        (4, "validation: {}\napprovals:\n  required: 0\n  approvers: [ada]"),
        (4, "validation: {}\napprovals:\n  required: 0\n  signed: true"),
        (3, "validation: {}\napprovals:\n  signed: 1"),
        (2, "validation: {}\nvalidtion: {}"),
        (2, "validation:\n  1: 2"),
        (2, "validation:\n  ? [a, b]\n  : 1"),
        (2, "validation:\n\tmin_f1: 0.9"),
        (2, "validation:\n  min_f1: 0.9: 1"),
        (2, "validation: {}\n--- \nvalidation: {}"),
        (2, "validation:\n  min_f1: \x07"),
        (1, "validation: !!python/object:os.system {}"),
        (1, "validation: &v {beats_production: *v}"),
        (1, "validation: *nowhere"),
        (1, "[" * 5000),
    ],
)
def test_a_wrong_policy_is_refused_with_the_line(line: int, text: str) -> None:
    with pytest.raises(UsageError, match=rf"^gate\.yaml, line {line}: "):
        policyfile.parse(text, source="gate.yaml")


def test_aliases_that_multiply_cost_no_time() -> None:
    levels = "".join(f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 40))
    with pytest.raises(UsageError, match=r"line 2: .*l0: is no key of a policy"):
        policyfile.parse(f"validation:\n  l0: &l0 [lol]\n{levels}")


@given(st.text(max_size=60) | st.text(alphabet="validation: {}[]min_f109.\n-&*!", max_size=60))
def test_any_text_is_a_policy_or_a_usage_error(text: str) -> None:
    try:
        policyfile.parse(text)
    except UsageError as error:
        assert str(error).startswith("policy, line ")


def test_a_mapping_is_understood_as_the_file_is() -> None:
    given_outright = {"validation": {"min_f1": 0.9}, "approvals": {"required": 1}}
    assert policyfile.from_mapping(given_outright) == policyfile.parse("validation: {min_f1: 0.9}\napprovals: {required: 1}")
    with pytest.raises(UsageError, match=r"^policy: validation\.f1: is no key"):
        policyfile.from_mapping({"validation": {"f1": 0.9}})
