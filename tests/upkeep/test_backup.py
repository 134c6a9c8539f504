"""backup: whole at every moment, verified, brought up to date, and restored by copying."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb.errors import Busy, IntegrityError, Refused, UsageError
from ifpdb.store import claims
from ifpdb.upkeep.backup import backup
from ifpdb.upkeep.chain import verify
from ifpdb.upkeep.gc import collect

Make = Callable[..., ifp.Version]


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("safe")


def spoil(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_backup_is_restored_by_copying(make: Make, registry: ifp.Registry, place: Path, folder: Path) -> None:
    version = make("a", tags=["x"])
    (folder / "tree").mkdir()
    (folder / "tree" / "x").write_text("x")
    tree = registry.register("fraud", folder / "tree", partial=True)
    made = backup(registry, place)
    assert (made.ok, made.path, made.blobs, made.copied, made.events) == (True, place / "ifp.db", 3, 3, 2)
    assert made.digest == verify(registry).digest
    subprocess.run(["cp", "-r", str(place), str(folder / "restored")], check=True)
    with ifp.open(folder / "restored" / "ifp.db") as restored:
        assert restored.resolve(version.digest) == registry.resolve(version.digest)
        assert restored.checkout(version.run, folder / "out").read_text() == "a"
        assert (restored.checkout(tree.run, folder / "out-tree") / "x").read_text() == "x"
        (folder / "b").write_text("b")
        assert restored.register("fraud", folder / "b", partial=True).ordinal == 3


def test_a_db_is_named_or_a_folder(make: Make, registry: ifp.Registry, place: Path) -> None:
    make("a")
    assert backup(registry, place / "new" / "deep").path == place / "new" / "deep" / "ifp.db"
    assert backup(registry, place / "other.db").path == place / "other.db"
    assert (place / "other.cas" / "sha256").is_dir()


def test_a_second_backup_copies_only_what_is_new(make: Make, registry: ifp.Registry, place: Path) -> None:
    make("a")
    backup(registry, place)
    make("b")
    made = backup(registry, place)
    assert (made.copied, made.blobs, made.events) == (1, 2, 2)
    assert backup(registry, place).copied == 0
    assert sorted(path.name for path in place.iterdir()) == ["ifp.cas", "ifp.db"]
    assert list((place / "ifp.cas" / "tmp").iterdir()) == []


@pytest.mark.parametrize("fast", [False, True])
def test_what_rotted_in_the_backup_is_copied_anew_unless_only_sizes_are_compared(
    make: Make, registry: ifp.Registry, place: Path, fast: bool
) -> None:
    weights = make("a").weights
    assert weights
    backup(registry, place)
    path = place / "ifp.cas" / registry.blobs.path(weights.digest).relative_to(registry.blobs.root)
    spoil(path, b"z")
    assert backup(registry, place, fast=fast).copied == (0 if fast else 1)
    assert path.read_bytes() == (b"z" if fast else b"a")
    spoil(path, b"longer")
    assert backup(registry, place, fast=fast).copied == 1


@pytest.mark.parametrize(("kind", "data"), [("missing", None), ("damaged", b"z")])
def test_what_can_not_be_copied_is_told_and_the_rest_is_there(
    make: Make, registry: ifp.Registry, place: Path, kind: str, data: bytes | None
) -> None:
    bad, good = make("a").weights, make("b").weights
    assert bad and good
    source = registry.blobs.path(bad.digest)
    spoil(source, data) if data else source.unlink()
    made = backup(registry, place)
    assert [(problem[0], problem[1]) for problem in made.problems] == [(kind, bad.digest)]
    assert (made.ok, made.copied) == (False, 1)
    with ifp.open(place) as copy:
        assert copy.blobs.read(good.digest) == b"b"
        assert [path for path in (copy.blobs.root / "sha256").rglob("*") if path.is_file()] == [copy.blobs.path(good.digest)]


def test_what_is_in_the_backup_stays_until_a_good_copy_takes_its_place(make: Make, registry: ifp.Registry, place: Path) -> None:
    digest = make("a").weights.digest
    backup(registry, place)
    there = place / "ifp.cas" / registry.blobs.path(digest).relative_to(registry.blobs.root)
    spoil(there, b"b")
    spoil(registry.blobs.path(digest), b"c")
    assert [kind for kind, _, _ in backup(registry, place).problems] == ["damaged"]
    assert there.read_bytes() == b"b"


def test_what_is_lost_here_but_in_the_backup_is_no_problem(make: Make, registry: ifp.Registry, place: Path) -> None:
    weights = make("a").weights
    assert weights
    backup(registry, place)
    registry.blobs.path(weights.digest).unlink()
    assert backup(registry, place).ok


def test_another_registry_is_not_replaced(make: Make, registry: ifp.Registry, place: Path, folder: Path) -> None:
    make("a")
    with ifp.init(place / "ifp.db") as other:
        other.register("fraud", folder / "model.bin", partial=True)
    before = (place / "ifp.db").read_bytes()
    with pytest.raises(Refused, match=r"1 of its 1 events are not in this registry"):
        backup(registry, place)
    assert (place / "ifp.db").read_bytes() == before


def test_a_newer_backup_is_not_replaced_by_an_older_state(make: Make, registry: ifp.Registry, place: Path) -> None:
    make("a")
    old = registry.path.read_bytes()
    make("b")
    backup(registry, place)
    registry.close()
    registry.path.write_bytes(old)
    with pytest.raises(Refused, match="no older backup"):
        backup(registry, place)


@pytest.mark.parametrize("data", [b"", b"hello", b"SQLite format 3\0" + bytes(4080)])
def test_another_file_is_not_replaced(make: Make, registry: ifp.Registry, place: Path, data: bytes) -> None:
    make("a")
    (place / "ifp.db").write_bytes(data)
    with pytest.raises(IntegrityError):
        backup(registry, place)
    assert (place / "ifp.db").read_bytes() == data


def test_the_registry_is_no_backup_of_itself(make: Make, registry: ifp.Registry, folder: Path) -> None:
    make("a")
    (folder / "link").symlink_to(folder)
    for dest in (folder, folder / "ifp.db", folder / "link"):
        with pytest.raises(UsageError, match="itself"):
            backup(registry, dest)


def thief(registry: ifp.Registry, statement: str) -> None:
    connection = sqlite3.connect(registry.path)
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_broken_log_does_not_take_the_place_of_a_good_backup(make: Make, registry: ifp.Registry, place: Path) -> None:
    make("a")
    backup(registry, place)
    before = (place / "ifp.db").read_bytes()
    make("b")
    thief(registry, "UPDATE event SET body = replace(body, 'ada', 'eve') WHERE key = 2")
    with pytest.raises(IntegrityError, match="not whole"):
        backup(registry, place)
    assert (place / "ifp.db").read_bytes() == before
    assert list((place / "ifp.cas" / "tmp").iterdir()) == []


def test_a_journal_of_what_was_there_is_never_left_beside_the_new_file(make: Make, registry: ifp.Registry, place: Path) -> None:
    make("a")
    backup(registry, place)
    (place / "ifp.db-journal").write_bytes(b"x")
    with pytest.raises(Refused, match="interrupted write"):
        backup(registry, place)


def test_gc_waits_for_a_backup(make: Make, registry: ifp.Registry, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("a")
    monkeypatch.setattr(claims, "TIMEOUT", 0)
    tried = list[int]()

    def sweep(done: int, total: int) -> None:
        with pytest.raises(Busy):
            collect(registry, delete=True, grace=0)
        tried.append(done)

    assert backup(registry, place, progress=sweep).ok
    assert tried[-1] == 1
    collect(registry, delete=True, grace=0)


WRITER = """
import sys
import ifpdb as ifp
with ifp.open("ifp.db") as registry:
    number = 0
    while True:
        number += 1
        with open("w", "w") as file:
            file.write(str(number))
        registry.register("fraud", "w", partial=True, params={"n": number})
        print(number, flush=True)
