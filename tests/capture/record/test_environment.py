"""What a run sees of its surroundings, in a real script: code, packages, how it was started, and nothing of the user."""

from __future__ import annotations

import json
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


def test_a_notebooks_cell_is_known_by_number_and_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.notebook_cell() is None
    shell = SimpleNamespace(user_ns={"In": ["", "x = 1"], "__session__": "/home/ada/fraud.ipynb"}, execution_count=1)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert environment.notebook_cell() == {"number": 1, "digest": sha256(b"x = 1"), "notebook": "fraud.ipynb"}


@pytest.mark.parametrize("file", [None, 7, "relative.py", "/nowhere/gone.py", "archive.zip/x.py", "\0.py"])
def test_modules_with_odd_files_are_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch, file: Any) -> None:
    odd = ModuleType("odd")
    odd.__file__ = file
    monkeypatch.setitem(sys.modules, "odd", odd)
    assert "odd" not in str(environment.Observer(folder).code().files)


def test_a_file_that_is_gone_is_listed_as_not_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "gone.py").write_text("x = 1\n")
    (folder / "gone.py").chmod(0)
    module = ModuleType("gone")
    module.__file__ = str(folder / "gone.py")
    monkeypatch.setitem(sys.modules, "gone", module)
    observer = environment.Observer(folder)
    try:
        (folder / "gone.py").read_bytes()
    except PermissionError:
        assert observer.environment()["not_seen"] == ["code: gone.py can't be read"]
    else:  # root reads everything
        assert [path for path, _ in observer.code().files] == ["gone.py"]
