"""One model of a registry: its versions, how they move between stages, and by which policy."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

from . import approvals, digest, names, promotion
from .answers import Change, History, Lineage, Verdict
from .desk import Registry
from .errors import Conflict, NeedsReason, UsageError
from .ledger import events, resolve, stages, versions
from .policy import Policy
from .records import Version

if TYPE_CHECKING:
    from .history.bisect import Bisection
    from .history.blame import Origin
    from .history.explain import Explanation

_CONDITION = re.compile(
    r"\s*([^\s<>=!]+)\s*(>=|<=|==|!=|=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?inf)\s*", re.I
)


class Model:
    """A model by name. References may leave its name out: `get("v8")` is `fraud-detector@v8`."""

    def __init__(self, registry: Registry, name: str) -> None:
        self.registry = registry
        self.name = name

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {str(self.registry.path)!r})"

    # -- looking

    def versions(
        self, *, stage: str | None = None, tag: str | None = None, where: str | None = None, limit: int | None = None
    ) -> list[Version]:
        """The model's versions, the newest first.

        `where` compares metrics, as in `"f1 >= 0.9 and rmse < 3"`. Raises NotFound for an unknown model, UsageError for
        a `where` that can't be read.
        """
        if stage is not None:
            names.check_stage(stage)
        conditions = _parse_where(where) if where else []
        with self.registry.reading() as tx:
            key = resolve.model_key(tx, self.name)
            keys = versions.select(tx, key, stage=stage, tag=tag, conditions=conditions, limit=-1 if limit is None else limit)
            return versions.read(tx, keys, self.registry)

    def get(self, ref: str) -> Version:
        """The version that a reference names. Raises UsageError, NotFound or Ambiguous."""
        with self.registry.reading() as tx:
            key = resolve.resolve_version(tx, ref, now=self.registry.now(), model=self.name)
            return versions.read(tx, [key], self.registry)[0]

    @property
    def production(self) -> Version | None:
        """The version in production, or None."""
        with self.registry.reading() as tx:
            key = stages.production(tx, self.name)
            return versions.read(tx, [key], self.registry)[0] if key is not None else None

    def at(self, time: str, stage: str = "production", *, as_known_on: str | None = None) -> list[Version]:
        """What held a stage then, with `since`, `until` and `approved_by`; see `Registry.at`."""
        return self.registry.at(time, model=self.name, stage=stage, as_known_on=as_known_on)

    def history(self, stage: str | None = "production", *, as_known_on: str | None = None) -> History:
        """Which version held a stage (None: any stage) from when to when, oldest first; `as_known_on` as in `Registry.at`."""
        if stage is not None:
            names.check_stage(stage)
        known_by = self.registry.known_by(as_known_on)
        with self.registry.reading() as tx:
            resolve.model_key(tx, self.name)
            return History(stages.intervals(tx, model=self.name, stage=stage, known_by=known_by))

    def lineage(self, ref: str) -> Lineage:
        """A version's run and all its ancestors, children before parents."""
        return self.registry.lineage(self.get(ref).run)

    def diff(self, a: str, b: str) -> list[Change]:
        """What differs from version `a` to version `b`, part by part."""
        return self.registry.diff(self.get(a).name, self.get(b).name)

    def explain(self, ref: str, ancestor: str | None = None) -> Explanation:
        """What changed at each step from an ancestor down to `ref`; by default from the production version it came from.

        Raises NotFound for an ancestor that is none.
        """
        from .history.explain import explain  # here and below: what few calls need would cost every `ifp show` 5 ms

        return explain(self.registry, self.get(ref).run, None if ancestor is None else self.get(ancestor).run)

    def blame(self, ref: str | None = None) -> list[Origin]:
        """For each feature and parameter of a version (default: production), the version that brought its present value."""
        from .history.blame import blame

        return blame(self.registry, self.name if ref is None else self.get(ref).name)

    def bisect(self, test: Callable[[Version], bool | None], *, good: str | Sequence[str], bad: str) -> Bisection:
        """The first bad version between good ancestors and a bad one, in as few tests as can be.

        `test` is told a version: True means good, False bad, None that it can't be tested. Runs that registered nothing are
        not tested. Raises UsageError and NotFound for ends that make no sense.
        """
        from .history.bisect import Bisect, search
        from .history.verdicts import by_function

        good_ones = [good] if isinstance(good, str) else good
        search_space = Bisect(self.registry, good=[self.get(ref).run for ref in good_ones], bad=self.get(bad).run)
        return search(search_space, by_function(test))

    def gate(self, ref: str) -> Verdict:
        """What the gate would say of a version; writes nothing."""
        with self.registry.reading() as tx:
            key = resolve.resolve_version(tx, ref, now=self.registry.now(), model=self.name)
            return promotion.judge(tx, key)

    @property
    def policy(self) -> Policy | None:
        """The validation policy in force, or None."""
        with self.registry.reading() as tx:
            return stages.policy(tx, self.name)

    # -- moving

    def promote(
        self,
        ref: str,
        to_stage: str,
        *,
        reason: str | None = None,
        approved_by: str | Sequence[str] | None = None,
        force: bool = False,
        expect: str | None = None,
    ) -> Version:
        """Move a version to a stage; into production only through the gate, or back to where it has been.

        `expect` names the version that must be in production now. Raises GateFailed when the gate says no and Refused
        where there is no policy (both are in the log), NeedsReason, Conflict when `expect` is no longer so.
        """
        names.check_stage(to_stage)
        approvers = _names(approved_by)
        with self.registry.writing() as (tx, by):
            version = resolve.resolve_version(tx, ref, now=by.now, model=self.name)
            if expect is not None:
                self._check_expected(tx, resolve.resolve_version(tx, expect, now=by.now, model=self.name), expect)
            refusal = promotion.promote(tx, by, version, to_stage, reason=_text(reason), approved_by=approvers, force=force)
            moved = versions.read(tx, [version], self.registry)[0]
        if refusal is not None:
            raise refusal
        return moved

    def _check_expected(self, tx: Any, expected: int, text: str) -> None:
        held = stages.production(tx, self.name)
        if held != expected:
            now = versions.read(tx, [held], None)[0].name if held is not None else "nothing"
            raise Conflict(f"{text} is no longer in production: {now} is. Look again and repeat (ifp history {self.name})")

    def rollback(self, *, reason: str | None, to: str | None = None) -> Version:
        """Put an earlier production version back: the one before, or `to`. It is a promotion with a reason.

        Raises NeedsReason without one, NotFound when there is nothing to go back to, Refused for a version that has
        never been in production.
        """
        if not _text(reason):
            raise NeedsReason("a rollback must say why: add --reason '…' (reason=)")
        with self.registry.writing() as (tx, by):
            resolve.model_key(tx, self.name)
            if to is None:
                version = promotion.rollback_target(tx, self.name)
            else:
                version = resolve.resolve_version(tx, to, now=by.now, model=self.name)
                promotion.check_rollback(tx, version)
            promotion.promote(tx, by, version, "production", reason=_text(reason))
            return versions.read(tx, [version], self.registry)[0]

    def approve(self, ref: str, reason: str | None = None) -> Version:
        """Approve a version, as who acts; the gate counts approvals where the policy asks for them.

        It stands for the policy in force and what is measured by now: a later change of either makes it stale. It is signed
        where a key is configured; raises Refused when that can't be used.
        """
        with self.registry.writing() as (tx, by):
            found = self._find(tx, by, ref)
            approvals.approve(tx, by, found, stages.policy(tx, self.name), _text(reason))
            return found

    def withdraw_approval(self, ref: str, reason: str | None = None) -> Version:
        """Take back one's own approval of a version, as who acts. Raises NotFound where there is none."""
        with self.registry.writing() as (tx, by):
            found = self._find(tx, by, ref)
            approvals.withdraw(tx, by, found, _text(reason))
            return found

    def deployed(
        self, ref: str, environment: str, *, replaces: str | None = None, at: str | None = None, stopped: bool = False
    ) -> Version:
        """Record that infrastructure says it serves this version in an environment; see `Registry.deployed`."""
        before = None if replaces is None else self.get(replaces).name
        return self.registry.deployed(self.get(ref).name, environment, replaces=before, at=at, stopped=stopped)

    def _find(self, tx: Connection, by: events.Author, ref: str) -> Version:
        return versions.read(tx, [resolve.resolve_version(tx, ref, now=by.now, model=self.name)], self.registry)[0]

    # -- naming

    def tag(self, ref: str, *tags: str) -> Version:
        """Tag a version; tags that it bears already stay."""
        return self._retag(ref, tags, "tagged", versions.add_tags)

    def untag(self, ref: str, *tags: str) -> Version:
        """Take tags off a version; those that it doesn't bear are no error."""
        return self._retag(ref, tags, "untagged", versions.remove_tags)

    def _retag(self, ref: str, tags: Sequence[str], kind: str, change: Any) -> Version:
        for tag in tags:
            names.check_tag(tag)
        if not tags:
            raise UsageError("no tag was given")
        with self.registry.writing() as (tx, by):
            key = resolve.resolve_version(tx, ref, now=by.now, model=self.name)
            changed = change(tx, key, tags)
            found = versions.read(tx, [key], self.registry)[0]
            if changed:
                detail = {"tags": changed}
                events.append(tx, by, kind, model=self.name, run=found.run, version=found.digest, detail=detail)
            return found

    def label(self, ref: str, label: str) -> Version:
        """Give a version a label, moved here from wherever in this model it was; each move is an event."""
        names.check_label(label)
        with self.registry.writing() as (tx, by):
            key = resolve.resolve_version(tx, ref, now=by.now, model=self.name)
            before = versions.set_label(tx, resolve.model_key(tx, self.name), label, key)
            found = versions.read(tx, [key], self.registry)[0]
            if before != key:
                detail: dict[str, Any] = {"label": label}
                if before is not None:
                    detail["from"] = versions.digest_of(tx, before)
                events.append(tx, by, "labelled", model=self.name, run=found.run, version=found.digest, detail=detail)
            return found

    def set_policy(self, source: str | PathLike[str] | Mapping[str, Any] | Policy) -> Policy:
        """Set the validation policy, from a YAML file or a mapping of the same shape; the Policy that is now in force.

        Raises UsageError, naming the line, for a file that is wrong, NotFound for a dataset name that no run has used.
        """
        names.check_model(self.name, allow=True)
        wanted = _read_policy(source)
        with self.registry.writing() as (tx, by):
            return promotion.set_policy(tx, by, self.name, wanted)


