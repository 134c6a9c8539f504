"""What Linux tells of a file: whether it lies where other machines write to it as well, and which process locks it.

SQLite and the turns of writers stand on locks, and a network file system may keep them between machines, on one machine
only, or not at all. Nothing here can tell which; the answer is a name for a warning, never a reason to refuse.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

NETWORKS = {
    "nfs": "NFS",
    "nfs4": "NFS",
    "cifs": "SMB",
    "smb3": "SMB",
    "smbfs": "SMB",
    "afs": "AFS",
    "9p": "9p",
    "ceph": "Ceph",
    "lustre": "Lustre",
    "beegfs": "BeeGFS",
    "gpfs": "GPFS",
    "glusterfs": "GlusterFS",
    "orangefs": "OrangeFS",
    "fuse.sshfs": "sshfs",
    "fuse.ceph": "Ceph",
    "fuse.ceph-fuse": "Ceph",
    "fuse.glusterfs": "GlusterFS",
    "fuse.juicefs": "JuiceFS",
    "fuse.s3fs": "s3fs",
    "fuse.rclone": "rclone",
    "fuse.gcsfuse": "gcsfuse",
    "fuse.gvfsd-fuse": "GVfs",
    "fuse.davfs2": "WebDAV",
}
"""Linux's types of file systems that other machines may write to, and what people call them."""

_MOUNTS = Path("/proc/self/mountinfo")
_LOCKS = Path("/proc/locks")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def network_kind(path: Path) -> str | None:
    """What kind of network file system `path` lies on, or its nearest folder that exists.

    None for a local one, for a kind that isn't known, and where the system doesn't tell, as macOS and Windows.
    """
    try:
        table = _MOUNTS.read_bytes()
    except OSError:
        return None
    return NETWORKS.get(type_of(os.path.realpath(path), table))


def type_of(path: str, table: bytes) -> str:
    """The type of the file system that an absolute path lies on, by a table as proc_pid_mountinfo(5) has it; '' for none."""
    below, found, length = os.fsencode(path).rstrip(b"/") + b"/", b"", -1
    for line in table.splitlines():
        fields = line.split(b" ")
        place = _ESCAPED.sub(lambda code: bytes([int(code[1], 8)]), fields[4]).rstrip(b"/") + b"/"
        if len(place) >= length and below.startswith(place):  # of two at the same place the later lies on top
            found, length = fields[fields.index(b"-") + 1], len(place)
    return found.decode()


def writer_of(path: Path) -> int | None:
    """The process that has a POSIX write lock on a file, as SQLite's writers do; None where there is none, or none is told."""
    try:
        status, table = os.stat(path), _LOCKS.read_text()
    except OSError:
        return None
    name = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in table.splitlines():
        kind, _, mode, process, file = line.split()[1:6]
        if (kind, mode, file) == ("POSIX", "WRITE", name) and int(process) > 0:
            return int(process)
    return None
