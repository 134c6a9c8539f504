"""Pictures of lineage: well-formed, safe whatever the names, with a circle for each run and a lane for each edge."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.drawing.svg import Mark, svg

SVG = "{http://www.w3.org/2000/svg}"
DIAMOND = [
    Mark("run-d", ("run-b", "run-c"), "fraud v4", "production", ("2025-Q4",)),
    Mark("run-b", ("run-a",), "fraud v2", "archived"),
    Mark("run-c", ("run-a",), "fraud (failed)", None),
    Mark("run-a", (), "fraud v1", "archived"),
]


def circles(picture: str) -> list[ET.Element]:
    return ET.fromstring(picture).findall(f"{SVG}circle")


def test_each_node_is_a_circle_with_its_name() -> None:
    found = circles(svg(DIAMOND))
    assert [circle.findtext(f"{SVG}title") for circle in found] == [mark.name for mark in DIAMOND]
    heights = [float(circle.attrib["cy"]) for circle in found]
    assert heights == sorted(heights)
    assert len({circle.attrib["cx"] for circle in found}) == 2


def test_production_is_larger_and_a_run_without_version_is_hollow() -> None:
    production, archived, failed, _ = circles(svg(DIAMOND))
    assert float(production.attrib["r"]) > float(archived.attrib["r"])
    assert "fill" in archived.attrib and "stroke" in failed.attrib


def test_everything_lies_within_the_picture() -> None:
    root = ET.fromstring(svg(DIAMOND))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for rect in root.findall(f"{SVG}rect")[1:]:
        assert float(rect.attrib["x"]) + float(rect.attrib["width"]) <= width
    assert all(float(circle.attrib["cy"]) < height for circle in circles(svg(DIAMOND)))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "]]>", "\"'&", "a\0b\x1b[31m", "עברית 🎉", "x" * 500])
def test_no_name_gets_out_of_its_place(name: str) -> None:
    root = ET.fromstring(svg([Mark(name, (), name, "shadow", (name,))]))
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    assert len(list(root.iter(f"{SVG}circle"))) == 1


def test_nothing_gives_an_empty_picture() -> None:
    assert circles(svg([])) == []


def test_a_notebook_shows_lineage_history_versions_and_runs(make: Callable[..., ifp.Version], registry: ifp.Registry) -> None:
    a = make("a", metrics={"f1": 0.9})
    b = make("b", derived_from=(a.run, "forked_from"))
    fraud = registry.model("fraud")
    fraud.promote("v1", "production", force=True, reason="<b>trial</b>")
    picture = fraud.lineage("v2")._repr_svg_()
    assert [circle.findtext(f"{SVG}title") for circle in circles(picture)] == [b.run, a.run]
    assert "forked_from" in picture
    page = fraud.history()._repr_html_()
    assert a.digest[:19] in page and "&lt;b&gt;trial" in page and "<b>" not in page
    assert a.digest in fraud.get("v1")._repr_html_()
    assert a.run in registry.run(a.run)._repr_html_()
    for fragment in (page, fraud.get("v1")._repr_html_(), registry.run(a.run)._repr_html_()):
        ET.fromstring(fragment)


def test_the_command_writes_the_picture(cli: Callable[..., Any], make: Callable[..., ifp.Version], folder: Path) -> None:
    make("a")
    said = cli("log", "fraud@v1", "--graph", "--svg", "lineage.svg")
    assert (said.code, said.out, said.err) == (0, "", "wrote lineage.svg\n")
    assert len(circles((folder / "lineage.svg").read_text(encoding="utf-8"))) == 1
    refused = cli("log", "fraud@v1", "--svg", "nowhere/lineage.svg")
    assert refused.code == 2
    assert "can't be written" in refused.err
