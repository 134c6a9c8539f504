"""Reflinks: a copy of a file that shares its blocks until one of the two is written to (Btrfs, XFS, bcachefs).

A clone is a snapshot: whatever becomes of the source while or after it is made, the clone's bytes stay as they are.
"""

from __future__ import annotations

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FICLONE = 0x40049409
"""The ioctl, from linux/fs.h. Where a file system or a system doesn't know it, it fails within microseconds."""


def clone(source: int, target: int) -> bool:
    """Make an empty, open file a clone of another; False where that can't be, and the bytes are to be copied.

    The kernel first writes the source's dirty pages to the disk, so that a clone of a file is as slow as its fsync.
    """
    if fcntl is None:
        return False
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError:
        return False
    return True
