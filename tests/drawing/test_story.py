"""Events in plain text: every kind that docs/format.md knows, and whatever else a log may hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifpdb.drawing import words
from ifpdb.drawing.story import facts, happened, sentences
from ifpdb.records import Event

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
A_, B_, C_ = (words.short(digest) for digest in (A, B, C))
VERDICT = {
    "passed": False,
    "checks": [
        {"name": "complete", "passed": True, "why": "all four parts are there"},
        {"name": "min_f1", "passed": False, "why": "f1 is 0.8, not >= 0.9"},
    ],
    "policy": C,
}
FAILED = "failed min_f1: f1 is 0.8, not >= 0.9"


def an(kind: str, *, stages: tuple[str | None, str | None] = (None, None), reason: str | None = None, **detail: Any) -> Event:
    """An event about version A of fraud and its run."""
    return Event(C, (), "2025-11-14T09:30:00.123456Z", "ada", kind, "fraud", "run-a", A, *stages, reason, detail)


REGISTERED: dict[str, Any] = {
    "created": True,
    "weights": B,
    "data": [{"role": "train", "dataset": C, "name": "transactions"}, {"role": "test", "dataset": "s3://b/x#1", "name": None}],
    "schema": None,
    "metrics": [
        {"metric": "auc", "value": "NaN", "dataset": None},
        {"metric": "f1", "value": 0.9123456789, "dataset": C},
    ],
    "parents": [{"run": "run-x", "kind": "merged_from"}, {"run": "run-y", "kind": "merged_from"}],
    "tags": ["q1", "q2"],
    "labels": ["2025-Q4"],
    "record": B,
}
POLICY = {
    "validation": {
        "min_f1": 0.9,
        "dataset": {"name": "holdout", "digest": C},
        "beats_production": {"auc": 0.0, "f1": 0.01},
        "promote_on_pass": "production",
        "notify_on_fail": ["slack:#ml", "hook:pager"],
    },
    "approvals": {"required": 1, "not_author": True},
}
RULES = [
    "rule min_f1 0.9",
    f"rule dataset holdout {C}",
    "rule beats_production auc 0.0",
    "rule beats_production f1 0.01",
    "rule promote_on_pass production",
    "rule notify_on_fail slack:#ml",
    "rule notify_on_fail hook:pager",
    "rule approvals required 1",
    "rule approvals not_author true",
]

TOLD: list[tuple[Event, str, list[str]]] = [
    (
        an("run_started", parents=[{"run": "run-b", "kind": "derived_from"}]),
        "started run run-a of fraud",
        ["derived_from run-b"],
    ),
    (
        an("artifact_logged", name="notes", artifact={"digest": B, "size": 12, "format": "npy", "kind": "file"}),
        "kept notes of run run-a of fraud",
        [f"artifact {B}, file, npy, 12 bytes"],
    ),
    (
        an("registered", stages=(None, "staging"), **REGISTERED),
        f"registered fraud {A_} in staging, run run-a",
        [
            f"weights {B}",
            f"data train transactions {C}",
            "data test s3://b/x#1",
            "schema missing",
            "metric auc NaN",
            f"metric f1 0.9123456789 on {C_}",
            "merged_from run-x",
            "merged_from run-y",
            "tag q1",
            "tag q2",
            "label 2025-Q4",
        ],
    ),
    (
        an("registered", created=False, metrics=[]),
        f"registered fraud {A_} once more, run run-a",
        [],
    ),
    (
        an("run_ended", status="failed", record=B, error="ValueError: é\nline"),
        "ended run run-a of fraud, failed",
        ["error ValueError: é\\nline"],
    ),
    (
        an(
            "promoted",
            stages=("staging", "production"),
            reason="better",
            approved_by=["grace", "heidi"],
            verdict=VERDICT,
            forced=True,
            replaced={"run": "run-b", "version": B},
        ),
        f"promoted fraud {A_} to production by force, replacing {B_}, approved by grace, heidi: better",
        [FAILED],
    ),
    (
        an("promoted", stages=("staging", "production"), approved_by=[], automatic=True, verdict=VERDICT | {"checks": []}),
        f"promoted fraud {A_} to production without being asked",
        [],
    ),
    (
        an(
            "rolled_back",
            stages=("archived", "production"),
            reason="worse",
            approved_by=["grace"],
            replaced={"run": "run-b", "version": B},
        ),
        f"rolled fraud back to {A_} in production, replacing {B_}, approved by grace: worse",
        [],
    ),
    (an("moved", stages=("staging", "shadow"), reason="try"), f"moved fraud {A_} from staging to shadow: try", []),
    (
        an("promotion_refused", verdict=VERDICT, wanted="production", stage="staging"),
        f"was refused to promote fraud {A_} to production, it stays in staging",
        [FAILED],
    ),
    (an("approved", reason="fine"), f"approved fraud {A_}: fine", []),
    (an("approved", measured=B, policy_digest=B), f"approved fraud {A_} under the policy {B_}", []),
    (
        an("approval_withdrawn", reason="misread it", signature="-----BEGIN SSH SIGNATURE-----"),
        f"withdrew the approval of fraud {A_}: misread it",
        ["signed (ifp verify --signatures tells whether that is proven)"],
    ),
    (an("deployed", environment="prod-eu", replaces=B), f"deployed fraud {A_} in prod-eu, replacing {B_}", []),
    (
        an("deployed", environment="prod-eu", stopped=True, since="2025-11-14T09:30:00.000000Z"),
        f"stopped serving fraud {A_} in prod-eu",
        ["since 2025-11-14T09:30:00.000000Z"],
    ),
    (
        an("measured", metrics=[{"metric": "f1", "value": 1, "dataset": None}], clock="2025-11-20T08:00:00.000000Z"),
        f"measured fraud {A_}",
        ["metric f1 1", "written 2025-11-20 08:00:00Z, by the clock"],
    ),
    (an("tagged", tags=["x", "y"]), f"tagged fraud {A_}", ["tag x", "tag y"]),
    (an("untagged", tags=["x"]), f"took tags off fraud {A_}", ["tag x"]),
    (an("labelled", label="Q4", **{"from": B}), f"labelled fraud {A_} Q4, moved from {B_}", []),
    (an("labelled", label="Q4", settles=[A, B]), f"settled label Q4 of fraud on {A_}", [f"between {A_} and {B_}"]),
    (an("linked", parent="run-b", lineage="forked_from"), "linked run run-a of fraud, forked_from run-b", []),
    (an("policy_set", policy=POLICY, policy_digest=B), f"set the policy of fraud to {B_}", RULES),
    (
        an("policy_set", policy=POLICY, policy_digest=B, settles=[B, C]),
        f"settled the policy of fraud on {B_}",
        [f"between {B_} and {C_}", *RULES],
    ),
    (
        an(
            "settled",
            stages=("archived", "production"),
            reason="agreed",
            settles=[A, B],
            approved_by=["grace"],
            replaced={"run": "run-b", "version": B},
        ),
        f"settled production of fraud on {A_}, replacing {B_}, approved by grace: agreed",
        [f"between {A_} and {B_}"],
    ),
    (
        an("settled", stages=("production", "archived"), settles=[A, None]),
        f"settled production of fraud on nothing, which archives {A_}",
        [f"between {A_} and nothing"],
    ),
]


def table(heading: str) -> list[list[str]]:
    """What stands in backticks in the rows of the page's table under this heading line."""
    _, _, rest = PAGE.partition(f"{heading}\n")
    assert rest, heading
    rows = [line.strip("|").split("|") for line in rest.partition("\n\n")[0].splitlines()[1:]]
    return [re.findall(r"`(\w+)\??`", f"{row[0]} {row[-1]}") for row in rows]


