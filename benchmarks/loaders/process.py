"""Jobs to a loader's process, measured rows back. A loader that fails costs its own rows alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.loaders.job import Job
from benchmarks.peers.environments import REQUIREMENTS
from benchmarks.peers.process import available, rows_of

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
        self.pythons, self.missing = available((OURS, *names), environments, sources)

    @property
    def peers(self) -> list[str]:
        """What is available beside our own."""
        return [name for name in self.pythons if name != OURS]

    def run(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """What each job measured, or {"error": ...}; all in one process, whose module is that of the first job."""
        module = jobs[0].loader if jobs[0].loader in PEERS else OURS
        arguments = [json.dumps(asdict(job)) for job in jobs]
        timeout = MOST_SECONDS * len(jobs)
        return rows_of(self.pythons[module], f"benchmarks.loaders.{module}", arguments, jobs[0].threads, timeout)
