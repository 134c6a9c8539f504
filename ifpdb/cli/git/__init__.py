"""git: what makes a registry at home in a checkout, and what git itself calls."""

from __future__ import annotations

import click

from ..commands import Commands

SECTIONS: dict[str, dict[str, str]] = {
    "Set up": {"install": "setup", "uninstall": "setup"},
    "Merge": {"resolve": "merging", "recover": "merging"},
    "Review": {"check": "review"},
    "Called by git": {"textconv": "reading", "hook": "setup", "merge-driver": "merging"},
}
"""Commands by task, with the module of this package that has them."""


@click.group("git", cls=Commands, package=__name__, sections=SECTIONS)
def git_group() -> None:
    """Set up git for this registry; settle merges, review changes."""


COMMANDS: dict[str, click.Command] = {"git": git_group}
