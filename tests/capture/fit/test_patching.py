"""Patches placed and taken away, and modules that arrive meanwhile."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ifpdb.capture.fit.patching import Call, Hook, Target, Training, by_name, names_of, opened, original_of

LIBRARY = """
from library.inner import Machine, train
class Heir(Machine):
    pass
"""
INNER = """
import functools
class Machine:
    def fit(self, data):
        return "fitted"
    @staticmethod
    def make(*args):
        return len(args)
    build = functools.partial(lambda *args: len(args), 0)
def train(data):
    return "trained"
"""


def read(call: Call) -> Training:
    return Training(None)


TARGETS = (
    Target("library.inner", "Machine", ("fit", "make", "build"), read),
    Target("library.inner", None, ("train",), read, aliases=("library",)),
)


def loud(original: Callable[..., Any], _target: Target, _method: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return "LOUD"

    return wrapped


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], ModuleType]]:
    """Imports a library that is not loaded yet."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "__init__.py").write_text(LIBRARY)
    (tmp_path / "library" / "inner.py").write_text(INNER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda: importlib.import_module("library")
    for name in ("library", "library.inner"):
        sys.modules.pop(name, None)


def test_methods_and_functions_are_replaced_for_the_block(library: Callable[[], ModuleType]) -> None:
    loaded = library()
    with opened(TARGETS, (), loud):
        assert (loaded.Heir().fit(1), loaded.train(1), loaded.inner.train(1)) == ("LOUD", "LOUD", "LOUD")
        assert loaded.train is loaded.inner.train
        assert (loaded.Machine().make(1), loaded.Machine().build(1)) == (1, 2)  # they take no self
    assert (loaded.Heir().fit(1), loaded.train(1), loaded.inner.train(1)) == ("fitted", "trained", "trained")


def test_what_is_imported_inside_is_replaced_and_nothing_keeps_the_patch(library: Callable[[], ModuleType]) -> None:
    with opened(TARGETS, (), loud):
        loaded = library()
        assert (loaded.Heir().fit(1), loaded.train(1), loaded.inner.train(1)) == ("LOUD", "LOUD", "LOUD")
    assert (loaded.Heir().fit(1), loaded.train(1), loaded.inner.train(1)) == ("fitted", "trained", "trained")


def test_what_is_imported_after_the_block_is_left_alone(library: Callable[[], ModuleType]) -> None:
    with opened(TARGETS, (), loud):
        assert importlib.util.find_spec("library") is not None  # asked for, not loaded
    assert library().train(1) == "trained"


def test_a_library_in_an_archive_is_patched_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "library.zip", "w") as archive:
        archive.writestr("library/__init__.py", LIBRARY)
        archive.writestr("library/inner.py", INNER)
    monkeypatch.syspath_prepend(str(tmp_path / "library.zip"))
    try:
        with opened(TARGETS, (), loud):
            loaded = importlib.import_module("library")
            assert (loaded.Heir().fit(1), loaded.train(1)) == ("LOUD", "LOUD")
        assert (loaded.Heir().fit(1), loaded.train(1)) == ("fitted", "trained")
    finally:
        for name in ("library", "library.inner"):
            sys.modules.pop(name, None)


def test_a_root_that_has_a_hook_for_subclasses_keeps_it() -> None:
    module = ModuleType("made_up")
    made: list[str] = []

    class Root:
        def __init_subclass__(cls, *, tag: str = "", **arguments: Any) -> None:
            super().__init_subclass__(**arguments)
            made.append(tag)

    own = Root.__dict__["__init_subclass__"]
    module.Root = Root  # type: ignore[attr-defined]
    sys.modules["made_up"] = module
    try:
        with opened((Target("made_up", "Root", ("fit",), read),), (), loud):

            class Late(Root, tag="late"):
                def fit(self) -> str:
                    return "fitted"

            assert Late().fit() == "LOUD"
    finally:
        del sys.modules["made_up"]
    assert (made, Late().fit(), Root.__dict__["__init_subclass__"]) == (["late"], "fitted", own)

    class Later(Root, tag="later"):
        def fit(self) -> str:
            return "fitted"

    assert (made, Later().fit()) == (["late", "later"], "fitted")


def test_a_hook_is_entered_when_its_module_is_there_and_left_after_the_last_block(library: Callable[[], ModuleType]) -> None:
    said: list[str] = []

    @contextmanager
    def install() -> Iterator[None]:
        said.append("in")
        yield
        said.append("out")

    hooks = (Hook("library", install),)
    with opened((), hooks, loud):
        assert said == []
        library()
        assert said == ["in"]
        with opened((), hooks, loud):
            assert said == ["in"]
        assert said == ["in"]
    assert said == ["in", "out"]
    with opened((), hooks, loud):
        assert said == ["in", "out", "in"]


def test_a_hook_that_fails_breaks_neither_the_import_nor_the_other_patches(library: Callable[[], ModuleType]) -> None:
    def install() -> Any:
        raise RuntimeError("not the version that I know")

    with opened(TARGETS, (Hook("library", install),), loud):
        assert library().train(1) == "LOUD"


def test_the_finder_is_gone_though_the_block_fails() -> None:
    before = list(sys.meta_path)
    with pytest.raises(KeyError), opened(TARGETS, (), loud):
        assert sys.meta_path != before
        raise KeyError
    assert sys.meta_path == before


@pytest.mark.parametrize(
    ("names", "args", "kwargs", "given"),
    [
        (("X", "y"), (1, 2), {}, {"X": 1, "y": 2}),
        (("X", "y"), (), {"y": 2, "X": 1}, {"X": 1, "y": 2}),
        (("X", "y"), (1,), {"epochs": 3, "y": 2}, {"X": 1, "y": 2, "epochs": 3}),
        ((), (1, 2), {}, {"*0": 1, "*1": 2}),
        (("X",), (1, 2, 3), {}, {"X": 1, "*0": 2, "*1": 3}),
    ],
)
def test_arguments_go_by_the_names_and_the_order_of_the_signature(
    names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any], given: dict[str, Any]
) -> None:
    found = by_name(names, args, kwargs)
    assert found == given
    assert list(found) == list(given)


def test_names_are_those_of_positional_parameters() -> None:
    def train(a: int, /, b: int, *rest: int, c: int, **more: int) -> None: ...

    assert names_of(train) == ("a", "b")
    assert names_of(dict.get) == ("self", "key", "default")
    assert names_of(print) == ()


@pytest.mark.parametrize("value", [3, "text", [], {}, object(), len, test_names_are_those_of_positional_parameters])
def test_what_is_none_of_ours_is_its_own_original(value: object) -> None:
    assert original_of(value) is value
