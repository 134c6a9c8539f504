"""What `git diff` and `git log -p` show of a registry, with real git; and what two revisions tell differently."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.errors import IntegrityError, NotFound, Refused
from ifpdb.gitlink import story

Git = Callable[..., str]
Cli = Callable[..., Any]
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
IFP = Path(sys.executable).with_name("ifp")
ADA = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")


@pytest.fixture
def git(folder: Path) -> Git:
    """Runs git here; the folder is a repository that tells every .db in words."""

    def run(*arguments: str, cwd: Path = folder) -> str:
        done = subprocess.run(["git", *ADA, *arguments], cwd=cwd, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    run("init", "-q", "-b", "main")
    run("config", "diff.ifp.textconv", f"'{IFP}' git textconv")
    (folder / ".gitattributes").write_text("*.db merge=ifp diff=ifp -text\n")
    (folder / ".gitignore").write_text("*.cas\n")
    return run


@pytest.fixture
def commit(git: Git) -> Callable[[str], str]:
    """Commits everything; the commit's id."""

    def make(message: str) -> str:
        git("add", "--all")
        git("commit", "-q", "--allow-empty", "-m", message)
        return git("rev-parse", "HEAD").strip()

    return make


def changed(diff: str) -> list[str]:
    """The lines that a diff adds and takes away, without its headings."""
    return [line for line in diff.splitlines() if line[:1] in ("+", "-") and line[:4] not in ("+++ ", "--- ")]


# -- in git


def test_a_diff_tells_what_was_done(git: Git, commit: Any, two: ifp.Registry) -> None:
    commit("two")
    two.model("fraud").promote("v2", "production", reason="bessér\n“now”", approved_by="grace")
    two.model("fraud").tag("v2", "q2")
    v1, v2 = (two.resolve(f"fraud@{name}").digest[:19] for name in ("v1", "v2"))
    assert [line[22:] if line[1] == "2" else line for line in changed(git("diff"))] == [
        f"ada promoted fraud {v2} to production, replacing {v1}, approved by grace: bessér\\n“now”",
        f"ada tagged fraud {v2}",
        "+  tag q2",
    ]


def test_a_log_tells_each_commit(git: Git, commit: Any, make: Any, registry: ifp.Registry) -> None:
    commit("empty")
    for weights in ("a", "b"):
        make(weights, tags=[weights])
        commit(weights)
    told = changed(git("log", "-p", "--reverse", "--format=%s", "--", "ifp.db"))
    assert [line for line in told if "tag " in line] == ["+  tag a", "+  tag b"]
    assert all(line.startswith("+") for line in told)
    assert "registered fraud" in git("show", "--format=", "--", "ifp.db")
    assert "ifp.db" in git("log", "--stat", "--format=")


def test_branches_are_compared_by_what_each_did(git: Git, commit: Any, make: Any, registry: ifp.Registry) -> None:
    make("a")
    commit("a")
    git("checkout", "-q", "-b", "feature")
    make("b", tags=["theirs"])
    commit("b")
    git("checkout", "-q", "main")
    registry.model("fraud").tag("v1", "ours")
    commit("c")
    told = changed(git("diff", "main", "feature", "--", "ifp.db"))
    assert [line for line in told if "tag " in line] == ["-  tag ours", "+  tag theirs"]


