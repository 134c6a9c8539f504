"""References: the text by which people name one version or run, taken apart. Looking them up is the ledger's work.

REF      = base step*
base     = run-7q3k9x2mab | [MODEL@]sha256:a4f9c22e | MODEL@NAME | MODEL
step     = ~N | ^N | @{TIME}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .errors import UsageError

_STEP = re.compile(r"~(\d*)|\^(\d*)|@\{([^{}]*)\}", re.ASCII)
_RUN = re.compile(r"run-[a-z0-9-]+", re.ASCII)
_DIGEST = re.compile(r"sha256:([0-9a-f]*)", re.ASCII)
_MODEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)

LONGEST = 1000
"""The most characters that a reference has; a model, a label and a time are 400 at most, the rest is steps."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step from a version to another: `ancestor` N generations up first parents, or the N-th `parent`."""

    kind: Literal["ancestor", "parent"]
    count: int


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference, taken apart. Exactly one of `run`, `digest` and `name` leads to the base version.

    `name` is a stage, `latest`, an ordinal (`v8`) or a label of `model`. `at` asks what a stage held then.
    """

    text: str
    model: str | None = None
    run: str | None = None
    digest: str | None = None
    name: str | None = None
    at: str | None = None
    steps: tuple[Step, ...] = ()


def parse(text: str) -> Ref:
    """`text` as a Ref; raises UsageError with the forms there are."""
    if len(text) > LONGEST:
        raise UsageError(f"'{text[:40]}…' is no reference: it has {len(text)} characters")
    base, at, steps = _split_steps(text)
    model, _, rest = base.rpartition("@") if "@" in base else ("", "", base)
    if "@" in base and not _MODEL.fullmatch(model):
        raise _wrong(text)
    if match := _DIGEST.fullmatch(rest):
        if not 7 <= len(match[1]) <= 64:
            raise UsageError(f"'{text}': a digest is named by 7 to 64 of its hex digits")
        found = Ref(text, model=model or None, digest=match[1], at=at, steps=steps)
    elif model:
        if not _NAME.fullmatch(rest):
            raise _wrong(text)
        found = Ref(text, model=model, name=rest, at=at, steps=steps)
    elif rest.startswith("run-"):
        if not _RUN.fullmatch(rest):
            raise _wrong(text)
        found = Ref(text, run=rest, at=at, steps=steps)
    elif _MODEL.fullmatch(rest):
        found = Ref(text, model=rest, name="production", at=at, steps=steps)
    else:
        raise _wrong(text)
    if at is not None and found.name not in ("staging", "shadow", "production", "archived"):
        raise UsageError(f"'{text}': @{{time}} follows a model or a stage, as in fraud-detector@production@{{2025-11-14}}")
    return found


def base_of(text: str) -> str:
    """The part of a reference before its first ~N, ^N or @{time}."""
    first = _STEP.search(text)
    return text[: first.start()] if first else text


def _split_steps(text: str) -> tuple[str, str | None, tuple[Step, ...]]:
    """The base, its @{time} if it has one, and the steps behind it."""
    first = _STEP.search(text)
    if first is None:
        return text, None, ()
    position, at, steps = first.start(), None, list[Step]()
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (match[3] is not None and (steps or at is not None)):
            raise _wrong(text)
        if match[3] is not None:
            at = match[3]
        else:
            kind: Literal["ancestor", "parent"] = "ancestor" if match[1] is not None else "parent"
            steps.append(Step(kind, int((match[1] or match[2] or "1")[:9])))
        position = match.end()
    return text[: first.start()], at, tuple(steps)


def _wrong(text: str) -> UsageError:
    return UsageError(
        f"'{text}' is no reference: write MODEL, MODEL@production, MODEL@v8, MODEL@LABEL, sha256:a4f9c22e or "
        f"run-7q3k9x2mab, and behind it ~N, ^N or @{{2025-11-14}}"
    )
