"""What `pip install ifpdb` gives: the schema, the types, the licence, and a registry that works in a clean environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ifpdb").rglob("*.py")}

REGISTER = """
import pathlib, sys
import ifpdb as ifp
from importlib.util import find_spec

assert find_spec("numpy") is None, "this environment was meant to be without numpy"
pathlib.Path("model.bin").write_bytes(b"weights")
pathlib.Path("train.csv").write_text("amount\\n1\\n")
features = [{"name": "amount", "type": "number"}]
version = ifp.register("fraud", "model.bin", data="train.csv", schema=features, params={"C": 1.0}, seed=7, metrics={"f1": 0.9})
assert pathlib.Path("ifp.db").is_file()
assert ifp.open().resolve("fraud@v1").metrics == {"f1": 0.9}
print(ifp.__file__)
print(version.name)
"""


def run(*command: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel that was built from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    how = ["--no-isolation"] if find_spec("hatchling") else []
    run(sys.executable, "-m", "build", *how, "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def clean(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the wheel, what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", next(built.glob("*.whl")), cwd=folder)
    return python


def test_the_wheel_holds_the_package_its_schema_its_types_and_the_licence(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        assert wheel.read("ifpdb/schema.sql") == (ROOT / "schema.sql").read_bytes()
        (licence,) = [name for name in names if name.endswith("LICENSE")]
        assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
        (points,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "ifp = ifpdb.cli:main" in wheel.read(points).decode()
    assert {"ifpdb/py.typed", *SOURCES} <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "examples/"))]


def test_the_sdist_holds_what_it_takes_to_build_and_to_test(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = {"schema.sql", "LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "ifpdb/py.typed", *SOURCES}
    assert wanted <= names
    assert {"tests/conftest.py", "docs/format.md", "examples/01_november_14th.py"} <= names


def test_an_installed_wheel_registers_from_another_folder_without_numpy(clean: Path, tmp_path: Path) -> None:
    place, name = run(clean, "-I", "-c", REGISTER, cwd=tmp_path).splitlines()
    assert Path(place).is_relative_to(clean.parent.parent), "the installed package, not the checkout"
    assert name.startswith("fraud@sha256:")
    assert len(list((tmp_path / "ifp.cas" / "sha256").rglob("*"))) == 2, "one blob, in its shard"


def test_the_installed_command_line_reads_that_registry(clean: Path, tmp_path: Path) -> None:
    run(clean, "-I", "-c", REGISTER, cwd=tmp_path)
    said = run(clean.with_name("ifp"), "ls", "--json", cwd=tmp_path)
    assert '"model": "fraud"' in said


def test_the_licence_is_the_apache_licence_2_0_word_for_word() -> None:
    text = (ROOT / "LICENSE").read_bytes()
    assert sha256(text).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