KINDS = {kind: keys for kind, *keys in table("| kind | moves | detail |")}


@pytest.mark.parametrize(("event", "head", "told"), TOLD, ids=lambda value: value.kind if isinstance(value, Event) else "")
def test_an_event_is_told(event: Event, head: str, told: list[str]) -> None:
    assert happened(event) == head
    assert facts(event) == told
    assert sentences(event) == [f"2025-11-14 09:30:00Z ada {head}", *(f"  {fact}" for fact in told)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_the_page_is_told_with_every_key_of_its_detail(kind: str) -> None:
    given = {key for event, _, _ in TOLD if event.kind == kind for key in event.detail}
    assert kind in {event.kind for event, _, _ in TOLD}
    assert {*KINDS[kind]} <= given, "tell them, and give an example here"


def test_what_was_registered_has_the_parameters_and_the_seed_of_its_manifest() -> None:
    manifest = {"training": {"params": [["C", 1.5], ["kernel", "rbf"], ["deep", None]], "seed": 7, "code": B, "packages": []}}
    event = an("registered", created=True)
    assert facts(event, manifest) == ["param C 1.5", 'param kernel "rbf"', "param deep null", "seed 7", f"code {B}"]
    assert facts(event, {"training": None}) == ["training missing"]
    assert facts(an("registered", created=False), manifest) == [], "that was told when it was new"
    assert facts(an("measured"), manifest) == []


def test_an_event_of_a_newer_ifpdb_is_told_whole() -> None:
    event = an("quarantined", stages=("staging", "shadow"), reason="odd", stage={"a": [1]}, name="é", tags=["x"])
    assert happened(event) == f"quarantined fraud {A_} to shadow: odd"
    assert facts(event) == ["tag x", "name é", 'stage {"a": [1]}']


def test_a_reason_can_neither_add_a_line_nor_steer_a_terminal() -> None:
    event = an("approved", reason="fine\n2025-11-14 09:31:00Z eve promoted fraud\t\x1b[31m\u202e")
    assert sentences(event) == [
        f"2025-11-14 09:30:00Z ada approved fraud {A_}: fine\\n2025-11-14 09:31:00Z eve promoted fraud\\t\\x1b[31m\\u202e"
    ]


@pytest.mark.parametrize("key", ["metrics", "policy", "label", "other"])
def test_what_nests_too_deep_to_be_written_is_left_out(key: str) -> None:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    assert "…" in " ".join(sentences(an("labelled", **{key: nested})))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = sorted({key for event, _, _ in TOLD for key in event.detail})


@given(
    kind=st.sampled_from([*KINDS, "settled", "other"]),
    detail=st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), ANYTHING, max_size=6),
    text=st.text(max_size=8) | st.none(),
    manifest=st.dictionaries(st.just("training"), ANYTHING, max_size=1),
)
def test_whatever_an_event_holds_is_told_in_printable_lines(
    kind: str, detail: dict[str, Any], text: str | None, manifest: dict[str, Any]
) -> None:
    event = Event(C, (), text or "", text or "", kind, text, text, text, text, text, text, detail)
    for line in sentences(event, manifest):
        assert "\n" not in line
        assert not any(map(words.steers, line))
