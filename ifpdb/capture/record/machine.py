"""The machine and the interpreter: what can change the numbers that a training gives."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ...digest import JSON
from ..redaction import redact_text

VARIABLES = (
    "BLIS_NUM_THREADS",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "KERAS_BACKEND",
    "MKL_CBWR",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TF_CUDNN_DETERMINISTIC",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "VECLIB_MAXIMUM_THREADS",
)
"""The only environment variables that are recorded: each changes results or the threads they are computed with."""

_NVIDIA = Path("/proc/driver/nvidia")


def describe_machine() -> dict[str, JSON]:
    """Python, platform, processor, memory in bytes, BLAS, GPUs and the variables above; what isn't known is left out."""
    return answers(
        {
            "python": platform.python_version,
            "implementation": platform.python_implementation,
            "platform": lambda: f"{platform.system()} {platform.release()}",
            "machine": platform.machine,
            "cpus": os.cpu_count,
            "cpus_usable": _usable_cpus,
            "cpu": _cpu,
            "memory": _memory,
            "blas": lambda: _blas(sys.modules.get("threadpoolctl"), sys.modules.get("numpy")),
            "gpus": _gpus,
            "variables": lambda: {name: redact_text(os.environ[name]) for name in VARIABLES if name in os.environ},
        }
    )


def answers(questions: Mapping[str, Callable[[], JSON]]) -> dict[str, JSON]:
    """What each answered, without empty answers; one that fails, in whatever way, is listed in `not_seen` and costs no run."""
    found, not_seen = dict[str, JSON](), list[JSON]()
    for name, ask in questions.items():
        try:
            if (answer := ask()) not in (None, [], {}):
                found[name] = answer
        except Exception as error:
            not_seen.append(f"{name}: {type(error).__name__}")
    return found | ({"not_seen": not_seen} if not_seen else {})


def _usable_cpus() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


@cache
def _cpu() -> str | None:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:  # not Linux
        return platform.processor() or None
    return platform.processor() or None


@cache
def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


@cache
def _blas(threadpoolctl: Any, numpy: Any) -> list[JSON]:
    """The BLAS libraries that are loaded, by threadpoolctl; else the one that numpy was built with. Asked once, for 3 ms."""
    if threadpoolctl is not None:
        pools = [pool for pool in threadpoolctl.threadpool_info() if pool.get("user_api") == "blas"]
        known = [(str(p.get("internal_api")), str(p.get("version")), int(p.get("num_threads") or 0)) for p in pools]
        return [{"library": name, "version": version, "threads": threads} for name, version, threads in sorted(set(known))]
    if numpy is not None:
        built: Any = numpy.__config__.show(mode="dicts") or {}
        blas = built.get("Build Dependencies", {}).get("blas", {})
        return [{"library": str(blas["name"]), "version": str(blas.get("version"))}] if blas.get("name") else []
    return []


@cache
def _gpus() -> list[JSON]:
    """NVIDIA's GPUs as its driver lists them: no program is started and no context made."""
    names = []
    for entry in sorted(_NVIDIA.glob("gpus/*/information")):
        lines = entry.read_text(encoding="utf-8", errors="replace").splitlines()
        names += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    driver = _NVIDIA / "version"
    version = driver.read_text(encoding="utf-8", errors="replace").partition("\n")[0] if names and driver.exists() else None
    return [{"model": name, "driver": version} for name in names]
