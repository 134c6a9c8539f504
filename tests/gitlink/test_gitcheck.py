"""A review of a range of commits: what it tells of honest work, and what it finds in forged work."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from person import Person, begin, set_up

import ifpdb as ifp
from ifpdb import digest
from ifpdb.errors import NotFound
from ifpdb.gitlink.check import Review, commits, review
from ifpdb.gitlink.driver import resolve
from ifpdb.gitlink.markdown import code, render
from ifpdb.store.repository import Repository

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def ada(tmp_path: Path) -> Person:
    """fraud v1 in production by force, and a policy since; all of that is committed on main."""
    ada = begin(tmp_path)
    with ada.open() as registry:
        registry.model("fraud").set_policy({"validation": {"min_f1": 0.9}})
    ada.commit("policy")
    ada.git("tag", "base")
    return ada


def clone(source: Person, name: str) -> Person:
    """Somebody who has cloned this, and told git of the registry."""
    place = source.folder.with_name(name)
    source.git("clone", "--quiet", str(source.folder), str(place))
    person = Person(name, place, place / "ifp.db")
    set_up(person)
    return person


def look(person: Person, span: str = "base..HEAD") -> Review:
    repository = Repository(person.folder)
    (found,) = review(repository, *commits(repository, span))
    return found


def promote(person: Person, weights: str, f1: float, **how: Any) -> None:
    person.register(weights, metrics={"f1": f1})
    with person.open() as registry:
        registry.model("fraud").promote("latest", "production", **how)


def test_an_honest_range_breaks_no_rule_and_is_told(ada: Person) -> None:
    promote(ada, "two", 0.93, approved_by="grace", reason="better")
    ada.commit()
    found = look(ada)
    assert found.ok
    assert found.noted == ()
    told = render([found])
    assert "## `ifp.db`: no rule broken" in told
    assert "| `f1 0.93` | `train train.csv` | `ada` |" in told
    assert "approved by grace: better" in told


def test_what_is_worth_a_look_is_no_broken_rule(ada: Person) -> None:
    promote(ada, "two", 0.1, force=True, reason="the demo is today")
    with ada.open() as registry:
        registry.model("fraud").set_policy({"validation": {"min_f1": 0.05}})
        registry.model("fraud").rollback(reason="the demo is over")
    ada.commit()
    found = look(ada)
    assert found.ok
    assert any("forced into production by ada: the demo is today (the gate: min_f1: f1 is 0.1" in one for one in found.noted)
    assert any("policy of fraud was set by ada" in one for one in found.noted)


def test_a_gate_is_asked_as_it_was_then_not_as_it_is_today(ada: Person) -> None:
    promote(ada, "two", 0.93)
    with ada.open() as registry:
        registry.measure("fraud@production", {"f1": 0.2})
        registry.model("fraud").set_policy({"validation": {"min_f1": 0.99}})
    ada.commit()
    assert look(ada).ok


def test_what_another_branch_knew_does_not_judge_this_one(ada: Person) -> None:
    two = ada.register("two", metrics={"f1": 0.93})
    ada.commit()
    bob = clone(ada, "bob")
    with bob.open() as registry:
        registry.measure(two, {"f1": 0.2})
    bob.commit("worse")
    with ada.open() as registry:
        registry.model("fraud").promote(two, "production")
    ada.commit("promoted")
    ada.git("pull", "--quiet", "--no-rebase", "--no-edit", str(bob.folder), "main")
    assert look(ada).broken == ()


def test_a_settled_merge_is_worth_a_look(ada: Person) -> None:
    bob = clone(ada, "bob")
    promote(ada, "two", 0.93)
    ada.commit()
    promote(bob, "three", 0.94)
    bob.commit()
    ada.git("pull", "--quiet", "--no-rebase", "--no-edit", str(bob.folder), "main", code=1)
    resolve(ada.db, prefer=["theirs"], reason="three is better", actor="ada")
    ada.commit()
    found = look(ada)
    assert found.ok
    assert any("both sides of a merge had moved production of fraud; ada chose" in one for one in found.noted)


def around(db: Path, *statements: str) -> None:
    """Change a registry as somebody does who drops the rules first, and puts them back."""
    with sqlite3.connect(db) as connection:
        rules = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in rules:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in rules:
            connection.execute(sql)
    connection.close()


def forge(db: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write the newest event anew, with an id that fits, as its author could have."""
    import json

    with ifp.open(db) as registry:
        event = registry.events()[-1]
        with registry.reading() as tx:
            body = json.loads(tx.execute("SELECT body FROM event WHERE id = ?", (digest.to_bytes(event.id),)).fetchone()[0])
    change(body)
    told = digest.canonical(body)
    name = digest.sha256(told)
    around(
        db,
        f"UPDATE event SET id = x'{name[7:]}', body = '{told.decode()}' WHERE id = x'{event.id[7:]}'",
        "DELETE FROM head",
        f"INSERT INTO head VALUES ('{name}')",
    )


