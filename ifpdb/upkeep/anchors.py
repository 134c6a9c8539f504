"""Anchors in git: the heads that commits noted in their messages, as `Ifp-Heads: sha256:…`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

TRAILER = "Ifp-Heads"
FORMAT = f"%h %(trailers:key={TRAILER},valueonly,separator=%x20)"


def in_commits(db: Path) -> dict[str, str]:
    """Each head that a commit before this one noted when it brought a revision of `db`, and where: 'in commit 1a2b3c4'.

    None where no git repository holds the file. Every side of a merge counts: what a careless one left out is missed here.
    """
    place = db.absolute()
    command = ["git", "-C", str(place.parent), "log", "--full-history", f"--format={FORMAT}", "--", place.name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return {}
    found = dict[str, str]()
    for line in reversed(done.stdout.splitlines()):
        commit, _, noted = line.partition(" ")
        for head in re.findall(r"sha256:[0-9a-f]{64}\b", noted):
            found.setdefault(head, f"in commit {commit}")
    return found
