"""What git drops without asking the driver is noticed, and brought back from git's own objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from person import Person, apart, begin

from ifpdb.errors import NotFound
from ifpdb.gitlink import driver, lost
from ifpdb.upkeep import anchors
from ifpdb.upkeep.doctor import examine

Cli = Callable[..., Any]


@pytest.fixture
def ada(tmp_path: Path, home: Path) -> Person:
    return begin(tmp_path)


def found(person: Person) -> list[str]:
    """The commits that have more than the registry."""
    with person.open(readonly=True) as registry:
        return [one.commit for one in lost.find(registry)]


def revert(person: Person, *arguments: str) -> None:
    person.git("revert", "--no-edit", *arguments, "HEAD")


LOSSES: dict[str, tuple[Sequence[str], set[str]]] = {
    "revert of the tip": (["merge --quiet --no-edit topic", "revert --no-edit -m 1 HEAD"], {"two"}),
    "revert of the tip, to the other side": (["merge --quiet --no-edit topic", "revert --no-edit -m 2 HEAD"], {"three"}),
    "a merge that keeps ours": (["merge --quiet -s ours --no-edit topic"], {"two"}),
    "theirs taken whole": (["merge --no-commit topic", "checkout topic ifp.db", "commit --quiet --no-edit"], {"three"}),
    "an old file put back": (["restore --source HEAD~ ifp.db", "commit --quiet --all -m back"], {"three"}),
}


@pytest.mark.parametrize(("commands", "gone"), LOSSES.values(), ids=LOSSES)
def test_what_is_lost_is_noticed_and_brought_back(ada: Person, commands: Sequence[str], gone: set[str]) -> None:
    both = apart(ada)
    for command in commands:
        ada.git(*command.split())
    all_that_was = {both[0]} if "HEAD~" in commands[0] else set(both)
    assert ada.weights() == {"one", "two", "three"} - gone - ({"two"} if len(all_that_was) == 1 else set())
    assert set(ada.problems()) == {"anchor"}
    assert "git-lost" in {finding.kind for finding in examine(ada.db).findings}
    assert set(found(ada))
    lost.recover(ada.db)
    assert ada.digest() == ada.united(*all_that_was)
    assert ada.problems() == []
    assert ada.status() == ["M ifp.db"]
    assert found(ada) == []
    assert "git-lost" not in {finding.kind for finding in examine(ada.db).findings}


def test_an_octopus_that_git_gives_up_changes_nothing(ada: Person) -> None:
    """It merges file by file, with no driver; two sides of one registry are too much for it."""
    apart(ada)
    ada.git("switch", "--quiet", "--create", "third", "main~")
    ada.save("four")
    ada.git("switch", "--quiet", "main")
    before = ada.db.read_bytes()
    assert "Merge with strategy octopus failed" in ada.git("merge", "--no-edit", "topic", "third", code=2)
    assert ada.db.read_bytes() == before
    assert (ada.problems(), ada.status()) == ([], [])


def test_an_octopus_that_stops_at_its_last_head_is_resolved(ada: Person) -> None:
    ours, theirs = apart(ada)
    ada.git("switch", "--quiet", "--create", "base", "main~")
    assert "content conflict in ifp.db" in ada.git("merge", "--no-edit", "main", "topic", code=1)
    assert ada.status() == ["UU ifp.db"]
    driver.resolve(ada.db)
    ada.git("commit", "--quiet", "--no-edit")
    assert ada.git("log", "-1", "--format=%P").split() == [ours, theirs]
    assert ada.digest() == ada.united(ours, theirs)
    assert (ada.problems(), ada.status()) == ([], [])


def test_what_an_octopus_leaves_out_is_brought_back(ada: Person) -> None:
    """As when somebody puts it together by hand: git commit-tree takes whatever tree it is given."""
    ours, theirs = apart(ada)
    ada.git("switch", "--quiet", "--create", "third", "main~")
    third = ada.save("four")
    ada.git("switch", "--quiet", "main")
    ada.git(
        "reset", "--quiet", "--soft", ada.git("commit-tree", "main^{tree}", *parents("main", "topic", "third"), "-m", "all")
    )
    assert ada.problems() == ["anchor", "anchor"]
    assert set(found(ada)) == {third, theirs}
    lost.recover(ada.db)
    ada.commit()
    assert ada.digest() == ada.united(ours, theirs, third)
    assert (ada.problems(), ada.status()) == ([], [])


def parents(*revisions: str) -> list[str]:
    return [word for revision in revisions for word in ("-p", revision)]


def test_a_revert_that_is_reverted_has_all_again(ada: Person) -> None:
    ada.save("two")
    revert(ada)
    assert ada.weights() == {"one"}
    assert ada.problems() == ["anchor"]
    revert(ada)
    assert ada.weights() == {"one", "two"}
    assert ada.problems() == []


def test_what_came_after_a_revert_is_kept_beside_what_is_brought_back(ada: Person) -> None:
    two = ada.save("two")
    revert(ada)
    three = ada.save("three")
    assert found(ada) == [two]
    lost.recover(ada.db)
    ada.commit()
    assert ada.digest() == ada.united(three, two)
    assert (ada.problems(), ada.weights()) == ([], {"one", "two", "three"})


def test_heads_noted_by_the_hook_are_enough(ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchors, "QUICKLY", 0)
    ada.git("config", "--unset", "core.hooksPath")
    ada.register("two")
    ada.git("commit", "--quiet", "--all", "-m", "two")
    revert(ada)
    assert ada.problems() == ["anchor"]
    lost.recover(ada.db)
    assert (ada.problems(), ada.weights()) == ([], {"one", "two"})


def test_a_commit_that_HEAD_no_longer_comes_from_is_brought_back_by_its_name(ada: Person, cli: Cli) -> None:
    two = ada.save("two")
    ada.git("reset", "--quiet", "--hard", "HEAD~")
    assert ada.problems() == []
    said = cli("git", "recover", "HEAD@{1}", "--json", "--db", str(ada.db))
    assert said.code == 0, said.err
    assert [(one["commit"], one["versions"]) for one in json.loads(said.out)] == [("HEAD@{1}", 1)]
    ada.commit()
    assert ada.digest() == ada.united(two)


def test_the_command_says_what_came_from_where(ada: Person, cli: Cli) -> None:
    two = ada.save("two")
    revert(ada)
    said = cli("git", "recover", "--db", str(ada.db))
    assert (said.code, said.out) == (0, f"{two[:10]}: 1 event: 1 new version, 1 new run\n")
    assert "git commit" in said.err


def test_nothing_is_lost_where_nothing_is(ada: Person, cli: Cli) -> None:
    apart(ada)
    ada.git("merge", "--quiet", "--no-edit", "topic")
    said = cli("git", "recover", "--db", str(ada.db))
    assert (said.code, said.out) == (0, "nothing is lost: the log has all that HEAD comes from\n")
    assert ada.status() == []


def test_verify_exits_1_and_names_the_commit_that_had_more(ada: Person, cli: Cli) -> None:
    two = ada.save("two")
    revert(ada)
    said = cli("verify", "--json", "--db", str(ada.db))
    assert said.code == 1
    (problem,) = json.loads(said.out)["problems"]
    assert problem["kind"] == "anchor"
    assert two[:10] in problem["detail"]


def test_what_comes_back_may_disagree_and_is_settled(ada: Person, cli: Cli) -> None:
    apart(ada)
    ada.promote("fraud@v2")
    three = ada.production()
    ada.commit()
    ada.git("switch", "--quiet", "topic")
    ada.promote("fraud@v2")
    two = ada.production()
    ada.commit()
    ada.git("switch", "--quiet", "main")
    ada.git("merge", "--quiet", "--no-edit", "-s", "ours", "topic")
    before = ada.db.read_bytes()
    said = cli("git", "recover", "--db", str(ada.db))
    assert said.code == 4
    assert str(two)[:19] in said.err and str(three)[:19] in said.err
    assert ada.db.read_bytes() == before
    assert cli("git", "recover", "--prefer", "theirs", "--db", str(ada.db)).code == 0
    ada.commit()
    assert ada.production() == two
    assert ada.problems() == []


def test_a_commit_that_is_unknown_or_has_no_registry_is_not_found(ada: Person) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        lost.recover(ada.db, ["nowhere"])
    ada.git("rm", "--quiet", "--cached", "ifp.db")
    ada.git("commit", "--quiet", "--no-verify", "-m", "none")
    with pytest.raises(NotFound, match=r"there is no ifp\.db in HEAD"):
        lost.recover(ada.db, ["HEAD"])


def test_a_revision_that_is_no_registry_hides_no_other(ada: Person) -> None:
    """Somebody committed a broken file past the hooks; what the others had is still held against the log."""
    ada.save("two")
    whole = ada.db.read_bytes()
    ada.db.write_bytes(b"<<<<<<< HEAD\n")
    ada.commit()
    ada.db.write_bytes(whole)
    ada.commit()
    assert ada.problems() == []
    ada.git("restore", "--source", "HEAD~3", "ifp.db")
    ada.commit()
    assert ada.problems() == ["anchor"]
    lost.recover(ada.db)
    assert ada.weights() == {"one", "two"}