def test_a_file_that_is_no_registry_does_not_stop_git(git: Git, commit: Any, registry: ifp.Registry) -> None:
    commit("whole")
    whole = registry.path.read_bytes()
    for text in (b"", b"<<<<<<< ours\n", b"version https://git-lfs.github.com/spec/v1\n", whole[: len(whole) // 2], whole):
        registry.path.write_bytes(text)
        commit("broken")
    told = changed(git("log", "-p", "--format=%s", "--", "ifp.db"))
    for why in ("empty, no registry", "it is no SQLite database", "Git LFS pointer", "damaged"):
        assert len([line for line in told if line.startswith("+this file") and why in line]) >= 1
    assert git("log", "--format=%s", "--", "ifp.db").splitlines() == ["broken"] * 5 + ["whole"]


@pytest.mark.parametrize("name", ["mödel registry.db", "quo\"te's.db", "$(x) & y;.db", "-n.db"])
def test_odd_names_are_no_matter(git: Git, commit: Any, parts: dict[str, Any], folder: Path, cli: Cli, name: str) -> None:
    path = folder / "sub folder" / name
    path.parent.mkdir()
    with ifp.init(path) as registry:
        first = commit("empty")
        registry.register("fraud", b"a", **parts)
        assert "+  seed 7" in changed(git("diff", "--", f"sub folder/{name}"))
    said = cli("--db", str(path), "diff", "--git", first)
    assert "registered fraud" in said.out
    assert "seed 7" in cli("--db", str(path), "diff", "--git", first, commit("one")).out


def test_the_words_do_not_depend_on_the_locale(two: ifp.Registry, script: Cli) -> None:
    two.model("fraud").approve("v1", reason="für é")
    told = {script("git", "textconv", "ifp.db", LC_ALL=locale).out for locale in ("C", "C.UTF-8")}
    assert len(told) == 1
    assert "für é" in told.pop()


def test_textconv_imports_nothing_heavy(two: ifp.Registry, folder: Path) -> None:
    program = (
        "import sys; sys.argv = ['ifp', 'git', 'textconv', 'ifp.db']\nfrom ifpdb.cli import run\nassert run() == 0\n"
        "print({'pydantic', 'yaml', 'numpy', 'sqlite_utils', 'platformdirs', 'ifpdb.history.explain'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


# -- the story of a file


def test_a_story_only_ever_grows(two: ifp.Registry) -> None:
    fraud, before = two.model("fraud"), list[str]()
    for change in (
        lambda: fraud.promote("v2", "production"),
        lambda: fraud.label("v2", "2025-Q4"),
        lambda: fraud.untag("v1", "q1"),
        lambda: two.measure("fraud@v1", {"f1": 0.99}),
        lambda: fraud.rollback(reason="worse"),
        lambda: fraud.set_policy({"validation": {"max_loss": 1}}),
    ):
        change()
        after = story.tell(two.path)
        assert after[: len(before)] == before
        assert len(after) > len(before)
        before = after


def test_what_a_merge_brings_stands_where_it_happened(make: Any, registry: ifp.Registry, clock: Any, tmp_path: Path) -> None:
    clock("2025-01-01T00:00:00Z")
    make("a")
    shutil.copy(registry.path, tmp_path / "theirs.db")
    with ifp.open(tmp_path / "theirs.db") as theirs:
        clock("2025-01-02T00:00:00Z")
        theirs.model("fraud").tag("v1", "theirs")
        body = theirs.events(kind="tagged")[0]
        with theirs.reading() as tx:
            row = tx.execute("SELECT id, body FROM event ORDER BY at DESC LIMIT 1").fetchone()
    clock("2025-01-03T00:00:00Z")
    registry.model("fraud").tag("v1", "ours")
    before = story.tell(registry.path)
    with registry.writing() as (tx, _):
        tx.execute("INSERT INTO event (id, body) VALUES (?, ?)", row)
    after = story.tell(registry.path)
    place = next(number for number, line in enumerate(after) if line.startswith("2025-01-02"))
    brought = 1 + len(body.detail["tags"]) + 1  # the clock is told, too
    assert after[:place] + after[place + brought :] == before


def test_parameters_are_told_only_from_a_manifest_that_was_hashed(make: Any, registry: ifp.Registry) -> None:
    make("a", params={"C": 1.0})
    assert "  param C 1" in story.tell(registry.path)
    with closing(sqlite3.connect(registry.path)) as forger:
        forger.execute("DROP TRIGGER version_never_changes")
        forger.execute("UPDATE version SET manifest = replace(manifest, '[\"C\",1]', '[\"C\",2]')")
        forger.commit()
    told = story.tell(registry.path)
    assert not [line for line in told if "param" in line]
    assert "registered fraud" in told[0]


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "1",
        '{"parents": 1}',
        '{"parents": [], "at": 1, "actor": 2, "kind": null}',
        '{"deep": ' + "[" * 998 + "]" * 998 + "}",
    ],
)
def test_an_event_that_nobody_can_read_is_one_line(make: Any, registry: ifp.Registry, body: str) -> None:
    make("a")
    before = story.tell(registry.path)
    with closing(sqlite3.connect(registry.path)) as forger:
        forger.execute("PRAGMA ignore_check_constraints = ON")
        for (name,) in forger.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            forger.execute(f"DROP TRIGGER {name}")
        for (name,) in forger.execute("SELECT name FROM sqlite_schema WHERE name GLOB 'event_*' AND type = 'index'").fetchall():
            forger.execute(f"DROP INDEX {name}")
        forger.execute("INSERT INTO event (id, body) VALUES (?, ?)", (b"\xab" * 32, body))
        forger.commit()
    assert story.tell(registry.path) == ["unreadable sha256:abababababab", *before]


def test_a_registry_of_schema_1_is_told(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "old.db")) as connection:
        for name in ("schema-1.sql", "registry-1.sql"):
            connection.executescript((FIXTURES / name).read_text())
    told = story.tell(folder / "old.db")
    with ifp.open(folder / "old.db", readonly=True) as registry:
        assert len([line for line in told if not line.startswith(" ")]) == len(registry.events())
    assert any(line.startswith("  param ") for line in told)


