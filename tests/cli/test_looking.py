"""`ls` shows the newest versions of a model, as many as were asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import ifpdb as ifp


def test_ls_shows_the_newest_versions_up_to_a_limit(make: Callable[..., ifp.Version], cli: Callable[..., Any]) -> None:
    for weights in "abc":
        make(weights, tags=["q1"] if weights != "b" else [])
    ordinals = [version["ordinal"] for version in json.loads(cli("ls", "fraud", "--limit", "2", "--json").out)]
    assert ordinals == [3, 2]
    tagged = json.loads(cli("ls", "fraud", "--tag", "q1", "--limit", "2", "--json").out)
    assert [version["ordinal"] for version in tagged] == [3, 1]


def test_a_limit_asks_about_the_versions_of_one_model(registry: ifp.Registry, cli: Callable[..., Any]) -> None:
    said = cli("ls", "--limit", "2")
    assert said.code == 2
    assert "name a MODEL" in said.err
