"""The stat cache: a file that is as it was is not read again, and one that changed always is, however it was changed."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time_ns

import pytest
from blobfolder import alter, keep, kept, mounted

from ifpdb.digest import sha256
from ifpdb.records import Blob
from ifpdb.store import statcache
from ifpdb.store.blobs import BlobStore
from ifpdb.store.statcache import RACY, StatCache, is_reliable
from ifpdb.tree import CHUNK

SIZE = CHUNK + 1
"""A file that is read is told to `progress` in two chunks, one that is known in one."""

Clock = Callable[[int], None]
Change = Callable[[Path, bytes], None]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets the cache's clock, in nanoseconds."""
    return lambda now: monkeypatch.setattr(statcache, "time_ns", lambda: now)


@pytest.fixture
def later(at: Clock) -> None:
    """The cache's clock is a minute ahead: whatever a test writes has been at rest for long."""
    at(time_ns() + 60 * 10**9)


@pytest.fixture
def file(folder: Path) -> Path:
    if not is_reliable(folder):
        pytest.skip(f"{folder} is on no file system whose files are noted")
    (folder / "model.bin").write_bytes(bytes(SIZE))
    return folder / "model.bin"


def is_read(store: BlobStore, path: Path) -> bool:
    """Keep a file of SIZE bytes under its true digest; whether it was read for that."""
    told: list[int] = []
    assert keep(store, path, told.append).digest == sha256(path.read_bytes())
    assert sum(told) == SIZE
    return len(told) > 1


def tick(path: Path) -> None:
    """Wait until the kernel's clock for files says something new: it may go by 10 ms."""
    probe = path.with_name("probe")
    while True:
        probe.write_bytes(b"1")
        if probe.stat().st_ctime_ns > path.stat().st_ctime_ns:
            return probe.unlink()


@pytest.mark.usefixtures("later")
def test_an_unchanged_file_is_read_once(store: BlobStore, file: Path) -> None:
    assert [is_read(store, file) for _ in range(3)] == [True, False, False]
    assert kept(store) == [sha256(bytes(SIZE))]


@pytest.mark.usefixtures("later")
def test_what_is_known_is_told_like_what_was_read(store: BlobStore, file: Path) -> None:
    first, second = keep(store, file), keep(store, file)
    assert (first.stored_anew, second.stored_anew) == (True, False)
    assert (first.digest, first.size, first.blobs) == (second.digest, second.size, second.blobs)


@pytest.mark.usefixtures("later")
def test_an_inode_is_known_by_each_of_its_names(store: BlobStore, file: Path, folder: Path) -> None:
    (folder / "soft").symlink_to(file)
    os.link(file, folder / "hard")
    assert is_read(store, file)
    assert not is_read(store, folder / "soft")
    assert not is_read(store, folder / "hard")


@pytest.mark.usefixtures("later")
def test_the_unchanged_files_of_a_folder_are_not_read_again(store: BlobStore, file: Path, folder: Path) -> None:
    (folder / "tree" / "deep").mkdir(parents=True)
    for name in ("a", "b", "deep/c"):
        shutil.copy(file, folder / "tree" / name)
    first = keep(store, folder / "tree")
    (folder / "tree" / "b").write_bytes(b"1" * SIZE)
    (folder / "tree" / "deep" / "c").chmod(0o755)
    told: list[int] = []
    second = keep(store, folder / "tree", told.append)
    assert sorted(told) == [1, 1, CHUNK, CHUNK, SIZE]
    shutil.rmtree(store.root)
    assert keep(store, folder / "tree").digest == second.digest != first.digest


KEEP = "import sys, test_statcache as t; sys.exit(t.is_read(t.BlobStore(t.Path('ifp.cas')), t.Path('model.bin')))"


@pytest.mark.usefixtures("later")
def test_another_process_knows_it_too(store: BlobStore, file: Path) -> None:
    assert is_read(store, file)
    later = "import ifpdb.store.statcache as s; now = s.time_ns; s.time_ns = lambda: now() + 10**12;"
    paths = {"PYTHONPATH": str(Path(__file__).parent)}
    assert subprocess.run([sys.executable, "-c", later + KEEP], env=os.environ | paths, check=False).returncode == 0


@pytest.mark.parametrize("age", [-(10**12), 0, RACY - 1, RACY, RACY + 1])
def test_a_file_that_was_not_at_rest_for_two_seconds_is_not_noted(store: BlobStore, file: Path, at: Clock, age: int) -> None:
    at(file.stat().st_ctime_ns + age)
    assert is_read(store, file)
    assert is_read(store, file) == (age < RACY)


@pytest.mark.usefixtures("later")
def test_a_file_from_the_future_is_not_noted(store: BlobStore, file: Path) -> None:
    os.utime(file, (2**32, 2**32))
    assert [is_read(store, file) for _ in range(2)] == [True, True]


