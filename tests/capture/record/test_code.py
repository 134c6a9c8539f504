"""The project's files among what is imported are digested once, and odd modules harm nobody."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ifpdb.capture.record.code import SourceFiles
from ifpdb.digest import sha256

Import = Callable[[str, Any], None]


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> Import:
    """Stands in sys.modules for a module whose `__file__` is given."""

    def stand_in(name: str, file: Any) -> None:
        module = ModuleType(name)
        module.__file__ = file
        monkeypatch.setitem(sys.modules, name, module)

    return stand_in


def test_a_file_is_kept_as_it_was_when_first_noticed(folder: Path, imported: Import) -> None:
    (folder / "own.py").write_text("x = 1\n")
    imported("own", str(folder / "own.py"))
    sources = SourceFiles(folder)
    first = sources.look()
    (folder / "own.py").write_text("x = 2\n")
    assert sources.look() == first == (("own.py", sha256(b"x = 1\n")),)


def test_each_run_looks_for_itself(folder: Path, imported: Import) -> None:
    (folder / "own.py").write_text("x = 1\n")
    imported("own", str(folder / "own.py"))
    SourceFiles(folder).look()
    (folder / "own.py").write_text("x = 2\n")
    assert SourceFiles(folder).look() == (("own.py", sha256(b"x = 2\n")),)


@pytest.mark.parametrize("place", ["lib/site-packages/own.py", "elsewhere/../../own.py", "own.so", "own"])
def test_what_is_installed_elsewhere_or_no_source_is_no_code_of_the_project(folder: Path, imported: Import, place: str) -> None:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    imported("own", str(path))
    assert SourceFiles(folder).look() == ()


@pytest.mark.parametrize("file", [None, 7, "/nowhere/gone.py", "\0.py", b"x.py", ["x.py"]])
def test_modules_with_odd_files_are_passed_over(folder: Path, imported: Import, file: Any) -> None:
    imported("odd", file)
    sources = SourceFiles(folder)
    assert (sources.look(), sources.not_seen) == ((), [])


@pytest.mark.parametrize("module", [None, 7, object(), "text"])
def test_what_is_no_module_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    monkeypatch.setitem(sys.modules, "odd", module)
    assert SourceFiles(folder).look() == ()


def test_links_in_a_ring_are_passed_over(folder: Path, imported: Import) -> None:
    (folder / "a.py").symlink_to(folder / "b.py")
    (folder / "b.py").symlink_to(folder / "a.py")
    imported("a", str(folder / "a.py"))
    assert SourceFiles(folder).look() == ()


@pytest.mark.parametrize(("name", "said"), [("gone.py", "gone.py"), ("bad\udcff.py", "bad?.py")])
def test_a_file_that_cannot_be_kept_is_listed_once(folder: Path, imported: Import, name: str, said: str) -> None:
    imported("gone", str(folder / name))
    sources = SourceFiles(folder)
    assert (sources.look(), sources.look()) == ((), ())
    assert sources.not_seen == [f"code: {said} can't be read"]


def test_looking_does_not_load_a_lazy_module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "lazy.py").write_text("raise RuntimeError('loaded')\n")
    spec = importlib.util.spec_from_file_location("lazy", folder / "lazy.py")
    assert spec is not None and spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "lazy", module)
    spec.loader.exec_module(module)
    assert [path for path, _ in SourceFiles(folder).look()] == ["lazy.py"]
