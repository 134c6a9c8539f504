"""What git does with branches and commits, done with real git: nothing that either side registered is lost."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from person import Person, apart, begin, digest_of, register

import ifpdb as ifp
from ifpdb.gitlink import driver
from ifpdb.merge.union import merge
from ifpdb.store.repository import Repository

IFP = Path(sys.executable).with_name("ifp")


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.nightly)], ids=["", "with hooks"])
def ada(tmp_path: Path, home: Path, request: pytest.FixtureRequest) -> Person:
    return begin(tmp_path, hooks=request.param)


@pytest.fixture
def hooked(tmp_path: Path, home: Path) -> Person:
    return begin(tmp_path, hooks=True)


def do(person: Person, *commands: str) -> str:
    """These git commands, one after the other; what the last one said."""
    return [person.git(*command.split()) for command in commands][-1]


def is_whole(person: Person, *weights: str) -> bool:
    """Whether exactly these are here besides 'one', the log is whole with all that the commits noted, and git is clean."""
    assert person.weights() == {"one", *weights}
    assert person.problems() == []
    assert person.status() == []
    return True


# -- both sides went on

UNITES: dict[str, list[str]] = {
    "merge": ["merge topic"],
    "merge, told to commit later": ["merge --no-commit topic", "commit --quiet --no-edit"],
    "squash": ["merge --squash topic", "commit --quiet -m squashed"],
    "ours where in doubt": ["merge -X ours topic"],
    "theirs where in doubt": ["merge -X theirs topic"],
    "rebase onto the other": ["rebase --quiet topic"],
    "rebase by patches": ["rebase --quiet --apply topic"],
    "pull with rebase": ["pull --quiet --rebase . topic"],
    "cherry-pick": ["cherry-pick topic"],
    "stash and pop": [
        "reset --quiet --soft HEAD~",
        "stash push --quiet",
        "merge --quiet --ff-only topic",
        "stash pop",
        "commit --quiet --all -m popped",
    ],
    "autostash of a rebase": [
        "reset --quiet --soft HEAD~",
        "rebase --quiet --autostash topic",
        "commit --quiet --all -m popped",
    ],
    "switch that takes changes along": [
        "reset --quiet --soft HEAD~",
        "restore --staged ifp.db",
        "switch --quiet --merge topic",
        "commit --quiet --all -m taken",
    ],
}


RARE: dict[str, list[str]] = {
    "squash, told to commit later": ["merge --squash --no-commit topic", "commit --quiet -m squashed"],
    "the old recursive strategy": ["merge -s recursive topic"],
    "the subtree strategy": ["merge -s subtree topic"],
    "pull of a branch": ["pull --quiet --no-rebase . topic"],
    "rebase of the other": ["rebase --quiet main topic", "switch --quiet main", "merge --ff-only topic"],
    "cherry-pick, told to commit later": ["cherry-pick --no-commit topic", "commit --quiet -m picked"],
}


@pytest.mark.parametrize(
    "commands",
    [*UNITES.values(), *(pytest.param(commands, marks=pytest.mark.nightly) for commands in RARE.values())],
    ids=[*UNITES, *RARE],
)
def test_both_sides_are_united(ada: Person, commands: Sequence[str]) -> None:
    both = apart(ada)
    do(ada, *commands)
    assert ada.digest() == ada.united(*both) == ada.united(*reversed(both))
    assert is_whole(ada, "two", "three")


def test_a_merge_notes_its_heads_and_says_nothing_else(hooked: Person) -> None:
    apart(hooked)
    said = hooked.git("merge", "--quiet", "--no-edit", "topic")
    assert said == "Auto-merging ifp.db"
    with hooked.open(readonly=True) as registry:
        heads = [row["id"] for row in registry.sql("SELECT id FROM head ORDER BY id")]
    assert len(heads) == 2
    assert hooked.git("log", "-1", "--format=%(trailers:key=Ifp-Heads,valueonly)") == " ".join(heads)


def test_the_next_event_after_a_merge_has_both_sides_as_parents(ada: Person) -> None:
    apart(ada)
    do(ada, "merge --quiet topic")
    ada.save("four")
    with ada.open(readonly=True) as registry:
        assert len(registry.events()[-1].parents) == 2
    assert is_whole(ada, "two", "three", "four")


def test_a_fast_forward_takes_the_other_sides_bytes(ada: Person) -> None:
    ada.git("switch", "--quiet", "--create", "topic")
    ada.save("two")
    do(ada, "switch --quiet main", "merge --ff-only topic")
    assert ada.db.read_bytes() == ada.bytes_at("topic")
    assert is_whole(ada, "two")


def test_merging_the_result_back_fast_forwards(ada: Person) -> None:
    apart(ada)
    do(ada, "merge --quiet topic", "switch --quiet topic")
    assert "Fast-forward" in do(ada, "merge --ff-only main")
    assert is_whole(ada, "two", "three")


def test_both_ways_of_a_merge_are_equal_and_merging_again_changes_nothing(ada: Person) -> None:
    apart(ada)
    do(ada, "switch --quiet --create other main", "merge --quiet topic", "switch --quiet topic", "merge --quiet main")
    there = ada.digest()
    do(ada, "switch --quiet other")
    assert ada.digest() == there
    before = ada.at("other:ifp.db")
    do(ada, "merge --quiet topic")
    assert ada.at("other:ifp.db") == before


def test_a_criss_cross_is_merged_over_two_bases(ada: Person) -> None:
    apart(ada)
    do(ada, "branch left main", "branch right topic")
    do(ada, "switch --quiet left", "merge --quiet right", "switch --quiet right", "merge --quiet main")
    five = ada.save("five")
    do(ada, "switch --quiet left")
    four = ada.save("four")
    assert len(ada.git("merge-base", "--all", "left", "right").splitlines()) == 2
    do(ada, "merge --quiet right")
    assert ada.digest() == ada.united(four, five)
    assert is_whole(ada, "two", "three", "four", "five")


def test_registries_that_two_branches_made_apart_are_put_together(ada: Person) -> None:
    """Git has no base then, and gives the driver an empty one."""
    do(ada, "switch --quiet --create other", "rm --quiet --cached ifp.db")
    ada.db.unlink()
    ada.commit("none")
    do(ada, "switch --quiet --create topic")
    ifp.init(ada.db).close()
    theirs = ada.save("two")
    do(ada, "switch --quiet other")
    ifp.init(ada.db).close()
    ours = ada.save("three")
    ada.git("merge", "--quiet", "--no-edit", "topic")
    assert ada.digest() == ada.united(ours, theirs)
    assert ada.weights() == {"two", "three"}


def test_unrelated_histories_are_put_together(ada: Person) -> None:
    do(ada, "switch --quiet --orphan other", "restore --source main .gitattributes .gitignore")
    ifp.init(ada.db).close()
    theirs = ada.save("two", model="churn")
    do(ada, "switch --quiet main", "merge --quiet --allow-unrelated-histories other")
    assert ada.digest() == ada.united("HEAD~", theirs)
    assert is_whole(ada, "two")


# -- a merge that is taken back, or leaves a side out


def test_an_aborted_merge_leaves_the_bytes_as_they_were(ada: Person) -> None:
    apart(ada)
    before = ada.db.read_bytes()
    do(ada, "merge --no-commit topic")
    assert ada.db.read_bytes() != before
    do(ada, "merge --abort")
    assert ada.db.read_bytes() == before
    assert is_whole(ada, "three")


def test_reset_takes_a_merge_back(ada: Person) -> None:
    apart(ada)
    do(ada, "merge --quiet topic", "reset --quiet --hard HEAD~")
    assert is_whole(ada, "three")


# -- history written anew


def test_a_rebase_of_several_commits_picks_each(ada: Person) -> None:
    apart(ada)
    ours = ada.save("four")
    do(ada, "rebase --quiet topic")
    assert ada.digest() == ada.united(ours, "topic")
    assert is_whole(ada, "two", "three", "four")
    do(ada, "checkout --quiet HEAD~")
    assert is_whole(ada, "two", "three")


SEQUENCES = {
    "squashed": "2s/^pick/squash/",
    "fixed up": "2s/^pick/fixup/",
    "reworded": "1s/^pick/reword/",
    "checked at each step": f"s|^pick.*|&\\nexec {IFP} verify|",
}


@pytest.mark.parametrize("script", SEQUENCES.values(), ids=SEQUENCES)
def test_an_interactive_rebase_keeps_all(ada: Person, script: str) -> None:
    apart(ada)
    ours = ada.save("four")
    ada.git("rebase", "--quiet", "--interactive", "topic", GIT_SEQUENCE_EDITOR=f"sed -i -e '{script}'")
    assert ada.digest() == ada.united(ours, "topic")
    assert is_whole(ada, "two", "three", "four")


def test_picks_in_another_order_leave_the_earlier_one_empty(ada: Person) -> None:
    """Its events have come with the later one, which names them as its parents."""
    apart(ada)
    ours = ada.save("four")
    swap = "sed -i -e '1{h;d};2{p;x}'"
    ada.git("rebase", "--quiet", "--interactive", "--empty=drop", "topic", GIT_SEQUENCE_EDITOR=swap)
    assert ada.digest() == ada.united(ours, "topic")
    assert ada.git("log", "--format=%s", "topic..HEAD") == "four"
    assert is_whole(ada, "two", "three", "four")


def test_a_commit_that_a_rebase_drops_is_gone_but_for_what_later_ones_know(ada: Person) -> None:
    """The next commit's registry has the dropped one's events, since its own name them as parents."""
    apart(ada)
    ada.save("four")
    ada.git("rebase", "--quiet", "--interactive", "topic", GIT_SEQUENCE_EDITOR="sed -i -e 1d")
    assert is_whole(ada, "two", "three", "four")
    ada.git("reset", "--quiet", "--hard", "HEAD~")
    assert is_whole(ada, "two")


def test_rebase_onto_leaves_out_nothing_that_the_moved_commits_build_on(ada: Person) -> None:
    do(ada, "switch --quiet --create feature")
    ada.save("two")
    do(ada, "switch --quiet --create nested")
    nested = ada.save("four")
    do(ada, "switch --quiet main")
    ada.save("three")
    do(ada, "rebase --quiet --onto main feature nested")
    assert ada.digest() == ada.united(nested, "main")
    assert is_whole(ada, "two", "three", "four")


def test_a_rebase_that_keeps_merges_merges_again(ada: Person) -> None:
    main, topic = apart(ada)
    do(ada, "branch upstream main~", "merge --quiet topic", "switch --quiet upstream")
    five = ada.save("five")
    do(ada, "rebase --quiet --rebase-merges upstream main")
    assert ada.digest() == ada.united(main, topic, five)
    assert is_whole(ada, "two", "three", "five")


def test_patches_by_mail_are_applied(ada: Person) -> None:
    both = apart(ada)
    (ada.folder.parent / "mail").write_text(ada.git("format-patch", "--stdout", "--binary", "main..topic") + "\n")
    ada.git("am", "--quiet", "--3way", str(ada.folder.parent / "mail"))
    assert ada.digest() == ada.united(*both)
    assert is_whole(ada, "two", "three")


def test_an_amended_commit_notes_the_heads_of_now(hooked: Person) -> None:
    hooked.save("two")
    hooked.register("three")
    do(hooked, "commit --quiet --amend --no-edit --all")
    with hooked.open(readonly=True) as registry:
        assert hooked.git("log", "-1", "--format=%(trailers:key=Ifp-Heads,valueonly)") == registry.events()[-1].id
    assert is_whole(hooked, "two", "three")


def test_a_commit_that_was_cherry_picked_before_is_merged_in_peace(ada: Person) -> None:
    apart(ada)
    do(ada, "cherry-pick topic", "switch --quiet topic")
    ada.save("four")
    do(ada, "switch --quiet main", "merge --quiet topic")
    assert is_whole(ada, "two", "three", "four")


@pytest.mark.parametrize("parent", ["1", "2"])
def test_reverting_an_older_merge_takes_no_fact_back(ada: Person, parent: str) -> None:
    apart(ada)
    do(ada, "merge --quiet topic")
    merged = ada.at("HEAD")
    ada.save("four")
    assert "nothing to commit" in ada.git("revert", "--no-edit", "-m", parent, merged, code=1)
    assert is_whole(ada, "two", "three", "four")


def test_reverting_an_older_commit_takes_no_fact_back(ada: Person) -> None:
    """What is in the log stays in it: git finds nothing to commit."""
    older = ada.save("two")
    ada.save("three")
    assert "nothing to commit" in ada.git("revert", "--no-edit", older, code=1)
    assert is_whole(ada, "two", "three")


def test_reset_takes_commits_back_and_the_reflog_still_has_them(ada: Person) -> None:
    ada.save("two")
    do(ada, "reset --quiet --hard HEAD~")
    assert is_whole(ada)
    do(ada, "reset --quiet --hard HEAD@{1}")
    assert is_whole(ada, "two")


# -- moved


def in_models(person: Person) -> Person:
    """The same clone after `git mv` of the registry's folder, with its .gitattributes."""
    person.git("mv", "registry", "models")
    return replace(person, db=person.folder / "models" / "ifp.db")


