"""Every query in docs/audits.md runs in the real sqlite3 program and gives a true answer about a registry that is known."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "audits.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: re.findall(r"^```sql\n(.*?)^```$", part, re.M | re.S) for part in PAGE.split("\n## ")[1:]}
QUERIES = [pytest.param(query, id=f"{title} ({i})") for title, found in SECTIONS.items() for i, query in enumerate(found)]
SQLITE = shutil.which("sqlite3")

pytestmark = pytest.mark.skipif(SQLITE is None, reason="this machine has no sqlite3 program: apt-get install sqlite3")


def ask(db: Path, query: str) -> list[dict[str, Any]]:
    """The rows that sqlite3 prints for a query."""
    assert SQLITE is not None
    done = subprocess.run([SQLITE, "-readonly", "-json", str(db)], input=query, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return rows


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three months of fraud-detector: five versions, one refused, one forced and rolled back; churn beside it."""
    folder = tmp_path_factory.mktemp("audited")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("HOME", "XDG_DATA_HOME"):
            patch.setenv(name, str(folder / "home"))
        patch.delenv("IFP_DB", raising=False)
        with ifp.init() as registry:
            seed(registry, patch)
        yield folder / "ifp.db"


def seed(registry: ifp.Registry, patch: pytest.MonkeyPatch) -> None:
    def act(actor: str, time: str) -> ifp.Model:
        patch.setenv("IFP_ACTOR", actor)
        patch.setenv("IFP_NOW", time)
        return registry.model("fraud-detector")

    def register(number: int, f1: float, train: str, model: str = "fraud-detector", **given: Any) -> ifp.Version:
        Path("model.bin").write_text(f"{model} {number}")
        Path("holdout.csv").write_text("amount\n3\n")
        Path(train).write_text(f"amount\n{train}\n")
        features = [{"name": "amount", "type": "number", "min": 0, "max": 25000}, {"name": "country", "type": "category"}]
        data = {"train": train, "holdout": "holdout.csv"}
        return registry.register(
            model, "model.bin", data=data, schema=features, params={"C": number / 10}, seed=7, metrics={"f1": f1}, **given
        )

    act("ada", "2025-09-01T10:00:00Z")
    register(1, 0.88, "transactions-2025q2.csv")
    approvals = {"required": 1, "not_author": True}
    act("grace", "2025-09-02T10:00:00Z").set_policy({"validation": {"min_f1": 0.85}, "approvals": approvals})
    act("grace", "2025-09-03T10:00:00Z").promote("v1", "production", approved_by="linus")
    act("ada", "2025-10-01T10:00:00Z")
    register(1, 0.6, "customers.csv", model="churn")
    Path("model.bin").write_text("bare")
    registry.register("churn", "model.bin", partial=True)
    registry.model("churn").promote("v1", "production", force=True, reason="the first one")
    act("ada", "2025-10-20T10:00:00Z")
    register(2, 0.93, "transactions-2025q3.csv", derived_from="fraud-detector@v1")
    act("heidi", "2025-10-20T10:00:00Z").approve("v2")
    act("heidi", "2025-10-20T11:00:00Z").withdraw_approval("v2", "the wrong report")
    act("linus", "2025-10-21T10:00:00Z").approve("v2", "read the report")
    act("grace", "2025-11-03T10:00:00Z").promote("v2", "production", reason="third quarter")
    act("ada", "2025-11-05T10:00:00Z")
    register(3, 0.80, "transactions-2025q3.csv", derived_from="fraud-detector@v2")
    with pytest.raises(ifp.GateFailed):
        act("ada", "2025-11-06T10:00:00Z").promote("v3", "production")
    act("ada", "2025-11-16T10:00:00Z")
    register(4, 0.95, "transactions-2025q3.csv", derived_from=["fraud-detector@v2", ("fraud-detector@v3", "merged_from")])
    act("grace", "2025-11-17T10:00:00Z").promote("v4", "production", approved_by="linus")
    act("ada", "2025-11-18T09:00:00Z")
    register(5, 0.70, "transactions-2025q4.csv", derived_from="fraud-detector@v4")
    act("ada", "2025-11-18T10:00:00Z").promote("v5", "production", force=True, reason="hotfix for chargebacks")
    act("grace", "2025-11-20T10:00:00Z").rollback(reason="accuracy regression in v5")
    with registry.writing() as (tx, _):
        tx.execute(ARRIVED)