"""


def test_each_backup_made_while_others_write_is_whole(registry: ifp.Registry, place: Path, folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER], cwd=folder, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(5):
            acknowledged = int(writer.stdout.readline())
            made = backup(registry, place)
            assert made.ok and made.events >= acknowledged
            with ifp.open(place, readonly=True) as copy:
                assert verify(copy).digest == made.digest
                found = copy.model("fraud").versions()
                assert len(found) == made.events
                assert all(version.weights and copy.blobs.read(version.weights.digest) for version in found)
        writer.kill()


KILLED = """
import os, sys
from pathlib import Path
import ifpdb as ifp
from ifpdb.upkeep.backup import backup
def stop(done, total):
    if done:
        os.kill(os.getpid(), 9)
with ifp.open("ifp.db", readonly=True) as registry:
    backup(registry, Path(sys.argv[1]), progress=stop)
"""


def test_a_backup_that_is_killed_leaves_the_one_before(make: Make, registry: ifp.Registry, place: Path, folder: Path) -> None:
    make("a")
    before = backup(registry, place)
    make("b")
    done = subprocess.run([sys.executable, "-c", KILLED, str(place)], cwd=folder)
    assert done.returncode == -9
    with ifp.open(place, readonly=True) as copy:
        assert verify(copy).digest == before.digest
    assert backup(registry, place).ok


def test_a_registry_of_an_older_schema_is_backed_up(folder: Path, place: Path) -> None:
    fixtures = Path(__file__).resolve().parents[1] / "fixtures"
    connection = sqlite3.connect(folder / "old.db")
    for name in ("schema-1.sql", "registry-1.sql"):
        connection.executescript((fixtures / name).read_text())
    connection.close()
    before = (folder / "old.db").read_bytes()
    with ifp.open(folder / "old.db", readonly=True) as old:
        made = backup(old, place)
        assert made.digest == verify(old).digest
    assert {problem[0] for problem in made.problems} <= {"missing"}
    assert (folder / "old.db").read_bytes() == before
