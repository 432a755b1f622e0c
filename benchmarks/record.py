"""What a benchmark leaves behind: one JSON file with raw rows, and the claims that follow from them.

{"benchmark", "commit", "machine", "versions", "data": {"name", "images", "split"}, "settings", "rows": [...],
 "claims": [{"claim", "value", "unit", "target", "holds", "interval"}]}. Rows are measurements as taken (peer or method,
seed, figures); a claim is a sentence the README may say, its figure computed from the rows of the same file.
"""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sae.errors import InsightError
from sae.files import write_json

_PACKAGES = ("torch", "numpy", "scipy")
_DATA = ("name", "images", "split")
_CLAIM = ("claim", "value", "unit", "target", "holds", "interval")


def write_record(
    path: Path | str,
    *,
    benchmark: str,
    data: dict[str, Any],
    settings: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    claims: Sequence[dict[str, Any]],
    packages: Sequence[str] = (),
) -> None:
    """Write the JSON file, whole or not at all; figures that are not finite become null.

    A claim's target is a number or words ("within 2 %"), its interval 95 % confidence bounds of the value or None.
    `packages` are distributions beside torch, numpy and scipy whose versions matter (the peers). `InsightError` when
    `data` or a claim has other keys than the format.
    """
    for what, found, expected in [("data", data, _DATA), *(("claim", claim, _CLAIM) for claim in claims)]:
        if set(found) != set(expected):
            raise InsightError(f"{benchmark}: {what}: expected exactly the keys {list(expected)}, found {list(found)}")
    record = {
        "benchmark": benchmark,
        "commit": commit(),
        "machine": machine(),
        "versions": versions((*_PACKAGES, *packages)),
        "data": data,
        "settings": settings,
        "rows": rows,
        "claims": claims,
    }
    write_json(path, _finite(record))


def commit() -> str | None:
    """The commit that ran, with "+" if tracked code was changed since; None outside git."""
    root = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        code = ("sae", "naming", "insight", "benchmarks/*.py")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", *code)
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def machine() -> dict[str, Any]:
    """Processor, cores, memory, accelerator, system; nothing that names the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory / 2**30, 1) if memory else None,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions(packages: Sequence[str]) -> dict[str, str | None]:
    """Python's version and those of installed distributions (None where one is missing)."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % confidence interval of the mean of values (Student's t), such as paired differences over seeds.

    Needs two values or more.
    """
    from scipy.stats import t

    n = len(values)
    mean = sum(values) / n
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(t.ppf(0.975, n - 1)) * deviation / math.sqrt(n)
    return mean - half, mean + half


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for them."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
