"""Tasks to a peer's process, measured rows back. A peer that fails costs its own rows alone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import REQUIREMENTS, python_of
from benchmarks.peers.yardstick import Task
from sae.errors import InsightError

ROOT = Path(__file__).parent.parent.parent
OFFERS: dict[str, tuple[str, ...]] = {
    "insight": ("matryoshka", "batch_topk", "topk"),
    "floor": ("float32", "bfloat16"),
    "dictionary_learning": ("matryoshka", "batch_topk", "topk"),
    "sparsify": ("topk",),
    "sae_lens": ("matryoshka", "batch_topk", "topk"),
    "overcomplete": ("batch_topk", "topk"),
    "saev": ("matryoshka", "batch_topk", "topk"),
}
"""Architectures that each module of this folder can train."""
MOST_SECONDS = 180
"""For one task; a loop that takes longer is stopped."""


class Peers:
    """Our own module, the floor and those peers of a list that can be installed here."""

    def __init__(self, names: Sequence[str], environments: Path, sources: Mapping[str, str]) -> None:
        """Makes the environments; `missing` says why a peer is not available, `requirements` what is measured."""
        by_hand = {name: ["(from a copy given by hand)"] for name in sources}
        self.requirements = {name: [*REQUIREMENTS.get(name, []), *by_hand.get(name, [])] for name in names}
        self.pythons, self.missing = available(("insight", "floor", *names), environments, sources)

    def __iter__(self) -> Iterator[str]:
        """Names of what is available, ours first, without the floor."""
        return (name for name in self.pythons if name != "floor")

    def run(self, name: str, tasks: Sequence[Task], folder: Path) -> list[dict[str, Any]]:
        """What each task measured, or {"error": ...}; all of them in one process, which starts in `folder`.

        A process that takes more than MOST_SECONDS a task is stopped.
        """
        arguments = [json.dumps(asdict(task)) for task in tasks]
        timeout = MOST_SECONDS * len(tasks)
        return rows_of(self.pythons[name], f"benchmarks.peers.{name}", arguments, tasks[0].threads, timeout, folder)


def available(
    names: Sequence[str], environments: Path, sources: Mapping[str, str]
) -> tuple[dict[str, Path], dict[str, str]]:
    """The Python of each name whose environment can be made, and why the others are not available."""
    pythons, missing = {}, {}
    for name in names:
        try:
            pythons[name] = python_of(name, environments, sources)
        except InsightError as error:
            missing[name] = f"not available: {error}"
    return pythons, missing


def rows_of(
    python: Path, module: str, arguments: Sequence[str], threads: int, timeout: float, folder: Path | None = None
) -> list[dict[str, Any]]:
    """The lines of JSON that `python -m module ARGUMENTS` prints, one an argument, {"error": ...} for those it lacks.

    It starts in `folder`, offline, with so many threads, and is stopped after `timeout` seconds.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "WANDB_MODE": "disabled",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [str(python), "-m", module, *arguments]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)
        out, fault = done.stdout, done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
    except subprocess.TimeoutExpired as stopped:
        out, fault = _text(stopped.stdout), [f"stopped after {timeout:g} s"]
    measured = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return [*measured, *({"error": fault[0][:300]} for _ in range(len(arguments) - len(measured)))]


def _text(out: bytes | str | None) -> str:
    return out.decode() if isinstance(out, bytes) else out or ""
