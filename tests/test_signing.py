"""Signatures by a real ssh-keygen: whose they are, and everything that they may be instead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifpdb import ifptoml, signing
from ifpdb.digest import canonical
from ifpdb.errors import Refused
from ifpdb.ifptoml import Unconfigured

AT = "2026-11-24T12:00:00.000000Z"


@pytest.fixture
def signers(keyring: Path) -> signing.Signers:
    return signing.Signers(keyring / "allowed")


@pytest.fixture
def signed(keyring: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The body of an event of `actor`, signed by a key of the keyring, with what is changed of it afterwards."""

    def make(actor: str = "ada", key: str = "ada", detail: Any = None, afterwards: Any = None) -> str:
        monkeypatch.setenv("IFP_SIGNING_KEY", str(keyring / key))
        told = {"actor": actor, "at": AT, "detail": detail or {}, "kind": "approved", "parents": []}
        signature = signing.sign(canonical(told))
        told["detail"] = {**told["detail"], "signature": signature}
        return canonical(told | (afterwards or {})).decode()

    return make


def fingerprint(keyring: Path, name: str) -> str:
    said = subprocess.run(["ssh-keygen", "-lf", f"{keyring / name}.pub"], capture_output=True, text=True, check=True).stdout
    return said.split()[1]


def test_a_signature_by_the_actors_key_is_proof(signed: Callable[..., str], signers: signing.Signers, keyring: Path) -> None:
    assert signing.prove(signed(), signers) == signing.Proof(True, fingerprint(keyring, "ada"))


def test_the_mail_address_is_who_it_is(signed: Callable[..., str], keyring: Path, tmp_path: Path) -> None:
    public = (keyring / "ada.pub").read_text()
    allowed = tmp_path / "allowed"
    allowed.write_text(f'*@example.org namespaces="ifpdb@v1" {public}')
    assert signing.prove(signed("Ada <ada@example.org>"), signing.Signers(allowed)).proven
    assert not signing.prove(signed("Ada <ada@example.com>"), signing.Signers(allowed)).proven
    assert not signing.prove(signed("ada"), signing.Signers(allowed)).proven
    allowed.write_text(f'ada namespaces="git" {public}')
    assert not signing.prove(signed("ada"), signing.Signers(allowed)).proven
    allowed.write_text(f'"Ada Lovelace" {public}')
    assert signing.prove(signed("Ada Lovelace"), signing.Signers(allowed)).proven


