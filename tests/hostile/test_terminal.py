"""Nothing that a registry says can steer a terminal, whoever wrote it: every command over a registry whose every text is
hostile."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click.utils
import pytest
from forgery import ESCAPES, EVIL, forging, rewrite_events, steers

import ifpdb as ifp
from ifpdb.cli import SECTIONS

Cli = Callable[..., Any]
SCHEMA = {"features": [{"name": "amount", "type": "number"}, {"name": "country", "type": "category", "categories": ["DE"]}]}
OWN_COLOURS = re.compile(r"\x1b\[\d+(;\d+)*m")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry that works, three versions and a failed run in it, in which every free text is EVIL."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "train.csv").write_text("amount,country\n12.5,DE\n")
    with pytest.MonkeyPatch.context() as patch, ifp.init(folder / "ifp.db", actor="ada") as registry:
        patch.chdir(folder)
        _fill(registry)
    with forging(folder / "ifp.db") as forger:
        for statement in FORGERIES:
            forger.execute(statement, {"evil": EVIL})
        _forge_json(forger)
        rewrite_events(forger, _say_evil)
    return folder


def _fill(registry: ifp.Registry) -> None:
    parts: dict[str, Any] = {"data": "train.csv", "schema": SCHEMA, "seed": 7}
    fraud = registry.model("fraud")
    registry.register("fraud", b"a", **parts, params={"C": 1.0}, metrics={"f1": 0.9}, labels=["first"], tags=["q1"])
    fraud.set_policy({"validation": {"min_f1": 0.99, "notify_on_fail": "slack:#ml"}})
    fraud.approve("v1", reason="fine")
    fraud.promote("v1", "production", force=True, reason="first", approved_by="grace")
    fraud.deployed("v1", "prod-eu")
    more = {"params": {"C": 2.0, "kernel": "rbf"}, "metrics": {"f1": 0.95}}
    registry.register("fraud", b"b", **parts, **more, derived_from="fraud@v1")
    registry.register("fraud", b"c", **parts | {"data": "s3://b/x#1"}, derived_from="fraud@v2")
    with pytest.raises(ifp.GateFailed):
        fraud.promote("v2", "production", reason="try")
    with pytest.raises(RuntimeError), ifp.track("fraud", derived_from="fraud@v3", params={"a": 1}, db=registry.path) as run:
        run.log_metric("loss", 1.0)
        run.log_artifact({"a": 1}, name="notes")
        raise RuntimeError("broken")


@pytest.fixture
def hostile(template: Path, folder: Path) -> None:
    """A copy of that registry, as the nearest one."""
    shutil.copytree(template, folder, dirs_exist_ok=True)


FORGERIES = [
    "UPDATE run SET actor = :evil, error = :evil || coalesce(error, ''), code_commit = :evil, code_dirty = 1,"
    " command = json_array(:evil, 'train.py')",
    "UPDATE run SET fit = json_object('estimator', 'a.' || :evil, 'method', :evil, 'seconds', 1.5, 'steps', 2)",
    "UPDATE param SET value = json_quote(value || :evil)",
    "UPDATE param SET key = key || :evil",
    "UPDATE metric SET name = name || :evil WHERE name <> 'f1'",
    "UPDATE run_dataset SET name = :evil || run, uri = :evil",
    "UPDATE dataset SET pointer = :evil || '#1' WHERE pointer IS NOT NULL",
    'UPDATE dataset_column SET name = :evil || position, type = :evil, "values" = json_array(:evil)',
    "UPDATE feature SET name = :evil || position, categories = json_array(:evil), min = :evil, max = :evil",
    "UPDATE artifact SET format = :evil",
    "UPDATE artifact SET name = :evil || name WHERE name <> 'model'",
]
"""Every column that holds free text, in tables that no other row is found by."""


def _forge_json(forger: Any) -> None:
    """Schemas, environments and code are read from their JSON."""
    features = {
        "position": 0,
        "name": EVIL,
        "type": "category",
        "nullable": True,
        "min": EVIL,
        "max": EVIL,
        "categories": [EVIL],
    }
    forger.execute("UPDATE feature_schema SET body = ?", (json.dumps({"features": [features]}),))
    environment = {"python": EVIL, "platform": EVIL, "packages": {EVIL: EVIL}}
    key = forger.execute(
        "INSERT INTO environment (digest, body) VALUES (?, ?) RETURNING key", (bytes(32), json.dumps(environment))
    ).fetchone()[0]
    code = forger.execute(
        "INSERT INTO code (digest, body) VALUES (?, ?) RETURNING key",
        (bytes(32), json.dumps([[EVIL, "sha256:" + "0" * 64]])),
    ).fetchone()[0]
    forger.execute("UPDATE run SET environment = ?, code = ? WHERE key % 2", (key, code))


def _say_evil(event: dict[str, Any]) -> None:
    event["actor"] = EVIL
    event["reason"] = EVIL
    detail = event["detail"]
    for key in ("approved_by", "environment", "error"):
        if key in detail:
            detail[key] = [EVIL] if key == "approved_by" else EVIL
    if "policy" in detail:
        detail["policy"]["validation"][f"min_{EVIL}"] = 0.5
        detail["policy"]["validation"]["dataset"] = {"name": EVIL, "digest": EVIL}


LINES = """\
init
ls
ls fraud
ls fraud --csv
runs
runs --csv
runs fraud --status failed
show fraud@v1
show fraud@v2
show fraud@v3
show $FAILED
show fraud --json
schema show fraud
schema show fraud --csv
schema show fraud --frictionless
validate fraud train.csv
log fraud@v3
log fraud@v3 --graph
log fraud@v3 --csv
ancestors fraud@v3
descendants fraud@v1
merge-base fraud@v2 fraud@v3
link fraud@v3 fraud@v1
diff fraud@v1 fraud@v2
diff fraud@v2 fraud@v3 --all
diff fraud@v1 fraud@v3 --csv
diff fraud@v3 $FAILED
explain fraud@v3
explain fraud@v3 --csv
explain $FAILED fraud@v1
bisect --good fraud@v1 --bad fraud@v3 -- false
bisect --good fraud@v1 --bad fraud@v3 --metric f1 --above 0.92
blame fraud@v3
blame fraud@v3 --csv
blame fraud@v3 --data --package x
promote fraud@v2 production
promote fraud@v2 shadow --reason $EVIL
promote fraud@v2 production --force --reason $EVIL --approved-by $EVIL
rollback fraud --reason $EVIL
rollback fraud --reason x --to fraud@v2
approve fraud@v2 --reason $EVIL
gate fraud@v2
policy show fraud
policy set fraud $EVILFILE
metric fraud@v2 f2=0.5
metric fraud@v2 $EVIL=1
metric fraud@v2 f1=1 --dataset $EVIL
tag fraud@v2 $EVIL
tag fraud@v2 t --remove
label fraud@v2 $EVIL
label fraud@v2 second
history fraud
history fraud --stage all
history fraud --csv
at now
at now fraud
outbox
exposure fraud
events
events --csv
events --kind $EVIL
events --since sha256:$EVIL
events --follow --since $EVIL
events --follow --model $EVIL
verify
checkout fraud@v1 out
checkout fraud@v1 $EVILFILE
trust fraud@v1
trust --list
data hash train.csv
data hash $EVILFILE
resolve fraud
resolve fraud --shell
deployed fraud --environment $EVIL
deployed fraud@v2 --environment eu --replaces $EVIL --at $EVIL
deployed fraud@v2 --environment eu
deployed fraud@v3 --environment eu --replaces fraud@v3
register fraud m --data train.csv --schema schema.json --param $EVIL=1 --tag t
register fraud $EVILFILE
register $EVIL m
register fraud m --data $EVIL
register fraud m --schema $EVILFILE
sql $TEXTS
sql $TEXTS --csv
sql $EVIL
show $EVIL
ls $EVIL
show fraud@$EVIL
show run-$EVIL
at $EVIL
history fraud --stage $EVIL
$EVIL
--$EVIL
show --$EVIL
runs --status $EVIL
ancestors fraud --depth $EVIL
--db $EVILFILE ls
--actor $EVIL approve fraud
ls fraud --where $EVIL
blame fraud --param $EVIL
policy $EVIL
fsck
fsck --fast
gc
backup copy
backup $EVILFILE
doctor
merge ifp.db
merge $EVILFILE
merge $EVILFILE --prefer $EVIL
git resolve --prefer $EVIL
git recover $EVIL
git check $EVIL
git merge-driver base m $EVILFILE $EVIL
git install
git uninstall
git hook pre-commit
git hook commit-msg $EVILFILE
git hook $EVIL
git textconv ifp.db
git textconv $EVILFILE
diff --git $EVIL
show fraud --at-commit $EVIL
""".splitlines()
"""A line and more for each command, with hostile arguments too."""

TEXTS = (
    'SELECT e.reason AS "a\x1b[2J", e.actor, r.error, p.name, d.name AS data '
    "FROM events e, runs r, features p, datasets d LIMIT 3"
)


def words(line: str) -> list[str]:
    said = {"$EVILFILE": ESCAPES.replace("/", ":"), "$EVIL": EVIL, "$TEXTS": TEXTS}
    with ifp.open() as registry:
        said["$FAILED"] = registry.runs(status="failed")[0].id
    found = line.split(" ")
    for name, text in said.items():
        found = [word.replace(name, text) for word in found]
    return found


def test_every_command_is_tried() -> None:
    tried = {line.split()[0] for line in LINES}
    assert {name for commands in SECTIONS.values() for name in commands} <= tried


@pytest.mark.parametrize("line", LINES)
def test_no_command_prints_what_steers_a_terminal(cli: Cli, hostile: None, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.utils, "should_strip_ansi", lambda *_: False)  # as on a terminal, where nothing is taken out
    said = cli(*words(line))
    out = said.out.replace("\r\n", "\n") if "--csv" in line else said.out  # as RFC 4180 ends a line
    assert not steers(OWN_COLOURS.sub("", out)), out
    assert not steers(OWN_COLOURS.sub("", said.err)), said.err


def test_pictures_and_notebooks_show_texts_and_nothing_else(hostile: None) -> None:
    with ifp.open() as registry:
        fraud = registry.model("fraud")
        shown = [registry.lineage("fraud@v3").svg(), registry.resolve("fraud@v2")._repr_html_(), fraud.history()._repr_html_()]
        shown += [run._repr_html_() for run in registry.runs()]
    for text in shown:
        assert not steers(text)
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(text).iter()}
        assert tags <= {
            "svg",
            "style",
            "rect",
            "path",
            "circle",
            "title",
            "text",
            "tspan",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
        }


def test_csv_keeps_what_a_spreadsheet_would_compute(cli: Cli, hostile: None) -> None:
    """As sqlite-utils does: a formula is data, and whoever opens it in a spreadsheet decides."""
    assert cli("sql", "SELECT '=1+1' AS a, '@x' AS b", "--csv").out == "a,b\r\n=1+1,@x\r\n"
