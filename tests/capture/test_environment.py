"""What a run sees of its surroundings: packages and code in a real script, git's state, and no secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifpdb.capture import environment
from ifpdb.digest import sha256
from ifpdb.records import Code

SECRET = "hunter2-of-the-day"
KEY_BODY = "MIIEvQIBADANBgkqhkiG9w0BAQ\nEFAASCBKcw="


@pytest.mark.parametrize(
    "arguments",
    [
        ["--password", SECRET],
        [f"--password={SECRET}"],
        ["--db-passwd", SECRET],
        ["--api-key", SECRET],
        [f"--apikey={SECRET}"],
        [f"--wandb_token={SECRET}"],
        [f"TOKEN={SECRET}"],
        [f"AWS_SECRET_ACCESS_KEY={SECRET}"],
        [f"db.password={SECRET}"],
        [f"--set=db.password={SECRET}"],
        [f"postgresql://ada:{SECRET}@db/x"],
        [f"postgresql://ada:p@{SECRET}@db/x"],
        [f"--url=https://{SECRET}@github.com/x"],
        [f"https://x/y?sig={SECRET}"],
        [f"--url=https://x/y?a=1&access_token={SECRET}"],
        [f"--url=https://x/y?a=1;client_secret={SECRET}"],
        [f"--url=s3://x?X-Amz-Signature={SECRET}&b=1"],
        ["-H", f"Authorization: Bearer {SECRET}"],
        ["-H", f"X-Api-Key: {SECRET}"],
        [f"--header=Authorization: Basic {SECRET}"],
        [f"bearer {SECRET}"],
        [f'{{"password": "{SECRET}"}}'],
        [f"{{'api_key':'{SECRET}'}}"],
    ],
)
def test_a_planted_secret_does_not_survive(arguments: list[str]) -> None:
    shown = environment.redact(["train.py", *arguments, "--lr", "0.1"])
    assert SECRET not in " ".join(shown)
    assert "<redacted>" in " ".join(shown)
    assert shown[0] == "train.py"
    assert shown[-2:] == ["--lr", "0.1"]


@pytest.mark.parametrize(
    "secret",
    [
        "AKIA" + "A1B2C3D4E5F6G7H8",
        "ghp_" + "a1" * 18,
        "github_pat_" + "a1" * 20,
        "glpat-" + "a1" * 10,
        "xoxb-" + "1234567890-abc",
        "hf_" + "aB" * 17,
        "sk-" + "a1" * 12,
        "AIza" + "a1B" * 11 + "xy",
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
        f"-----BEGIN RSA PRIVATE KEY-----\n{KEY_BODY}\n-----END RSA PRIVATE KEY-----",
    ],
)
@pytest.mark.parametrize("form", ["{}", "--x={}", "x={}", "see {} there"])
def test_a_secret_is_known_by_its_own_form(secret: str, form: str) -> None:
    shown = environment.redact([form.format(secret)])[0]
    assert secret not in shown
    assert KEY_BODY not in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["train.py", "--lr", "0.1", "--epochs=3", "-v"],
        ["--data", "s3://bucket/train.parquet", "data/train.csv"],
        ["--monkey=banana", "https://example.org/x?page=2&size=10"],
        ["--auth", "--verbose", "--lr=0.1"],
        ["--tokenizer=bert", "--max-tokens", "512", "--author", "ada", "tokenizer: bert"],
        ["ada@example.org", "C:\\data\\x.csv", "key: value"],
    ],
)
def test_what_is_no_secret_is_left_alone(arguments: list[str]) -> None:
    assert environment.redact(arguments) == arguments


@given(st.lists(st.text(max_size=20), max_size=6))
def test_redaction_keeps_the_number_of_arguments_and_can_be_repeated(arguments: list[str]) -> None:
    shown = environment.redact(arguments)
    assert len(shown) == len(arguments)
    assert environment.redact(shown) == shown


@pytest.mark.parametrize(
    ("argument", "kept"),
    [
        ("{project}/src/train.py", "src/train.py"),
        ("/mnt/lake/train.csv", "train.csv"),
        ("--data={project}/a.csv", "--data=a.csv"),
        ("--data=/mnt/lake/a.csv", "--data=a.csv"),
        ("data.path=/mnt/lake/a.csv", "data.path=a.csv"),
        ("/mnt/x=1/a.csv", "a.csv"),
        ("data/a.csv", "data/a.csv"),
        ("--lr=0.1", "--lr=0.1"),
        ("--expr=a=/b", "--expr=a=/b"),
        ("-", "-"),
    ],
)
def test_no_absolute_path_is_kept_of_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, argument: str, kept: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", argument.format(project=folder)])
    assert environment.command_line(folder) == ("train.py", kept)


SCRIPT = """
import json, sys
import numpy, helper
from pathlib import Path
from ifpdb.capture import environment
observer = environment.Observer(Path(sys.argv[1]))
from pkg import late
code = observer.code()
print(json.dumps({"code": code.as_dict(), "environment": environment.describe_environment()}))
"""


def run_script(folder: Path, project: Path) -> dict[str, Any]:
    (folder / "pkg").mkdir(parents=True, exist_ok=True)
    (folder / "pkg" / "__init__.py").touch()
    for name, text in {"train.py": SCRIPT, "helper.py": "x = 1\n", "pkg/late.py": "", "never_imported.py": ""}.items():
        (folder / name).write_text(text)
    done = subprocess.run([sys.executable, str(folder / "train.py"), str(project)], capture_output=True, check=True, cwd="/")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_projects_imported_files_are_its_code(folder: Path) -> None:
    files = run_script(folder, folder)["code"]["files"]
    expected = {"helper.py": b"x = 1\n", "pkg/__init__.py": b"", "pkg/late.py": b"", "train.py": SCRIPT.encode()}
    assert files == [{"path": path, "digest": sha256(data)} for path, data in sorted(expected.items())]


def test_the_code_digest_follows_a_changed_helper_and_not_the_place(tmp_path: Path) -> None:
    here, there = (run_script(tmp_path / name, tmp_path / name)["code"]["digest"] for name in ("here", "there"))
    assert here == there
    (tmp_path / "there" / "helper.py").write_text("x = 2\n")
    script = [sys.executable, str(tmp_path / "there" / "train.py"), str(tmp_path / "there")]
    changed = json.loads(subprocess.run(script, capture_output=True, check=True).stdout)["code"]["digest"]
    assert changed != here


def test_a_script_outside_the_project_still_counts_but_not_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    files = run_script(tmp_path / "scripts", tmp_path / "elsewhere")["code"]["files"]
    assert [file["path"] for file in files] == ["train.py"]


def test_imported_packages_are_found_with_their_versions_and_the_registrys_own_are_not(folder: Path) -> None:
    found = run_script(folder, folder)["environment"]
    assert found["packages"]["numpy"] == version("numpy")
    assert not environment.OWN_PACKAGES & found["packages"].keys()
    assert "scikit-learn" not in found["packages"]
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))


def test_a_distribution_is_found_whose_modules_have_other_names() -> None:
    __import__("sklearn")
    assert environment.imported_packages()["scikit-learn"] == version("scikit-learn")


def git(folder: Path, *arguments: str) -> None:
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, env=os.environ | who)


def test_outside_git_nothing_is_said_of_git(folder: Path) -> None:
    assert environment.git_state(folder) == Code()


def test_before_the_first_commit_nothing_is_said_of_git(folder: Path) -> None:
    git(folder, "init")
    assert environment.git_state(folder) == Code()


def test_gits_commit_and_difference_are_noted(folder: Path) -> None:
    git(folder, "init")
    (folder / "train.py").write_text("x = 1\n")
    (folder / "ifp.db").write_bytes(b"1")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "one")
    clean = environment.git_state(folder)
    assert clean.commit is not None
    assert len(clean.commit) == 40
    assert (clean.dirty, clean.diff) == (False, None)

    (folder / "ifp.db").write_bytes(b"2")
    (folder / "untracked").touch()
    assert environment.git_state(folder) == clean

    (folder / "train.py").write_text("x = 2\n")
    dirty = environment.git_state(folder)
    assert (dirty.commit, dirty.dirty) == (clean.commit, True)
    assert dirty.diff is not None
    (folder / "train.py").write_text("x = 3\n")
    assert environment.git_state(folder).diff not in (dirty.diff, None)
