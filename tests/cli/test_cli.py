"""The command line's wiring: what each command does, its exit codes, and the real console script."""

from __future__ import annotations

import os
import pickle
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

Cli = Callable[..., Any]


def test_the_flow_of_the_promise_from_init_to_rollback(cli: Cli, parts: dict[str, Any], folder: Path) -> None:
    (folder / "policy.yaml").write_text("validation:\n  min_f1: 0.9\n")
    whole = ["--data", "train.csv", "--schema", "schema.json", "--param", "C=1.0", "--seed", "7"]
    assert cli("init").out.strip() == "made ifp.db"
    for weights, f1 in [("a", "0.91"), ("b", "0.95"), ("c", "0.5")]:
        (folder / weights).write_text(weights)
        said = cli("register", "fraud", weights, *whole, "--metric", f"f1={f1}")
        assert (said.code, said.err) == (0, "")
        assert said.out.startswith("fraud@sha256:")
    assert cli("promote", "fraud@v1", "production").code == 7
    assert cli("policy", "set", "fraud", "policy.yaml").code == 0
    assert cli("promote", "fraud@v1", "production").code == 0
    assert cli("promote", "fraud@v2", "production", "--expect", "fraud@v1").code == 0
    assert cli("promote", "fraud@v3", "production").code == 7
    assert cli("promote", "fraud@v3", "production", "--expect", "fraud@v1", "--force", "--reason", "x").code == 4
    assert cli("rollback", "fraud", "--reason", "regression").code == 0
    assert "v1" in cli("at", "now").out
    assert "regression" in cli("history", "fraud").out
    assert cli("checkout", "fraud", "out").out.strip() == str(folder / "out")
    assert (folder / "out").read_text() == "a"
    assert cli("verify").code == 0


def test_register_says_what_became_of_it(cli: Cli, parts: dict[str, Any], folder: Path) -> None:
    (folder / "m").write_text("m")
    first = cli("register", "fraud", "m", "--data", "train.csv", "--partial")
    again = cli("register", "fraud", "m", "--data", "train.csv", "--partial")
    assert "staging" in first.out and "run-" in first.out and "ifp.cas/sha256/" in first.out and "stored)" in first.out
    assert "schema and training parts" in first.err
    assert "stored before" in again.out and "made before" in again.out
    assert again.out.splitlines()[0] == first.out.splitlines()[0]


def test_register_takes_every_option(cli: Cli, two: ifp.Registry, folder: Path) -> None:
    (folder / "params.yaml").write_text("depth: 3\nkind: gbm\n")
    (folder / "h.csv").write_text("h")
    words = """register fraud model.bin --data train.csv --data holdout=h.csv --data-ref extra=s3://b/x#v1 --schema schema.json
        --params params.yaml --param depth=4 --param name=text --param flag=true --metric f1=nan --metric rmse=inf --seed 9
        --tag t1 --tag t2 --label gold --from fraud@v1 --from forked_from=fraud@v2 --stage shadow"""
    assert cli(*shlex.split(words)).code == 0
    version = two.resolve("fraud@gold")
    assert version.params == {"depth": 4, "kind": "gbm", "name": "text", "flag": True}
    assert [(data.role, data.identity.startswith("sha256:")) for data in version.data] == [
        ("train", True), ("extra", False), ("holdout", True),
    ]  # fmt: skip
    assert (version.seed, version.stage, version.tags) == (9, "shadow", ("t1", "t2"))
    assert [parent.kind for parent in version.parents] == ["derived_from", "forked_from"]
    assert version.as_dict()["metrics"] == {"f1": "NaN", "rmse": "Infinity"}


