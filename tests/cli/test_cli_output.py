"""What a person sees: tables, warnings on stderr, nothing that could steer a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.cli import output
from ifpdb.drawing import words
from ifpdb.drawing.lanes import draw

Cli = Callable[..., Any]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("ünïcode ✓", "ünïcode ✓"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb", "a\nb"),
        ("a\r\x07", "a\\r\\x07"),
        ("a\u2028b\u202e", "a\\u2028b\\u202e"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert output.printable(text) == shown


def test_json_escapes_what_could_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"é\x7f\x9b": "\u202e\ud800\U000e0041 ✓\n"}
    output.emit_json(document)
    shown = capsys.readouterr().out
    assert shown == '{\n  "é\\u007f\\u009b": "\\u202e\\ud800\\udb40\\udc41 ✓\\n"\n}\n'
    assert json.loads(shown) == document


def test_csv_writes_control_characters_out(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit_csv([{"a\x1b": "b\x9b", "c": ["\u202e"], "d": 1.5}])
    assert capsys.readouterr().out == 'a\\x1b,c,d\r\nb\\x9b,"[""\\u202e""]",1.5\r\n'


def test_the_headings_of_a_query_are_text_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit_table([["1"]], ["a\x1b\nb"])
    assert capsys.readouterr().out == "a\\x1b b\n1\n"


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes_as_people_read_them(count: int, shown: str) -> None:
    assert words.size(count) == shown


def test_a_reason_cannot_steer_the_terminal(cli: Cli, two: ifp.Registry) -> None:
    reason = "looks \x1b[2J fine\nv99 production"
    assert cli("promote", "fraud@v2", "production", "--reason", reason).code == 0
    for line in (["history", "fraud"], ["events"], ["at", "now"], ["show", "fraud"]):
        said = cli(*line)
        assert "\x1b" not in said.out + said.err
    assert len(cli("history", "fraud").out.splitlines()) == 3  # a heading and two intervals


def test_tables_have_a_heading_and_a_line_for_each(cli: Cli, two: ifp.Registry) -> None:
    heading, *lines = cli("ls", "fraud").out.splitlines()
    assert heading.split()[:3] == ["version", "digest", "stage"]
    assert [line.split()[0] for line in lines] == ["v2", "v1"]
    assert "f1 0.95" in lines[0] and "2025-Q4 #q1" in lines[1]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ls", "no model yet"),
        ("runs", "no such run"),
        ("events", "no event"),
        ("at now", "nothing was in production"),
    ],
)
def test_an_empty_answer_is_talk_and_not_data(cli: Cli, registry: ifp.Registry, line: str, says: str) -> None:
    said = cli(*line.split())
    assert (said.code, said.out) == (0, "")
    assert says in said.err


def test_at_tells_how_it_was_trained_and_who_approved(cli: Cli, two: ifp.Registry) -> None:
    out = cli("at", "now").out
    version = two.resolve("fraud")
    for word in (version.name, "grace", "train.csv", version.data[0].digest, "C = 1.0", version.run, "f1 = 0.91", "2 features"):
        assert str(word) in out


def test_a_partial_version_is_shown_as_one_everywhere(cli: Cli, registry: ifp.Registry, folder: Path) -> None:
    (folder / "m").write_text("m")
    assert "it lacks its" in cli("register", "fraud", "m", "--data-ref", "s3://b/x#1", "--partial").err
    for line in (["ls", "fraud"], ["show", "fraud@v1"]):
        out = cli(*line).out
        assert "schema" in out and "training" in out


def test_an_empty_file_is_allowed_and_warned_of(cli: Cli, registry: ifp.Registry, folder: Path) -> None:
    (folder / "m").touch()
    said = cli("register", "fraud", "m", "--partial")
    assert said.code == 0
    assert "empty" in said.err


def test_a_mistyped_command_is_told_its_nearest(cli: Cli, folder: Path) -> None:
    assert "Did you mean promote?" in cli("promot").err


def test_a_refusal_is_one_line_that_names_every_failed_check(
    cli: Cli, two: ifp.Registry, make: Callable[..., ifp.Version]
) -> None:
    make("c", schema=None, partial=True, metrics={"f1": 0.1})
    said = cli("promote", "fraud@v3", "production")
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert "complete: " in said.err and "min_f1: " in said.err


def test_what_was_replaced_is_said_on_stderr(cli: Cli, two: ifp.Registry) -> None:
    said = cli("promote", "fraud@v2", "production")
    assert two.resolve("fraud@v1").name in said.err
    assert cli("promote", "fraud@v2", "production").err.strip() == "it was in production already"


def test_a_criss_cross_is_drawn() -> None:
    lines = draw([("d", ["b", "c"]), ("c", ["a"]), ("b", ["a"]), ("a", [])])
    assert [name for _, name in lines if name] == ["d", "c", "b", "a"]
    assert all(lane.count("*") == 1 for lane, name in lines if name)


def test_the_log_draws_every_ancestor_once(cli: Cli, two: ifp.Registry, make: Callable[..., ifp.Version]) -> None:
    make("c", derived_from=["fraud@v2", ("fraud@v1", "merged_from")])
    for arguments in (["log", "fraud@v3"], ["log", "fraud@v3", "--graph"]):
        out = cli(*arguments).out
        for number in (1, 2, 3):
            assert out.count(two.resolve(f"fraud@v{number}").run) == 1


def test_a_metric_on_the_training_data_is_shown_as_one(cli: Callable[..., Any], registry: ifp.Registry, folder: Path) -> None:
    (folder / "t.csv").write_text("a\n1\n")
    (folder / "h.csv").write_text("a\n2\n")
    with ifp.track("fraud", data={"train": "t.csv", "holdout": "h.csv"}) as run:
        run.log_metric("f1", 0.5, dataset="train")
        run.log_metric("auc", 0.6, dataset="holdout")
    shown = cli("show", run.id).out
    assert "f1 = 0.5 on t.csv (training data: no gate counts it)\n" in shown
    assert "auc = 0.6 on h.csv\n" in shown
