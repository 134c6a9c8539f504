"""Secrets are taken out of arguments and URLs, and what is no secret stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifpdb.capture.redaction import redact, redact_text

SECRET = "hunter2-of-the-day"
KEY_BODY = "MIIEvQIBADANBgkqhkiG9w0BAQ\nEFAASCBKcw="


@pytest.mark.parametrize(
    "arguments",
    [
        ["--password", SECRET],
        [f"--password={SECRET}"],
        ["--db-passwd", SECRET],
        ["--api-key", SECRET],
        [f"--apikey={SECRET}"],
        [f"--wandb_token={SECRET}"],
        [f"TOKEN={SECRET}"],
        [f"AWS_SECRET_ACCESS_KEY={SECRET}"],
        [f"db.password={SECRET}"],
        [f"--set=db.password={SECRET}"],
        [f"postgresql://ada:{SECRET}@db/x"],
        [f"postgresql://ada:p@{SECRET}@db/x"],
        [f"--url=https://{SECRET}@github.com/x"],
        [f"https://x/y?sig={SECRET}"],
        [f"--url=https://x/y?a=1&access_token={SECRET}"],
        [f"--url=https://x/y?a=1;client_secret={SECRET}"],
        [f"--url=s3://x?X-Amz-Signature={SECRET}&b=1"],
        ["-H", f"Authorization: Bearer {SECRET}"],
        ["-H", f"X-Api-Key: {SECRET}"],
        [f"--header=Authorization: Basic {SECRET}"],
        [f"bearer {SECRET}"],
        [f'{{"password": "{SECRET}"}}'],
        [f"{{'api_key':'{SECRET}'}}"],
        ["--token", f"-{SECRET}"],
    ],
)
def test_a_planted_secret_does_not_survive(arguments: list[str]) -> None:
    shown = redact(["train.py", *arguments, "--lr", "0.1"])
    assert SECRET not in " ".join(shown)
    assert "<redacted>" in " ".join(shown)
    assert shown[0] == "train.py"
    assert shown[-2:] == ["--lr", "0.1"]


@pytest.mark.parametrize(
    "secret",
    [
        "AKIA" + "A1B2C3D4E5F6G7H8",
        "ghp_" + "a1" * 18,
        "github_pat_" + "a1" * 20,
        "glpat-" + "a1" * 10,
        "xoxb-" + "1234567890-abc",
        "hf_" + "aB" * 17,
        "sk-" + "a1" * 12,
        "AIza" + "a1B" * 11 + "xy",
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
        f"-----BEGIN RSA PRIVATE KEY-----\n{KEY_BODY}\n-----END RSA PRIVATE KEY-----",
    ],
)
@pytest.mark.parametrize("form", ["{}", "--x={}", "x={}", "see {} there"])
def test_a_secret_is_known_by_its_own_form(secret: str, form: str) -> None:
    shown = redact([form.format(secret)])[0]
    assert secret not in shown
    assert KEY_BODY not in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["train.py", "--lr", "0.1", "--epochs=3", "-v"],
        ["--data", "s3://bucket/train.parquet", "data/train.csv"],
        ["--monkey=banana", "https://example.org/x?page=2&size=10"],
        ["--auth", "--verbose", "--lr=0.1"],
        ["--tokenizer=bert", "--max-tokens", "512", "--author", "ada", "tokenizer: bert"],
        ["ada@example.org", "C:\\data\\x.csv", "key: value"],
    ],
)
def test_what_is_no_secret_is_left_alone(arguments: list[str]) -> None:
    assert redact(arguments) == arguments


@given(st.lists(st.text(max_size=20), max_size=6))
def test_redaction_keeps_the_number_of_arguments_and_can_be_repeated(arguments: list[str]) -> None:
    shown = redact(arguments)
    assert len(shown) == len(arguments)
    assert redact(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ada:pw@host/x.git", "https://<redacted>@host/x.git"),
        ("https://ghp_" + "a1" * 18 + "@github.com/x", "https://<redacted>@github.com/x"),
        ("git@github.com:team/x.git", "git@github.com:team/x.git"),
        ("s3://bucket/x?X-Amz-Signature=abc&part=1", "s3://bucket/x?X-Amz-Signature=<redacted>&part=1"),
        (":4096:8", ":4096:8"),
    ],
)
def test_a_text_loses_its_secrets_only(text: str, shown: str) -> None:
    assert redact_text(text) == shown
