"""The view `changes` tells auditors what compare() tells everybody else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import ifpdb as ifp

Make = Callable[..., ifp.Version]
HOUR = {"position": 0, "name": "hour", "type": "integer", "nullable": False, "min": 0, "max": 23}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"params": {"C": 2.0}},
        {"params": {"C": 1.0, "depth": 3}},
        {"params": {"depth": 3}},
        {"params": {"C": 1}},
        {"seed": 8},
        {"schema": [HOUR]},
        {"data": "other.csv"},
        {"metrics": {"f1": 0.9}},
        {"metrics": {"f1": 0.5, "auc": float("nan")}},
    ],
)
def test_the_view_and_the_comparison_agree(
    make: Make, registry: ifp.Registry, folder: object, given: dict[str, object]
) -> None:
    with open("other.csv", "w") as file:
        file.write("amount,country\n1,FR\n")
    a = make("a", metrics={"f1": 0.5})
    b = make("b", **{"metrics": {"f1": 0.5}, **given}, derived_from=a.run)
    rows = registry.sql("SELECT part, name, change FROM changes WHERE child = ? AND parent = ?", [b.run, a.run])
    found = {(row["part"], row["name"], row["change"]) for row in rows if row["part"] != "data"}
    told = registry.diff(a.run, b.run)
    assert found == {(c.part, c.name, c.change) for c in told if c.part != "data" and c.change != "moved"}
    assert any(row["part"] == "data" for row in rows) == any(change.part == "data" for change in told)


def test_only_edges_have_changes(make: Make, registry: ifp.Registry) -> None:
    make("a")
    make("b", params={"C": 2.0})
    assert registry.sql("SELECT * FROM changes") == []
