"""A lineage graph as an SVG picture, drawn from the same layout as `ifp log --graph`: no script, no font to load.

https://www.w3.org/TR/SVG11/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from .lanes import layout
from .words import printable

COLOURS = {"production": "#1a7f37", "shadow": "#0969da", "staging": "#bf8700", "archived": "#8c959f"}
STEP, TURN, LANE, LEFT, LETTER = 28, 12, 22, 22, 7.3
"""From a node to the next, more for each lane that a link crosses; a lane; the margin; a monospaced letter; in pixels."""

STYLE = """
  text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328 }
  .lane { stroke: #8c959f; stroke-width: 2; fill: none; stroke-linecap: round }
  .faint { fill: #59636e } .badge { fill: #fff; font-size: 11px } .back { fill: #fff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .faint { fill: #9198a1 } .badge { fill: #fff } .back { fill: #0d1117 } .lane { stroke: #6e7681 } }
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """A node of the picture: its name, what stands behind it, the stage whose colour it has, and names on badges."""

    name: str
    parents: tuple[str, ...]
    text: str
    stage: str | None
    badges: tuple[str, ...] = ()


def svg(marks: Sequence[Mark]) -> str:
    """The picture of these nodes, every child before its parents."""
    rows = list(layout([(mark.name, mark.parents) for mark in marks]))
    start = LEFT + max((row.lanes for row in rows), default=0) * LANE
    lanes, nodes, y = list[str](), list[str](), 24
    for mark, row in zip(marks, rows, strict=True):
        nodes += _node(mark, LEFT + row.column * LANE, y, start)
        below = y + STEP + TURN * max((abs(there - here) for here, there in row.links), default=0)
        lanes += [_lane(LEFT + here * LANE, y, LEFT + there * LANE, below) for here, there in row.links]
        y = below
    bottom = y - STEP + 24
    width = start + max((_width(mark) for mark in marks), default=0) + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{bottom}" '
        f'viewBox="0 0 {width:.0f} {bottom}" role="img" aria-label="lineage of {len(marks)} runs">\n'
        f'<style>{STYLE}</style>\n<rect class="back" width="100%" height="100%" rx="6"/>\n'
        + "\n".join(lanes + nodes)
        + "\n</svg>\n"
    )


def _lane(x: float, y: float, to_x: float, to_y: float) -> str:
    middle = (y + to_y) / 2
    bend = f"V{to_y}" if x == to_x else f"C{x} {middle} {to_x} {middle} {to_x} {to_y}"
    return f'<path class="lane" d="M{x} {y}{bend}"/>'


def _node(mark: Mark, x: float, y: float, start: float) -> Iterator[str]:
    colour = COLOURS.get(mark.stage or "", "#8c959f")
    kind = f'fill="{colour}"' if mark.stage else f'class="back" stroke="{colour}" stroke-width="2"'
    radius = 8 if mark.stage == "production" else 6
    yield f'<circle cx="{x}" cy="{y}" r="{radius}" {kind}><title>{_clean(mark.name)}</title></circle>'
    yield f'<text x="{start}" y="{y + 4}"><tspan class="faint">{_clean(mark.name)}</tspan>  {_clean(mark.text)}</text>'
    x = start + LETTER * (len(mark.name) + 2 + len(mark.text)) + 12
    for badge, fill in _badges(mark).items():
        wide = LETTER * len(badge) + 12
        yield f'<rect x="{x:.0f}" y="{y - 9}" width="{wide:.0f}" height="18" rx="9" fill="{fill}"/>'
        yield f'<text class="badge" x="{x + wide / 2:.0f}" y="{y + 4}" text-anchor="middle">{_clean(badge)}</text>'
        x += wide + 6


def _badges(mark: Mark) -> Mapping[str, str]:
    held = {mark.stage: COLOURS.get(mark.stage, "#8c959f")} if mark.stage else {}
    return held | dict.fromkeys(mark.badges, "#6639ba")


def _width(mark: Mark) -> float:
    badges = sum(LETTER * len(badge) + 18 for badge in _badges(mark))
    return LETTER * (len(mark.name) + 2 + len(mark.text)) + 12 + badges


def _clean(text: str) -> str:
    return escape(printable(text))