def unforced(body: dict[str, Any]) -> None:
    del body["detail"]["forced"]
    body["detail"]["verdict"] |= {"passed": True}


def no_reason(body: dict[str, Any]) -> None:
    del body["reason"]


def moved(body: dict[str, Any]) -> None:
    body["kind"] = "moved"


def came_back(body: dict[str, Any]) -> None:
    body["kind"] = "rolled_back"


def settled(body: dict[str, Any]) -> None:
    body["kind"] = "settled"


FORGED = {
    unforced: "is in production, but the gate says no: min_f1: f1 is 0.1, not >= 0.9",
    no_reason: "was forced into production without a reason",
    moved: "is in production by an event 'moved', which is no way into it",
    came_back: "went back into production, but had never been there",
    settled: "went back into production, but had never been there",
}


@pytest.mark.parametrize("change", FORGED, ids=lambda change: change.__name__)
def test_a_forged_entry_into_production_is_found(ada: Person, change: Callable[[dict[str, Any]], None]) -> None:
    promote(ada, "two", 0.1, force=True, reason="x")
    ada.commit()
    assert look(ada).ok
    forge(ada.db, change)
    ada.commit("forged")
    assert any(FORGED[change] in one for one in look(ada, "base..HEAD").broken)


def test_a_lying_verdict_and_another_policy_are_found(ada: Person) -> None:
    promote(ada, "two", 0.95)
    forge(ada.db, lambda body: body["detail"]["verdict"].update(passed=False, policy="sha256:" + "0" * 64))
    ada.commit()
    assert any("under another policy than the one in force then" in one for one in look(ada).broken)
    forge(ada.db, lambda body: body["detail"]["verdict"].update(policy=None))
    ada.commit()
    assert not look(ada).ok


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE metric SET last = 0.99 WHERE name = 'f1'", "metric: "),
        ("UPDATE version SET stage = 'archived' WHERE stage = 'production'", "stage: "),
        ("UPDATE event SET body = replace(body, 'grace', 'linus')", "changed: "),
        ("DELETE FROM event WHERE kind = 'policy_set'", "missing: "),
        ("UPDATE param SET value = '\"other\"'", "part: "),
    ],
)
def test_a_row_that_was_changed_around_the_rules_is_found(ada: Person, statement: str, kind: str) -> None:
    promote(ada, "two", 0.95, approved_by="grace")
    around(ada.db, statement)
    ada.commit()
    assert any(one.startswith(kind) for one in look(ada).broken)


def test_lost_events_are_a_broken_rule(ada: Person) -> None:
    ada.save("two")
    ada.git("tag", "two")
    ada.git("revert", "--no-edit", "HEAD")
    assert look(ada, "two..HEAD").broken == (
        "1 event is lost that the log had before, and it is append-only: ifp git recover brings back",
    )


