"""Verdicts of a bisect that was interrupted, kept for this user until the same one is finished; never in a registry."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..digest import canonical, sha256
from ..errors import StorageError


class Unfinished:
    """The verdicts of one question: the same ends and the same command are the same question."""

    def __init__(self, question: Sequence[str]) -> None:
        self._path = _folder() / sha256(canonical(list(question))).removeprefix("sha256:")

    def read(self) -> dict[str, str]:
        """Run id → verdict; empty where nothing is kept, or nothing that can be read."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return {str(run): str(verdict) for run, verdict in found.items()} if isinstance(found, dict) else {}

    def write(self, verdicts: dict[str, str]) -> None:
        """Keep these; the file appears whole or not at all. Raises StorageError where it can't be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, prefix=".", delete=False) as file:
                json.dump(verdicts, file)
            os.replace(file.name, self._path)
        except OSError as error:
            raise StorageError(f"the verdicts so far can't be kept in {self._path.parent}: {error.strerror}") from error

    def forget(self) -> None:
        """Keep nothing of this question."""
        self._path.unlink(missing_ok=True)


def _folder() -> Path:
    import platformdirs

    return platformdirs.user_data_path("ifp", appauthor=False) / "bisect"
