"""Secrets are taken out of arguments and URLs, and what is no secret stays."""

from __future__ import annotations

from pathlib import Path

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
        [f"--pwd={SECRET}"],
        [f"MYSQL_PWD={SECRET}"],
        [f"--wandbApiKey={SECRET}"],
        [f"--encryption-key={SECRET}"],
        ["--ssh-key", SECRET],
        [f"--access-tokens={SECRET}"],
        ["--hftoken", SECRET],
        [f"--password={SECRET};with & and , inside"],
        [f"+db.password={SECRET}"],
        [f"Server=h;Uid=ada;Pwd={SECRET};"],
        [f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET}=="],
        [f"password: correct horse {SECRET}"],
        [f'{{"auth": {{"user": "ada", "pin": "{SECRET}"}}}}'],
        [f'{{"url": "https://x/y?token={SECRET}"}}'],
        [f'{{"password": "a\\"{SECRET}"}}'],
        [f"ada:{SECRET}@db:5432/x"],
        [f"//ada:{SECRET}@db/x"],
        [f"https://ada:a/{SECRET}@host/x"],
        [f"https://host/x#access_token={SECRET}"],
        [f"https://host/x?key={SECRET}"],
        [f"Cookie: id=1; {SECRET}"],
        [f"https://hooks.slack.com/services/T0/B0/{SECRET.replace('-', '')}", f"x:{SECRET}@h.org"],
        ["-p", SECRET],
        ["-u", f"ada:{SECRET}"],
        [f"--user=ada:{SECRET}"],
        ["--api-keys", "first", SECRET],
        [f"run --password {SECRET} --epochs 3"],
        [f"password: |\n  {SECRET}"],
        [f'{{\\"password\\": \\"{SECRET}\\"}}'],
        [f"https://x/y?next=https%3A%2F%2Fx%2F%3Ftoken%3D{SECRET}"],
        [f"https%3A%2F%2Fada%3A{SECRET}%40host%2Fx"],
        [f"https://discord.com/api/webhooks/1/{SECRET}"],
        ["--github-pat", SECRET],
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
        "npm_" + "a1" * 18,
        "pypi-" + "aB1" * 20,
        "sk_live_" + "a1" * 12,
        "ya29." + "a1" * 20,
        "SG." + "a1" * 11 + "." + "b2" * 22,
        "gsk_" + "a1" * 25,
        "nvapi-" + "a1" * 32,
        "xapp-1-A1-" + "a1" * 10,
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
        "glrt-" + "a1" * 10,
        "hvs." + "aB1" * 12,
        "dckr_pat_" + "aB1" * 9,
        "GOCSPX-" + "aB1" * 9,
        "dapi" + "0a1b2c3d" * 4,
        "123456789:AA" + "aB1" * 11,
        f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{KEY_BODY}\n-----END PGP PRIVATE KEY BLOCK-----",
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
        ["--max-tokens=5", "--max_token=5", "--tokens", "512", "--pad-token=<pad>", "--pad_token_id=0", "--eos-token", "</s>"],
        ["--token-count=8", "--mask-token-prob=0.1", "model.token_dim=4", "--placeholder-token=<cat>"],
        ["--session=3", "data/session=3/x.csv", "--passes=3", "--bypass=1", "--passthrough=x", "--private", "x"],
        ["--key=id", "--primary-key=id", "--signature-def=serving", "--cookie-cutter=a", "--secretary=a", "--authority=x"],
        ["3cf9232a" * 5, "--commit=" + "3cf9232a" * 5, "sha256:" + "ab" * 32, "image:v1@sha256:" + "ab" * 32],
        ["basic classification", "abfss://raw@account.dfs.core.windows.net/x", "hdfs://nn:8020/x@y", "gs://bucket/a@b"],
        ["s3://bucket/home/ada/x.csv", "https://example.org/Users/ada"],
        ["-p", "8080", "-p", "0.5", "-u", "ada", "-p", "-v", "--schedule=cos:1@0.5", "sk-learn-something-long-of-a-name"],
        ["--class-token=cls", "--eot_token=5", "--blank-token=_", "--stop-token", "x", "50%", "a%20b.csv"],
        ["ada@example.org", "C:\\data\\x.csv", "key: value"],
    ],
)
def test_what_is_no_secret_is_left_alone(arguments: list[str]) -> None:
    assert redact(arguments) == arguments


def test_only_an_option_in_the_plural_hides_more_than_one_argument() -> None:
    assert redact(["--pass", SECRET, "a.csv"]) == ["--pass", "<redacted>", "a.csv"]
    assert redact(["--api-keys", SECRET, SECRET, "-v", "a.csv"]) == ["--api-keys", "<redacted>", "<redacted>", "-v", "a.csv"]


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
        ("https://user:pw@host/x#1", "https://<redacted>@host/x#1"),
        ("ssh://git@github.com/x", "ssh://git@github.com/x"),
        ('{"password": "a, b", "lr": 1}', '{"password": "<redacted>", "lr": 1}'),
        ("host:/home/ada/x.git", "host:~/x.git"),
        ("file:///Users/ada/x", "file://~/x"),
        ("C:\\Users\\ada\\x", "~\\x"),
        ("sqlite:////home/ada/x.db", "sqlite:///~/x.db"),
        ("%2Fhome%2Fada%2Fx", "~/x"),
        (f"{Path.home()}/x {Path.home()}-2/x", "~/x " + redact_text(f"{Path.home()}-2/x")),
        ("s3://bucket/x?X-Amz-Signature=abc&part=1", "s3://bucket/x?X-Amz-Signature=<redacted>&part=1"),
        (":4096:8", ":4096:8"),
    ],
)
def test_a_text_loses_its_secrets_only(text: str, shown: str) -> None:
    assert redact_text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "a=" * 50_000,
        "a:" * 50_000,
        "//a:" * 25_000,
        "token=x&" * 10_000,
        "a.-" * 30_000,
        "{'a':" * 9_000,
        "sk-" * 30_000,
        "pypi-" * 20_000,
        "%2F" * 30_000,
    ],
)
def test_a_long_argument_is_read_whole(text: str) -> None:
    assert redact_text(text + " https://ada:hunter2@db/x").endswith(("<redacted>@db/x", "<redacted>"))