FORGED: dict[str, tuple[dict[str, Any], str]] = {
    "another key": ({"key": "eve"}, "doesn't allow it to ada"),
    "another actor": ({"afterwards": {"actor": "grace"}}, "doesn't fit what it says"),
    "another kind": ({"afterwards": {"kind": "promoted"}}, "doesn't fit what it says"),
    "another time": ({"afterwards": {"at": "2026-11-24T12:00:00.000001Z"}}, "doesn't fit what it says"),
    "a field more": ({"afterwards": {"to_stage": "production"}}, "doesn't fit what it says"),
    "no armor": ({"afterwards": {"detail": {"signature": "trust me"}}}, "doesn't fit what it says"),
    "a number": ({"afterwards": {"detail": {"signature": 7}}}, "isn't signed as ifpdb signs"),
    "a long text": ({"afterwards": {"detail": {"signature": "x" * 100_000}}}, "isn't signed as ifpdb signs"),
    "no detail": ({"afterwards": {"detail": None}}, "isn't signed as ifpdb signs"),
    "no person": ({"afterwards": {"actor": 7}}, "isn't signed as ifpdb signs"),
    "a NUL": ({"afterwards": {"actor": "ada\0"}}, "isn't signed as ifpdb signs"),
    "a time before all": ({"afterwards": {"at": "0001-01-01T00:00:00.000000Z"}}, "doesn't fit what it says"),
    "no time": ({"afterwards": {"at": "yesterday"}}, "isn't signed as ifpdb signs"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forgery_proves_nothing_and_says_why(signed: Callable[..., str], signers: signing.Signers, what: str) -> None:
    how, why = FORGED[what]
    found = signing.prove(signed(**how), signers)
    assert (found.proven, why in found.why) == (False, True), found


def test_bytes_that_others_would_read_otherwise_prove_nothing(signed: Callable[..., str], signers: signing.Signers) -> None:
    body = signed()
    assert not signing.prove('{"actor":"eve",' + body[1:], signers).proven  # SQLite reads the first, Python the last
    assert not signing.prove(json.dumps(json.loads(body), indent=1), signers).proven


def test_what_git_was_told_to_sign_is_no_decision(signed: Callable[..., str], signers: signing.Signers, keyring: Path) -> None:
    told = json.loads(signed())
    del told["detail"]["signature"]
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", str(keyring / "ada")]
    elsewhere = subprocess.run(command, input=canonical(told), capture_output=True, check=True).stdout.decode()
    told["detail"]["signature"] = elsewhere
    assert "doesn't fit what it says" in signing.prove(canonical(told).decode(), signers).why


def test_a_revoked_key_proves_nothing(signed: Callable[..., str], signers: signing.Signers, keyring: Path) -> None:
    revoking = signing.Signers(signers.allowed, keyring / "ada.pub")
    found = signing.prove(signed(), revoking)
    assert (found.proven, found.why) == (False, f"its key {fingerprint(keyring, 'ada')} was revoked")
    assert signing.prove(signed("grace", "grace"), revoking).proven


@pytest.mark.parametrize(
    ("validity", "clock", "proven"),
    [
        ('valid-after="20300101"', None, False),
        ('valid-before="20200101"', None, False),
        ('valid-after="20200101",valid-before="20300101"', None, True),
        ('valid-after="20270101"', "2027-06-01T00:00:00.000000Z", True),  # dated back: the clock says when it was signed
        ('valid-after="20260101"', "2025-06-01T00:00:00.000000Z", False),
    ],
)
def test_a_key_counts_while_it_is_valid(
    signed: Callable[..., str], keyring: Path, tmp_path: Path, validity: str, clock: str | None, proven: bool
) -> None:
    (tmp_path / "allowed").write_text(f"ada {validity} {(keyring / 'ada.pub').read_text()}")
    found = signing.prove(signed(detail={"clock": clock} if clock else {}), signing.Signers(tmp_path / "allowed"))
    assert found.proven is proven
    assert proven or ("key " in found.why and "at the time" in found.why)


def test_nothing_is_signed_where_no_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert signing.sign(b"{}") is None
    monkeypatch.setenv("IFP_SIGNING_KEY", "")
    assert signing.sign(b"{}") is None


def configure(text: str) -> Path:
    path = ifptoml.path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_users_file_names_the_key_and_the_signers(keyring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(f'[signing]\nkey = "{keyring}/ada"\nallowed_signers = "{keyring}/allowed"\nrevoked = "{keyring}/eve.pub"')
    assert signing.key() == keyring / "ada"
    assert signing.signers() == signing.Signers(keyring / "allowed", keyring / "eve.pub")
    monkeypatch.setenv("IFP_SIGNING_KEY", "")
    assert signing.key() is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[signing]\nkee = 'x'", "kee is no key of it"),
        ("[signing]\nkey = 'ada'", "key must be a path"),
        ("[signing]\nkey = 7", "key must be a path"),
        ("[signing]\nkey = '~nobody-of-that-name/key'", "key must be a path"),
        ("signing = 7", "signing is no section: write [signing]"),
        ("[signing", "is not TOML"),
    ],
)
def test_a_bad_configuration_is_refused_and_not_passed_over(text: str, said: str) -> None:
    path = configure(text)
    with pytest.raises(Unconfigured) as told:
        signing.sign(b"{}")
    assert said in str(told.value)
    assert str(path) in str(told.value)


def test_a_configuration_that_others_may_write_is_refused(keyring: Path) -> None:
    path = configure(f'[signing]\nkey = "{keyring}/ada"')
    path.chmod(0o644)
    assert signing.key() == keyring / "ada", "it holds no secret that signing needs"
    path.chmod(0o664)
    with pytest.raises(Unconfigured, match="isn't yours alone"):
        signing.sign(b"{}")


def test_without_an_allowed_signers_file_it_says_what_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unconfigured, match="IFP_ALLOWED_SIGNERS"):
        signing.signers()
    monkeypatch.setenv("IFP_ALLOWED_SIGNERS", str(tmp_path / "none"))
    with pytest.raises(Unconfigured, match="none can't be read: No such file"):
        signing.signers()


def test_a_locked_key_asks_nothing_and_says_what_to_do(keyring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked)], check=True)
    monkeypatch.setenv("IFP_SIGNING_KEY", str(locked))
    begun = time.monotonic()
    with pytest.raises(Refused, match=r"incorrect passphrase.*ssh-add") as told:
        signing.sign(b"{}")
    assert "Enter passphrase" not in str(told.value)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("#!/bin/sh\nexec sleep 60\n", "no answer in 1 seconds"),
        ("#!/bin/sh\necho sure\n", "gave no signature"),
        (None, "not on the PATH"),
    ],
)
def test_an_ssh_keygen_that_hangs_or_lies_or_is_missing_is_a_clear_error(
    keyring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, said: str
) -> None:
    if program is not None:
        (tmp_path / "ssh-keygen").write_text(program)
        (tmp_path / "ssh-keygen").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + (f"{os.pathsep}{os.environ['PATH']}" if program else ""))
    monkeypatch.setenv("IFP_SIGNING_KEY", str(keyring / "ada"))
    monkeypatch.setattr(signing, "PATIENCE", 1)
    with pytest.raises(Refused, match=said):
        signing.sign(b"{}")


@pytest.mark.skipif(sys.platform == "win32", reason="an agent's socket")
def test_a_key_in_the_agent_signs_without_its_file(
    keyring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signers: signing.Signers
) -> None:
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        while not socket.exists():
            time.sleep(0.01)
        subprocess.run(["ssh-add", "-q", str(keyring / "ada")], check=True)
        public = tmp_path / "only.pub"
        public.write_text((keyring / "ada.pub").read_text())
        monkeypatch.setenv("IFP_SIGNING_KEY", str(public))
        told = {"actor": "ada", "at": AT, "detail": {}, "kind": "approved", "parents": []}
        told["detail"] = {"signature": signing.sign(canonical(told))}
        assert signing.prove(canonical(told).decode(), signers).proven
    finally:
        agent.terminate()
        agent.wait()