@pytest.fixture
def deep(tmp_path: Path, home: Path) -> Person:
    """ada, whose registry lies in a folder."""
    return begin(tmp_path, inside="registry")


def test_what_the_other_side_did_follows_into_a_folder_that_this_side_renamed(deep: Person) -> None:
    deep.git("switch", "--quiet", "--create", "topic")
    theirs = deep.save("two")
    deep.git("switch", "--quiet", "main")
    moved = in_models(deep)
    moved.save("three")
    moved.git("merge", "--quiet", "--no-edit", "topic")
    assert moved.digest() == digest_in(moved, "HEAD~:models/ifp.db", f"{theirs}:registry/ifp.db")
    assert is_whole(moved, "two", "three")


def test_a_folder_that_the_other_side_renamed_is_merged_by_hand(deep: Person) -> None:
    """Git asks the .gitattributes of this side, which say nothing of that folder yet; so it calls no driver, and stops."""
    deep.git("switch", "--quiet", "--create", "topic")
    theirs = in_models(deep).save("two")
    deep.git("switch", "--quiet", "main")
    ours = deep.save("three")
    assert "CONFLICT" in deep.git("merge", "--quiet", "--no-edit", "topic", code=1)
    moved = replace(deep, db=deep.folder / "models" / "ifp.db")
    driver.resolve(moved.db)
    moved.git("commit", "--quiet", "--no-edit")
    assert moved.digest() == digest_in(moved, f"{ours}:registry/ifp.db", f"{theirs}:models/ifp.db")
    assert moved.problems() == []


