"""Canonical JSON against the RFC's own examples, and what a version's digest does and doesn't depend on."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ifpdb import digest
from ifpdb.errors import UsageError

SAFE = st.integers(-digest.MAX_SAFE_INTEGER, digest.MAX_SAFE_INTEGER)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | SAFE | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)


def as_javascript_reads_it(digits: str) -> float:
    number = int(digits)
    return number if abs(number) <= digest.MAX_SAFE_INTEGER else float(number)


def test_the_example_of_rfc_8785_section_3_2_3_comes_out_byte_for_byte() -> None:
    value = json.loads(
        '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
        ' "string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/", "literals": [null, true, false]}'
    )
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert digest.canonical(value) == expected.encode()


def test_keys_are_sorted_by_utf16_as_in_rfc_8785_section_3_2_3() -> None:
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    keys = list(json.loads(digest.canonical(value)))
    assert keys == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@given(JSON | st.integers() | st.floats())
def test_the_fast_way_of_writing_and_the_reference_agree(value: Any) -> None:
    try:
        expected = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        with pytest.raises(UsageError):
            digest.canonical(value)
    else:
        assert digest.canonical(value) == expected


@pytest.mark.parametrize("number", [1e-4, 9.999e-5, 1e16, 9999999999999998.0, 0.1, 123456789.5, 4503599627370495.5, 1e21, -0.5])
def test_numbers_near_where_python_and_javascript_part_are_written_as_javascript_does(number: float) -> None:
    assert digest.canonical([number, -number]) == rfc8785.dumps([number, -number])


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0"), (-0.0, "0"), (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"), (1e21, "1e+21"),
     (1e20, "100000000000000000000"), (1e-7, "1e-7"), (0.000001, "0.000001"), (9007199254740991, "9007199254740991")],
)  # fmt: skip
def test_numbers_are_written_as_javascript_writes_them(number: float, text: str) -> None:
    assert digest.canonical(number) == text.encode()


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, [-math.inf], 2**53, {"a": -(2**60)}, {1: 2}, "\ud800", {"\ud800": 1}, print, {1, 2}, b"x"],
    ids=ascii,
)
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="not JSON"):
        digest.canonical(value)


def test_what_nests_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UsageError, match="not JSON"):
        digest.canonical(endless)


@given(JSON)
def test_canonical_json_means_what_it_was_made_of_and_is_its_own_canonical_form(value: Any) -> None:
    written = digest.canonical(value)
    read = json.loads(written, parse_int=as_javascript_reads_it)
    assert read == value
    assert digest.canonical(read) == written


@given(st.dictionaries(TEXT, SAFE, min_size=2), st.randoms(use_true_random=False))
def test_the_order_of_keys_makes_no_difference(value: dict[str, int], chance: random.Random) -> None:
    shuffled = list(value.items())
    chance.shuffle(shuffled)
    assert digest.canonical(dict(shuffled)) == digest.canonical(value)


def test_a_digest_is_sha256_and_goes_both_ways() -> None:
    empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest.sha256(b"") == empty
    assert digest.to_text(digest.to_bytes(empty)) == empty


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:abc", "a" * 64, "sha256:" + "A" * 64, "sha256:" + " " * 64])
def test_what_is_no_digest_has_no_bytes(text: str) -> None:
    with pytest.raises(UsageError, match="is no digest"):
        digest.to_bytes(text)


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), (0.5, 0.5), (math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
def test_a_float_that_json_has_no_number_for_is_written_as_a_word(value: float | None, expected: object) -> None:
    assert digest.number_to_json(value) == expected


@given(st.none() | st.integers())
def test_every_seed_has_a_canonical_form(seed: int | None) -> None:
    read = json.loads(digest.canonical(digest.integer_to_json(seed)))
    assert (None if read is None else int(read)) == seed


def manifest(**changed: Any) -> bytes:
    training = {"params": {"lr": 0.1, "C": 1}, "seed": 7, "code": "sha256:c", "packages": {"numpy": "2.0"}} | changed.pop(
        "training", {}
    )
    parts = {
        "weights": "sha256:w",
        "data": [("train", "sha256:b", None), ("train", "sha256:a", None), ("pretrain", None, "s3://x#1")],
        "schema": "sha256:s",
        "training": digest.training_record(**training),
    } | changed
    return digest.canonical(digest.manifest(**parts))


BASE = manifest()


@pytest.mark.parametrize(
    "same",
    [
        {"data": [("pretrain", None, "s3://x#1"), ("train", "sha256:a", None), ("train", "sha256:b", None)]},
        {"data": [("train", "sha256:b", None), ("train", "sha256:a", None), ("pretrain", None, "s3://x#1"),
                  ("test", "sha256:t", None), ("holdout", None, "s3://h#2")]},
        {"data": [("train", "sha256:b", None), ("train", "sha256:a", None), ("train", "sha256:b", "copy.csv"),
                  ("pretrain", None, "s3://x#1")]},
        {"training": {"params": {"C": 1, "lr": 0.1}}},
    ],
    ids=["another order", "evaluation data", "the same data twice", "parameters in another order"],
)  # fmt: skip
def test_a_manifest_stays_the_same(same: dict[str, Any]) -> None:
    assert manifest(**same) == BASE


@pytest.mark.parametrize(
    "other",
    [
        {"weights": "sha256:v"},
        {"schema": None},
        {"data": [("train", "sha256:b", None), ("train", "sha256:a", None)]},
        {"data": [("train", "sha256:b", None), ("train", "sha256:a", None), ("train", None, "s3://x#1")]},
        {"training": {"params": {"lr": 0.2, "C": 1}}},
        {"training": {"params": {"lr": 0.1, "C": "1"}}},
        {"training": {"params": {"lr": 0.1, "C": True}}},
        {"training": {"seed": 8}},
        {"training": {"seed": None}},
        {"training": {"code": None}},
        {"training": {"packages": {"numpy": "2.1"}}},
    ],
)
def test_a_manifest_differs_by_each_of_its_parts(other: dict[str, Any]) -> None:
    assert manifest(**other) != BASE


def test_missing_parts_are_listed_in_their_order() -> None:
    nothing = digest.manifest(weights=None, data=[("test", "sha256:t", None)], schema=None, training=None)
    assert digest.missing_parts(nothing) == ("weights", "data", "schema", "training")
    assert digest.training_record(params=None, seed=None, code=None, packages=None) is None
    assert digest.training_record(params={}, seed=None, code=None, packages=None) is not None
    assert digest.missing_parts(json.loads(BASE)) == ()
