"""Canonical JSON and the digests made of it: manifests, schemas, environments, events.

Canonical JSON is RFC 8785 (JCS), so that anyone can compute the same bytes in any language. A digest is written
`sha256:` and 64 hex digits wherever people see it and is 32 bytes in the database. docs/format.md specifies every
document hashed here and has golden vectors.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import rfc8785

from .errors import UsageError

JSON: TypeAlias = Any
"""What `json.loads` gives: None, bool, int, float, str, list or dict of these."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)

MAX_SAFE_INTEGER = 2**53 - 1
"""The greatest integer that JSON's doubles hold exactly (RFC 8785 §3.2.2.3 forbids greater ones)."""

PARTS = ("weights", "data", "schema", "training")
"""The four parts of a version, as its manifest names them."""

EVALUATION_ROLES = frozenset({"test", "holdout"})
"""Datasets in these roles measure a model; those in every other role went into it."""


def canonical(value: JSON) -> bytes:
    """The RFC 8785 canonical form of `value`, UTF-8.

    Raises UsageError when it is not JSON: NaN and infinities, integers beyond ±(2^53-1), keys that are not strings,
    text with lone surrogates, other types.
    """
    try:
        return _ENCODER.encode(value).encode() if _is_plain(value) else rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, TypeError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}") from None


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, check_circular=False)


def _is_plain(value: JSON) -> bool:
    """Whether the standard library writes `value` as RFC 8785 does, ten times as fast as rfc8785.

    It does but for numbers that JavaScript writes otherwise than Python, and the order of keys beyond ASCII.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is dict:
        return all(type(key) is str and key.isascii() and _is_plain(item) for key, item in value.items())
    if kind is list or kind is tuple:
        return all(map(_is_plain, value))
    if kind is int:
        return bool(abs(value) <= MAX_SAFE_INTEGER)
    return kind is float and 1e-4 <= abs(value) < 1e16 and value % 1 != 0


def sha256(data: bytes) -> str:
    """`sha256:<64 hex>` of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def to_bytes(digest: str) -> bytes:
    """The 32 bytes behind `sha256:<64 hex>`; raises UsageError for anything else."""
    if not _DIGEST.fullmatch(digest):
        raise UsageError(f"{digest!r} is no digest: write sha256: and 64 hex digits")
    return bytes.fromhex(digest.removeprefix("sha256:"))


def to_text(digest: bytes) -> str:
    """`sha256:<64 hex>` for 32 bytes."""
    return "sha256:" + digest.hex()


def number_to_json(value: float | None) -> JSON:
    """A float as JSON can carry it: NaN and infinities become the strings 'NaN', 'Infinity' and '-Infinity'."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def integer_to_json(value: int | None) -> JSON:
    """An integer as canonical JSON can carry it: one beyond ±(2^53-1) becomes its decimal string."""
    return str(value) if value is not None and abs(value) > MAX_SAFE_INTEGER else value


def training_record(
    *,
    params: Mapping[str, JSON] | None,
    seed: int | None,
    code: str | None,
    packages: Mapping[str, str] | None,
) -> JSON:
    """The fourth part of a manifest, or None when nothing at all is known of the training."""
    if params is None and seed is None and code is None and packages is None:
        return None
    return {
        "params": [[key, value] for key, value in sorted((params or {}).items())],
        "seed": integer_to_json(seed),
        "code": code,
        "packages": [[name, version] for name, version in sorted((packages or {}).items())],
    }


def manifest(
    *, weights: str | None, data: Sequence[tuple[str, str | None, str | None]], schema: str | None, training: JSON
) -> JSON:
    """The document whose canonical form a version's digest is the SHA-256 of.

    `data` holds (role, digest, pointer) triples; evaluation roles are left out, since they observe a version and
    don't define it, and the same data twice in one role counts once. A missing part is null.
    """
    unique = {
        (role, digest or "", "" if digest else pointer or "") for role, digest, pointer in data if role not in EVALUATION_ROLES
    }
    parts = [
        {"role": role, "digest": digest} if digest else {"role": role, "uri": pointer}
        for role, digest, pointer in sorted(unique)
    ]
    return {
        "type": "ifp-version/1",
        "weights": weights,
        "data": parts or None,
        "schema": schema,
        "training": training,
    }


def code_body(files: tuple[tuple[str, str], ...]) -> bytes:
    """The canonical JSON that a code digest is the SHA-256 of: [[path, digest], …] by path."""
    return canonical([list(file) for file in files])


def say_parts(parts: Sequence[str]) -> str:
    """'weights part', 'data and schema parts': for sentences about what is missing."""
    *most, last = parts
    return f"{', '.join(most)} and {last} parts" if most else f"{last} part"


def missing_parts(document: Mapping[str, JSON]) -> tuple[str, ...]:
    """The parts that a manifest leaves null, in the order of PARTS."""
    return tuple(part for part in PARTS if document[part] is None)
