"""Where described data came from, so that a change since then is noticed: watched without keeping it alive."""

from __future__ import annotations

import os
import weakref
from typing import Any

from ...errors import IfpError
from .dataset import hash_data


class Source:
    """An object, known by a weak reference, or a file or folder with what its status was."""

    def __init__(self, data: object) -> None:
        self._path = os.path.abspath(data) if isinstance(data, str | os.PathLike) else None
        self._status = _status(self._path)
        self._object: weakref.ref[Any] | None = None
        if self._path is None:
            try:
                self._object = weakref.ref(data)
            except TypeError:  # a list can't be watched
                return

    def differs_from(self, digest: str | None) -> bool:
        """Whether it is still there and is no longer the data with this digest."""
        data = self._path if self._object is None else self._object()
        if data is None or digest is None or self._unread():
            return False
        try:
            return hash_data(data) != digest
        except IfpError:  # it can't be described any more, so it is not what it was
            return True

    def _unread(self) -> bool:
        """Whether a file need not be read again: it is gone, or its status says that nobody wrote to it."""
        return self._path is not None and _status(self._path) in (None, self._status)


def _status(path: str | None) -> tuple[int, ...] | None:
    try:
        found = os.stat(path) if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_size, found.st_mtime_ns, found.st_ino)
