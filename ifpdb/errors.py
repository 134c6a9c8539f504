"""Everything that ifpdb raises on purpose, and the exit code that the command line gives it.

IfpError                     1
├── UsageError               2   bad arguments, names, policy or schema file
├── NotFound                 3   no such ref, model, registry or blob
├── Ambiguous                4   several candidates
├── Conflict                 4   the world moved: `expect` no longer true, a file that changes while it is read
│   └── MergeConflict            two registries disagree on what only a person can decide
├── IntegrityError           5   bytes don't match their digest, broken chain, not a registry, damaged file
├── StorageError             5   the disk is full, or the file system said no
├── Busy                     6   another writer held the registry longer than the timeout
└── Refused                  7   the rules say no
    ├── GateFailed               the policy's checks did not pass
    ├── NeedsReason              this move must say why
    └── Untrusted                loading it could run code nobody vouched for

A message names the thing, the reason, and the command or call that gets on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .answers import Verdict
    from .merge.disagreement import Disagreement

__all__ = [
    "Ambiguous",
    "Busy",
    "Conflict",
    "GateFailed",
    "IfpError",
    "IntegrityError",
    "MergeConflict",
    "NeedsReason",
    "NotFound",
    "Refused",
    "StorageError",
    "Untrusted",
    "UsageError",
]


class IfpError(Exception):
    """The root: catch this to catch every error that ifpdb raises on purpose."""

    exit_code = 1


class UsageError(IfpError):
    """Bad arguments, a bad name, a bad policy or schema file."""

    exit_code = 2


class NotFound(IfpError):
    """No such reference, model, registry or blob."""

    exit_code = 3


class Ambiguous(IfpError):
    """A reference that names several things; the message lists them."""

    exit_code = 4


class Conflict(IfpError):
    """What the caller expected is no longer so."""

    exit_code = 4


class MergeConflict(Conflict):
    """Two people decided differently since their common past; `disagreements` holds each, with both sides."""

    def __init__(self, message: str, disagreements: Sequence[Disagreement]) -> None:
        super().__init__(message)
        self.disagreements = tuple(disagreements)


class IntegrityError(IfpError):
    """Bytes that don't match their digest, a broken chain, a file that is no registry or is damaged."""

    exit_code = 5


class StorageError(IfpError):
    """The disk is full, or the file system refused to read or write."""

    exit_code = 5


class Busy(IfpError):
    """Another writer held the registry longer than the timeout."""

    exit_code = 6


class Refused(IfpError):
    """The rules say no."""

    exit_code = 7


class GateFailed(Refused):
    """The validation gate did not pass; `verdict` holds every check."""

    def __init__(self, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.verdict = verdict


class NeedsReason(Refused):
    """A move that must say why was asked for without a reason."""


class Untrusted(Refused):
    """Loading the artifact could run code that nobody on this machine vouched for."""
