"""A review of a range of commits: the registries in it, what they lost, what was changed around their rules."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from person import Person
from reviewed import around, begun, commit_with_heads, look, promote

from ifpdb.errors import NotFound, UsageError
from ifpdb.gitlink.check import commits
from ifpdb.gitlink.markdown import code, render
from ifpdb.store.repository import Repository

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def ada(tmp_path: Path) -> Person:
    return begun(tmp_path)


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


def test_lost_events_are_told_of_a_damaged_file_too(ada: Person) -> None:
    ada.save("two")
    ada.git("tag", "two")
    ada.git("revert", "--no-edit", "HEAD")
    around(ada.db, "UPDATE param SET value = '\"other\"'")
    ada.commit()
    first, *rest = look(ada, "two..HEAD").broken
    assert first.startswith("1 event is lost")
    assert any(one.startswith("part: ") for one in rest)


def test_what_a_commit_of_the_range_noted_must_be_there_at_its_end(ada: Person) -> None:
    ada.register("two")
    commit_with_heads(ada)
    noted = ada.at("HEAD")[:10]
    ada.git("revert", "--no-edit", "HEAD")
    ada.save("three")
    assert look(ada).broken == (f"events are lost that commit {noted} had: ifp git recover {noted} brings back",)


def test_a_note_on_another_registry_is_none_on_this_one(ada: Person) -> None:
    ada.register("two")
    ada.commit(f"more\n\nIfp-Heads: sha256:{'a' * 64} (other.db)")
    found = look(ada)
    assert (found.broken, found.noted) == ((), ())


def test_a_commit_without_a_note_is_worth_a_look(ada: Person) -> None:
    commit = ada.save("two")[:10]
    assert look(ada).noted == (f"no heads are noted in the message of {commit}: ifp git install does so in each clone",)


@pytest.mark.parametrize(
    ("span", "hint"), [("HEAD..base", "the wrong way round"), ("main..topic", "BASE...HEAD begins where the two part")]
)
def test_a_range_that_lacks_events_by_how_it_was_named_says_so(ada: Person, span: str, hint: str) -> None:
    ada.git("switch", "--quiet", "--create", "topic")
    ada.save("two")
    ada.git("switch", "--quiet", "main")
    ada.save("three")
    assert hint in look(ada, span).broken[0]


def test_a_view_that_never_ends_is_not_asked(ada: Person) -> None:
    ada.register("two")
    endless = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS version, '' AS stage FROM n WHERE x < 0"
    )
    around(ada.db, "DROP VIEW stage_by_log", f"CREATE VIEW stage_by_log AS {endless}")
    ada.commit()
    (broken,) = look(ada).broken
    assert broken.endswith("is not built as ifpdb builds a registry: the view stage_by_log is another one")


@pytest.mark.parametrize("path", ["models.sqlite", "a\nb.db", "mod\u00e8le@team.db", "\udcff.db"])
def test_a_registry_is_found_by_what_it_says_whatever_it_is_called(ada: Person, path: str) -> None:
    (ada.folder / path).write_bytes(ada.db.read_bytes())
    ada.commit()
    assert look(ada).ok
    assert look(ada).path == path


LEFT_IN_ITS_PLACE = {
    b"": "is not a registry",
    b"version https://git-lfs.github.com/spec/v1\n": "is a Git LFS pointer",
    b"<<<<<<< HEAD\n": "conflict marks",
    b"SQLite format 3\0 of another program": "is not a registry",
}


@pytest.mark.parametrize("data", LEFT_IN_ITS_PLACE)
def test_what_is_no_registry_any_more_is_a_broken_rule(ada: Person, data: bytes) -> None:
    ada.db.write_bytes(data)
    ada.commit()
    (broken,) = look(ada).broken
    assert LEFT_IN_ITS_PLACE[data] in broken


def test_a_file_that_was_cut_off_is_a_broken_rule(ada: Person) -> None:
    data = ada.db.read_bytes()
    ada.db.write_bytes(data[: len(data) // 2])
    ada.commit()
    assert look(ada).broken


def test_a_registry_that_is_gone_is_a_broken_rule(ada: Person) -> None:
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


@pytest.mark.parametrize("span", ["", "..", "..HEAD", "...HEAD"])
def test_a_range_without_a_beginning_is_refused_since_an_empty_variable_would_pass(ada: Person, span: str) -> None:
    with pytest.raises(UsageError, match=r"write BASE\.\.HEAD"):
        commits(Repository(ada.folder), span)


def test_a_registry_that_was_named_must_be_there(ada: Person, cli: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.chdir(ada.folder)
    (ada.folder / "other.txt").write_text("x")
    ada.save("two")
    said = cli("git", "check", "base", "--db", "typo.db")
    assert said.code == 3
    assert "has a file typo.db" in said.err
    assert "New versions" in cli("git", "check", "base", "--db", "ifp.db").out
    assert cli("git", "check", "HEAD", "--db", "ifp.db").out == "No registry changes.\n"


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


def test_a_bar_stands_in_its_cell_and_plainly_in_a_list(ada: Person) -> None:
    promote(ada, "two", 0.1, force=True, reason="a | b")
    ada.commit()
    told = render([look(ada)])
    assert "by ada: a | b (the gate" in told
    assert "to production by force, replacing" in told
    assert "a \\| b` |" in told


EVIL = ["`x` [a](http://e)", "| cell |", "@team #12", "<img src=x>", "``\n# heading", "\x1b[2J", "`"]


@pytest.mark.parametrize("text", EVIL)
def test_nothing_that_somebody_wrote_is_markup(text: str) -> None:
    shown = code(text)
    fence = shown[: len(shown) - len(shown.lstrip("`"))]
    assert shown.endswith(fence)
    inside = shown[len(fence) : -len(fence)]
    assert fence not in inside
    assert "\n" not in shown
    assert "\x1b" not in shown


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
