"""The sessions in the documents are what happens."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import transcript


@pytest.mark.parametrize(("page", "least"), [("git.md", 25), ("deploying.md", 25)])
def test_every_command_of_the_page_prints_what_stands_there(page: str, least: int, tmp_path: Path) -> None:
    text = (transcript.ROOT / "docs" / page).read_text(encoding="utf-8")
    if "ssh-keygen" in text and shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    told = [(command, transcript.plain(printed)) for command, printed in transcript.sessions(text)]
    played = [(command, transcript.plain(printed)) for command, printed in transcript.play(text, tmp_path)]
    assert len(told) > least
    assert played == told, f"run python tests/transcript.py docs/{page} and look at what changed"