ARRIVED = """
    INSERT INTO arrival
    SELECT key, CASE WHEN reason = 'third quarter' THEN '2025-11-24T08:00:00.000000Z' ELSE at END FROM event"""
"""Each event was written at its time; but v2's promotion was made in another clone, and came by a merge."""


def answer(db: Path, title: str, number: int = 0) -> list[dict[str, Any]]:
    (section,) = [queries for name, queries in SECTIONS.items() if name.startswith(title)]
    return ask(db, section[number])


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_on_the_page_runs_and_answers(db: Path, query: str) -> None:
    rows = ask(db, query)
    assert bool(rows) != query.startswith("-- no row")


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_on_the_page_runs_in_ifp_sql(db: Path, query: str) -> None:
    with ifp.open(db, readonly=True) as registry:
        assert len(registry.sql(query)) == len(ask(db, query))


def test_the_question_comes_first_and_is_one_short_query() -> None:
    title, queries = next(iter(SECTIONS.items()))
    assert title.startswith("What was in production on 2025-11-14, trained on what, approved by whom")
    assert queries[0].count("SELECT") == 1 and len(queries[0].splitlines()) <= 4


def test_it_says_what_was_in_production_that_day(db: Path) -> None:
    found = {row["model"]: row for row in answer(db, "What was in production on 2025-11-14")}
    assert found.keys() == {"fraud-detector", "churn"}
    row = found["fraud-detector"]
    assert (row["ordinal"], row["promoted_by"], row["approved_by"], row["reason"]) == ("v2", "grace", "linus", "third quarter")
    assert "train=transactions-2025q3.csv sha256:" in row["data"] and "holdout=holdout.csv sha256:" in row["data"]
    assert json.loads(row["params"]) == {"C": 0.2}
    with ifp.open(db, readonly=True) as registry:
        told = {version.model: version for version in registry.at("2025-11-14")}
    assert {name: row["run"] for name, row in found.items()} == {name: version.run for name, version in told.items()}


@pytest.mark.parametrize(
    ("time", "held"),
    [
        ("2025-09-03T09:59:59.999999Z", []),
        ("2025-09-03T10:00:00.000000Z", ["v1"]),
        ("2025-11-03T09:59:59.999999Z", ["v1"]),
        ("2025-11-03T10:00:00.000000Z", ["v2"]),
        ("2025-11-19T00:00:00.000000Z", ["v5"]),
        ("2026-01-01T00:00:00.000000Z", ["v4"]),
    ],
)
def test_an_instant_belongs_to_one_version(db: Path, time: str, held: list[str]) -> None:
    query = SECTIONS[next(iter(SECTIONS))][1]
    rows = ask(db, query.replace("2025-11-14T12:00:00.000000Z", time))
    assert [row["ordinal"] for row in rows if row["model"] == "fraud-detector"] == held


def test_what_came_by_a_merge_was_not_known_before(db: Path) -> None:
    title = "What did we know on 20 November"
    assert {(row["model"], row["ordinal"]) for row in answer(db, title)} == {("fraud-detector", "v1"), ("churn", "v1")}
    (late,) = answer(db, title, 1)
    assert (late["at"][:10], late["known_at"][:10], late["reason"]) == ("2025-11-03", "2025-11-24", "third quarter")
    with ifp.open(db, readonly=True) as registry:
        told = {version.model: version for version in registry.at("2025-11-14T23:59:59Z", as_known_on="2025-11-20")}
    assert {row["model"]: row["run"] for row in answer(db, title)} == {model: v.run for model, v in told.items()}
    query = SECTIONS["What did we know on 20 November?"][0]
    later = ask(db, query.replace("2025-11-21", "2025-11-25"))
    assert {row["model"]: row["ordinal"] for row in later} == {"fraud-detector": "v2", "churn": "v1"}


