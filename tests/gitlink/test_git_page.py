"""The session in docs/git.md is what happens."""

from __future__ import annotations

from pathlib import Path

import transcript


def test_every_command_of_the_page_prints_what_stands_there(tmp_path: Path) -> None:
    text = transcript.PAGE.read_text(encoding="utf-8")
    told = [(command, transcript.plain(printed)) for command, printed in transcript.sessions(text)]
    played = [(command, transcript.plain(printed)) for command, printed in transcript.play(text, tmp_path)]
    assert len(told) > 25
    assert played == told, "run python tests/gitlink/transcript.py and look at what changed"
