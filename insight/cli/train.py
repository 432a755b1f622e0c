"""`insight train`: a dictionary of concepts from a feature cache, or from images that are encoded on the way."""

from pathlib import Path
from typing import Annotated

import tyro

from sae.config import Selection
from sae.monitor import Monitor

from ..defaults import LR
from .options import Device, pick_device

Features = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="CACHE", help="Folder of a feature cache; with --stream what `insight cache write` takes."),
]


def train(
    cache: Features,
    /,
    out: Path,
    stream: bool = False,
    backbone: str = "small",
    concepts: int | None = None,
    k: int | None = None,
    level_k: tuple[int, ...] = (),
    steps: int | None = None,
    batch_size: int = 4096,
    lr: float = LR,
    seed: int = 0,
    selection: Selection = "batch_topk",
    monitor: Monitor | None = None,
    device: Device = None,
) -> None:
    """Train a sparse autoencoder whose latents are the concepts (Matryoshka) on the patches of CACHE.

    With --stream there is no cache: insight train FOLDER --stream --out MODEL encodes the images of FOLDER while it
    trains, again in every pass unless all features fit into memory.

    Checkpoints lie in OUT/checkpoint; a killed run goes on exactly where it stopped when the same command is given
    again. Several processes share the work: torchrun --nproc-per-node 2 -m insight train ...

    Args:
        out: Folder to write the model to.
        stream: Encode images on the way instead of reading a cache.
        backbone: Encoder for --stream: `small`, `openclip:MODEL/PRETRAINED` or `timm:MODEL`.
        concepts: Size of the dictionary (default: by the size of the data, one concept for about 400 patches).
        k: Concepts active on a patch, on average (default: 8, or the sum of --level-k).
        level_k: How many of these each level has, coarse to fine, such as 1 1 2 3 4 5 (default: one budget for all).
        steps: Training steps (default: three passes over the features, at least 1,000 steps).
        batch_size: Patches a step.
        lr: Learning rate of Adam.
        seed: Seed of the initial weights and of the order of patches.
        selection: Which concepts are active on a patch; see docs/sae.md.
        monitor: Where else the log goes, if it is installed.
    """
    import torch

    from sae.distributed import local_device

    from ..backbones import load
    from ..cache import FeatureCache, StreamedFeatures
    from ..data import open_source
    from ..pipeline import train_dictionary

    place = pick_device(device)
    features: FeatureCache | StreamedFeatures
    if stream:
        encoder = load(backbone, device=str(local_device(torch.device(place))))
        features = StreamedFeatures(open_source(cache), encoder)
        print(f"{cache}: {features.n_images:,} images; training begins when the first of them are encoded", flush=True)
    else:
        features = FeatureCache.open(cache)
    train_dictionary(
        features,
        out,
        concepts=concepts,
        k=k,
        level_k=level_k,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        selection=selection,
        monitor=monitor,
        device=place,
    )
    if not stream:
        print(f"{out}: trained; next: insight relate {out} {cache}")
        return
    written = out.with_name(f"{out.name}-cache")
    print(
        f"{out}: trained; concepts are related from a cache, in one more pass: insight cache write {cache} --backbone"
        f" {backbone} --out {written} && insight relate {out} {written}"
    )
