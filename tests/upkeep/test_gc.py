"""gc: what anything names stays, the rest goes, and nobody who registers meanwhile loses a byte."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb.errors import Busy, Refused
from ifpdb.store import claims
from ifpdb.upkeep.gc import Sweep, collect

Make = Callable[..., ifp.Version]
Git = Callable[..., None]


@pytest.fixture
def git(folder: Path) -> Git:
    """Runs git here; the folder is a repository."""

    def run(*arguments: str, cwd: Path = folder) -> None:
        identity = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True)

    run("init", "-q", "-b", "main")
    return run


def orphan(registry: ifp.Registry, text: str = "nobody's", *, days: float = 30) -> str:
    """The digest of a blob that nothing names, as old as that."""
    digest = registry.blobs.put_bytes(text.encode(), name="x", format="bytes").digest
    age(registry.blobs.path(digest), days)
    return digest


def age(path: Path, days: float) -> None:
    """Make a file look old. Its ctime can't be set: tests that need both ask for a grace of 0."""
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def gone(registry: ifp.Registry, **options: float) -> Sweep:
    return collect(registry, delete=True, grace=0, **options)  # type: ignore[arg-type]


def digests(found: Sweep) -> set[str | None]:
    return {one.digest for one in found.garbage}


def test_what_rows_name_stays_and_the_rest_goes(make: Make, registry: ifp.Registry, folder: Path) -> None:
    kept = make("a")
    (folder / "tree").mkdir()
    for name in ("x", "y"):
        (folder / "tree" / name).write_text(name)
    tree = registry.register("fraud", folder / "tree", partial=True)
    lost = orphan(registry)
    found = gone(registry)
    assert (digests(found), found.kept, found.deleted, found.bytes) == ({lost}, 4, True, len("nobody's"))
    assert not registry.blobs.has(lost)
    registry.checkout(kept.run, folder / "out")
    registry.checkout(tree.run, folder / "out-tree")
    assert gone(registry).garbage == ()


