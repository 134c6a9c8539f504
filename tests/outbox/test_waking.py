"""Delivered right after the command, by a process of its own; `ifp outbox`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from receiver import Receiver, hook, listening

import ifpdb as ifp

Make = Callable[..., ifp.Version]


def wait_for(ci: Receiver, count: int) -> None:
    until = time.monotonic() + 20
    while len(ci.requests) < count and time.monotonic() < until:
        time.sleep(0.02)
    assert len(ci.requests) == count


def test_it_is_delivered_right_after_the_command_by_a_process_of_its_own(
    registry: ifp.Registry, refused: Any, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IFP_OUTBOX")
    with listening() as ci:
        configure(hook(ci.url))
        refused("hook:ci")
        wait_for(ci, 1)
        refused("hook:ci")
        wait_for(ci, 2)
    assert len({headers["Idempotency-Key"] for _, headers, _ in ci.requests}) == 2


def test_the_next_command_delivers_what_is_due(
    registry: ifp.Registry, refused: Any, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused("hook:ci")
    with listening() as ci:
        configure(hook(ci.url))
        monkeypatch.delenv("IFP_OUTBOX")
        registry.model("fraud").tag("latest", "seen")
        wait_for(ci, 1)


def test_a_promotion_does_not_wait_for_its_receiver(
    registry: ifp.Registry, refused: Any, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IFP_OUTBOX")
    with listening(hang=3) as ci:
        configure(hook(ci.url))
        began = time.monotonic()
        refused("hook:ci")
        assert time.monotonic() - began < 2
        wait_for(ci, 1)


def test_outbox_on_the_command_line(registry: ifp.Registry, refused: Any, configure: Any, cli: Callable[..., Any]) -> None:
    assert json.loads(cli("outbox", "--json").out) == {"delivered": [], "waiting": []}
    refused("hook:ci")
    said = cli("outbox")
    assert said.code == 0
    assert "hook:ci" in said.out
    assert "has no [hook.ci]" in said.out
    assert cli("outbox", "--deliver").code == 1
    with listening() as ci:
        configure(hook(ci.url))
        said = cli("outbox", "--deliver", "--json")
        assert said.code == 0
        assert [one["target"] for one in json.loads(said.out)["delivered"]] == ["hook:ci"]
