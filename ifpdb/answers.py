"""The frozen records that answer a question: who came from whom, what held a stage, what changed, what the gate says.

As in `records.py`, `as_dict()` is the JSON form, and its keys only ever grow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .digest import number_to_json
from .drawing import words
from .records import Parent

if TYPE_CHECKING:
    from .drawing.svg import Mark


@dataclass(frozen=True, slots=True)
class Node:
    """A run in a lineage graph, with the version it registered, if any, and its parents in order."""

    run: str
    model: str
    digest: str | None
    ordinal: int | None
    stage: str | None
    labels: tuple[str, ...]
    status: str
    started_at: str
    parents: tuple[Parent, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "model": self.model,
            "digest": self.digest,
            "ordinal": self.ordinal,
            "stage": self.stage,
            "labels": list(self.labels),
            "status": self.status,
            "started_at": self.started_at,
            "parents": [parent.as_dict() for parent in self.parents],
        }


class Lineage(list[Node]):
    """The nodes of a lineage graph, children before their parents. A notebook shows it as a picture."""

    def _repr_svg_(self) -> str:
        return self.svg()

    def svg(self) -> str:
        """The graph as an SVG document."""
        from .drawing.svg import svg  # only pictures need it

        return svg([_mark(node) for node in self])


def _mark(node: Node) -> Mark:
    from .drawing.svg import Mark

    what = f"{node.model} v{node.ordinal} {words.short(node.digest)}" if node.digest else f"{node.model} ({node.status})"
    kinds = sorted({parent.kind for parent in node.parents} - {"derived_from"})
    text = "  ".join([what, *kinds])
    return Mark(node.run, tuple(parent.run for parent in node.parents), text, node.stage, node.labels)


@dataclass(frozen=True, slots=True)
class Kin:
    """An ancestor or descendant: its run, what that registered (None: nothing), and how many edges away it is."""

    run: str
    digest: str | None
    model: str
    depth: int

    def as_dict(self) -> dict[str, Any]:
        return {"run": self.run, "digest": self.digest, "depth": self.depth, "model": self.model}


@dataclass(frozen=True, slots=True)
class Interval:
    """A version held a stage from `since` until `until` (None: still). `approved_by` are those who approved by then.

    With an `environment`, it is one in which that says that it served the version, in whatever stage (None) that was.
    """

    model: str
    run: str
    digest: str
    stage: str | None
    since: str
    until: str | None
    actor: str
    approved_by: tuple[str, ...]
    reason: str | None
    environment: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "run": self.run,
            "digest": self.digest,
            "stage": self.stage,
            "since": self.since,
            "until": self.until,
            "actor": self.actor,
            "approved_by": list(self.approved_by),
            "reason": self.reason,
            "environment": self.environment,
        }


class History(list[Interval]):
    """Intervals, the oldest first. A notebook shows them as a table."""

    def _repr_html_(self) -> str:
        from .drawing import html

        rows = [
            [
                *(i.model, i.stage or "", i.environment or "", words.short(i.digest), i.run),
                *(words.minute(i.since), words.minute(i.until) or "now", words.person(i.actor)),
                *(", ".join(map(words.person, i.approved_by)), i.reason or ""),
            ]
            for i in self
        ]
        headings = ["model", "stage", "environment", "version", "run", "since", "until", "moved by", "approved by", "reason"]
        return html.table(headings, rows)


@dataclass(frozen=True, slots=True)
class Check:
    """One question of the gate and its answer. `op` is '>=' or '<='; `why` says in words why it failed or passed."""

    name: str
    passed: bool
    why: str
    metric: str | None = None
    op: str | None = None
    threshold: float | None = None
    value: float | None = None
    dataset: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "metric": self.metric,
            "op": self.op,
            "threshold": number_to_json(self.threshold),
            "value": number_to_json(self.value),
            "dataset": self.dataset,
            "passed": self.passed,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a version under the policy with this digest (None: the model has no policy)."""

    passed: bool
    checks: tuple[Check, ...]
    policy: str | None
    notify_on_fail: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    def as_dict(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "checks": [check.as_dict() for check in self.checks],
            "policy": self.policy,
            "notify_on_fail": list(self.notify_on_fail),
        }


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two versions. `part` is data, feature, param, seed, code, environment, weights or metric.

    `change` is added, removed, changed or moved (or 'unchanged', where everything was asked for); `note` tells more in words.
    """

    part: str
    name: str
    change: str
    before: Any
    after: Any
    note: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "name": self.name,
            "change": self.change,
            "before": self.before,
            "after": self.after,
            "note": self.note,
        }
