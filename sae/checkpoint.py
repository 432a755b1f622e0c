"""The state of a training run on disk, whole or not at all, so that a killed run goes on bit for bit.

A folder: `state-STEP.safetensors` (weights, Adam's moments, counters) and `checkpoint.json` (numbers, and which state
file they belong to). The JSON is renamed into place last; before that moment the older checkpoint stands. Where ranks
share the concepts, each writes its own `state-STEP-RANK.safetensors`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .config import is_default
from .distributed import ALONE, Ranks
from .errors import InsightError
from .files import atomic_write, read_json, write_json

FORMAT = "insight-sae-checkpoint"
FORMAT_VERSION = 1


@dataclass
class Progress:
    """The numbers of a run beside its tensors. No random state: all that is random follows from seed and step."""

    step: int
    """Steps done."""
    scale: float
    """Features are divided by this."""
    threshold_sum: float | Tensor = 0.0
    """Decayed sum of smallest kept activations (of each level [G], where levels have thresholds of their own), and the
    decayed count that it stands for."""
    threshold_count: float = 0.0
    selection_cut: float | Tensor | None = None
    """Carried by the selection; it spares the first step after a restart a search."""
    log_bytes: int = 0
    """Length of training.jsonl at this step; what a killed run wrote after it is cut off."""

    @classmethod
    def of(cls, numbers: dict[str, Any]) -> Progress:
        """From what `numbers` gave."""
        if isinstance(sums := numbers.get("threshold_sum"), list):
            numbers = {**numbers, "threshold_sum": torch.tensor(sums, dtype=torch.float64)}
        return cls(**numbers)

    def numbers(self) -> dict[str, Any]:
        """All of them by name, for JSON; waits for those that are still on the device."""
        return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in vars(self).items()}


class Checkpoint:
    """The checkpoint folder of one run with one set of settings. Its `ranks` save together and load together."""

    def __init__(self, folder: Path, settings: dict[str, Any], ranks: Ranks = ALONE) -> None:
        self.folder = folder
        self.settings = settings
        self.ranks = ranks

    def save(self, progress: Progress, tensors: dict[str, Tensor]) -> None:
        """Replace the checkpoint."""
        states = self._states(progress.step)
        with self.ranks.everyone.together():
            if self.ranks.tokens.rank == 0:  # all others that have the same concepts have the same state
                with atomic_write(self.folder / states[self.ranks.concepts.rank]) as temporary:
                    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary)
        with self.ranks.everyone.together():
            if self.ranks.everyone.rank == 0:
                self._replace(states, progress)

    def _states(self, step: int) -> list[str]:
        """The state files of all ranks."""
        size = self.ranks.concepts.size
        return [f"state-{step}.safetensors"] if size == 1 else [f"state-{step}-{r}.safetensors" for r in range(size)]

    def _replace(self, states: list[str], progress: Progress) -> None:
        header = {"format": FORMAT, "format_version": FORMAT_VERSION, "state": states[0], "parts": len(states)}
        own = {"settings": self.settings, "progress": progress.numbers()}
        write_json(self.folder / "checkpoint.json", {**header, **own})
        for old in self.folder.glob("*state-*"):
            if old.name not in states:
                old.unlink(missing_ok=True)

    def load(self, device: torch.device) -> tuple[Progress, dict[str, Tensor]] | None:
        """What was saved, or None before the first checkpoint; `InsightError` when it is of another run or damaged."""
        path = self.folder / "checkpoint.json"
        if not path.exists():
            return None
        header = read_json(path)
        found = (header.get("format"), header.get("format_version"))
        if found != (FORMAT, FORMAT_VERSION):
            expected = f'format "{FORMAT}" version {FORMAT_VERSION}, found "{found[0]}" version {found[1]}'
            raise InsightError(f"{path}: expected {expected}; remove {self.folder} to start anew")
        refuse_other_settings(path, header["settings"], self.settings)
        progress, parts = Progress.of(header["progress"]), header.get("parts", 1)
        if parts != self.ranks.concepts.size:
            found_here = f"the concepts divided among {parts} processes, now {self.ranks.concepts.size}"
            raise InsightError(f"{path}: saved with {found_here}; go on with as many, or remove {self.folder}")
        state = self.folder / self._states(progress.step)[self.ranks.concepts.rank]
        try:
            return progress, load_file(state, device=str(device))
        except (OSError, SafetensorError) as error:
            raise InsightError(f"{state}: damaged or missing ({error}); remove {self.folder} to start anew") from None

    def remove(self) -> None:
        """Forget the checkpoint, when the run has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)


def refuse_other_settings(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """`InsightError` naming the first setting in which a run on disk differs from the one that is asked for.

    A setting that did not exist when the run was begun is the same if it stands at its default.
    """
    for group, values in wanted.items():
        theirs = found.get(group)
        if not isinstance(values, dict) or not isinstance(theirs, dict):
            values, theirs = {"": values}, {"": theirs}
        for name in sorted(values.keys() | theirs.keys()):
            if name not in theirs and is_default(group, name, values[name]):
                continue
            if values.get(name) != theirs.get(name):
                what = ".".join(filter(None, (group, name)))
                found_here = f"{what} = {theirs.get(name)}, now {values.get(name)} is asked for"
                raise InsightError(f"{path}: started with {found_here}; use the same settings or another folder")
