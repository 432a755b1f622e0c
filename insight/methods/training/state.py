"""The state of a training on disk after each epoch, whole or not at all, so that a killed one goes on bit for bit.

One file, `fit.safetensors`: what is trained, the optimiser's state, and the numbers of the run as JSON in its metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sae.errors import InsightError
from sae.files import atomic_write

FILE = "fit.safetensors"


def save_state(
    folder: Path,
    settings: dict[str, Any],
    history: list[dict[str, float]],
    trained: Mapping[str, Tensor],
    optimiser: Any,
) -> None:
    """Replace the state. settings: everything that a run which goes on must have in common with this one."""
    tensors = {f"trained.{name}": value.detach().cpu().contiguous() for name, value in trained.items()}
    for number, entries in optimiser.state_dict()["state"].items():
        for name, value in entries.items():
            if value is not None:  # momentum before its first step
                tensors[f"optimiser.{number}.{name}"] = torch.as_tensor(value).cpu().contiguous()
    facts = json.dumps({"settings": settings, "history": history})
    with atomic_write(folder / FILE) as temporary:
        save_file(tensors, temporary, metadata={"run": facts})  # one entry: several are written in any order


def load_state(
    folder: Path, settings: dict[str, Any], trained: Mapping[str, Tensor], optimiser: Any
) -> list[dict[str, float]]:
    """Put a saved state in place and return the history of its epochs; [] where there is none.

    `InsightError` for a damaged file and for the state of a run with other settings.
    """
    path = folder / FILE
    if not path.exists():
        return []
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["run"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found, history = facts["settings"], facts["history"]
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        what = f"expected the state of a training, found a damaged file ({error})"
        raise InsightError(f"{path}: {what}; delete it") from None
    wanted = json.loads(json.dumps(settings, sort_keys=True))
    if found != wanted:
        other = next(key for key in {**wanted, **found} if wanted.get(key) != found.get(key))
        raise InsightError(
            f"{path}: is of a training with {other} {found.get(other)!r}, this one has {wanted.get(other)!r}; choose"
            " another folder, or delete the file to begin anew"
        )
    with torch.no_grad():
        for name, value in trained.items():
            value.copy_(tensors[f"trained.{name}"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimiser":
            number, _, entry = rest.partition(".")
            state.setdefault(int(number), {})[entry] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return history