@pytest.mark.parametrize("bytes_of", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"<<<<<<< HEAD\n", None])
def test_what_is_no_registry_any_more_is_a_broken_rule(ada: Person, bytes_of: bytes | None) -> None:
    data = ada.db.read_bytes()
    ada.db.write_bytes(data[: len(data) // 2] if bytes_of is None else bytes_of)
    ada.commit()
    assert len(look(ada).broken) >= 1
    ada.git("rm", "--quiet", "ifp.db")
    ada.git("commit", "--quiet", "--message", "gone")
    assert look(ada).broken[0].startswith("the registry is gone")


def test_a_range_without_a_registry_says_so_and_ends_well(ada: Person, cli: Callable[..., Any], monkeypatch: Any) -> None:
    (ada.folder / "other.txt").write_text("x")
    ada.commit()
    monkeypatch.chdir(ada.folder)
    said = cli("git", "check", "HEAD~1")
    assert (said.code, said.out) == (0, "No registry changes.\n")


def test_a_broken_rule_ends_with_1_and_an_unknown_commit_with_3(ada: Person, cli: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.chdir(ada.folder)
    ada.git("rm", "--quiet", "ifp.db")
    ada.git("commit", "--quiet", "--message", "gone")
    assert cli("git", "check", "base").code == 1
    said = cli("git", "check", "nowhere..HEAD")
    assert said.code == 3
    assert "fetch-depth: 0" in said.err


def test_three_dots_begin_where_the_two_part(ada: Person) -> None:
    ada.git("switch", "--quiet", "--create", "topic")
    ada.save("two")
    ada.git("switch", "--quiet", "main")
    ada.save("three")
    assert [event.kind for event in look(ada, "main...topic").added] == ["registered"]
    assert look(ada, "main...topic").ok
    assert not look(ada, "main..topic").ok, "two dots compare the ends, and topic lacks main's newest"
    with pytest.raises(NotFound):
        commits(Repository(ada.folder), "main...nowhere")


EVIL = ["`x` [a](http://e)", "| cell |", "@team #12", "<img src=x>", "``\n# heading", "\x1b[2J", "`"]


@pytest.mark.parametrize("text", EVIL)
def test_nothing_that_somebody_wrote_is_markup(text: str) -> None:
    shown = code(text)
    fence = shown[: len(shown) - len(shown.lstrip("`"))]
    assert shown.endswith(fence)
    inside = shown[len(fence) : -len(fence)]
    assert fence not in inside.replace("\\|", "")
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert inside.count("|") == inside.count("\\|")


def test_the_ready_workflow_reviews_a_pull_request(ada: Person, tmp_path: Path) -> None:
    workflow = yaml.safe_load((EXAMPLES / "github-actions-registry.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert steps[0]["with"]["fetch-depth"] == 0
    ada.git("switch", "--quiet", "--create", "topic")
    promote(ada, "two", 0.95)
    ada.commit()
    ada.git("update-ref", "refs/remotes/origin/main", "main")
    summary = tmp_path / "summary.md"
    (script,) = [step["run"] for step in steps if "git check" in step.get("run", "")]
    for forged in (False, True):
        if forged:
            around(ada.db, "UPDATE metric SET last = 0.99")
            ada.commit()
        done = subprocess.run(["bash", "-e", "-c", script], cwd=ada.folder, env=surroundings(summary), capture_output=True)
        assert done.returncode == int(forged), done.stderr
        assert ("broken rule" in summary.read_text()) == forged


def surroundings(summary: Path) -> dict[str, str]:
    import os
    import sys

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"GITHUB_BASE_REF": "main", "GITHUB_STEP_SUMMARY": str(summary), "PATH": path}


def test_the_ready_pre_commit_entry_calls_the_hook(ada: Person, script: Callable[..., Any]) -> None:
    config = yaml.safe_load((EXAMPLES / "pre-commit-config.yaml").read_text())
    (hook,) = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert not hook["pass_filenames"]
    ada.register("two")
    ada.git("add", "ifp.db")
    assert script(*hook["entry"].split()[1:], cwd=ada.folder).code == 0
    ada.db.write_bytes(b"torn")
    ada.git("add", "ifp.db")
    assert script(*hook["entry"].split()[1:], cwd=ada.folder).code == 5
