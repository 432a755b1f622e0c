"""Jobs to a loader's process, measured rows back. A loader that fails costs its own rows alone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.loaders.job import Job
from benchmarks.peers.environments import REQUIREMENTS, python_of
from sae.errors import InsightError

ROOT = Path(__file__).parent.parent.parent
OURS = "insight"
PEERS = ("saev", "sae_lens")
"""Modules of this folder that need an environment of their own."""
MOST_SECONDS = 120
"""For one job, its preparations included."""


class Loaders:
    """Our own process, which runs the plain loaders as well, and those peers of a list that can be installed here."""

    def __init__(self, names: Sequence[str], environments: Path, sources: Mapping[str, str]) -> None:
        """Makes the environments; `missing` says why a peer is not available, `requirements` what is measured."""
        by_hand = {name: ["(from a copy given by hand)"] for name in sources}
        self.requirements = {name: [*REQUIREMENTS.get(name, []), *by_hand.get(name, [])] for name in names}
        self.pythons: dict[str, Path] = {}
        self.missing: dict[str, str] = {}
        for name in (OURS, *names):
            try:
                self.pythons[name] = python_of(name, environments, sources)
            except InsightError as error:
                self.missing[name] = f"not available: {error}"

    @property
    def peers(self) -> list[str]:
        """What is available beside our own."""
        return [name for name in self.pythons if name != OURS]

    def run(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """What each job measured, or {"error": ...}; all in one process, whose module is that of the first job."""
        module = jobs[0].loader if jobs[0].loader in PEERS else OURS
        threads = str(jobs[0].threads)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        command = [str(self.pythons[module]), "-m", f"benchmarks.loaders.{module}"]
        command += [json.dumps(asdict(job)) for job in jobs]
        timeout = MOST_SECONDS * len(jobs)
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
            out, fault = done.stdout, done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        except subprocess.TimeoutExpired as stopped:
            out = stopped.stdout.decode() if isinstance(stopped.stdout, bytes) else stopped.stdout or ""
            fault = [f"stopped after {timeout} s"]
        measured = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return [*measured, *({"error": fault[0][:300]} for _ in range(len(jobs) - len(measured)))]
