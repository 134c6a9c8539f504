"""What `import ifpdb` promises: exactly these names, each documented, and an import that costs next to nothing."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys

import pytest

import ifpdb

PUBLIC = {
    "do": ["track", "register", "registry", "get_run", "open", "init", "hash_data"],
    "hold": ["Registry", "Model", "TrackedRun", "Policy"],
    "read": [
        "Artifact",
        "Bisection",
        "Change",
        "Check",
        "Code",
        "Dataset",
        "Deployment",
        "Event",
        "Explanation",
        "Feature",
        "FeatureSchema",
        "Interval",
        "Kin",
        "Measurement",
        "ModelSummary",
        "Node",
        "Origin",
        "Parent",
        "Problem",
        "Run",
        "Step",
        "Validation",
        "Verdict",
        "Version",
    ],
    "catch": [
        "IfpError",
        "Ambiguous",
        "Busy",
        "Conflict",
        "GateFailed",
        "IntegrityError",
        "NeedsReason",
        "NotFound",
        "Refused",
        "StorageError",
        "Untrusted",
        "UsageError",
    ],
}
NAMES = [name for group in PUBLIC.values() for name in group]
HEAVY = ("pydantic", "yaml", "sqlite_utils", "click", "numpy", "sqlite3")


def test_all_is_exactly_what_was_promised() -> None:
    assert ifpdb.__all__ == NAMES


def test_dir_lists_what_can_be_had() -> None:
    assert set(dir(ifpdb)) == {*NAMES, "__version__"}


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Manager'"):
        _ = ifpdb.Manager


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    found = getattr(ifpdb, name)
    assert found.__name__ == name or name == "open"
    assert found.__module__.startswith("ifpdb")
    first = inspect.getdoc(found) or ""
    assert first and not first.startswith(f"{name}("), "a docstring of its own, not the one that dataclass makes up"


@pytest.mark.parametrize("name", PUBLIC["do"] + PUBLIC["hold"])
def test_every_public_function_says_what_it_does_and_has_types(name: str) -> None:
    found = getattr(ifpdb, name)
    functions = (
        [found] if inspect.isfunction(found) else [f for n, f in vars(found).items() if n[0] != "_" and inspect.isroutine(f)]
    )
    for function in functions:
        assert inspect.getdoc(function), f"{function.__qualname__} has no docstring"
        untyped = set(inspect.signature(function).parameters) - set(inspect.get_annotations(function)) - {"self"}
        assert not untyped, f"{function.__qualname__}: {untyped}"


@pytest.mark.parametrize("name", PUBLIC["read"])
def test_every_record_is_frozen_and_can_be_written_as_json(name: str) -> None:
    record = getattr(ifpdb, name)
    assert dataclasses.is_dataclass(record)
    assert record.__dataclass_params__.frozen
    assert hasattr(record, "__slots__")
    assert callable(record.as_dict)


@pytest.mark.parametrize("name", PUBLIC["catch"])
def test_every_error_has_the_one_root_and_an_exit_code(name: str) -> None:
    error = getattr(ifpdb, name)
    assert issubclass(error, ifpdb.IfpError)
    assert error.exit_code in range(1, 8)


def test_importing_ifpdb_imports_nothing_heavy() -> None:
    code = f"import sys, ifpdb; print(*sorted(set(sys.modules) & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_check_for_heavy_imports_would_see_one() -> None:
    code = f"import sys, ifpdb, ifpdb.desk; print(*sorted(set(sys.modules) & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "sqlite3" in done.stdout.split()