def test_what_a_live_run_has_logged_stays(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        logged = run.log_artifact({"a": 1}, "notes")
        assert gone(registry).garbage == ()
        run.register(b"weights", partial=True)
    assert registry.blobs.has(logged.digest)


def test_a_dry_run_changes_nothing(make: Make, registry: ifp.Registry) -> None:
    make("a")
    lost = orphan(registry)
    before = {path: path.stat() for path in registry.path.parent.rglob("*")}
    with ifp.open(registry.path, readonly=True) as reading:
        found = collect(reading, grace=0)
    assert (digests(found), found.deleted) == ({lost}, False)
    assert {path: path.stat() for path in registry.path.parent.rglob("*")}.keys() == before.keys()
    assert registry.blobs.has(lost)


@pytest.mark.parametrize("days", [0.0, 13.9, 30.0])
def test_what_was_changed_within_the_grace_period_stays(registry: ifp.Registry, days: float) -> None:
    orphan(registry, days=days)  # its ctime is new in any case: a restored backup sets old mtimes
    found = collect(registry, delete=True)
    assert (found.garbage, found.young) == ((), 1)


def test_a_file_from_the_future_stays(registry: ifp.Registry) -> None:
    orphan(registry, days=-1)
    assert gone(registry).garbage == ()


def test_what_a_dead_writer_left_goes(registry: ifp.Registry) -> None:
    folder = registry.blobs.root / "tmp"
    folder.mkdir(parents=True)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {"dead": f"{dead.pid}-aa", "alive": f"{os.getpid()}-bb", "odd": "note.txt"}
    for name in names.values():
        (folder / name).write_text("x")
    assert gone(registry).garbage == ()  # none is a day old
    moved = subprocess.run(
        [sys.executable, "-c", AGED, str(registry.path)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert sorted(moved) == sorted([f"tmp/{names['dead']}", "tmp/note.txt"])
    assert [path.name for path in folder.iterdir()] == [names["alive"]]


AGED = """
import sys, time
now = time.time
time.time = lambda: now() + 2 * 86400  # ctime can't be set back, so the clock is set forward
import ifpdb as ifp
from ifpdb.upkeep.gc import collect
print(*[one.path for one in collect(ifp.open(sys.argv[1]), delete=True).garbage])
"""


def test_the_grace_period_ends(registry: ifp.Registry) -> None:
    lost = orphan(registry)
    script = AGED.replace("2 * 86400", "15 * 86400")
    subprocess.run([sys.executable, "-c", script, str(registry.path)], check=True, capture_output=True)
    assert not registry.blobs.has(lost)


def test_what_is_no_blob_is_left_alone(registry: ifp.Registry) -> None:
    orphan(registry)
    root = registry.blobs.root
    strange = [root / "notes.txt", root / "sha256" / "README", root / "sha256" / "zz" / "x", root / "sha256" / "ab" / "short"]
    for path in strange:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    strange.append(registry.blobs.path("sha256:" + 64 * "a"))
    strange[-1].mkdir(parents=True)
    assert len(gone(registry).garbage) == 1
    assert all(path.exists() for path in strange)


def test_an_interrupted_run_is_sealed_first(registry: ifp.Registry) -> None:
    script = "import os, ifpdb as ifp\nrun = ifp.track('fraud').__enter__()\nrun.log_metric('f1', 0.5)\n"
    script += "run._live.flush()\nos.kill(os.getpid(), 9)\n"
    subprocess.run([sys.executable, "-c", script], cwd=registry.path.parent)
    assert collect(registry).garbage == ()
    (run,) = registry.runs()
    assert registry.points(run.id, "f1") == []
    collect(registry, delete=True)
    assert [value for _, value, _ in registry.points(run.id, "f1")] == [0.5]


# -- git


def another_history(registry: ifp.Registry, make: Make, git: Git) -> str:
    """A version whose rows are on another branch only; the digest of its weights."""
    make("common")
    git("add", "ifp.db")
    git("commit", "-qm", "x")
    git("checkout", "-qb", "side")
    weights = make("side").weights
    assert weights
    git("commit", "-qam", "x")
    git("checkout", "-q", "main")
    assert [v.ordinal for v in registry.model("fraud").versions()] == [1]
    return weights.digest


def test_what_another_branch_names_stays(make: Make, registry: ifp.Registry, git: Git) -> None:
    weights, lost = another_history(registry, make, git), orphan(registry)
    found = gone(registry)
    assert (digests(found), found.revisions) == ({lost}, 2)
    git("checkout", "-q", "side")
    assert registry.blobs.read(weights) == b"side"


def test_without_git_it_would_go(make: Make, registry: ifp.Registry, git: Git) -> None:
    """The control: the branch is what keeps it."""
    weights = another_history(registry, make, git)
    shutil.rmtree(".git")
    assert digests(gone(registry)) == {weights}


def test_what_a_stash_names_stays(make: Make, registry: ifp.Registry, git: Git) -> None:
    make("common")
    git("add", "ifp.db")
    git("commit", "-qm", "x")
    for text in ("one", "two"):
        make(text)
        git("stash")
    assert gone(registry).garbage == ()


def test_the_files_of_a_folder_stay_though_only_its_listing_is_named(registry: ifp.Registry, folder: Path) -> None:
    (folder / "tree").mkdir()
    (folder / "tree" / "x").write_text("x")
    kept = registry.register("fraud", folder / "tree", partial=True).weights
    assert kept
    with registry.writing() as (tx, _):
        assert tx.execute("DELETE FROM blob WHERE key NOT IN (SELECT blob FROM artifact)").rowcount == 1
    assert gone(registry).garbage == ()
    assert registry.blobs.checkout(kept, folder / "out").is_dir()


def test_a_damaged_listing_stops_it(registry: ifp.Registry, folder: Path) -> None:
    (folder / "tree").mkdir()
    (folder / "tree" / "x").write_text("x")
    kept = registry.register("fraud", folder / "tree", partial=True).weights
    assert kept
    lost = orphan(registry)
    path = registry.blobs.path(kept.digest)
    path.chmod(0o644)
    path.write_text("[]")
    with pytest.raises(Refused, match="listing of a folder is damaged"):
        gone(registry)
    assert registry.blobs.has(lost)


def test_the_registry_of_another_worktree_counts(
    make: Make, registry: ifp.Registry, git: Git, tmp_path_factory: pytest.TempPathFactory, folder: Path
) -> None:
    make("common")
    git("add", "ifp.db")
    git("commit", "-qm", "x")
    other = tmp_path_factory.mktemp("trees") / "wt"
    git("worktree", "add", "-q", "--detach", str(other))
    (other / "ifp.cas").symlink_to(registry.blobs.root)
    with ifp.open(other / "ifp.db") as theirs:
        (folder / "w").write_text("uncommitted")
        weights = theirs.register("fraud", folder / "w", partial=True).weights
    assert weights
    assert gone(registry).garbage == ()
    shutil.rmtree(other)
    assert digests(gone(registry)) == {weights.digest}


def test_the_history_of_what_a_link_points_to_counts(
    make: Make, registry: ifp.Registry, git: Git, tmp_path_factory: pytest.TempPathFactory
) -> None:
    another_history(registry, make, git)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in ("ifp.db", "ifp.cas"):
        (elsewhere / name).symlink_to(registry.path.with_name(name))
    with ifp.open(elsewhere / "ifp.db") as linked:
        assert gone(linked).garbage == ()


def newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE registry SET min_reader = 99")
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()


def torn(path: Path) -> None:
    data = bytearray(path.read_bytes())
    connection = sqlite3.connect(path)
    page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'blob'").fetchone()[0]
    connection.close()
    data[(page - 1) * 4096 : page * 4096] = os.urandom(4096)
    path.write_bytes(data)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20000])


@pytest.mark.parametrize(("damage", "why"), [(newer, "newer ifpdb"), (torn, "damaged"), (half, "damaged|not built")])
def test_a_revision_that_can_not_be_read_stops_it(
    make: Make, registry: ifp.Registry, git: Git, damage: Callable[[Path], None], why: str
) -> None:
    make("a")
    good = registry.path.read_bytes()
    registry.close()
    damage(registry.path)
    git("add", "ifp.db")
    git("commit", "-qm", "bad")
    registry.path.write_bytes(good)
    git("commit", "-qam", "good again")
    lost = orphan(registry)
    with pytest.raises(Refused, match=why) as refused:
        gone(registry)
    assert registry.blobs.has(lost)
    told = str(refused.value)
    id = subprocess.run(["git", "rev-parse", "HEAD~1:ifp.db"], capture_output=True, text=True).stdout.strip()
    assert f"ifp.db at {id}" in told and "--forget" in told
    assert digests(collect(registry, delete=True, grace=0, forget=[id])) == {lost}


def test_a_revision_in_wal_mode_is_read_as_git_would_restore_it(make: Make, registry: ifp.Registry, git: Git) -> None:
    make("a")
    registry.close()
    connection = sqlite3.connect(registry.path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    git("add", "ifp.db")
    git("commit", "-qm", "wal")
    connection = sqlite3.connect(registry.path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    lost = orphan(registry)
    assert digests(gone(registry)) == {lost}


def test_a_shallow_clone_stops_it(
    make: Make, registry: ifp.Registry, git: Git, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for text in ("a", "b"):
        make(text)
        git("add", "ifp.db")
        git("commit", "-qm", text)
    place = tmp_path_factory.mktemp("clone") / "c"
    git("clone", "-q", "--depth=1", f"file://{registry.path.parent}", str(place))
    with ifp.open(place / "ifp.db") as shallow:
        lost = orphan(shallow)
        with pytest.raises(Refused, match="git fetch --unshallow"):
            gone(shallow)
        assert shallow.blobs.has(lost)


# -- others at work


@pytest.mark.parametrize("claimed", [True, False], ids=["claimed", "control"])
@pytest.mark.parametrize("was_there", [False, True], ids=["new", "an old orphan"])
def test_a_blob_on_its_way_to_a_row_stays_if_it_is_claimed(
    registry: ifp.Registry, folder: Path, monkeypatch: pytest.MonkeyPatch, claimed: bool, was_there: bool
) -> None:
    """Stopped between the last byte and COMMIT. Without the claim the row would name what is gone."""
    monkeypatch.setattr(claims, "TIMEOUT", 0.05)
    (folder / "w").write_text("weights")
    if was_there:
        orphan(registry, "weights")
    if not claimed:
        kept = registry.keep("w", name="model")
        assert digests(gone(registry)) == {kept.digest}
        return
    with registry.ingesting():
        kept = registry.keep("w", name="model")
        assert kept.stored_anew is not was_there
        with pytest.raises(Busy, match="registrations or a backup"):
            gone(registry)
    assert registry.blobs.has(kept.digest)


def test_whoever_ingests_claims_the_folder(registry: ifp.Registry, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "w").write_text("weights")
    with ifp.track("fraud") as run:
        monkeypatch.setattr(claims, "TIMEOUT", 0)
        with claims.exclusive(registry.blobs.root):
            calls: list[Callable[[], object]] = [
                lambda: registry.register("fraud", "w", partial=True),
                lambda: run.log_artifact("w", "notes"),
                lambda: run.register("w", partial=True),
                lambda: ifp.track("fraud").__enter__(),  # it keeps the state of the random generators
            ]
            for call in calls:
                with pytest.raises(Busy, match="a garbage collection waits for or holds the blobs"):
                    call()
        assert run.register("w", partial=True).created
    assert [one.status for one in registry.runs()] == ["finished"]


RACE = """
import contextlib, os, signal, sys
import ifpdb as ifp
from ifpdb.store import claims
from ifpdb.upkeep.gc import collect

if sys.argv[1] == "control":
    claims.shared = lambda folder: contextlib.nullcontext()
if (collector := os.fork()) == 0:
    while True:
        with ifp.open("ifp.db") as registry:
            collect(registry, delete=True, grace=0)
lost = number = 0
with ifp.open("ifp.db") as registry:
    while number < int(sys.argv[2]) and not lost:
        number += 1
        with open("w", "w") as file:
            file.write(str(number))
        version = registry.register("fraud", "w", partial=True, params={"n": number})
        lost += not registry.blobs.has(version.weights.digest)
    os.kill(collector, signal.SIGKILL)
    os.wait()
    for version in registry.model("fraud").versions():
        lost += not registry.blobs.has(version.weights.digest)
print(number, lost)
"""


def raced(folder: Path, kind: str, most: int) -> tuple[int, int]:
    """(how many were registered, how many of them were lost) while gc ran again and again beside it."""
    done = subprocess.run([sys.executable, "-c", RACE, kind, str(most)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    number, lost = map(int, done.stdout.split())
    return number, lost


def test_registering_beside_gc_loses_nothing(registry: ifp.Registry, folder: Path) -> None:
    assert raced(folder, "claimed", 60) == (60, 0)


@pytest.mark.nightly
def test_registering_beside_gc_for_long_loses_nothing(registry: ifp.Registry, folder: Path) -> None:
    assert raced(folder, "claimed", 3000) == (3000, 0)


def test_without_the_claim_it_would(registry: ifp.Registry, folder: Path) -> None:
    _, lost = raced(folder, "control", 5000)
    assert lost


INTERRUPTED = """
import sys
import ifpdb as ifp
from ifpdb.upkeep.gc import collect

def stop(what, number):
    if what == "removing files" and number == 20:
        print("now", flush=True)
        sys.stdin.read()

with ifp.open("ifp.db") as registry:
    collect(registry, delete=True, grace=0, progress=stop)
"""


def test_a_gc_that_is_killed_has_done_a_part_and_harmed_nothing(make: Make, registry: ifp.Registry, folder: Path) -> None:
    kept = make("a").weights
    assert kept
    lost = [orphan(registry, f"nobody's {number}") for number in range(50)]
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        process.kill()
    assert sum(registry.blobs.has(digest) for digest in lost) == 30
    assert registry.blobs.read(kept.digest) == b"a"
    make("b")  # the claim went with the process
    assert len(gone(registry).garbage) == 30
