"""Where Slack, the web hooks and the commands are that policies name, and the secrets that they take: sections of ifp.toml.

No message repeats a value of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .. import ifptoml
from ..ifptoml import Unconfigured

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SECTIONS: dict[str, tuple[set[str], set[str]]] = {
    "slack": (set(), {"token", "webhook", "api", "ca"}),
    "hook": ({"url", "secret"}, {"ca"}),
    "exec": ({"command"}, set()),
}
"""The keys that a section must and may have."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where one target is reached. Values are kept out of its repr."""

    kind: str
    name: str
    values: Mapping[str, Any] = field(repr=False)


def find(target: str) -> Address:
    """Where `slack:#channel`, `hook:NAME` or `exec:NAME` is reached. Raises Unconfigured, which says what to write where."""
    kind, _, name = target.partition(":")
    path, found = ifptoml.path(), ifptoml.section(kind)
    key = f'"{name}"' if "." in name else name
    where = "[slack]" if kind == "slack" else f"[{kind}.{key}]"
    section = found if kind == "slack" else found.get(name, {})
    if not section:
        raise Unconfigured(f"{path} has no {where}: add {_EXAMPLES[kind].format(name=key)}")
    _check(path, where, kind, section)
    return Address(kind, name, section)


_EXAMPLES = {
    "slack": '[slack] with token = "xoxb-…" or webhook = "https://hooks.slack.com/…"',
    "hook": '[hook.{name}] with url = "https://…" and secret = "…"',
    "exec": '[exec.{name}] with command = ["program", "argument"]',
}


def _check(path: Path, where: str, kind: str, section: Mapping[str, Any]) -> None:
    needed, allowed = _SECTIONS[kind]
    if unknown := section.keys() - needed - allowed:
        raise Unconfigured(f"{path}, {where}: {sorted(unknown)[0]} is no key of it: see {_EXAMPLES[kind].format(name='NAME')}")
    if missing := needed - section.keys():
        raise Unconfigured(f"{path}, {where} lacks {' and '.join(sorted(missing))}")
    if kind == "slack" and len({"token", "webhook"} & section.keys()) != 1:
        raise Unconfigured(f"{path}, {where} takes a token or a webhook, one of them")
    for key, value in section.items():
        if key == "command":
            if not isinstance(value, list) or not value or not all(isinstance(word, str) and word for word in value):
                raise Unconfigured(f"{path}, {where}: command is a list of words, the program first; no shell reads it")
        elif not isinstance(value, str) or not value.isprintable() or not value.strip():
            raise Unconfigured(f"{path}, {where}: {key} must be text")
        elif key == "token" and not value.isascii():
            raise Unconfigured(f"{path}, {where}: token is none of Slack's: it has letters beyond ASCII")
        elif key in ("url", "webhook", "api"):
            check_url(value, f"{path}, {where}: {key}")


def check_url(url: str, called: str) -> SplitResult:
    """An address that a secret may be sent to: https, or http to this machine. Raises Unconfigured without repeating it."""
    try:
        parts = urlsplit(url)
        known = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        known = False
    if not known or parts.username or not url.isascii() or " " in url:
        raise Unconfigured(f"{called} is no address: write https://HOST/PATH")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise Unconfigured(f"{called} must begin with https:// (http:// only to this machine)")
    return parts
