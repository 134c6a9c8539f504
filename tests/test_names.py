"""Names: what is admitted, what is refused, and what is suggested instead."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ifpdb import names
from ifpdb.errors import UsageError


@pytest.mark.parametrize(
    "name", ["fraud-detector", "a", "0day", "resnet-50", "gpt.small_x", "x" * 128, "newsvendor", "goldfinal"]
)
def test_a_plain_model_name_is_taken_as_it_is(name: str) -> None:
    assert names.check_model(name) == name


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("fraud_model_final", "fraud_model"),
        ("fraud-v2", "fraud"),
        ("fraud_v2.1", "fraud"),
        ("fraud-version3", "fraud"),
        ("fraud-1.0.2", "fraud"),
        ("modelFIXED", "model"),
        ("fraudV2", "fraud"),
        ("m_copy", "m"),
        ("m.pkl", "m"),
        ("m.tar.gz", "m"),
        ("fraud_final_v2_use_this.pkl", "fraud"),
        ("fraud-latest", "fraud"),
        ("run-fraud-v2", "fraud"),
        ("foo!-v2", "foo"),
        ("_final", "my-model"),
    ],
)
def test_a_version_in_disguise_is_refused_with_the_name_that_was_meant(name: str, better: str) -> None:
    with pytest.raises(UsageError, match="version in disguise") as caught:
        names.check_model(name)
    assert f"'{better}'" in str(caught.value)


@pytest.mark.parametrize("name", ["fraud_model_final", "fraud-v2", "m.pkl"])
def test_who_insists_gets_a_name_that_looks_like_a_version(name: str) -> None:
    assert names.check_model(name, allow=True) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "Fraud", "a b", "a/b", "é", "a\n", "x" * 129, "run-7q3k9x2mab", 5, None])
def test_a_malformed_model_name_is_refused_even_to_who_insists(name: str) -> None:
    with pytest.raises(UsageError):
        names.check_model(name, allow=True)


@given(st.text(max_size=30) | st.from_regex(r"[a-zA-Z0-9!]{0,9}([-._](v2|final|copy)|FIXED|\.pkl){1,3}", fullmatch=True))
@example("0:FIXED")
def test_what_is_suggested_for_a_model_would_be_taken(name: str) -> None:
    try:
        assert names.check_model(name) == name
    except UsageError as error:
        for suggestion in re.findall(r"(?:name the model|try) '([^']*)'", str(error)):
            names.check_model(suggestion)


@pytest.mark.parametrize("tag", ["data-v14", "q1-retrain", "v8", "latest", "m.pkl"])
def test_a_tag_may_look_like_a_version(tag: str) -> None:
    assert names.check_tag(tag) == tag


@pytest.mark.parametrize("tag", ["", "Q1", "a b", "-x", "x" * 129])
def test_a_malformed_tag_is_refused(tag: str) -> None:
    with pytest.raises(UsageError, match="tag"):
        names.check_tag(tag)


@pytest.mark.parametrize("label", ["2025-Q4", "Gold", "v8b", "beta.1"])
def test_a_label_may_have_capitals(label: str) -> None:
    assert names.check_label(label) == label


@pytest.mark.parametrize("label", ["latest", "production", "staging", "shadow", "archived", "v8", "v10", "", "a b", "-Q4"])
def test_a_label_that_means_something_else_is_refused(label: str) -> None:
    with pytest.raises(UsageError, match="label"):
        names.check_label(label)


@pytest.mark.parametrize("role", ["train", "hold_out", "test-2"])
def test_a_dataset_role_is_a_lower_case_word(role: str) -> None:
    assert names.check_role(role) == role


@pytest.mark.parametrize("role", ["", "Train", "a b", "a.b", "x" * 65, 7])
def test_another_dataset_role_is_refused(role: str) -> None:
    with pytest.raises(UsageError, match="dataset role"):
        names.check_role(role)


@pytest.mark.parametrize("key", ["f1", "val/f1@0.5", "größe", "a b", "x" * 250])
def test_a_metric_may_be_called_almost_anything(key: str) -> None:
    assert names.check_key(key, "metric") == key


@pytest.mark.parametrize("key", ["", "a\tb", "a\nb", "\x00", "\x85", "\u2028", "\ud800", "x" * 251, 1, None])
def test_a_key_that_would_break_a_line_or_a_file_is_refused(key: object) -> None:
    with pytest.raises(UsageError, match="metric"):
        names.check_key(key, "metric")


@pytest.mark.parametrize("stage", names.STAGES)
def test_each_stage_is_a_stage(stage: str) -> None:
    assert names.check_stage(stage) == stage


@pytest.mark.parametrize("kind", names.KINDS)
def test_each_kind_of_lineage_is_one(kind: str) -> None:
    assert names.check_kind(kind) == kind


def test_another_stage_or_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="staging, shadow, production, archived"):
        names.check_stage("prod")
    with pytest.raises(UsageError, match="fine_tuned_from"):
        names.check_kind("child_of")


def test_a_name_without_end_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="at most 128"):
        names.check_model("a" + "-v1" * 300_000)


@pytest.mark.parametrize(
    ("actor", "who"),
    [
        ("ada", "ada"),
        ("Ada Lovelace <ada@example.org>", "ada@example.org"),
        ("Ada <ada@example.org> ", "ada@example.org"),
        ("<ada@example.org>", "ada@example.org"),
        ("ada <>", "ada <>"),
        ("ada <a b>", "ada <a b>"),
        ("a <b> c", "a <b> c"),
        ("eve <grace@example.org> <eve@example.org>", "eve@example.org"),
    ],
)
def test_a_person_is_the_mail_address_or_else_the_name(actor: str, who: str) -> None:
    assert names.principal(actor) == who
