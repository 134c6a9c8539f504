"""What stands for values while the inert machine follows a pickle: nothing here is the real thing, so nothing can run."""

from __future__ import annotations

from typing import Any

DTYPE = ("numpy", "dtype")


class Unreadable(Exception):
    """A file that can't be followed to its end, and why."""


class Findings:
    """What has been found so far, over all the pickles of a file; `changed` are globals that are written to."""

    def __init__(self) -> None:
        self.imports = set[tuple[str, str]]()
        self.changed = set[tuple[str, str]]()
        self.opcodes = 0


class Opaque:
    """A value whose content can't matter: a long text, a great number, a list, a set, what a call returned."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Mapping:
    """A dictionary's first entries under text keys; None once there were more than an array's description has."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: dict[str, Any] | None = {}

    def set(self, key: Any, value: Any) -> None:
        if isinstance(key, str) and self.entries is not None:
            self.entries[key] = value
            if len(self.entries) > 64:
                self.entries = None


class Global:
    """A name that was looked up."""

    __slots__ = ("name",)

    def __init__(self, name: tuple[str, str]) -> None:
        self.name = name


class Made:
    """What calling something gave; `by` is the global it was, `state` is kept for arrays' descriptions only."""

    __slots__ = ("args", "by", "state")

    def __init__(self, by: tuple[str, str] | None, args: Any = ()) -> None:
        self.by, self.args = by, args if by == DTYPE else ()
        self.state: Any = None
