"""A review as Markdown, for a comment under a pull request. Nobody's name or reason can add a link, a mention or markup."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..drawing.story import happened
from ..drawing.words import number, person, printable, short
from ..records import Event
from .check import Review


def code(text: str) -> str:
    """Text as a code span, inside of which nothing is markup, a link or a mention; '' stays ''."""
    shown = re.sub(r"\s+", " ", printable(text)).strip()
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    space = " " if "`" in (shown[:1], shown[-1:]) else ""
    return f"{fence}{space}{shown}{space}{fence}" if shown else ""


def render(reviews: Sequence[Review]) -> str:
    """A section for each registry; a sentence where none changed."""
    if not reviews:
        return "No registry changes.\n"
    return "\n".join(line for review in reviews for line in _section(review)) + "\n"


def _section(review: Review) -> Iterator[str]:
    count = len(review.broken)
    verdict = "no rule broken" if review.ok else f"**{count} broken rule{'' if count == 1 else 's'}**"
    yield f"## {code(review.path)}: {verdict}"
    yield ""
    yield from _list("Broken rules", review.broken)
    yield from _list("Worth a look", review.noted)
    yield from _versions(review)
    for heading, kinds in KINDS.items():
        yield from _events(heading, [event for event in review.added if event.kind in kinds])
    told = {kind for kinds in KINDS.values() for kind in kinds}
    rest = Counter(event.kind for event in review.added if event.kind not in told and event.kind != "registered")
    if rest:
        yield f"Also {', '.join(f'{count} {code(kind)}' for kind, count in sorted(rest.items()))}."
        yield ""


KINDS = {
    "Moves": ("promoted", "rolled_back", "settled", "moved", "promotion_refused"),
    "Policies, approvals, names": (
        *("policy_set", "approved", "approval_withdrawn", "labelled", "tagged", "untagged", "deployed"),
    ),
}
"""What is told event by event; the rest is counted."""


def _list(heading: str, items: Iterable[str]) -> Iterator[str]:
    shown = [f"- {code(item)}" for item in items]
    if shown:
        yield from (f"### {heading}", "", *shown, "")


def _versions(review: Review) -> Iterator[str]:
    found = review.versions or {}
    rows = []
    for event in review.added:
        if (version := found.get(event.id)) is None:
            continue
        metrics = ", ".join(f"{name} {number(value)}" for name, value in version.metrics.items())
        data = ", ".join(f"{one.role} {one.name or short(one.identity)}" for one in version.data)
        rows.append([version.model, short(version.digest), str(event.to_stage), metrics, data, person(event.actor)])
    if rows:
        yield from ("### New versions", "", *_table(("model", "version", "starts in", "metrics", "data", "by"), rows), "")


def _events(heading: str, events: Sequence[Event]) -> Iterator[str]:
    if events:
        rows = [[event.at[:19].replace("T", " "), person(event.actor), happened(event)] for event in events]
        yield from (f"### {heading}", "", *_table(("when (UTC)", "who", "what"), rows), "")


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    line: Callable[[Iterable[str]], str] = lambda cells: f"| {' | '.join(cells)} |"  # noqa: E731
    yield line(headings)
    yield line("---" for _ in headings)
    yield from (line(code(cell).replace("|", "\\|") for cell in row) for row in rows)  # cells part before code does