BAD = {
    "no such command": ("frobnicate", 2),
    "no such option": ("ls --frobnicate", 2),
    "a missing argument": ("show", 2),
    "a malformed reference": ("show '?'", 2),
    "no such model": ("show nobody", 3),
    "no such run": ("show run-0000000000", 3),
    "no such file": ("register fraud nowhere.bin --partial", 2),
    "no such data": ("register fraud model.bin --data nowhere.csv", 2),
    "a pointer without a revision": ("register fraud model.bin --data-ref s3://b/x", 2),
    "a version in disguise": ("register fraud_final model.bin --partial", 2),
    "a missing part": ("register fraud model.bin", 7),
    "a param without a value": ("register fraud model.bin --param C --partial", 2),
    "a metric that is no number": ("register fraud model.bin --metric f1=good --partial", 2),
    "a seed that is no number": ("register fraud model.bin --seed x --partial", 2),
    "a file of params that is a list": ("register fraud model.bin --params list.yaml --partial", 2),
    "a stage of the gate": ("register fraud model.bin --stage production --partial", 7),
    "a lineage of an unknown kind": ("register fraud model.bin --from stolen_from=fraud@v1 --partial", 2),
    "a label that is an ordinal": ("register fraud model.bin --label v8 --partial", 2),
    "a promotion to nowhere": ("promote fraud@v2 live", 2),
    "a promotion of two": ("promote fraud@staging shadow", 4),
    "force without a reason": ("promote fraud@v2 production --force", 7),
    "expect no longer true": ("promote fraud@v2 production --expect fraud@v2", 4),
    "a rollback without a reason": ("rollback fraud", 7),
    "a rollback with an empty reason": ("rollback fraud --reason ''", 7),
    "a rollback to nothing": ("rollback fraud --reason x", 3),
    "a policy with an unknown key": ("policy set fraud bad.yaml", 2),
    "a policy that is not there": ("policy set fraud nowhere.yaml", 2),
    "no policy to show": ("policy show nobody", 3),
    "a time that is none": ("at someday", 2),
    "a bad condition": ("ls fraud --where f1", 2),
    "a condition without a model": ("ls --tag q1", 2),
    "json and csv": ("ls --json --csv", 2),
    "a bad tag": ("tag fraud@v1 'Bad Tag'", 2),
    "a bad label": ("label fraud@v1 latest", 2),
    "a cycle": ("link fraud@v1 fraud@v2", 4),
    "a destination that is taken": ("checkout fraud train.csv", 2),
    "SQL that writes": ("sql 'DELETE FROM tag'", 7),
    "SQL that is none": ("sql 'SELEKT 1'", 2),
    "another registry that is not there": ("ls --db nowhere.db", 3),
    "a registry that is none": ("ls --db train.csv", 5),
    "a metric of nothing": ("metric fraud@v1 f1", 2),
    "a metric on an unknown dataset": ("metric fraud@v1 f1=1 --dataset nowhere", 3),
    "a metric on half a digest": ("metric fraud@v1 f1=1 --dataset sha256:abc", 2),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_has_its_exit_code_and_changes_no_byte(
    cli: Cli, two: ifp.Registry, make: Callable[..., ifp.Version], folder: Path, bad: str
) -> None:
    make("c")
    (folder / "bad.yaml").write_text("validation:\n  mni_f1: 0.9\n")
    (folder / "list.yaml").write_text("- 1\n")
    before = two.path.read_bytes()
    line, code = BAD[bad]
    said = cli(*shlex.split(line))
    assert said.code == code, said.err
    assert said.out == ""
    assert said.err and "Traceback" not in said.err
    assert two.path.read_bytes() == before


def test_the_gate_exits_1_and_writes_nothing(cli: Cli, two: ifp.Registry, make: Callable[..., ifp.Version]) -> None:
    make("c", metrics={"f1": 0.2})
    before = two.path.read_bytes()
    passing, failing = cli("gate", "fraud@v2"), cli("gate", "fraud@v3")
    assert (passing.code, failing.code) == (0, 1)
    assert [line.split()[0] for line in failing.out.splitlines()] == ["pass", "FAIL"]
    assert two.path.read_bytes() == before


def test_verify_exits_1_for_a_broken_chain(cli: Cli, two: ifp.Registry) -> None:
    two.close()
    statements = "DROP TRIGGER event_never_changes; UPDATE event SET body = replace(body, 'first', 'worst');"
    subprocess.run(["sqlite3", str(two.path), statements], check=True)
    said = cli("verify")
    assert said.code == 1
    assert "changed" in said.out


def test_trust_lists_what_would_be_imported_and_then_it_loads(cli: Cli, registry: ifp.Registry, folder: Path) -> None:
    (folder / "m.pkl").write_bytes(pickle.dumps(Path("x")))
    version = registry.register("fraud", "m.pkl", partial=True)
    with pytest.raises(ifp.Untrusted):
        version.load_artifact()
    said = cli("trust", "fraud@v1")
    assert "imports pathlib." in said.out and "trusted from now on" in said.out
    assert version.load_artifact() == Path("x")
    assert version.weights is not None and version.weights.digest in cli("trust", "--list").out


def test_the_actor_is_taken_before_or_behind_the_command(cli: Cli, two: ifp.Registry) -> None:
    cli("--actor", "grace", "approve", "fraud@v1")
    cli("approve", "fraud@v1", "--actor", "alan")
    cli("approve", "fraud@v1")
    assert [event.actor for event in two.events(kind="approved")] == ["grace", "alan", "ada"]


def test_ctrl_c_leaves_the_registry_as_it_was(cli: Cli, two: ifp.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = two.path.read_bytes()
    monkeypatch.setattr("ifpdb.ledger.events.append", interrupted)
    said = cli("tag", "fraud@v1", "q9")
    assert (said.code, said.out) == (130, "")
    assert "as it was" in said.err
    assert two.path.read_bytes() == before


def test_link_tag_label_and_metric_are_events(cli: Cli, two: ifp.Registry, make: Callable[..., ifp.Version]) -> None:
    make("c")
    for line in (
        "link fraud@v3 fraud@v1 --kind quantized_from",
        "tag fraud@v3 a b",
        "tag fraud@v3 a --remove",
        "label fraud@v3 gold",
        "metric fraud@v3 f1=0.97 --dataset train.csv",
        "deployed fraud@v3 --environment prod-eu",
    ):
        assert cli(*shlex.split(line)).code == 0, line
    assert [event.kind for event in two.events()[-6:]] == ["linked", "tagged", "untagged", "labelled", "measured", "deployed"]
    assert two.resolve("fraud@gold").tags == ("b",)


def test_init_does_not_prompt_and_mentions_git_in_a_checkout(cli: Cli, folder: Path) -> None:
    (folder / ".git").mkdir()
    said = cli("init")
    assert said.out.strip() == "made ifp.db"
    assert "git" in said.err
    assert cli("init").out.strip() == "found ifp.db"


# -- the real console script


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("--version", 0),
        ("show fraud@v1", 0),
        ("gate fraud@v3", 1),
        ("frobnicate", 2),
        ("show nobody", 3),
        ("show fraud@staging", 4),
        ("ls --db train.csv", 5),
        ("rollback fraud --reason ''", 7),
    ],
)
def test_the_script_exits_as_promised(
    script: Cli, two: ifp.Registry, make: Callable[..., ifp.Version], line: str, code: int
) -> None:
    make("c")
    two.close()
    said = script(*shlex.split(line))
    assert said.code == code
    assert (said.err == "") is (code < 2)
    assert "Traceback" not in said.err


