"""Where a streamed fit stands after an epoch, and how it is kept on disk, whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sae.errors import InsightError
from sae.files import atomic_write, read_json, write_json

FORMAT = "insight-linear-stream"


@dataclass(frozen=True)
class Snapshot:
    """The best weights so far, in units of the scaled and centred features, with what is known there over all rows."""

    weights: Float64[Tensor, "F rows"]
    intercept: Float64[Tensor, " rows"]
    gradient: Float64[Tensor, "F rows"]
    """Of the mean cross-entropy, by the weights (centred features); below by the intercept."""
    intercept_gradient: Float64[Tensor, " rows"]
    curvature: Float64[Tensor, "F rows"]
    """Second derivative of the mean cross-entropy by each weight (a bound of it); below by the intercept."""
    intercept_curvature: Float64[Tensor, " rows"]
    objective: float
    violation: float
    epoch: int
    """Epochs done."""
    step: float
    """Length of the steps of the next epoch."""

    def retried(self, slower: float) -> Snapshot:
        """The same after an epoch that was undone."""
        return replace(self, epoch=self.epoch + 1, step=self.step * slower)


class StreamCheckpoint:
    """The folder of one run: `state-EPOCH.safetensors`, and `checkpoint.json`, renamed into place last."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = folder, settings

    def save(self, snapshot: Snapshot) -> None:
        """Replace what is there."""
        values = {field.name: getattr(snapshot, field.name) for field in fields(snapshot)}
        tensors = {name: value.cpu().contiguous() for name, value in values.items() if isinstance(value, Tensor)}
        numbers = {name: value for name, value in values.items() if not isinstance(value, Tensor)}
        state = f"state-{snapshot.epoch}.safetensors"
        with atomic_write(self.folder / state) as temporary:
            save_file(tensors, temporary)
        header = {"format": FORMAT, "format_version": 1, "state": state, "settings": self.settings}
        write_json(self.folder / "checkpoint.json", {**header, "numbers": numbers})
        for old in self.folder.glob("state-*.safetensors"):
            if old.name != state:
                old.unlink(missing_ok=True)

    def load(self, device: torch.device) -> Snapshot | None:
        """The state, or None where none was saved; `InsightError` for one of other settings or data, or damaged."""
        path = self.folder / "checkpoint.json"
        if not path.exists():
            return None
        found = read_json(path)
        if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("format_version") != 1:
            raise InsightError(f"{path}: expected the checkpoint of a streamed fit, found something else")
        for name, value in self.settings.items():
            if found["settings"].get(name) != value:
                raise InsightError(
                    f"{path}: belongs to a run with {name} {found['settings'].get(name)}, found {value}; give another "
                    "folder, or the settings and data of that run"
                )
        try:
            values: dict[str, Any] = {**load_file(self.folder / found["state"], device=str(device)), **found["numbers"]}
            return Snapshot(**values)
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise InsightError(f"{path}: its state is damaged ({error}); remove the folder") from None
