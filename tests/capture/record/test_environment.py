"""What a run sees of its surroundings, in a real script: code, packages, how it was started, and nothing of the user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ifpdb.capture.record import environment
from ifpdb.digest import sha256


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
        ("--set=data.path={project}/a.csv", "--set=data.path=a.csv"),
        ("--data={project}/a.csv,/mnt/lake/b.csv", "--data=a.csv,b.csv"),
        ("--data=a.csv,/mnt/lake/b.csv:{project}/c/d.csv", "--data=a.csv,b.csv:c/d.csv"),
        ('{{"data": "/mnt/lake/a.csv", "lr": 1}}', '{"data": "a.csv", "lr": 1}'),
        ("-I/mnt/lake/include", "-Iinclude"),
        ("file:///mnt/lake/a.csv", "file://a.csv"),
        ("{project}", "."),
        ("--separator=/", "--separator=/"),
        ("sqlite:////mnt/ada/x.db", "sqlite:///x.db"),
        ("D:\\lake\\a.csv", "a.csv"),
        ("--data=D:\\lake\\a.csv", "--data=a.csv"),
        ("\\\\server\\share\\a.csv", "a.csv"),
        ("--pattern=\\\\d+", "--pattern=\\\\d+"),
        ("s3://bucket/a/b.csv", "s3://bucket/a/b.csv"),
        ("1/2", "1/2"),
        ("//ada:hunter2@db", "//<redacted>@db"),
        ("--password=/mnt/hunter2", "--password=<redacted>"),
        ("\udcff.csv", "?.csv"),
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
from ifpdb.capture.record import environment
observer = environment.Observer(Path(sys.argv[1]))
from pkg import late
code = observer.code()
print(json.dumps({"code": code.as_dict(), "environment": observer.environment()}))
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


def test_the_environment_names_packages_the_interpreter_and_the_script(folder: Path) -> None:
    found = run_script(folder, folder)["environment"]
    assert found["packages"]["numpy"] == version("numpy")
    assert "scikit-learn" not in found["packages"]
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["entry_point"] == "train.py"
    assert "not_seen" not in found


def test_a_module_that_was_started_is_the_entry_point(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "__main__.py").write_text(
        "from pathlib import Path\nfrom ifpdb.capture.record import environment\nprint(environment.entry_point(Path.cwd()))\n"
    )
    said = subprocess.run([sys.executable, "-m", "job"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said == "-m job\n"


def test_a_folder_that_was_started_is_known_by_its_main_file(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "__main__.py").write_text(
        "from pathlib import Path\nfrom ifpdb.capture.record import environment\nprint(environment.entry_point(Path.cwd()))\n"
    )
    said = subprocess.run([sys.executable, "job"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said == "job/__main__.py\n"


def test_a_notebooks_cell_is_known_by_number_and_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.notebook_cell() is None
    shell = SimpleNamespace(user_ns={"In": ["", "x = 1"], "__session__": "/home/ada/fraud.ipynb"}, execution_count=2)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert environment.notebook_cell() == {"number": 1, "digest": sha256(b"x = 1"), "notebook": "fraud.ipynb"}


def test_what_cannot_be_seen_is_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = ModuleType("gone")
    gone.__file__ = str(folder / "gone.py")
    monkeypatch.setitem(sys.modules, "gone", gone)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    monkeypatch.setenv("PATH", "/nowhere")
    observer = environment.Observer(folder)
    assert "gone.py" not in dict(observer.code().files)
    found = observer.environment()
    assert found["not_seen"] == ["cell: AttributeError", "code: gone.py can't be read", "git: FileNotFoundError"]
    assert found["packages"]


@pytest.mark.parametrize(("argv", "seen"), [([], ()), ([7, "x"], ("x",)), (["-c"], ("-c",)), ([""], ("",))])
def test_an_odd_argv_is_no_trouble(folder: Path, monkeypatch: pytest.MonkeyPatch, argv: list[Any], seen: tuple[str]) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert environment.command_line(folder) == seen
    monkeypatch.delattr(sys, "argv")
    assert environment.command_line(folder) == ()


@pytest.mark.parametrize(
    "main", [None, SimpleNamespace(), SimpleNamespace(__file__=7, __spec__=7), SimpleNamespace(__spec__=None)]
)
def test_an_odd_main_module_is_no_trouble(folder: Path, monkeypatch: pytest.MonkeyPatch, main: Any) -> None:
    monkeypatch.setitem(sys.modules, "__main__", main)
    observer = environment.Observer(folder)
    observer.code()
    assert "entry_point" not in observer.environment()


LEAKY = """
import json, sys
from pathlib import Path
from ifpdb.capture.record import environment
project = Path(sys.argv[1])
observer = environment.Observer(project)
print(json.dumps([observer.code().as_dict(), observer.environment(), environment.command_line(project)]))
"""


def test_neither_secrets_nor_home_nor_user_are_anywhere_in_the_record(tmp_path: Path) -> None:
    project = tmp_path / "home" / "adalovelace" / "fraud"
    project.mkdir(parents=True)
    (project / "train.py").write_text(LEAKY)
    home = str(project.parent)
    for command in (["init"], ["remote", "add", "origin", f"{home}/origin.git"]):
        subprocess.run(["git", "-C", str(project), *command], check=True, capture_output=True)
    arguments = [
        "--password",
        "hunter2",
        f"--data={home}/a.csv",
        f'{{"x": "{home}/b.csv"}}',
        "postgresql://adalovelace:hunter2@db/x",
    ]
    variables = {"HOME": home, "USER": "adalovelace", "DB_PASSWORD": "hunter2", "KERAS_BACKEND": f"{home}/token=hunter2"}
    script = [sys.executable, str(project / "train.py"), str(project), *arguments]
    said = subprocess.run(script, capture_output=True, text=True, check=True, cwd=home, env=os.environ | variables).stdout
    assert "hunter2" not in said
    assert "adalovelace" not in said
    _, found, command_line = json.loads(said)
    assert (found["git"]["remote"], found["entry_point"]) == ("origin.git", "train.py")
    shown = ["train.py", ".", "--password", "<redacted>", "--data=a.csv", '{"x": "b.csv"}', "postgresql://<redacted>@db/x"]
    assert command_line == shown
