"""Where else the lines of training.jsonl go: TensorBoard or Weights & Biases, where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from .errors import InsightError

Monitor = Literal["tensorboard", "wandb"]


def open_monitor(monitor: Monitor, out: Path, settings: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """A function that takes each line of the log of the run in `out`; `InsightError` where it is not installed.

    TensorBoard writes into `out/tensorboard`; Weights & Biases takes its project from WANDB_PROJECT.
    """
    if monitor == "tensorboard":
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InsightError("monitor tensorboard: not installed; pip install tensorboard") from None
        writer = SummaryWriter(str(out / "tensorboard"))

        def write(row: dict[str, Any]) -> None:
            for name, value in _scalars(row).items():
                writer.add_scalar(name, value, row["step"])
            writer.flush()

        return write
    try:
        import wandb
    except ImportError:
        raise InsightError("monitor wandb: not installed; pip install wandb") from None
    run = wandb.init(name=out.name, dir=str(out), config=settings, resume="allow", reinit="create_new")
    return lambda row: run.log(_scalars(row), step=row["step"])


def _scalars(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of a line, those of levels by name; what was not measured is left out."""
    flat = {name: value for name, value in row.items() if name != "fvu" and value is not None}
    levels = {f"fvu/level_{level}": share for level, share in enumerate(row["fvu"]) if share is not None}
    return {**flat, **levels}
