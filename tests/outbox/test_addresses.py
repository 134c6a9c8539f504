"""ifp.toml: what is refused, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from receiver import hook, why

import ifpdb as ifp
from ifpdb.ifptoml import Unconfigured
from ifpdb.outbox import addresses, delivery

Make = Callable[..., ifp.Version]


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("", 0o600, "has no [hook.ci]: add [hook.ci] with url"),
        (hook("https://example.org/T0/B0/hidden"), 0o644, "isn't yours alone (mode 644): chmod 600"),
        ('[hook.ci]\nurl = "https://x', 0o600, "is not TOML"),
        ("[hoook.ci]\nurl = 1", 0o600, "[hoook] is no section"),
        ("hook = 3", 0o600, "hook is no section"),
        ("[hook]\nci = 3", 0o600, "hook is no section"),
        (hook("http://example.org/T0/B0/hidden"), 0o600, "url must begin with https://"),
        (hook("https:///T0/B0/hidden"), 0o600, "url is no address"),
        (hook("https://me:pw@example.org/"), 0o600, "url is no address"),
        (hook("https://127.0.0.1:99999/"), 0o600, "url is no address"),
        (hook("https://example.org", "colour = 1"), 0o600, "colour is no key of it"),
        ('[hook.ci]\nurl = "https://example.org"', 0o600, "lacks secret"),
        ('[hook.ci]\nurl = "https://example.org"\nsecret = 5', 0o600, "secret must be text"),
    ],
)
def test_a_bad_configuration_says_what_to_write_and_the_letter_waits(
    registry: ifp.Registry, refused: Any, configure: Any, text: str, mode: int, said: str
) -> None:
    refused("hook:ci")
    path = configure(text, mode)
    told = why(registry)
    assert said in told
    assert str(path) in told
    assert delivery.look(registry).waiting[0].why == told


@pytest.mark.parametrize(
    "text",
    [
        "[slack]\ntoken='a'\nwebhook='https://b.c'",
        "[slack]\ncolour='a'",
        "[slack]\ntoken='€'",
        "[exec.note]\ncommand='rm -rf'",
        "[exec.note]\ncommand=[]",
    ],
)
def test_other_sections_are_checked_too(configure: Any, text: str) -> None:
    configure(text)
    with pytest.raises(Unconfigured):
        addresses.find("slack:#x" if "slack" in text else "exec:note")


def test_a_name_with_a_dot_is_quoted(configure: Any) -> None:
    with pytest.raises(Unconfigured) as told:
        addresses.find("exec:page.ada")
    section, _, rest = str(told.value).partition("add ")[2].partition(" with ")
    configure(f"{section}\n{rest}")
    assert addresses.find("exec:page.ada").values == {"command": ["program", "argument"]}