def test_a_version_faced_users_from_its_promotion_to_the_next(db: Path) -> None:
    (row,) = answer(db, "When did a version face users")
    with ifp.open(db, readonly=True) as registry:
        (interval,) = registry.exposure("fraud-detector@v2")
    assert (row["since"], row["until"], row["approved_by"]) == (interval.since, interval.until, "linus")
    assert interval.approved_by == ("linus",)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT i.since, v.ordinal FROM stage_intervals i JOIN versions v ON v.model = i.model AND v.version = i.version",
        "SELECT v.ordinal FROM events e JOIN versions v ON v.model = e.model AND v.version = e.version WHERE kind = 'promoted'",
        "SELECT ordinal FROM versions WHERE model = 'churn' AND version = 'sha256:0123'",
        "SELECT * FROM production_history",
    ],
)
def test_versions_are_joined_by_an_index_on_their_digest_as_text(db: Path, query: str) -> None:
    with ifp.open(db, readonly=True) as registry:
        plan = [row["detail"] for row in registry.sql(f"EXPLAIN QUERY PLAN {query}")]
    assert any("(sha256=? AND model=?)" in step for step in plan), plan


def test_the_history_has_no_gap(db: Path) -> None:
    rows = answer(db, "The production history")
    assert [row["ordinal"] for row in rows] == ["v1", "v2", "v4", "v5", "v4"]
    assert [row["until"] for row in rows] == [*(row["since"] for row in rows[1:]), None]


def test_forced_promotions_say_why_and_what_they_went_over(db: Path) -> None:
    rows = {row["model"]: row for row in answer(db, "Every forced promotion")}
    row = rows["fraud-detector"]
    assert (row["ordinal"], row["actor"], row["reason"]) == ("v5", "ada", "hotfix for chargebacks")
    assert "min_f1: " in row["failed_checks"] and "approvals: " in row["failed_checks"]
    assert rows["churn"]["reason"] == "the first one"


def test_rollbacks_say_what_they_went_away_from(db: Path) -> None:
    (row,) = answer(db, "Every rollback")
    (forced,) = [row for row in answer(db, "Every forced") if row["model"] == "fraud-detector"]
    with ifp.open(db, readonly=True) as registry:
        assert row["away_from"] == registry.resolve(f"fraud-detector@{forced['ordinal']}").run
    assert (row["actor"], row["reason"]) == ("grace", "accuracy regression in v5")


def test_approvals_are_told_with_who_said_so(db: Path) -> None:
    rows = [(row["approved_by"], row["said_by"], row["reason"]) for row in answer(db, "Who approved")]
    assert rows == [
        ("heidi", "themselves", None),
        ("heidi", "themselves, withdrawn", "the wrong report"),
        ("linus", "themselves", "read the report"),
        ("linus", "grace", "third quarter"),
    ]


def test_who_promotes_what_they_made_shows(db: Path) -> None:
    assert {(row["model"], row["ordinal"]) for row in answer(db, "Who promoted what")} == {
        ("fraud-detector", "v5"),
        ("churn", "v1"),
    }


@pytest.mark.parametrize("number", [0, 1])
def test_data_leads_to_the_versions_that_were_trained_on_it(db: Path, number: int) -> None:
    assert [row["ordinal"] for row in answer(db, "Which versions were trained on", number)] == ["v2", "v3", "v4"]


