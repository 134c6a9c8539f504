"""Sheets and tables as fragments of HTML, for `_repr_html_` in notebooks: everything escaped, no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from .words import printable

_MONO = "font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 12px; text-align: left"
_TOP = "vertical-align: top; padding: 2px 12px 2px 0; white-space: pre-wrap; text-align: left"


def sheet(lines: Iterable[tuple[str, str]]) -> str:
    """Headings and their texts, one below the other; a heading without text is left out."""
    rows = "".join(
        f'<tr><th style="{_TOP}; opacity: 0.6">{_clean(heading)}</th><td style="{_TOP}">{_clean(text)}</td></tr>'
        for heading, text in lines
        if text
    )
    return f'<table style="{_MONO}">{rows}</table>'


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under headings."""
    head = "".join(f'<th style="{_TOP}">{_clean(heading)}</th>' for heading in headings)
    body = "".join("<tr>" + "".join(f'<td style="{_TOP}">{_clean(cell)}</td>' for cell in row) + "</tr>" for row in rows)
    return f'<table style="{_MONO}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _clean(text: str) -> str:
    return escape(printable(text))
