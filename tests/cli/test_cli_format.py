"""The JSON keys in docs/format.md are exactly those that the commands print."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb import answers, records
from ifpdb.capture.schema import validation
from ifpdb.cli import cli as ifp_command
from ifpdb.gitlink import check as check_range
from ifpdb.gitlink import hooks, setup
from ifpdb.history import bisect, blame, explain
from ifpdb.merge import disagreement, settlement, union
from ifpdb.outbox import delivery, letters
from ifpdb.upkeep import backup, chain, doctor, findings, fsck, gc, signatures

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "format.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The rows of the page's table that has this heading line."""
    _, _, rest = PAGE.partition(f"{heading}\n")
    assert rest, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rest.partition("\n\n")[0].splitlines()[1:]]


def words(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


RECORDS = {words(name)[0]: words(keys) for name, keys in table("| record | keys |")}
COMMANDS = {
    words(line)[0]: (shape.strip("`"), words(more)) for line, shape, more in table("| command | prints | and besides |")
}


def test_every_record_that_is_printed_is_on_the_page() -> None:
    homes = (
        *vars(answers).values(),
        *vars(records).values(),
        *vars(validation).values(),
        *vars(bisect).values(),
        *vars(blame).values(),
        *vars(explain).values(),
        ifp.Feature,
        ifp.FeatureSchema,
        ifp.Policy,
        chain.Verification,
        findings.Damage,
        signatures.Signature,
        fsck.Inspection,
        *vars(gc).values(),
        *vars(backup).values(),
        *vars(doctor).values(),
        *vars(union).values(),
        *vars(disagreement).values(),
        settlement.Settled,
        delivery.Delivery,
        letters.Letter,
        check_range.Review,
        hooks.Staged,
        *vars(setup).values(),
    )
    known = {found.__name__ for found in homes if isinstance(found, type) and is_dataclass(found) and hasattr(found, "as_dict")}
    assert set(RECORDS) == known


def test_every_command_that_prints_json_is_on_the_page() -> None:
    def lines(command: Any, name: str) -> list[str]:
        if hasattr(command, "list_commands"):
            return [
                line for sub in command.list_commands(None) for line in lines(command.get_command(None, sub), f"{name} {sub}")
            ]
        return [name.strip()] if any("--json" in param.opts for param in command.params) else []

    told = [line.removeprefix("ifp ") for line in COMMANDS]
    for line in lines(ifp_command, ""):
        assert line == "sql" or any(one == line or one.startswith(f"{line} ") for one in told), f"ifp {line}"


@pytest.fixture
def busy(two: ifp.Registry, folder: Path) -> ifp.Registry:
    """What the page's example lines need: fraud v1 in production and served, v2 served too, a run that registered nothing."""
    (folder / "allowed").write_text("")
    (folder / "batch.csv").write_text("amount,country\n1,DE\n")
    (folder / "policy.yaml").write_text("validation:\n  min_f1: 0.9\napprovals: {required: 1}\n")
    with ifp.track("fraud", data="train.csv") as run:
        run.log_metric("f1", 0.1)
    two.model("fraud").deployed("v1", "prod-us")
    two.model("fraud").deployed("v2", "prod-asia")
    shutil.copy("ifp.db", "other.db")
    with ifp.open("other.db") as other:
        other.model("fraud").tag("v1", "there")
    return two


def commit(registry: ifp.Registry) -> None:
    """Put the registry's folder into git, and one more event after that."""
    ada = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    for words in (["init", "-q"], ["add", "ifp.db"], [*ada, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *words], cwd=registry.path.parent, check=True)
    registry.model("fraud").tag("v1", "after")


def unmerged(registry: ifp.Registry) -> None:
    """As git leaves the index where it couldn't merge: what was committed is ours, other.db is theirs."""
    sides = [
        f"100644 {subprocess.check_output(['git', 'rev-parse', 'HEAD:ifp.db'], text=True).strip()} 2\tifp.db",
        f"100644 {subprocess.check_output(['git', 'hash-object', '-w', 'other.db'], text=True).strip()} 3\tifp.db",
    ]
    subprocess.run(["git", "rm", "-q", "--cached", "ifp.db"], check=True)
    subprocess.run(["git", "update-index", "--index-info"], input="\n".join(sides), text=True, check=True)


def lose(registry: ifp.Registry) -> None:
    """Commit other.db as the registry, then take the older file back."""
    kept = registry.path.read_bytes()
    registry.path.write_bytes(Path("other.db").read_bytes())
    again(registry)
    registry.path.write_bytes(kept)


def stage(registry: ifp.Registry) -> None:
    """Stage the registry, as a file that ifp's hooks look at."""
    (registry.path.parent / ".gitattributes").write_text("ifp.db merge=ifp\n")
    subprocess.run(["git", "add", "ifp.db"], check=True)


def again(registry: ifp.Registry) -> None:
    """Commit what the registry has learned since."""
    ada = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", *ada, "commit", "-qam", "x"], cwd=registry.path.parent, check=True)


PREPARED = {"git resolve": unmerged, "git recover": lose, "git hook": stage, "git check": again}
"""What some commands need before they have something to say."""


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_prints_the_keys_that_the_page_says(cli: Callable[..., Any], busy: ifp.Registry, line: str) -> None:
    shape, besides = COMMANDS[line]
    if "git" in line or "HEAD" in line:
        commit(busy)
    for word, prepare in PREPARED.items():
        if word in line:
            prepare(busy)
    line = line.replace("run-without-version", busy.runs()[0].id)
    if line.startswith("ifp rollback"):
        busy.model("fraud").promote("v2", "production")
    said = cli(*shlex.split(line)[1:], "--json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    assert isinstance(document, list) == shape.startswith("[")
    assert document, "an empty answer would prove nothing"
    for one in document if isinstance(document, list) else [document]:
        check(one, [*RECORDS.get(shape.strip("[]"), []), *besides])
        check_inside(one)


INSIDE = {
    "weights": "Artifact", "artifacts": "Artifact", "data": "Dataset", "schema": "FeatureSchema", "code": "Code",
    "features": "Feature", "measurements": "Measurement", "gate": "Verdict", "checks": "Check", "runs": "Run",
    "changes": "Change", "garbage": "Garbage", "findings": "Finding", "steps": "Step", "explain": "Step",
    "settled": "Settled", "added": "Event", "removed": "Event",
    "told": "Told", "deployed": "Deployment", "also_served": "Deployment",
}  # fmt: skip


def check(found: dict[str, Any], keys: list[str]) -> None:
    always, perhaps = {key for key in keys if not key.endswith("?")}, {key.removesuffix("?") for key in keys}
    assert always <= found.keys() <= perhaps


def check_inside(document: dict[str, Any]) -> None:
    """The records in a record have their keys too, as deep as they go; an event's detail has a table of its own."""
    for key, kind in INSIDE.items():
        held = document.get(key)
        several = held if isinstance(held, list) else held.values() if key == "artifacts" and held else [held] if held else []
        for one in several:
            check(one, RECORDS[kind])
            check_inside(one)
    for one in document.get("parents", []):
        if isinstance(one, dict):
            check(one, RECORDS["Parent"])
    for one in document.get("files", []):
        assert set(one) == {"path", "digest"}
