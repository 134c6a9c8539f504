"""References: every form in the contract is taken apart, and nothing else gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifpdb.errors import UsageError
from ifpdb.refs import Ref, Step, base_of, parse

HEX = "a4f9c22e"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run-7q3k9x2mab", {"run": "run-7q3k9x2mab"}),
        ("run-8832", {"run": "run-8832"}),
        (f"sha256:{HEX}", {"digest": HEX}),
        (f"fraud-detector@sha256:{HEX}", {"model": "fraud-detector", "digest": HEX}),
        ("sha256:" + "0" * 64, {"digest": "0" * 64}),
        ("fraud-detector", {"model": "fraud-detector", "name": "production"}),
        ("fraud-detector@production", {"model": "fraud-detector", "name": "production"}),
        ("fraud-detector@shadow", {"model": "fraud-detector", "name": "shadow"}),
        ("fraud-detector@latest", {"model": "fraud-detector", "name": "latest"}),
        ("fraud-detector@v8", {"model": "fraud-detector", "name": "v8"}),
        ("fraud-detector@2025-Q4", {"model": "fraud-detector", "name": "2025-Q4"}),
        ("m~2", {"model": "m", "name": "production", "steps": (Step("ancestor", 2),)}),
        ("m@v8^2~", {"model": "m", "name": "v8", "steps": (Step("parent", 2), Step("ancestor", 1))}),
        ("run-a^^", {"run": "run-a", "steps": (Step("parent", 1), Step("parent", 1))}),
        ("m@{yesterday}", {"model": "m", "name": "production", "at": "yesterday"}),
        ("m@production@{2025-11-14}", {"model": "m", "name": "production", "at": "2025-11-14"}),
        ("m@staging@{3 days ago}~1", {"model": "m", "name": "staging", "at": "3 days ago", "steps": (Step("ancestor", 1),)}),
    ],
)
def test_each_form_is_taken_apart(text: str, expected: dict[str, object]) -> None:
    assert parse(text) == Ref(text, **expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "~1",
        "^",
        "@",
        "@production",
        f"@sha256:{HEX}",
        "m@",
        "m@@production",
        "a@b@production",
        "M@production",
        "m@pro duction",
        "m@production~x",
        "m@production~1x",
        "m~1@{2025-11-14}",
        "m@{a}@{b}",
        "m@production@{2025-11-14",
        "m@sha256:xyz",
        "run-",
        "run-ABC",
        "run-a/b",
        "../ifp.db",
        "m\n",
        "sha256:A4F9C22E",
    ],
)
def test_a_broken_reference_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


@pytest.mark.parametrize("digits", ["a4f9c2", "0" * 65, ""])
def test_a_digest_has_7_to_64_digits(digits: str) -> None:
    with pytest.raises(UsageError, match="7 to 64"):
        parse(f"sha256:{digits}")


@pytest.mark.parametrize("text", ["run-a@{2025-11-14}", f"sha256:{HEX}@{{2025-11-14}}", "m@v8@{2025-11-14}", "m@latest@{now}"])
def test_only_a_stage_has_a_past(text: str) -> None:
    with pytest.raises(UsageError, match="follows a model or a stage"):
        parse(text)


@given(st.text(max_size=40) | st.text(alphabet="am@~^{}1-sha256:runv .", max_size=30))
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    try:
        ref = parse(text)
    except UsageError:
        return
    assert ref.text == text
    assert sum(x is not None for x in (ref.run, ref.digest, ref.name)) == 1


@given(
    base=st.sampled_from(["m", "m@v8", "run-abc", f"sha256:{HEX}"]),
    steps=st.lists(st.tuples(st.sampled_from("~^"), st.integers(0, 10**9 - 1)), max_size=4),
)
def test_steps_are_kept_in_their_order(base: str, steps: list[tuple[str, int]]) -> None:
    text = base + "".join(f"{sign}{count}" for sign, count in steps)
    kinds = {"~": "ancestor", "^": "parent"}
    assert [(step.kind, step.count) for step in parse(text).steps] == [(kinds[sign], count) for sign, count in steps]
    assert base_of(text) == base


@pytest.mark.parametrize("text", ["m" + "~1" * 500, "a" * 10_000_000])
def test_a_reference_without_end_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="is no reference") as caught:
        parse(text)
    assert len(str(caught.value)) < 200


def test_a_step_too_great_for_any_history_is_still_great() -> None:
    assert parse("m~" + "9" * 900).steps[0].count >= 999_999_999