def _read_policy(source: str | PathLike[str] | Mapping[str, Any] | Policy) -> Policy:
    from . import policyfile

    if isinstance(source, Policy):
        return source
    if isinstance(source, Mapping):
        return policyfile.from_mapping(source)
    path = Path(source)
    try:
        return policyfile.parse(path.read_text(encoding="utf-8"), source=path.name)
    except FileNotFoundError:
        raise UsageError(f"there is no policy file {path}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None


def _parse_where(text: str) -> list[tuple[str, str, float]]:
    conditions = []
    for clause in re.split(r"\s+and\s+|\s*,\s*", text.strip(), flags=re.I):
        match = _CONDITION.fullmatch(clause)
        if match is None:
            raise UsageError(f"'{clause}' is no condition: write METRIC OP NUMBER, as in 'f1 >= 0.9 and rmse < 3'")
        conditions.append((match[1], match[2], float(match[3])))
    return conditions


def _names(approved_by: str | Sequence[str] | None) -> list[str]:
    given = [approved_by] if isinstance(approved_by, str) else list(approved_by or ())
    return [names.check_key(name, "approver") for name in given]


def _text(reason: str | None) -> str | None:
    """A reason without surrounding white space; None when nothing is left. Raises UsageError for broken text."""
    if reason is None or not reason.strip():
        return None
    digest.canonical(reason)
    return reason.strip()
