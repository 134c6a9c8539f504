"""The click tree, walked: every command and parameter has help in the imperative, every result has --json."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from ifpdb.cli import SECTIONS, cli

VERBS = {
    "Act",
    "Allow",
    "Approve",
    "Ask",
    "Bind",
    "Bring",
    "Check",
    "Copy",
    "Draw",
    "Enter",
    "Forget",
    "Get",
    "Give",
    "Go",
    "Judge",
    "Label",
    "Leave",
    "List",
    "Look",
    "Make",
    "Merge",
    "Move",
    "Name",
    "Point",
    "Print",
    "Put",
    "Read",
    "Record",
    "Refuse",
    "Register",
    "Run",
    "Say",
    "Send",
    "Set",
    "Settle",
    "Show",
    "Start",
    "Tag",
    "Take",
    "Use",
    "Vouch",
    "Wait",
    "Write",
}
FILTERS = ("Only ",)
"""An option that narrows a list says `Only …`."""


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from walk(below, (*path, name))


TREE = {" ".join(path): command for path, command in walk(cli) if path}
LEAVES = {name: command for name, command in TREE.items() if not isinstance(command, click.Group)}
OPTIONS = {
    f"{name} {option.opts[0]}": option
    for name, command in [("ifp", cli), *LEAVES.items()]
    for option in command.params
    if isinstance(option, click.Option)
}


def test_every_command_of_the_promise_is_there() -> None:
    promised = [
        "init",
        "register",
        "ls",
        "runs",
        "show",
        "log",
        "promote",
        "rollback",
        "approve",
        "gate",
        "history",
        "at",
        "events",
        "exposure",
        "diff",
        "link",
        "tag",
        "label",
        "checkout",
        "trust",
        "metric",
        "verify",
        "gc",
        "backup",
        "doctor",
        "resolve",
        "deployed",
        "outbox",
        "sql",
        "ancestors",
        "descendants",
        "merge-base",
        "explain",
        "blame",
        "bisect",
    ]
    assert {*promised, "policy set", "policy show", "schema show", "data hash"} <= LEAVES.keys()


@pytest.mark.parametrize("name", TREE)
def test_a_command_has_help_in_the_imperative(name: str) -> None:
    text = TREE[name].help
    assert text
    assert text.split()[0] in VERBS
    assert text.rstrip().endswith(".")


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_has_help_in_the_imperative(name: str) -> None:
    text = OPTIONS[name].help
    assert text, "no help"
    assert text.split()[0] in VERBS or text.startswith(FILTERS)
    assert text.rstrip().endswith(".")


@pytest.mark.parametrize("name", LEAVES)
def test_every_argument_is_named_in_its_commands_help(name: str) -> None:
    for argument in LEAVES[name].params:
        if isinstance(argument, click.Argument):
            shown = (argument.metavar or argument.name or "").upper().removesuffix("...")
            words = shown.replace("_OR_", "_").split("_") if argument.metavar is None else [shown.partition("=")[0]]
            assert any(word in (LEAVES[name].help or "") for word in words), shown


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_takes_json_db_and_actor(name: str) -> None:
    options = {word for option in LEAVES[name].params for word in option.opts}
    assert {"--json", "--db", "--actor"} <= options


def test_every_command_stands_in_one_section() -> None:
    names = [name for commands in SECTIONS.values() for name in commands]
    assert sorted(names) == sorted(set(names))
    assert set(names) == {name.split()[0] for name in TREE}


@pytest.mark.parametrize("name", ["", *TREE])
def test_help_is_printed_for_everything(name: str, cli: Callable[..., Any], folder: Path) -> None:
    for word in ("--help", "-h"):
        said = cli(*name.split(), word)
        assert (said.code, said.err) == (0, "")
        assert said.out.startswith("Usage: ifp")
    assert list(folder.iterdir()) == []
