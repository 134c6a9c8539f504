"""Digests, times, sizes and numbers as people read them; text that is safe to show."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any


def printable(text: str) -> str:
    """Text with its control characters written out, so that no name or reason can steer a terminal."""
    return text if text.isprintable() else "".join(ascii(c)[1:-1] if steers(c) else c for c in text)


def steers(character: str) -> bool:
    """Whether a character moves a cursor, turns the direction of reading or ends a line without being a newline."""
    return character not in "\n\t" and unicodedata.category(character) in _STEERING


_STEERING = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def short(digest: str | None) -> str:
    """A digest as people tell it apart: its first 12 hex digits."""
    return digest[:19] if digest and digest.startswith("sha256:") else digest or ""


def minute(time: str | None) -> str:
    """A registry time to the second, UTC."""
    return f"{time[:10]} {time[11:19]}Z" if time else ""


def size(count: int) -> str:
    """A number of bytes as people read it."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def person(actor: str) -> str:
    """Who, without the mail address."""
    return actor.partition(" <")[0] or actor


def number(value: float) -> str:
    """A metric's value, short."""
    return f"{value:.6g}"


def brief(value: Any) -> str:
    """A value of any kind in at most 60 characters: of a mapping what it says, of a digest its beginning."""
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        text = ", ".join(f"{key} {brief(one)}" for key, one in value.items() if one is not None)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return short(text) if text.startswith("sha256:") else text if len(text) <= 60 else text[:59] + "…"
