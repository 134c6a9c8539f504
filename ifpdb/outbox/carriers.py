"""How a letter travels: a signed POST to a web hook, a message to Slack, a command with the event on standard input.

What a receiver answers is read no further than LONGEST and for no longer than PATIENCE; a redirect isn't followed, since
the secret would go along. Errors name the target and what it did, never an address or what it said.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from ..drawing import story
from ..records import Event
from .addresses import Address, check_url

PATIENCE = 10.0
"""Seconds that a delivery may take."""
LONGEST = 64 * 1024
"""The most bytes of an answer that are read."""
SLACK = "https://slack.com/api/"
_LONGEST_MESSAGE = 3000


class Undelivered(Exception):  # what became of a letter
    """The receiver said no; another letter may fare better."""


class Unreachable(Undelivered):
    """Nobody answered: other letters to the same target needn't try now."""


def carry(event: Event, address: Address, folder: Path) -> None:
    """Tell one target of an event. Raises Undelivered; returns when it was taken."""
    {"hook": _hook, "slack": _slack, "exec": _exec}[address.kind](event, address, folder)


def signature(secret: str, body: bytes, at: int) -> str:
    """The header Ifp-Signature: `t=<Unix time>,v1=<HMAC-SHA256 of "t.body" in hex>`; a receiver refuses an old `t`."""
    return f"t={at},v1={hmac.new(secret.encode(), b'%d.' % at + body, hashlib.sha256).hexdigest()}"


def _hook(event: Event, address: Address, _folder: Path) -> None:
    body = json.dumps(event.as_dict(), ensure_ascii=False).encode()
    headers = {
        "Idempotency-Key": event.id,
        "Ifp-Event": event.kind,
        "Ifp-Signature": signature(address.values["secret"], body, int(time.time())),
    }
    _post(address.values["url"], body, headers, address.values.get("ca"))


def _slack(event: Event, address: Address, _folder: Path) -> None:
    values = address.values
    message: dict[str, object] = {"text": message_text(event), "unfurl_links": False, "unfurl_media": False}
    if "webhook" in values:  # it belongs to one channel, whichever the policy names
        _post(values["webhook"], json.dumps(message).encode(), {}, values.get("ca"))
        return
    message["channel"] = address.name
    url = values.get("api", SLACK).rstrip("/") + "/chat.postMessage"
    said = _post(url, json.dumps(message).encode(), {"Authorization": f"Bearer {values['token']}"}, values.get("ca"))
    try:
        answer = json.loads(said)
        taken, error = answer.get("ok") is True, answer.get("error")
    except (ValueError, AttributeError):
        raise Undelivered("what answered isn't Slack") from None
    if not taken:
        known = error if isinstance(error, str) and error.replace("_", "").isalnum() and len(error) < 50 else "no"
        raise Undelivered(f"Slack said {known}" + _HINTS.get(known, ""))


_HINTS = {
    "channel_not_found": ": is there such a channel, and is the bot in it?",
    "not_in_channel": ": invite the bot to the channel",
    "invalid_auth": ": the token in ifp.toml isn't valid",
    "missing_scope": ": the bot needs the scope chat:write",
}


def message_text(event: Event) -> str:
    """An event in a line, and each failed check in one below; nothing in it can mention people or link."""
    told = [f"{event.actor} {story.happened(event)}", *(fact for fact in story.facts(event) if fact.startswith("failed "))]
    text = "\n".join(told).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "…"


def _post(url: str, body: bytes, headers: Mapping[str, str], ca: str | None) -> bytes:
    """POST JSON; the answer's body. Raises Undelivered for any answer but 2xx, Unreachable for none."""
    parts = check_url(url, "the address")
    secure = parts.scheme == "https"
    host, port = str(parts.hostname), parts.port or (443 if secure else 80)
    try:
        trust = ssl.create_default_context(cafile=ca) if secure else None
    except OSError:
        raise Undelivered("its ca in ifp.toml can't be read: give the path of a file of certificates (PEM)") from None
    try:
        raw = socket.create_connection((host, port), timeout=PATIENCE)
        guard = raw.dup()
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host can have
        raise Unreachable(f"{host} can't be reached: {getattr(error, 'strerror', None) or error}") from None
    slow = threading.Event()
    timer = threading.Timer(PATIENCE, _cut, (guard, slow))
    timer.daemon = True
    timer.start()
    connection = http.client.HTTPConnection(host, port)
    try:
        connection.sock = trust.wrap_socket(raw, server_hostname=host) if trust else raw
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        common = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "ifpdb"}
        connection.request("POST", path, body, {**common, **headers})
        answer = connection.getresponse()
        said = answer.read(LONGEST)
    except ssl.SSLError as error:
        raise Unreachable(f"{host} speaks no TLS that can be trusted: {error.reason or 'bad certificate'}") from None
    except (OSError, http.client.HTTPException) as error:
        late = slow.is_set() or isinstance(error, TimeoutError)  # a silent one, before the timer has its turn
        why = f"took longer than {PATIENCE:g} s" if late else f"broke off ({type(error).__name__})"
        raise Unreachable(f"{host} {why}") from None
    finally:
        timer.cancel()
        guard.close()
        connection.close()
        raw.close()
    if slow.is_set():
        raise Unreachable(f"{host} took longer than {PATIENCE:g} s")
    if 300 <= answer.status < 400:
        raise Undelivered(f"{host} answered {answer.status}, a redirect, which isn't followed: write the last address")
    if not 200 <= answer.status < 300:
        raise Undelivered(f"{host} answered {answer.status}")
    return said


def _cut(guard: socket.socket, slow: threading.Event) -> None:
    slow.set()
    try:
        guard.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has ended by itself
        return


def _exec(event: Event, address: Address, folder: Path) -> None:
    command, quiet = address.values["command"], subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, cwd=folder, start_new_session=True
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in a word
        raise Undelivered(f"its command can't be run: {getattr(error, 'strerror', None) or error}") from None
    try:
        process.communicate(json.dumps(event.as_dict(), ensure_ascii=False).encode(), timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.communicate()
        raise Undelivered(f"its command took longer than {PATIENCE:g} s and was stopped") from None
    if process.returncode:
        raise Undelivered(f"its command ended with {process.returncode}")