def test_a_note_from_the_future_counts_for_nothing(store: BlobStore, file: Path, at: Clock) -> None:
    now = time_ns() + 60 * 10**9
    at(now)
    assert is_read(store, file)
    at(now - 1)  # the clock was set back
    assert is_read(store, file)


def in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def by_a_page_of_a_memory_map(path: Path, data: bytes) -> None:
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:] = data


def through_a_hard_link(path: Path, data: bytes) -> None:
    os.link(path, path.with_name("other"))
    path.with_name("other").write_bytes(data)


def by_renaming_over(path: Path, data: bytes) -> None:
    new = path.with_name("new")
    new.write_bytes(data)
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    os.replace(new, path)


def by_cp_with_its_times(path: Path, data: bytes) -> None:
    source = path.with_name("source")
    source.write_bytes(data)
    subprocess.run(["touch", "-r", str(path), str(source)], check=True)
    subprocess.run(["cp", "-p", str(source), str(path)], check=True)


def by_a_new_file_of_the_same_name(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def by_cutting_and_growing(path: Path, data: bytes) -> None:
    os.truncate(path, 0)
    with open(path, "ab") as file:
        file.write(data)


def by_punching_a_hole(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    subprocess.run(["fallocate", "--punch-hole", "-o", "0", "-l", "4096", str(path)], check=True)


def by_git(path: Path, data: bytes) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=path.parent, check=True)

    old = path.read_bytes()
    git("init", "-q", "-b", "main", ".")
    for branch, content in (("main", data), ("side", old)):
        git("checkout", "-q", "-B", branch)
        path.write_bytes(content)
        git("add", path.name)
        git("commit", "-q", "-m", branch)
    git("checkout", "-q", "main")


CHANGES = [
    in_place,
    by_a_page_of_a_memory_map,
    through_a_hard_link,
    by_renaming_over,
    by_cp_with_its_times,
    by_a_new_file_of_the_same_name,
    by_cutting_and_growing,
    by_punching_a_hole,
    by_git,
]


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("restored", [False, True], ids=["", "its times restored"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_of_the_same_size_is_read_again(store: BlobStore, file: Path, change: Change, restored: bool) -> None:
    assert [is_read(store, file) for _ in range(2)] == [True, False]
    before = file.stat()
    tick(file)
    change(file, os.urandom(SIZE))
    if restored:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns == before.st_mtime_ns or not restored) == (SIZE, True)
    assert is_read(store, file)


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted(request.param, tmp_path_factory.mktemp("disk")) as place:
        yield place


@pytest.mark.usefixtures("later")
def test_the_rules_hold_on_each_reliable_file_system(folder: Path, disk: Path) -> None:
    for number, change in enumerate(CHANGES):
        place = disk / str(number)
        place.mkdir()
        (place / "model.bin").write_bytes(bytes(SIZE))
        for store in (BlobStore(place / "ifp.cas"), BlobStore(folder / f"{number}.cas")):
            assert [is_read(store, place / "model.bin") for _ in range(2)] == [True, False]
        tick(place / "model.bin")
        change(place / "model.bin", os.urandom(SIZE))
        for store in (BlobStore(place / "ifp.cas"), BlobStore(folder / f"{number}.cas")):
            assert is_read(store, place / "model.bin")


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("kind", ["tmpfs", "vfat"])
def test_nothing_is_noted_where_times_can_lie(store: BlobStore, tmp_path_factory: pytest.TempPathFactory, kind: str) -> None:
    with mounted(kind, tmp_path_factory.mktemp("disk")) as place:
        (place / "model.bin").write_bytes(bytes(SIZE))
        assert [is_read(store, place / "model.bin") for _ in range(2)] == [True, True]


def write_twice(store: BlobStore, path: Path) -> tuple[str, bool]:
    """Keep a file, in between two stores to the same page of a memory map, and once more: the digest that is told in the
    end, and whether the second store showed in the file's times."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0] = 1
        before = path.stat()
        keep(store, path)
        tick(path)
        memory[0] = 2
        return keep(store, path).digest, path.stat().st_mtime_ns != before.st_mtime_ns


@pytest.mark.usefixtures("later")
def test_a_file_that_a_memory_map_still_writes_to_is_not_noted(store: BlobStore, file: Path) -> None:
    assert write_twice(store, file)[0] == sha256(file.read_bytes())


@pytest.mark.usefixtures("later")
def test_without_that_rule_a_memory_map_would_deceive(store: BlobStore, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statcache, "_nobody_writes", lambda descriptor: True)
    for number in range(20):  # now and then the kernel cleans the page in between, and the second store shows
        file.write_bytes(os.urandom(SIZE))
        digest, shown = write_twice(BlobStore(store.root.with_name(f"{number}.cas")), file)
        if not shown:
            break
    assert not shown
    assert digest != sha256(file.read_bytes())


@pytest.mark.usefixtures("later")
def test_a_file_that_is_open_for_writing_is_not_noted(store: BlobStore, file: Path) -> None:
    with open(file, "ab"):
        assert [is_read(store, file) for _ in range(2)] == [True, True]
    assert [is_read(store, file) for _ in range(2)] == [True, False]


def removed(store: BlobStore, digest: str) -> None:
    store.path(digest).unlink()


def cut(store: BlobStore, digest: str) -> None:
    os.truncate(store.path(digest), 1)


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("damage", [alter, removed, cut])
def test_a_blob_that_was_touched_is_not_claimed_but_mended(
    store: BlobStore, file: Path, damage: Callable[[BlobStore, str], None]
) -> None:
    assert is_read(store, file)
    tick(store.path(sha256(bytes(SIZE))))
    damage(store, sha256(bytes(SIZE)))
    assert is_read(store, file)
    assert kept(store) == [sha256(bytes(SIZE))]
    assert not is_read(store, file)


@pytest.mark.usefixtures("later")
def test_a_note_of_another_boot_counts_for_nothing(store: BlobStore, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_read(store, file)
    monkeypatch.setattr(statcache, "_boot", lambda: 1)
    assert is_read(store, file)


@pytest.mark.usefixtures("later")
def test_a_note_with_any_bit_flipped_counts_for_nothing(store: BlobStore, file: Path) -> None:
    assert is_read(store, file)
    notes, status = store.root / "statcache", file.stat()
    good = notes.read_bytes()
    begin = next(at for at in range(0, len(good), 128) if any(good[at : at + 128]))
    with StatCache(store.root) as cache, open(notes, "r+b", buffering=0) as damaged:
        assert cache.find(status) is not None
        for bit in range(120 * 8):
            at = begin + bit // 8
            os.pwrite(damaged.fileno(), bytes([good[at] ^ 1 << bit % 8]), at)
            assert cache.find(status) is None
            os.pwrite(damaged.fileno(), good[at : at + 1], at)
        assert cache.find(status) is not None


def is_a_folder(notes: Path) -> None:
    notes.unlink()
    notes.mkdir()


def is_a_link(notes: Path) -> None:
    notes.unlink()
    notes.symlink_to("/dev/zero")


def is_cut(notes: Path) -> None:
    os.truncate(notes, notes.stat().st_size - 64)  # the only note ends where the file does


def is_noise(notes: Path) -> None:
    notes.write_bytes(os.urandom(notes.stat().st_size))


def is_empty(notes: Path) -> None:
    notes.write_bytes(b"")


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("damage", [is_a_folder, is_a_link, is_cut, is_noise, is_empty, Path.unlink])
def test_a_damaged_cache_costs_only_time(store: BlobStore, file: Path, damage: Callable[[Path], None]) -> None:
    assert is_read(store, file)
    damage(store.root / "statcache")
    assert is_read(store, file)
    assert is_read(store, file) == (damage in (is_a_folder, is_a_link))


BLOB = Blob("sha256:" + "ab" * 32, 1, "cd" * 16)


def like(inode: int) -> os.stat_result:
    return os.stat_result((0o100644, inode, 1, 1, 0, 0, 1, 0, 0, 0, *([0.0] * 3), 0, inode, inode))


def test_ten_thousand_files_are_remembered_and_the_cache_stays_small(folder: Path) -> None:
    with StatCache(folder) as cache:
        for inode in range(10_000):
            cache.note(like(inode), BLOB, like(0))
        assert all(cache.find(like(inode)) for inode in range(10_000))
        for inode in range(10_000, 45_000):
            cache.note(like(inode), BLOB, like(0))
        assert all(cache.find(like(inode)) for inode in range(44_000, 45_000))
    assert (folder / "statcache").stat().st_size <= 4 << 20


TOGETHER = """
import sys
from test_statcache import *
with StatCache(Path.cwd()) as cache:
    for round in range(20):
        for inode in range(300):
            known = cache.find(like(inode))
            assert known is None or known.blob.digest == sha256(b"%d" % inode), inode
            cache.note(like(inode), Blob(sha256(b"%d" % inode), 1, "cd" * 16), like(0))
"""


def test_many_processes_may_note_at_once(folder: Path) -> None:
    paths = {"PYTHONPATH": str(Path(__file__).parent)}
    writers = [subprocess.Popen([sys.executable, "-c", TOGETHER], env=os.environ | paths) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    with StatCache(folder) as cache:
        assert all(cache.find(like(inode)) for inode in range(300))


def test_asking_for_writers_leaves_no_lease_behind(file: Path) -> None:
    with open(file, "rb") as reader:
        assert statcache._nobody_writes(reader.fileno())
        os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))  # who holds a lease makes this fail