def test_a_traceback_is_shown_on_request_and_the_code_stays(script: Cli, two: ifp.Registry) -> None:
    said = script("show", "nobody", IFP_TRACEBACK="1")
    assert said.code == 3
    assert "Traceback" in said.err and "NotFound" in said.err


def test_a_reader_that_has_enough_is_no_error(two: ifp.Registry, folder: Path) -> None:
    program = Path(sys.executable).with_name("ifp")
    endless = "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c LIMIT 100000) SELECT x FROM c"
    for form in ("--csv", "--json", ""):
        command = f"set -o pipefail; {shlex.quote(str(program))} sql {shlex.quote(endless)} {form} | head -1"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=folder)
        assert (done.returncode, done.stderr) == (0, ""), form
        assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("order", ["before", "behind", "environment", "parent"])
def test_the_registry_is_found(
    script: Cli, two: ifp.Registry, folder: Path, tmp_path_factory: pytest.TempPathFactory, order: str
) -> None:
    two.close()
    path, elsewhere = str(two.path), tmp_path_factory.mktemp("elsewhere")
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    said = {
        "before": lambda: script("--db", path, "resolve", "fraud", cwd=elsewhere),
        "behind": lambda: script("resolve", "fraud", "--db", path, cwd=elsewhere),
        "environment": lambda: script("resolve", "fraud", cwd=elsewhere, IFP_DB=path),
        "parent": lambda: script("resolve", "fraud", cwd=below),
    }[order]()
    assert (said.code, said.err) == (0, "")
    assert "fraud@sha256:" in said.out
    assert script("ls", cwd=elsewhere).code == 3


def test_a_writer_that_waits_too_long_is_busy(two: ifp.Registry, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ifpdb.store.db.TIMEOUT", 0.05)
    before = two.path.read_bytes()
    with two.writing():
        said = cli("tag", "fraud@v1", "q9")
    assert said.code == 6
    assert "another writer" in said.err
    assert two.path.read_bytes() == before


def test_a_read_only_file_is_read(script: Cli, two: ifp.Registry, folder: Path) -> None:
    two.close()
    two.path.chmod(0o444)
    assert script("ls", "fraud").code == 0
    assert os.access(two.path, os.R_OK)
