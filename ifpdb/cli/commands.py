"""A group of commands by task, each imported only when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from .output import printable

Sections = Mapping[str, Mapping[str, str]]
"""Commands by task, with the module that has them."""


class Commands(click.Group):
    """A group whose commands lie in modules of `package`, by `sections`; each module has a table COMMANDS."""

    def __init__(self, *arguments: Any, package: str, sections: Sections, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._package, self._sections = package, sections
        self._module_of = {name: module for commands in sections.values() for name, module in commands.items()}

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self._module_of)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._module_of:
            return None
        module = import_module(f".{self._module_of[cmd_name]}", self._package)
        found: click.Command = module.COMMANDS[cmd_name]
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self._module_of and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], self._module_of, n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else f" See {ctx.command_path} --help."
            ctx.fail(f"There is no command '{printable(args[0])}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in self._sections.items():
            found = [(name, self.get_command(ctx, name)) for name in commands]
            if found:
                with formatter.section(section):
                    formatter.write_dl([(name, command.get_short_help_str(90)) for name, command in found if command])
