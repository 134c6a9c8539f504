"""ifp.toml: where Slack, the web hooks and the commands are that policies name, and the secrets that they take.

It lies in the user's configuration folder and never in a registry. Whoever else could read it would have the secrets, so
that a file open to others is refused. No message about it repeats a value.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ..errors import UsageError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SECTIONS: dict[str, tuple[set[str], set[str]]] = {
    "slack": (set(), {"token", "webhook", "api", "ca"}),
    "hook": ({"url", "secret"}, {"ca"}),
    "exec": ({"command"}, set()),
}
"""The keys that a section must and may have."""


class Unconfigured(UsageError):
    """A target that ifp.toml doesn't tell how to reach, or a file that can't be used."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where one target is reached. Values are kept out of its repr."""

    kind: str
    name: str
    values: Mapping[str, Any] = field(repr=False)


def config_path() -> Path:
    """Where ifp.toml lies: in the user's configuration folder of this platform."""
    import platformdirs

    return platformdirs.user_config_path("ifp", appauthor=False) / "ifp.toml"


def find(target: str) -> Address:
    """Where `slack:#channel`, `hook:NAME` or `exec:NAME` is reached. Raises Unconfigured, which says what to write where."""
    kind, _, name = target.partition(":")
    path, document = config_path(), _document()
    key = f'"{name}"' if "." in name else name
    where = "[slack]" if kind == "slack" else f"[{kind}.{key}]"
    section = document.get(kind, {}) if kind == "slack" else document.get(kind, {}).get(name, {})
    if not section:
        raise Unconfigured(f"{path} has no {where}: add {_EXAMPLES[kind].format(name=key)}")
    _check(path, where, kind, section)
    return Address(kind, name, section)


_EXAMPLES = {
    "slack": '[slack] with token = "xoxb-…" or webhook = "https://hooks.slack.com/…"',
    "hook": '[hook.{name}] with url = "https://…" and secret = "…"',
    "exec": '[exec.{name}] with command = ["program", "argument"]',
}


def _document() -> dict[str, Any]:
    import tomllib

    path = config_path()
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if os.name == "posix" and (status.st_mode & 0o077 or status.st_uid not in (os.getuid(), 0)):
                mode = stat.S_IMODE(status.st_mode)
                raise Unconfigured(f"{path} holds secrets and isn't yours alone (mode {mode:o}): chmod 600 {path}")
            document = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Unconfigured(f"{path} can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        line = str(error)[str(error).rfind("(at ") :] if "(at " in str(error) else ""
        raise Unconfigured(f"{path} is not TOML {line}".rstrip()) from None
    if unknown := document.keys() - _SECTIONS:
        raise Unconfigured(f"{path}: [{sorted(unknown)[0]}] is no section: there are slack, hook.NAME and exec.NAME")
    for kind, section in document.items():
        if not isinstance(section, dict) or (kind != "slack" and not all(isinstance(one, dict) for one in section.values())):
            raise Unconfigured(f"{path}: {kind} is no section: write {_EXAMPLES[kind].format(name='NAME')}")
    return document


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
