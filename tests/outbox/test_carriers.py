"""Real servers and commands on this machine, good and bad ones, and what each gets."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from receiver import SECRET, hook, listening, make_certificate, why

import ifpdb as ifp
from ifpdb.outbox import carriers, delivery

Make = Callable[..., ifp.Version]


def test_a_hook_gets_the_event_signed_and_with_its_id_as_the_key(registry: ifp.Registry, refused: Any, configure: Any) -> None:
    with listening() as ci:
        configure(hook(ci.url))
        refused("hook:ci")
        assert len(delivery.deliver(registry).delivered) == 1
    ((path, headers, body),) = ci.requests
    event = registry.events(kind="promotion_refused")[0]
    assert (path, json.loads(body)) == ("/told?who=ifp", event.as_dict())
    assert headers["Idempotency-Key"] == event.id
    at, mac = (part.partition("=")[2] for part in headers["Ifp-Signature"].split(","))
    assert abs(int(at) - time.time()) < 60
    assert mac == hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def test_https_with_its_own_certificate_and_not_without(
    registry: ifp.Registry, refused: Any, configure: Any, folder: Path
) -> None:
    certificate = make_certificate(folder / "ca.pem")
    with listening(certificate) as ci:
        configure(hook(ci.url))
        refused("hook:ci")
        assert why(registry).startswith("127.0.0.1 speaks no TLS that can be trusted: ")
        assert not ci.requests
        configure(hook(ci.url, f'ca = "{certificate}"'))
        assert len(delivery.deliver(registry).delivered) == 1


def test_a_receiver_that_speaks_no_tls(registry: ifp.Registry, refused: Any, configure: Any) -> None:
    with listening() as ci:
        configure(hook(ci.url.replace("http:", "https:")))
        refused("hook:ci")
        assert "speaks no TLS" in why(registry)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an error": ({"status": 500, "body": SECRET.encode()}, "127.0.0.1 answered 500"),
    "a redirect": ({"status": 307, "headers": {"Location": "http://127.0.0.1:9/x"}}, "answered 307, a redirect"),
    "no answer": ({"hang": 1.5}, "took longer than 0.3 s"),
    "a header a moment": ({"drip": True}, "took longer than 0.3 s"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_receiver_is_a_line_and_the_letter_waits(
    registry: ifp.Registry, refused: Any, configure: Any, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    how, said = BAD[case]
    monkeypatch.setattr(carriers, "PATIENCE", 0.3)
    with listening(**how) as ci:
        configure(hook(ci.url))
        refused("hook:ci")
        began = time.monotonic()
        assert said in why(registry)
        assert time.monotonic() - began < 2


def test_megabytes_of_answer_are_not_read(registry: ifp.Registry, refused: Any, configure: Any) -> None:
    with listening(flood=True) as ci:
        configure(hook(ci.url))
        refused("hook:ci")
        began = time.monotonic()
        assert len(delivery.deliver(registry).delivered) == 1
        assert time.monotonic() - began < 5


# -- commands


def test_a_command_gets_the_event_on_standard_input(registry: ifp.Registry, refused: Any, configure: Any, folder: Path) -> None:
    configure("[exec.note]\ncommand = ['sh', '-c', 'cat > told']")
    refused("exec:note")
    assert len(delivery.deliver(registry).delivered) == 1
    assert json.loads((folder / "told").read_text()) == registry.events(kind="promotion_refused")[0].as_dict()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "its command ended with 3"),
        ("sleep 60 & sleep 60", "took longer than 0.5 s and was stopped"),
        ("yes", "took longer than 0.5 s and was stopped"),
    ],
)
def test_a_command_that_fails_never_ends_or_floods(
    registry: ifp.Registry, refused: Any, configure: Any, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setattr(carriers, "PATIENCE", 0.5)
    configure(f"[exec.note]\ncommand = ['sh', '-c', {json.dumps(script)}]")
    refused("exec:note")
    assert said in why(registry)


def test_a_command_that_is_not_there(registry: ifp.Registry, refused: Any, configure: Any) -> None:
    configure("[exec.note]\ncommand = ['no-such-program']")
    refused("exec:note")
    assert why(registry) == "its command can't be run: No such file or directory"


# -- Slack


def test_slack_by_token(registry: ifp.Registry, refused: Any, configure: Any) -> None:
    with listening(body=b'{"ok": true}') as slack:
        configure(f'[slack]\ntoken = "xoxb-1-tok"\napi = "{slack.url.partition("/told")[0]}/api/"')
        refused("slack:#ml-alerts")
        assert len(delivery.deliver(registry).delivered) == 1
    ((path, headers, body),) = slack.requests
    assert (path, headers["Authorization"]) == ("/api/chat.postMessage", "Bearer xoxb-1-tok")
    said = json.loads(body)
    assert said["channel"] == "#ml-alerts"
    assert said["text"].startswith("ada was refused to promote fraud sha256:")
    assert said["text"].endswith("failed min_f1: f1 is 0.5, not &gt;= 0.9")


def test_slack_by_webhook(registry: ifp.Registry, refused: Any, configure: Any) -> None:
    with listening() as slack:
        configure(f'[slack]\nwebhook = "{slack.url.replace("told?who=ifp", "T0/B0/hidden")}"')
        refused("slack:#ml-alerts")
        slack.status = 404
        assert why(registry) == "127.0.0.1 answered 404"
        slack.status = 200
        assert len(delivery.deliver(registry).delivered) == 1
    assert "channel" not in slack.told[0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"ok": false, "error": "channel_not_found"}', "Slack said channel_not_found: is there such a channel"),
        (b'{"ok": false, "error": "xoxb-1-tok is bad"}', "Slack said no"),
        (b'{"ok": false, "error": 7}', "Slack said no"),
        (b"[]", "what answered isn't Slack"),
        (b"<html>", "what answered isn't Slack"),
    ],
)
def test_slack_says_no(registry: ifp.Registry, refused: Any, configure: Any, body: bytes, said: str) -> None:
    with listening(body=body) as slack:
        configure(f'[slack]\ntoken = "xoxb-1-tok"\napi = "{slack.url.partition("/told")[0]}"')
        refused("slack:#ml-alerts")
        assert why(registry).startswith(said)


def test_a_message_mentions_and_links_nobody(registry: ifp.Registry, make: Make) -> None:
    make("a")
    registry.model("fraud").promote("latest", "shadow", reason="<!channel> & <http://x|y>")
    text = carriers.message_text(registry.events()[-1])
    assert "&lt;!channel&gt; &amp; &lt;http://x|y&gt;" in text


@pytest.mark.parametrize("ca", ["no-such.pem", "ifp.db"])
def test_a_ca_that_is_none(registry: ifp.Registry, refused: Any, configure: Any, ca: str) -> None:
    configure(hook("https://127.0.0.1:9/", f'ca = "{ca}"'))
    refused("hook:ci")
    assert why(registry).startswith("its ca in ifp.toml can't be read")


def test_a_name_that_no_host_can_have(registry: ifp.Registry, refused: Any, configure: Any) -> None:
    configure(hook(f"https://{'x' * 64}.example/"))
    refused("hook:ci")
    assert "can't be reached" in why(registry)


def test_a_command_with_a_nul(registry: ifp.Registry, refused: Any, configure: Any) -> None:
    configure('[exec.note]\ncommand = ["ec\\u0000ho"]')
    refused("exec:note")
    assert why(registry) == "its command can't be run: embedded null byte"
