"""`insight train`: a dictionary of concepts from a feature cache."""

from pathlib import Path

from sae.config import Selection
from sae.monitor import Monitor

from ..defaults import LR, K
from .options import Cache, Device, pick_device


def train(
    cache: Cache,
    /,
    out: Path,
    concepts: int | None = None,
    k: int = K,
    steps: int | None = None,
    batch_size: int = 4096,
    lr: float = LR,
    seed: int = 0,
    selection: Selection = "batch_topk",
    monitor: Monitor | None = None,
    device: Device = None,
) -> None:
    """Train a sparse autoencoder whose latents are the concepts (Matryoshka) on the patches of CACHE.

    Checkpoints lie in OUT/checkpoint; a killed run goes on exactly where it stopped when the same command is given
    again. Several processes share the work: torchrun --nproc-per-node 2 -m insight train ...

    Args:
        out: Folder to write the model to.
        concepts: Size of the dictionary (default: by the size of the data, one concept for about 400 patches).
        k: Concepts active on a patch, on average.
        steps: Training steps (default: three passes over the cache, at least 1,000 steps).
        batch_size: Patches a step.
        lr: Learning rate of Adam.
        seed: Seed of the initial weights and of the order of patches.
        selection: Which concepts are active on a patch; see docs/sae.md.
        monitor: Where else the log goes, if it is installed.
    """
    from ..cache import FeatureCache
    from ..pipeline import train_dictionary

    train_dictionary(
        FeatureCache.open(cache),
        out,
        concepts=concepts,
        k=k,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        selection=selection,
        monitor=monitor,
        device=pick_device(device),
    )
    print(f"{out}: trained; next: insight relate {out} {cache}")