def digest_in(person: Person, *names: str) -> str:
    """The digest that these blobs have together."""
    repository, files = Repository(person.folder), []
    for number, name in enumerate(names):
        files.append(person.folder.parent / f"side{number}.db")
        files[-1].write_bytes(repository.run("cat-file", "blob", name))
    with ifp.open(files[0]) as registry:
        merge(registry, files[1])
    return digest_of(files[0])


@pytest.mark.parametrize("inside", ["mödels $(und) mehr", 'it\'s 100% "a"'])
def test_a_folder_of_any_name_is_merged(tmp_path: Path, home: Path, inside: str) -> None:
    ada = begin(tmp_path, inside=inside)
    both = apart(ada)
    do(ada, "merge --quiet topic")
    assert ada.digest() == ada.united(*both)
    assert ada.problems() == []


# -- somebody is at work meanwhile


def test_a_run_in_progress_ends_in_the_registry_that_git_put_there(ada: Person) -> None:
    apart(ada)
    with ifp.track("fraud", db=ada.db, autocapture=False) as run:
        run.log_metric("loss", 1.0)
        ada.commit("a run in progress")
        do(ada, "merge --quiet topic")
        run.log_metric("loss", 0.5)
    with ada.open(readonly=True) as registry:
        assert registry.run(run.id).status == "finished"
        assert [value for _, value, _ in registry.points(run.id, "loss")] == [1.0, 0.5]
    assert ada.weights() == {"one", "two", "three"}
    assert ada.problems() == []


