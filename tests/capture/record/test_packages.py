"""Distributions are found by the modules that a process has imported."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from ifpdb.capture.record.packages import OWN_PACKAGES, imported_packages


def test_a_distribution_is_found_whose_modules_have_other_names() -> None:
    __import__("sklearn")
    assert imported_packages()["scikit-learn"] == version("scikit-learn")


def test_the_registrys_own_packages_are_left_out() -> None:
    assert not OWN_PACKAGES & imported_packages().keys()


def test_a_package_that_is_installed_and_not_imported_is_not_one_of_them() -> None:
    script = "from ifpdb.capture.record.packages import imported_packages as i; import json; print(sorted(i()))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "scikit-learn" not in said


def test_what_is_installed_while_the_process_runs_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = folder / "site-packages"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, 7, None, str(folder / "gone" / "site-packages"), site])
    assert "late-arrival" not in imported_packages()
    info = site / "Late_Arrival-2.0.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("latecomer/__init__.py,,\n../../bin/late,,\n")
    os.utime(site, (1, 1))
    monkeypatch.setitem(sys.modules, "latecomer.part", ModuleType("latecomer.part"))
    assert imported_packages()["late-arrival"] == "2.0"
