"""ifp bisect with real commands: verdicts by exit code, commands that fail, Ctrl-C and going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

Cli = Callable[..., Any]
Make = Callable[..., ifp.Version]
CHECK = """\
import os, sys
number = int(open(os.environ["IFP_ARTIFACT"]).read())
print(number, os.environ["IFP_REF"], os.environ["IFP_RUN"])
with open("tested.txt", "a") as log:
    log.write(f"{number}\\n")
"""


@pytest.fixture
def chain(make: Callable[..., ifp.Version], folder: Path) -> list[str]:
    """Versions 0 to 7 in a chain; the weights are the number."""
    found = list[str]()
    for number in range(8):
        found.append(make(str(number), metrics={"f1": 0.9 - number / 100}, derived_from=found[-1:]).run)
    return found


def write(folder: Path, ending: str) -> tuple[str, str]:
    (folder / "check.py").write_text(CHECK + ending)
    return sys.executable, "check.py"


ENDS = ("bisect", "--good", "fraud@v1", "--bad", "fraud@v8")


def test_the_exit_code_is_the_verdict(cli: Cli, chain: list[str], folder: Path) -> None:
    command = write(folder, "sys.exit(0 if number < 5 else 1)\n")
    document = json.loads(cli(*ENDS, "--json", "--", *command).out)
    assert (document["first_bad"], document["last_good"]) == (chain[5], chain[4])
    verdicts = {one["run"]: one["verdict"] for one in document["tested"]}
    assert {run: verdict == "good" for run, verdict in verdicts.items()} == {run: chain.index(run) < 5 for run in verdicts}
    assert len((folder / "tested.txt").read_text().split()) == len(verdicts) <= 3


def test_the_report_names_it_with_what_changed(cli: Cli, chain: list[str], folder: Path) -> None:
    said = cli(*ENDS, "--", *write(folder, "sys.exit(0 if number < 5 else 1)\n"))
    assert said.code == 0
    assert f"{chain[5]} is the first bad one" in said.out
    assert "the weights changed" in said.out
    assert "testing fraud v" in said.err


def test_a_skipped_one_leaves_suspects(cli: Cli, chain: list[str], folder: Path) -> None:
    said = cli(*ENDS, "--json", "--", *write(folder, "sys.exit(0 if number < 4 else 125 if number < 6 else 1)\n"))
    document = json.loads(said.out)
    assert (said.code, document["first_bad"], document["suspects"]) == (1, None, chain[4:7])


def test_by_metric_no_command_is_run(cli: Cli, chain: list[str]) -> None:
    document = json.loads(cli(*ENDS, "--metric", "f1", "--below", "0.865", "--json").out)
    assert document["first_bad"] == chain[4]
    assert {"first_bad", "last_good", "tested"} <= document.keys()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Say how to judge"),
        (("--metric", "f1", "--below", "1", "--", "true"), "Say how to judge"),
        (("--below", "1", "--", "true"), "are about a --metric"),
        (("--metric", "f1"), "one limit"),
        (("--metric", "f1", "--below", "0.1"), "was named as bad, but its f1 is good"),
        (("--metric", "f1", "--below", "0.99"), "was named as good, but its f1 is bad"),
        (("--", "no-such-program-here"), "there is no command 'no-such-program-here'"),
    ],
)
def test_a_question_that_can_t_be_asked_is_refused(cli: Cli, chain: list[str], arguments: tuple[str, ...], words: str) -> None:
    said = cli(*ENDS, *arguments)
    assert said.code == 2
    assert words in said.err


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("os.kill(os.getpid(), 9)\n", "died by signal 9"),
        ("os._exit(200)\n", "exited with 200"),
        ("sys.exit(127)\n", "for .* as well, which is good"),
    ],
)
def test_a_command_that_gives_no_verdict_stops_it(cli: Cli, chain: list[str], folder: Path, ending: str, words: str) -> None:
    import re

    said = cli(*ENDS, "--", *write(folder, ending))
    assert said.code == 2
    assert re.search(words, said.err)


def test_127_is_bad_where_the_good_one_is_good(cli: Cli, chain: list[str], folder: Path) -> None:
    command = write(folder, "sys.exit(0 if number < 2 else 127)\n")
    assert json.loads(cli(*ENDS, "--json", "--", *command).out)["first_bad"] == chain[2]


def test_verdicts_survive_a_command_that_died_and_are_forgotten_when_done(cli: Cli, chain: list[str], folder: Path) -> None:
    dying = "if os.path.exists('broken') and number == 5: os._exit(200)\nsys.exit(0 if number < 5 else 1)\n"
    command = write(folder, dying)
    (folder / "broken").touch()
    assert cli(*ENDS, "--", *command).code == 2
    before = (folder / "tested.txt").read_text().split()
    (folder / "broken").unlink()
    said = cli(*ENDS, "--json", "--", *command)
    assert "resuming with" in said.err
    assert json.loads(said.out)["first_bad"] == chain[5]
    again = (folder / "tested.txt").read_text().split()[len(before) :]
    assert not set(again) & set(before[:-1])
    assert "resuming" not in cli(*ENDS, "--", *command).err


def test_restart_forgets_what_was_said(cli: Cli, chain: list[str], folder: Path) -> None:
    command = write(folder, "if os.path.exists('broken') and number == 5: os._exit(200)\nsys.exit(0)\n")
    (folder / "broken").touch()
    assert cli(*ENDS, "--", *command).code == 2
    (folder / "broken").unlink()
    assert "resuming" not in cli(*ENDS, "--restart", "--", *command).err


def test_ctrl_c_keeps_the_verdicts_and_leaves_nothing_behind(
    chain: list[str], folder: Path, script: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("tmp")
    slow = "import time\nif number == 5: open('waiting', 'w').close(); time.sleep(60)\nsys.exit(0 if number < 5 else 1)\n"
    command = write(folder, slow)
    program = [str(Path(sys.executable).with_name("ifp")), *ENDS, "--json", "--", *command]
    process = subprocess.Popen(
        program, cwd=folder, env={**os.environ, "TMPDIR": str(place)}, start_new_session=True, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while not (folder / "waiting").exists():
        assert time.monotonic() < deadline, "it never came to the fifth"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert list(place.iterdir()) == []
    write(folder, "sys.exit(0 if number < 5 else 1)\n")
    said = script(*program[1:])
    assert "resuming with" in said.err
    assert json.loads(said.out)["first_bad"] == chain[5]


def test_a_first_bad_one_that_came_from_nothing_is_told_so(make: Make, cli: Cli) -> None:
    a = make("a", metrics={"f1": 0.9})
    stranger = make("r", metrics={"f1": 0.1})
    merged = make("m", metrics={"f1": 0.1}, derived_from=[a.run, stranger.run])
    said = cli("bisect", "--good", a.run, "--bad", merged.run, "--metric", "f1", "--below", "0.5")
    assert said.code == 0
    assert f"{stranger.run} is the first bad one, it came from nothing" in said.out