def test_a_registry_that_stays_open_while_git_switches_writes_to_the_new_one(ada: Person) -> None:
    apart(ada)
    with ada.open() as registry:
        assert len(registry.model("fraud").versions()) == 2
        do(ada, "switch --quiet topic")
        register(registry, "four")
    assert ada.weights() == {"one", "two", "four"}
    assert ada.problems() == []


# -- looking for a commit


def test_bisect_finds_the_commit_by_what_the_registry_says(ada: Person) -> None:
    for number in range(5):
        with ada.open() as registry:
            register(registry, f"w{number}", metrics={"f1": 0.95 if number < 3 else 0.7})
        ada.commit(f"w{number}")
    query = "SELECT 1 / (min(m.value) > 0.9) FROM metrics m"
    ada.git("bisect", "start", "HEAD", "HEAD~4")
    said = ada.git(
        "bisect", "run", "sh", "-c", f'{IFP} verify && test "$({IFP} sql --csv "{query}" | tail -n 1 | tr -d "\\r")" = 1'
    )
    assert re.search(r"[0-9a-f]{40} is the first bad commit", said)
    assert ada.git("log", "-1", "--format=%s", "refs/bisect/bad") == "w3"
    ada.git("bisect", "reset")
    assert is_whole(ada, *(f"w{number}" for number in range(5)))
