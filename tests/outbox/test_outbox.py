"""Notifications: who is told of what, by real servers and commands, and what bad receivers and bad files get."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from receiver import Receiver, listening, make_certificate

import ifpdb as ifp
from ifpdb.merge import union
from ifpdb.outbox import addresses, carriers, delivery, letters
from ifpdb.outbox.letters import NEVER

SECRET = "s3cret-of-the-hook"
Make = Callable[..., ifp.Version]


@pytest.fixture
def configure(home: Path) -> Callable[[str], Path]:
    """Writes ifp.toml."""

    def write(text: str, mode: int = 0o600) -> Path:
        path = home / "config" / "ifp" / "ifp.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


@pytest.fixture
def refused(registry: ifp.Registry, make: Make) -> Callable[..., ifp.GateFailed]:
    """Sets a policy that tells these targets and lets a version be refused by it."""

    def refuse(*targets: str, **more: Any) -> ifp.GateFailed:
        fraud = registry.model("fraud")
        fraud.set_policy({"validation": {"min_f1": 0.9, "notify_on_fail": list(targets), **more}})
        make(f"weights-{time.monotonic_ns()}", metrics={"f1": 0.5})
        with pytest.raises(ifp.GateFailed) as failed:
            fraud.promote("latest", "production")
        return failed.value

    return refuse


def hook(url: str, more: str = "") -> str:
    return f'[hook.ci]\nurl = "{url}"\nsecret = "{SECRET}"\n{more}'


def why(registry: ifp.Registry) -> str:
    """What one delivery of the only letter met with; no secret is in it."""
    done = delivery.deliver(registry)
    assert not done.delivered
    (letter,) = done.waiting
    everything = letter.why + json.dumps(letter.as_dict()) + json.dumps([e.as_dict() for e in registry.events()])
    assert SECRET not in everything
    assert "xoxb-1-tok" not in everything
    assert "T0/B0/hidden" not in everything
    return letter.why


def test_a_refusal_a_promotion_and_a_rollback_are_told_each_to_its_own(
    registry: ifp.Registry, refused: Any, make: Make, configure: Any
) -> None:
    with listening() as ci:
        names = ("fail", "in", "back")
        configure("".join(f'[hook.{n}]\nurl = "{ci.url.replace("told", n)}"\nsecret = "{SECRET}"\n' for n in names))
        refused("hook:fail", notify_on_promote="hook:in", notify_on_rollback="hook:back")
        fraud = registry.model("fraud")
        make("good", metrics={"f1": 0.95})
        fraud.promote("latest", "shadow")
        fraud.promote("latest", "production")
        make("better", metrics={"f1": 0.96})
        fraud.promote("latest", "production")
        fraud.rollback(reason="worse")
        assert len(delivery.deliver(registry).delivered) == 4
    told = [(path.split("?")[0], json.loads(body)["kind"]) for path, _, body in ci.requests]
    assert sorted(told) == [
        ("/back", "rolled_back"), ("/fail", "promotion_refused"), ("/in", "promoted"), ("/in", "promoted")
    ]  # fmt: skip
    assert not delivery.look(registry).waiting


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


def test_where_nobody_listens_the_letters_wait_longer_and_longer_and_then_rest(
    registry: ifp.Registry, refused: Any, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as gone:
        configure(hook(gone.url))
    refused("hook:ci")
    monkeypatch.setattr(delivery.random, "uniform", lambda _, high: high)
    pauses, now = [], time.time()
    for _ in range(4):
        assert "can't be reached" in why(registry)
        (letter,) = delivery.look(registry).waiting
        pauses.append(round(time.mktime(time.strptime(letter.due, "%Y%m%dT%H%M%SZ")) - time.timezone - now, -1))
    assert pauses == sorted(set(pauses))
    assert letter.attempts == 4
    monkeypatch.setattr(delivery, "GIVEN_UP", -1)
    assert "rests after 7 days" in why(registry)
    assert delivery.look(registry).as_dict()["waiting"][0]["due"] is None
    assert not delivery.deliver(registry, due_only=True).delivered
    with listening() as back:
        configure(hook(back.url))
        assert len(delivery.deliver(registry).delivered) == 1


def test_an_unreachable_target_is_tried_once_for_all_its_letters(
    registry: ifp.Registry, refused: Any, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as gone:
        configure(hook(gone.url))
    for _ in range(3):
        refused("hook:ci")
    tried, real = [], carriers.carry
    monkeypatch.setattr(carriers, "carry", lambda *all: (tried.append(1), real(*all)))
    assert len(delivery.deliver(registry).waiting) == 3
    assert len(tried) == 1


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


# -- ifp.toml


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("", 0o600, "has no [hook.ci]: add [hook.ci] with url"),
        (hook("https://example.org/T0/B0/hidden"), 0o644, "isn't yours alone (mode 644): chmod 600"),
        ('[hook.ci]\nurl = "https://x', 0o600, "is not TOML"),
        ("[hoook.ci]\nurl = 1", 0o600, "[hoook] is no section"),
        ("hook = 3", 0o600, "hook is no section"),
        ("[hook]\nci = 3", 0o600, "hook is no section"),
        (hook("http://example.org/T0/B0/hidden"), 0o600, "url must begin with https://"),
        (hook("https:///T0/B0/hidden"), 0o600, "url is no address"),
        (hook("https://me:pw@example.org/"), 0o600, "url is no address"),
        (hook("https://127.0.0.1:99999/"), 0o600, "url is no address"),
        (hook("https://example.org", "colour = 1"), 0o600, "colour is no key of it"),
        ('[hook.ci]\nurl = "https://example.org"', 0o600, "lacks secret"),
        ('[hook.ci]\nurl = "https://example.org"\nsecret = 5', 0o600, "secret must be text"),
    ],
)
def test_a_bad_configuration_says_what_to_write_and_the_letter_waits(
    registry: ifp.Registry, refused: Any, configure: Any, text: str, mode: int, said: str
) -> None:
    path = configure(text, mode)
    refused("hook:ci")
    told = why(registry)
    assert said in told
    assert str(path) in told
    assert delivery.look(registry).waiting[0].why == told


@pytest.mark.parametrize(
    "text",
    [
        "[slack]\ntoken='a'\nwebhook='https://b.c'",
        "[slack]\ncolour='a'",
        "[exec.note]\ncommand='rm -rf'",
        "[exec.note]\ncommand=[]",
    ],
)
def test_other_sections_are_checked_too(configure: Any, text: str) -> None:
    configure(text)
    with pytest.raises(addresses.Unconfigured):
        addresses.find("slack:#x" if "slack" in text else "exec:note")


# -- once, from here only


def test_a_copy_a_merge_and_another_machine_send_nothing(
    registry: ifp.Registry, refused: Any, configure: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as ci:
        configure(hook(ci.url))
        refused("hook:ci")
        (folder / "copy").mkdir()
        shutil.copy("ifp.db", "copy/ifp.db")
        shutil.copytree("ifp.cas", "copy/ifp.cas")
        with ifp.open("copy/ifp.db") as copy:
            done = delivery.deliver(copy)
            assert not done.delivered
            assert "of which this is a copy" in done.waiting[0].why
        with ifp.init(folder / "new.db") as other:
            union.merge(other, folder / "ifp.db")
            assert other.events(kind="promotion_refused")
            assert not delivery.look(other).waiting
        with monkeypatch.context() as patch:
            patch.setattr(letters, "machine", lambda: "elsewhere 0")
            patch.setattr(delivery, "machine", lambda: "elsewhere 0")
            done = delivery.deliver(registry)
            assert not done.delivered
            assert "which sends it; this is elsewhere" in done.waiting[0].why
        assert not ci.requests
        assert len(delivery.deliver(registry).delivered) == 1
        assert len(delivery.deliver(registry).delivered) == 0
    assert len(ci.requests) == 1


def test_a_transaction_that_fails_leaves_no_letter(registry: ifp.Registry, refused: Any, make: Make) -> None:
    refused("hook:ci", notify_on_promote="hook:ci")
    before = delivery.look(registry).waiting
    make("good", metrics={"f1": 0.99})
    registry._db._check_in_place = lambda: (_ for _ in ()).throw(ifp.Conflict("the file is another"))  # type: ignore[method-assign]
    with pytest.raises(ifp.Conflict):
        registry.model("fraud").promote("latest", "production")
    assert delivery.look(registry).waiting == before


def test_a_letter_whose_event_never_came_is_kept_for_an_hour_and_dropped(
    registry: ifp.Registry, refused: Any, configure: Any
) -> None:
    refused("hook:ci")
    box = delivery.box_of(registry)
    (real,) = box.waiting()
    box.drop([real])
    orphan = letters.Letter("sha256:" + "0" * 64, "hook:ci", real.machine, real.registry, time.time(), real.due)
    box.put([orphan])
    (kept,) = delivery.deliver(registry).waiting
    assert kept.event == orphan.event
    box.drop([kept])
    box.put([letters.Letter(orphan.event, "hook:ci", real.machine, real.registry, time.time() - 3601, real.due)])
    assert not delivery.deliver(registry).waiting


def test_files_that_are_no_letters_are_passed_over(registry: ifp.Registry, refused: Any) -> None:
    refused("hook:ci")
    folder = delivery.box_of(registry).folder
    for name, text in (("x.json", "{}"), ("y.json", "[1"), ("20200101T000000Z-0.json", '{"event": 1}')):
        (folder / name).write_text(text)
    assert len(delivery.look(registry).waiting) == 1
    (folder / "z.json").mkdir()
    assert len(delivery.look(registry).waiting) == 1


def test_gc_fsck_and_backup_leave_letters_alone(
    registry: ifp.Registry, refused: Any, cli: Callable[..., Any], folder: Path
) -> None:
    refused("hook:ci")
    assert cli("fsck").code == 0
    assert cli("gc", "--yes", "--grace", "0").code == 0
    assert cli("backup", "elsewhere").code == 0
    assert len(delivery.look(registry).waiting) == 1
    assert not list((folder / "elsewhere").rglob("outbox"))


def test_where_no_letter_can_be_written_the_promotion_goes_on_and_says_so(
    registry: ifp.Registry, refused: Any, make: Make, folder: Path
) -> None:
    (folder / "ifp.cas").mkdir(exist_ok=True)
    (folder / "ifp.cas" / "outbox").write_text("in the way")
    with pytest.warns(UserWarning, match="nobody will be notified"):
        refused("hook:ci")
    assert registry.events(kind="promotion_refused")


# -- right after the command


def wait_for(ci: Receiver, count: int) -> None:
    until = time.monotonic() + 20
    while len(ci.requests) < count and time.monotonic() < until:
        time.sleep(0.02)
    assert len(ci.requests) == count


def test_it_is_delivered_right_after_the_command_by_a_process_of_its_own(
    registry: ifp.Registry, refused: Any, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IFP_OUTBOX")
    with listening() as ci:
        configure(hook(ci.url))
        refused("hook:ci")
        wait_for(ci, 1)
        refused("hook:ci")
        wait_for(ci, 2)
    assert len({headers["Idempotency-Key"] for _, headers, _ in ci.requests}) == 2


def test_the_next_command_delivers_what_is_due(
    registry: ifp.Registry, refused: Any, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused("hook:ci")
    with listening() as ci:
        configure(hook(ci.url))
        monkeypatch.delenv("IFP_OUTBOX")
        registry.model("fraud").tag("latest", "seen")
        wait_for(ci, 1)


def test_a_promotion_does_not_wait_for_its_receiver(
    registry: ifp.Registry, refused: Any, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IFP_OUTBOX")
    with listening(hang=3) as ci:
        configure(hook(ci.url))
        began = time.monotonic()
        refused("hook:ci")
        assert time.monotonic() - began < 2
        wait_for(ci, 1)


def test_outbox_on_the_command_line(registry: ifp.Registry, refused: Any, configure: Any, cli: Callable[..., Any]) -> None:
    assert json.loads(cli("outbox", "--json").out) == {"delivered": [], "waiting": []}
    refused("hook:ci")
    said = cli("outbox")
    assert said.code == 0
    assert "hook:ci" in said.out
    assert "has no [hook.ci]" in said.out
    assert cli("outbox", "--deliver").code == 1
    with listening() as ci:
        configure(hook(ci.url))
        said = cli("outbox", "--deliver", "--json")
        assert said.code == 0
        assert [one["target"] for one in json.loads(said.out)["delivered"]] == ["hook:ci"]


@pytest.mark.parametrize("key", ["notify_on_fail", "notify_on_promote", "notify_on_rollback"])
def test_a_policy_names_targets_only(key: str) -> None:
    from ifpdb import policy

    found = policy.from_mapping({"validation": {"min_f1": 0.9, key: ["slack:#x", "exec:y"]}})
    assert getattr(found, key) == ("slack:#x", "exec:y")
    assert policy.from_event(found.as_dict()) == found
    with pytest.raises(ifp.UsageError, match=f"validation.{key}: 'https://x' is not slack:#channel"):
        policy.from_mapping({"validation": {key: "https://x"}})


def test_never_sorts_after_every_time() -> None:
    assert letters.moment(4e9) < NEVER
