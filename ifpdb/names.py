"""What models, tags, labels, roles, metrics and parameters may be called; who an actor is.

A model's name names the model, not a version of it: names that carry a version in them are refused with the name
that was probably meant, since the registry numbers, dates and labels versions itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .errors import UsageError

STAGES = ("staging", "shadow", "production", "archived")
KINDS = ("derived_from", "forked_from", "fine_tuned_from", "distilled_from", "merged_from", "quantized_from")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_ROLE = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)
_KEY = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,250}")
_ADDRESS = re.compile(r"<([^<>\s]+)>\s*\Z")
_ORDINAL = re.compile(r"v[0-9]+", re.ASCII)

_FILE_ENDING = re.compile(
    r"\.(pkl|pickle|joblib|pt|pth|ckpt|onnx|h5|hdf5|keras|safetensors|npy|npz|bin|model|json|ubj|txt|zip|tar|gz)$", re.I
)
_VERSION_ENDING = re.compile(
    r"[._-](v(er(sion)?)?[._-]?[0-9]+([._][0-9]+)*|final|fixed|copy|old|new|latest|best|backup|bak|retrained"
    r"|(really|use)[._-]this|[0-9]+[._][0-9]+[._][0-9]+)$",
    re.I,
)
_SHOUTED_ENDING = re.compile(r"(?<=[a-z0-9])(FINAL|FIXED|COPY|OLD|NEW|LATEST|BEST|Final|Fixed|Copy|Latest|V[0-9]+)$")


def check_model(name: str, *, allow: bool = False) -> str:
    """`name` itself, or UsageError. `allow` admits a name that looks like a version, but never a malformed one."""
    if not allow and isinstance(name, str) and len(name) <= 128:
        plain = _without_version(name)
        if plain != name.lower():
            raise UsageError(
                f"'{name}' is a version in disguise: name the model '{_model_like(plain)}' and let the registry count "
                f"its versions; a tag or a label says the rest (--allow-name, allow_name=True to insist)"
            )
    if isinstance(name, str) and name.startswith("run-"):
        raise UsageError(f"'{name}' is no model name: run-… names a run; try '{_model_like(name)}'")
    return _check(name, _NAME, "model name", "a-z, 0-9, '.', '_' and '-'", like=_model_like)


def check_tag(name: str) -> str:
    """`name` itself, or UsageError."""
    return _check(name, _NAME, "tag", "a-z, 0-9, '.', '_' and '-'", like=str.lower)


def check_label(name: str) -> str:
    """`name` itself, or UsageError: a label may not look like another kind of reference."""
    if name == "latest" or name in STAGES or _ORDINAL.fullmatch(name):
        raise UsageError(f"'{name}' is no label: it already means something in a reference; try '2025-Q4'")
    return _check(name, _LABEL, "label", "A-Z, a-z, 0-9, '.', '_' and '-'")


def check_role(name: str) -> str:
    """`name` itself, or UsageError: what a dataset was used for, such as 'train' or 'holdout'."""
    return _check(name, _ROLE, "dataset role", "a-z, 0-9, '_' and '-'", like=str.lower)


def check_key(name: object, what: str) -> str:
    """`name` itself, or UsageError: a metric's, parameter's or artifact's name is any text without control characters."""
    if not isinstance(name, str) or not _KEY.fullmatch(name):
        raise UsageError(f"{what} {name!r} is not 1 to 250 characters of text without control characters")
    return name


def principal(actor: str) -> str:
    """Who an actor is, whatever the name is written like: the mail address of 'Ada <ada@example.org>', else the actor."""
    text = str(actor)  # somebody else's event may name a number
    found = _ADDRESS.search(text)
    return found[1] if found else text


def check_stage(name: str) -> str:
    """`name` itself, or UsageError."""
    if name not in STAGES:
        raise UsageError(f"'{name}' is no stage: use one of {', '.join(STAGES)}")
    return name


def check_kind(name: str) -> str:
    """`name` itself, or UsageError: how a child came from its parent."""
    if name not in KINDS:
        raise UsageError(f"'{name}' is no kind of lineage: use one of {', '.join(KINDS)}")
    return name


def _check(name: str, pattern: re.Pattern[str], what: str, alphabet: str, *, like: Callable[[str], str] = str) -> str:
    if not isinstance(name, str) or not pattern.fullmatch(name):
        hint = like(re.sub(r"[^A-Za-z0-9._-]+", "-", str(name)).strip("-._")[:128])
        suggestion = f"; try '{hint}'" if hint and hint != name and pattern.fullmatch(hint) else ""
        raise UsageError(f"{what} {name!r} must begin with a letter or digit and hold only {alphabet}, at most 128{suggestion}")
    return name


def _without_version(name: str) -> str:
    plain = name
    while (shorter := _SHOUTED_ENDING.sub("", _VERSION_ENDING.sub("", _FILE_ENDING.sub("", plain)))) != plain:
        plain = shorter
    return plain.lower()


def _model_like(name: str) -> str:
    """The nearest model name, for a suggestion."""
    plain = _without_version(re.sub(r"[^a-z0-9._-]+", "-", name.lower()).removeprefix("run-").strip("-._")[:128])
    return plain if _NAME.fullmatch(plain) and not plain.startswith("run-") else "my-model"
