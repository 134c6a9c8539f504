"""Is the log whole: every event's bytes, id and parents, the heads, and the stages that it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..desk import Registry
from ..ledger import events
from .logical import logical_digest

STAGES_OFF = """
    SELECT 'sha256:' || lower(hex(v.digest)), v.stage, s.stage FROM version v JOIN stage_by_log s ON s.version = v.key
     WHERE v.stage IS NOT s.stage"""


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found: the number of events, the heads of the log, the registry's logical digest, the problems."""

    events: int
    heads: tuple[str, ...]
    digest: str
    problems: tuple[tuple[str, str, str], ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "events": self.events,
            "heads": list(self.heads),
            "digest": self.digest,
            "problems": [{"kind": kind, "event": event, "detail": detail} for kind, event, detail in self.problems],
        }


def verify(registry: Registry) -> Verification:
    """Hash every event anew, follow every parent link, and hold the stages against the log."""
    with registry.reading() as tx:
        found = list(events.problems(tx))
        for version, held, told in tx.execute(STAGES_OFF):
            found.append(("stage", "", f"{version} is in {held}, but the log says {told}"))
        count = tx.execute("SELECT count(*) FROM event").fetchone()[0]
        return Verification(count, tuple(events.heads(tx)), logical_digest(tx), tuple(found))
