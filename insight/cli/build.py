"""`insight build`: from a folder of photographs to a model, all steps in one."""

from pathlib import Path

from ..defaults import LR, K
from .options import Device, Photos, pick_device


def build(
    folder: Photos,
    /,
    out: Path,
    cache: Path | None = None,
    backbone: str = "small",
    concepts: int | None = None,
    k: int = K,
    steps: int | None = None,
    lr: float = LR,
    seed: int = 0,
    vocabulary: Path | None = None,
    device: Device = None,
) -> None:
    """Cache the photos of FOLDER, train a dictionary on their patches, relate its concepts and name them.

    Finished steps are not done again, and a killed run goes on where it stopped: give the same command again. The
    steps alone, with all their settings, are `insight cache write`, `train`, `relate` and `name`.

    Args:
        out: Folder to write the model to.
        cache: Folder of the feature cache (default: beside the model, OUT-cache).
        backbone: Encoder: `small` or `openclip:MODEL/PRETRAINED`.
        concepts: Size of the dictionary (default: by the size of the data, one concept for about 400 patches).
        k: Concepts active on a patch, on average.
        steps: Training steps (default: three passes over the cache, at least 1,000 steps).
        lr: Learning rate of Adam.
        seed: Seed of everything random.
        vocabulary: Text file with a word or phrase a line (default: the shipped list of over 20,000).
    """
    from ..pipeline import build_model

    build_model(
        folder,
        out,
        cache or out.with_name(out.name + "-cache"),
        backbone=backbone,
        concepts=concepts,
        k=k,
        steps=steps,
        lr=lr,
        seed=seed,
        vocabulary=vocabulary,
        device=pick_device(device),
    )
    print(f"{out}: ready; next: insight explain {out} PHOTO --html explanation.html")
