"""Network file systems are told from local ones by the mount that a path lies on; writers by the kernel's table of locks."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from ifpdb.store import filesystem
from ifpdb.store.filesystem import NETWORKS, network_kind, type_of, writer_of

TABLE = rb"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
25 22 0:22 / /proc rw,nosuid - proc proc rw
40 22 0:40 / /home rw,relatime shared:9 master:2 - nfs4 server:/home rw,vers=4.2,addr=10.0.0.1
41 40 0:41 / /home/ada/scratch rw - tmpfs tmpfs rw
42 22 0:42 / /mnt/my\040disk\134x rw - fuse.sshfs ada@host:/ rw,user_id=0
43 22 0:43 / /data rw - xfs /dev/vdb rw
44 43 0:44 / /data rw - cifs //server/data rw
45 22 0:45 / /group rw - lustre mds:/group rw
"""


@pytest.mark.parametrize(
    ("path", "type"),
    [
        ("/", "ext4"),
        ("/etc/ifp.db", "ext4"),
        ("/home", "nfs4"),
        ("/home/ada/ifp.db", "nfs4"),
        ("/homes/ada/ifp.db", "ext4"),
        ("/home/ada/scratch/ifp.db", "tmpfs"),
        ("/home/ada/scratch2/ifp.db", "nfs4"),
        ("/mnt/my disk\\x/ifp.db", "fuse.sshfs"),
        ("/data/ifp.db", "cifs"),
        ("/group/é.db", "lustre"),
    ],
)
def test_the_longest_mount_that_a_path_lies_under_counts_and_of_two_at_one_place_the_later(path: str, type: str) -> None:
    assert type_of(path, TABLE) == type


def test_a_path_on_a_network_disk_is_told_by_its_name_through_symbolic_links(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "shared").mkdir()
    (folder / "link").symlink_to("shared")
    table = folder / "mountinfo"
    table.write_bytes(TABLE + b"50 22 0:50 / " + os.fsencode(folder.resolve() / "shared") + b" rw - nfs server:/x rw\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", table)
    assert network_kind(folder / "link" / "not yet" / "ifp.db") == "NFS"
    assert network_kind(folder / "ifp.db") is None


def test_this_machines_memory_is_local() -> None:
    assert network_kind(Path("/proc/self")) is None
    assert network_kind(Path("/dev/shm/ifp.db")) is None


def test_a_system_that_does_not_tell_is_taken_for_local(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "_MOUNTS", folder / "missing")
    assert network_kind(folder) is None


def test_every_kind_that_is_promised_is_known() -> None:
    assert {"NFS", "SMB", "sshfs", "9p", "AFS", "Lustre", "BeeGFS", "GPFS"} <= set(NETWORKS.values())


def test_the_process_that_writes_to_a_database_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "a.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE t (a)")
    assert writer_of(path) is None
    connection.execute("BEGIN IMMEDIATE")
    assert writer_of(path) == os.getpid()
    monkeypatch.setattr(filesystem, "_LOCKS", folder / "missing")
    assert writer_of(path) is None
    connection.close()
    assert writer_of(folder / "missing.db") is None


def test_a_process_that_waits_for_a_lock_is_not_taken_for_its_holder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = folder.stat()
    name = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    (folder / "locks").write_text(
        f"1: POSIX  ADVISORY  READ 7 {name} 0 EOF\n1: -> POSIX  ADVISORY  WRITE 8 {name} 0 EOF\n"
        f"2: FLOCK  ADVISORY  WRITE 9 {name} 0 EOF\n3: OFDLCK ADVISORY  WRITE -1 {name} 0 0\n"
    )
    monkeypatch.setattr(filesystem, "_LOCKS", folder / "locks")
    assert writer_of(folder) is None