def test_evaluation_data_is_no_training_data(db: Path) -> None:
    query = SECTIONS["Which versions were trained on this data?"][0]
    assert ask(db, query.replace("transactions-2025q3.csv", "holdout.csv")) == []


def test_a_version_that_never_passed_the_gate_shows_with_its_checks(db: Path) -> None:
    (row,) = answer(db, "Which versions were refused")
    assert (row["ordinal"], row["stage"], row["actor"]) == ("v3", "staging", "ada")
    assert "min_f1: " in row["failed_checks"]


def test_the_metrics_of_production_are_its_own(db: Path) -> None:
    assert [(row["metric"], row["value"]) for row in answer(db, "The metrics of")] == [("f1", 0.95)]


def test_the_gate_tells_what_it_saw(db: Path) -> None:
    rows = [row for row in answer(db, "Which metrics was") if row["check"] == "min_f1"]
    assert [(row["at"][:10], row["value"], row["passed"]) for row in rows] == [
        ("2025-09-03", 0.88, 1),
        ("2025-11-03", 0.93, 1),
        ("2025-11-17", 0.95, 1),
        ("2025-11-18", 0.7, 0),
    ]


def test_features_stand_in_order(db: Path) -> None:
    rows = answer(db, "What does a version expect")
    assert [(row["position"], row["name"], row["max"]) for row in rows] == [(0, "amount", 25000), (1, "country", None)]


def test_parameters_are_those_of_production(db: Path) -> None:
    assert [(row["ordinal"], row["key"], row["value"]) for row in answer(db, "How was it trained")] == [("v4", "C", 0.4)]


def test_lineage_goes_up_and_down(db: Path) -> None:
    up = answer(db, "What did a version come from")
    with ifp.open(db, readonly=True) as registry:
        runs = [registry.resolve(f"fraud-detector@v{number}").run for number in (1, 2, 3, 4)]
    assert [row["run"] for row in up] == runs[::-1]
    assert up[0]["came_from"] == f"derived_from {runs[1]}, merged_from {runs[2]}"
    assert [row["ordinal"] for row in answer(db, "Which versions came from")] == ["v1", "v2", "v3", "v4", "v5"]


def test_a_week_of_moves_has_both_sides_of_each_swap(db: Path) -> None:
    rows = [(row["since"][5:10], row["ordinal"], row["stage"]) for row in answer(db, "What changed its stage")]
    assert sorted(rows) == [
        ("11-16", "v4", "staging"),
        ("11-17", "v2", "archived"),
        ("11-17", "v4", "production"),
        ("11-18", "v4", "archived"),
        ("11-18", "v5", "production"),
        ("11-18", "v5", "staging"),
        ("11-20", "v4", "production"),
        ("11-20", "v5", "archived"),
    ]


def test_partial_versions_say_what_they_lack(db: Path) -> None:
    (row,) = answer(db, "Which versions lack")
    assert (row["model"], row["no_weights"], row["no_data"], row["no_schema"]) == ("churn", 0, 1, 1)


def test_a_stage_that_was_forced_past_the_rules_is_found(db: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(db, tmp_path / "copy.db"))
    assert SQLITE is not None
    tamper = "DROP TRIGGER version_stage_follows_log; UPDATE version SET stage = 'shadow' WHERE ordinal = 3;"
    subprocess.run([SQLITE, str(copy), tamper], check=True, capture_output=True)
    (row,) = answer(copy, "Does every stage follow")
    assert (row["ordinal"], row["stage"], row["stage_by_log"]) == ("v3", "shadow", "staging")


def test_an_event_that_was_cut_out_is_missed(db: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(db, tmp_path / "copy.db"))
    assert SQLITE is not None
    tamper = "DROP TRIGGER event_never_goes; DELETE FROM event WHERE kind = 'promotion_refused';"
    subprocess.run([SQLITE, str(copy), tamper], check=True, capture_output=True)
    assert len(answer(copy, "Is the log whole", 0)) == 1
