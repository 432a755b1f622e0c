"""`insight train`: a dictionary of concepts from a feature cache, or from images that are encoded on the way."""

from typing import Annotated

import tyro

from sae.config import Selection
from sae.monitor import Monitor

from ..defaults import LR
from .options import BackboneName, Device, Flag, Folder, MaybeInt, pick_device

Features = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="CACHE", help="Folder of a feature cache; with --stream what `insight cache write` takes."),
]


def train(
    cache: Features,
    /,
    out: Folder,
    stream: Flag = False,
    backbone: BackboneName = "small",
    concepts: MaybeInt = None,
    k: MaybeInt = None,
    level_k: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT...", help_behavior_hint="")] = (),
    steps: MaybeInt = None,
    batch_size: int = 4096,
    lr: float = LR,
    seed: int = 0,
    selection: Selection = "batch_topk",
    monitor: Annotated[Monitor | None, tyro.conf.arg(help_behavior_hint="")] = None,
    device: Device = None,
) -> None:
    """Train a sparse autoencoder whose latents are the concepts (Matryoshka) on the patches of CACHE.

    With --stream there is no cache: insight train FOLDER --stream --out MODEL encodes the images of FOLDER while it
    trains, again in every pass unless all features fit into memory.

    Checkpoints lie in OUT/checkpoint; a killed run goes on exactly where it stopped when the same command is given
    again. Several processes share the work: torchrun --nproc-per-node 2 -m insight train ...

    Example: insight train model-cache --out model

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
        monitor: Where else the log goes, if it is installed (default: to OUT/training.jsonl alone).
    """
    from .inputs import check_at_least, check_positive, check_within
    from .outputs import OF_MODEL, check_folder

    check_at_least(1, concepts=concepts, k=k, steps=steps, batch_size=batch_size)
    check_at_least(0, seed=seed)
    check_positive(lr=lr)
    if concepts is not None:
        check_within(1, concepts, k=k)
    check_folder("--out", out, own=OF_MODEL, what="a model")

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
