"""The training loop of all methods: seeded order, one optimiser, a state after each epoch."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from sae.errors import InsightError

from ..fine_tuned import Batch, FineTuned
from .examples import Examples
from .fit_config import FitConfig
from .state import load_state, save_state


def fit(
    method: FineTuned,
    examples: Examples,
    config: FitConfig | None = None,
    *,
    folder: Path | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train what the method trains; the mean of every term of the loss in each epoch comes back.

    config: the method's own if left out. folder: where the state is kept after each epoch; called again with it, the
    training goes on from there to the same bytes. `InsightError` for a method that has nothing to train, for photos of
    fewer than two classes, for a state of other settings, and when the loss is not finite.
    """
    config = config or method.fit_config
    if not method.trained():
        raise InsightError(
            f"{method.kind} with {method.settings} has nothing to train; use it as it is, or choose settings that train"
            " something, such as another adapter"
        )
    present = examples.labels.unique().tolist()
    if len(present) < 2:
        only = f"{len(examples)} of {method.classes[present[0]]!r} alone" if present else "none"
        raise InsightError(f"fit: expected photos of at least two classes, found {only}; add photos of another class")
    examples, kept = examples.kept_by(method.tower, progress=progress)
    trained = method.trained()
    device = method.backbone.colour_mean.device
    optimiser = _optimiser(method, config)
    rates = [group["lr"] for group in optimiser.param_groups]
    state = {"method": method.kind, "examples": len(examples), **asdict(config), "settings": repr(method.settings)}
    state |= {"backbone": method.base_fingerprint, "bank": method.bank.fingerprint}
    if folder is not None:
        state["photos"] = examples.fingerprint
    history = [] if folder is None else load_state(folder, state, trained, optimiser)
    steps = math.ceil(len(examples) / config.batch_size)
    done, total = steps * len(history), steps * config.epochs
    with tqdm(total=total, initial=done, desc=method.kind, delay=2, disable=not progress) as bar:
        for epoch in range(len(history), config.epochs):
            random = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
            order = torch.randperm(len(examples), generator=random)
            sums: dict[str, float] = {}
            for number, index in enumerate(order.split(config.batch_size)):
                share = _schedule(epoch * steps + number, total, config.warmup)
                for group, rate in zip(optimiser.param_groups, rates, strict=True):
                    group["lr"] = rate * share
                concepts = None if examples.concepts is None else examples.concepts[index].float().to(device)
                batch = Batch(kept[index].to(device), examples.labels[index].to(device), concepts, random)
                terms = method.losses(batch)
                loss = torch.stack([*terms.values()]).sum()
                if not loss.isfinite():
                    raise InsightError(
                        f"{method.kind}: the loss became {float(loss.detach())} in epoch {epoch + 1}; lower the"
                        f" learning rate (it is {config.lr})"
                    )
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                clip_grad_norm_([*trained.values()], config.clip)
                optimiser.step()
                for name, value in terms.items():
                    sums[name] = sums.get(name, 0.0) + float(value.detach()) * len(index)
                bar.update()
            history.append({name: summed / len(examples) for name, summed in sums.items()})
            bar.set_postfix(loss=f"{sum(history[-1].values()):.4f}")
            if folder is not None:
                save_state(folder, state, history, trained, optimiser)
    optimiser.zero_grad(set_to_none=True)
    return history


def _optimiser(method: FineTuned, config: FitConfig) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = [
        {"params": parameters, "lr": config.lr * share} for parameters, share in method.parameter_groups()
    ]
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, weight_decay=config.weight_decay)
    return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)


def _schedule(step: int, steps: int, warmup: float) -> float:
    """Share of the learning rate at a step: a straight rise, then half a cosine down to 0."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))


def predict(
    method: FineTuned, examples: Examples, *, batch: int = 256, progress: bool = True
) -> tuple[Examples, Tensor]:
    """Logits [k, C] of the k photos that could be read, and these photos."""
    examples, kept = examples.kept_by(method.tower, progress=progress)
    device = method.backbone.colour_mean.device
    with torch.no_grad():
        parts = [method.decide(part.to(device)).logits.cpu() for part in kept.split(batch)]
    return examples, torch.cat(parts)