UNREADABLE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "is empty"),
    "no database": (lambda _: b"hello\x1b[31m\n" * 100, "is not a registry"),
    "an LFS pointer": (lambda _: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "torn": (lambda data: data[: len(data) // 2], "damaged"),
    "a header": (lambda data: data[:100], "this file"),
    "in WAL mode": (lambda data: data[:18] + b"\2\2" + data[20:], "WAL mode"),
    "another program's": (lambda data: data[:68] + bytes(4) + data[72:], "another program's"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_told_in_one_line_without_the_name_of_the_file(
    two: ifp.Registry, tmp_path: Path, cli: Cli, name: str
) -> None:
    damage, why = UNREADABLE[name]
    path = tmp_path / "git-blob-x1y2z3"
    path.write_bytes(damage(two.path.read_bytes()))
    said = cli("git", "textconv", str(path))
    assert (said.code, said.err) == (0, "")
    assert said.out.count("\n") == 1
    assert said.out.startswith("this file")
    assert why in said.out
    assert str(path) not in said.out


def test_a_registry_of_a_newer_ifpdb_that_may_not_be_read_is_one_line(two: ifp.Registry, cli: Cli) -> None:
    with closing(sqlite3.connect(two.path)) as newer:
        newer.execute("UPDATE registry SET min_reader = 99")
        newer.execute("PRAGMA user_version = 99")
        newer.commit()
    assert cli("git", "textconv", "ifp.db").out.startswith("this file was made by a newer ifpdb (schema 99)")


@pytest.mark.parametrize("place", ["nowhere.db", "."])
def test_no_file_at_all_is_one_line(folder: Path, cli: Cli, place: str) -> None:
    said = cli("git", "textconv", place)
    assert (said.code, said.out.count("\n")) == (0, 1)


def fall(path: Path, data: bytes, rounds: range) -> None:
    for seed in rounds:
        chance = random.Random(seed)
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 3, 30, 300))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged[: chance.randrange(len(damaged))] if chance.random() < 0.2 else damaged)
        lines = story.tell(path)
        assert all("\n" not in line for line in lines), seed


def test_damage_never_stops_the_story(two: ifp.Registry, tmp_path: Path) -> None:
    fall(tmp_path / "damaged.db", two.path.read_bytes(), range(200))


@pytest.mark.nightly
def test_much_damage_never_stops_the_story(two: ifp.Registry, tmp_path: Path) -> None:
    fall(tmp_path / "damaged.db", two.path.read_bytes(), range(200, 10_000))


# -- between two revisions


def test_a_difference_is_the_events_of_one_side(git: Git, commit: Any, two: ifp.Registry, cli: Cli) -> None:
    a = commit("two")
    two.model("fraud").promote("v2", "production", reason="better")
    b = commit("promoted")
    found = json.loads(cli("diff", "--git", a, b, "--json").out)
    assert (found["a"], found["b"], found["removed"]) == (a, b, [])
    assert found["added"] == [two.events()[-1].as_dict()]
    back = json.loads(cli("diff", "--git", b, "HEAD~1", "--json").out)
    assert (back["added"], back["removed"]) == ([], found["added"])
    assert cli("diff", "--git", a, b).out.splitlines()[0].startswith("+ 20")
    assert "no difference" in cli("diff", "--git", a, a).err


def test_one_revision_is_compared_with_the_work_tree(git: Git, commit: Any, two: ifp.Registry, cli: Cli) -> None:
    commit("two")
    two.model("fraud").tag("v2", "q2")
    said = cli("diff", "--git", "HEAD")
    assert [line.split()[-2:] for line in said.out.splitlines()][1] == ["tag", "q2"]
    assert json.loads(cli("diff", "--git", "HEAD", "--json").out)["b"] is None
    assert "added,sha256:" in cli("diff", "--git", "HEAD", "--csv").out


def test_lost_events_are_called_lost_and_those_of_another_branch_are_not(
    git: Git, commit: Any, make: Any, registry: ifp.Registry, cli: Cli
) -> None:
    commit("empty")
    make("a")
    commit("a")
    git("revert", "--no-edit", "HEAD")
    said = cli("diff", "--git", "HEAD~1")
    assert said.out.startswith("- ")
    assert said.err.startswith("lost: the work tree comes from")
    git("checkout", "-q", "-b", "other", "HEAD~2")
    make("b")
    commit("b")
    said = cli("diff", "--git", "main~1", "other")
    assert said.err.startswith("not merged: ")
    assert {line[0] for line in said.out.splitlines()} == {"-", "+"}


def test_an_event_that_was_rewritten_is_on_both_sides(git: Git, commit: Any, make: Any, registry: ifp.Registry) -> None:
    make("a")
    commit("a")
    with closing(sqlite3.connect(registry.path)) as forger:
        forger.execute("DROP TRIGGER event_never_changes")
        forger.execute("""UPDATE event SET body = replace(body, '"ada"', '"eve"')""")
        forger.commit()
    found = story.difference(registry.path, "HEAD")
    assert [event.actor for event in found.removed.events()] == ["ada"]
    assert [event.actor for event in found.added.events()] == ["eve"]


def test_it_works_from_any_folder_and_in_a_worktree(
    git: Git, commit: Any, two: ifp.Registry, cli: Cli, tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any
) -> None:
    commit("two")
    two.model("fraud").tag("v2", "q2")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    git("worktree", "add", "-q", str(elsewhere / "tree"))
    (two.path.parent / "deep").mkdir()
    expected = cli("diff", "--git", "HEAD").out
    monkeypatch.chdir(two.path.parent / "deep")
    assert cli("diff", "--git", "HEAD").out == expected
    monkeypatch.chdir(elsewhere)
    assert cli("diff", "--git", "HEAD", "--db", str(two.path)).out == expected
    monkeypatch.chdir(elsewhere / "tree")
    assert "no difference" in cli("diff", "--git", "main").err


def test_what_git_does_not_have_is_said_with_what_to_do(git: Git, commit: Any, make: Any, registry: ifp.Registry) -> None:
    (registry.path.parent / "other").write_text("x")
    git("add", "other")
    git("commit", "-q", "-m", "without")
    with pytest.raises(NotFound, match=r"ifp\.db is in no commit yet: git add it"):
        story.difference(registry.path, "HEAD")
    first = commit("with")
    with pytest.raises(NotFound, match=rf"ifp\.db isn't in HEAD~1: it was first committed in {first[:12]}"):
        story.difference(registry.path, "HEAD~1")
    with pytest.raises(NotFound, match="git knows no commit 'nope'"):
        story.difference(registry.path, "nope")
    with pytest.raises(NotFound, match="git knows no commit '--all'"):
        story.difference(registry.path, "HEAD", "--all")
    registry.close()
    registry.path.unlink()
    with pytest.raises(NotFound, match="git restore"):
        story.difference(registry.path, "HEAD")


def test_outside_of_git_there_is_nothing_to_compare(two: ifp.Registry, cli: Cli) -> None:
    said = cli("diff", "--git", "HEAD")
    assert said.code == 3
    assert "is in no git checkout" in said.err


def test_a_shallow_clone_says_that_it_is_one(git: Git, commit: Any, two: ifp.Registry, tmp_path: Path) -> None:
    before = commit("two")
    two.model("fraud").tag("v2", "q2")
    commit("tag")
    clone = tmp_path / "clone"
    git("clone", "-q", "--depth", "1", two.path.parent.as_uri(), str(clone))
    with pytest.raises(NotFound, match="shallow clone: git fetch --unshallow"):
        story.difference(clone / "ifp.db", before)
    assert not story.difference(clone / "ifp.db", "HEAD").added.rows


def test_a_partial_clone_without_its_origin_says_that_it_is_one(
    git: Git, commit: Any, two: ifp.Registry, tmp_path: Path
) -> None:
    commit("two")
    two.model("fraud").tag("v2", "q2")
    commit("tag")
    git("config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    git("clone", "-q", "--filter=blob:none", two.path.parent.as_uri(), str(clone))
    git("remote", "set-url", "origin", str(tmp_path / "gone"), cwd=clone)
    with pytest.raises(Refused, match="a partial clone fetches them"):
        story.difference(clone / "ifp.db", "HEAD~1")


def test_a_revision_that_is_no_registry_is_refused(git: Git, commit: Any, two: ifp.Registry) -> None:
    whole = two.path.read_bytes()
    two.path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    pointer = commit("pointer")
    two.path.write_bytes(b"hello")
    commit("hello")
    two.path.write_bytes(whole)
    with pytest.raises(Refused, match=rf"ifp\.db at {pointer[:12]} is a Git LFS pointer"):
        story.difference(two.path, pointer)
    with pytest.raises(IntegrityError, match="is not a registry"):
        story.difference(two.path, "HEAD")


@pytest.mark.parametrize("words", [("diff", "fraud@v1"), ("diff", "--git", "HEAD", "--all")])
def test_the_two_ways_of_diff_are_not_mixed(two: ifp.Registry, cli: Cli, words: tuple[str, ...]) -> None:
    assert cli(*words).code == 2
