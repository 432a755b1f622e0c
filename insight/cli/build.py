"""`insight build`: from a folder of photographs to a model, all steps in one."""

from ..defaults import LR, K
from .options import BackboneName, Device, Folder, MaybeFile, MaybeFolder, MaybeInt, Photos, pick_device


def build(
    folder: Photos,
    /,
    out: Folder,
    cache: MaybeFolder = None,
    backbone: BackboneName = "small",
    concepts: MaybeInt = None,
    k: int = K,
    steps: MaybeInt = None,
    lr: float = LR,
    seed: int = 0,
    vocabulary: MaybeFile = None,
    device: Device = None,
) -> None:
    """Cache the photos of FOLDER, train a dictionary on their patches, relate its concepts and name them.

    Finished steps are not done again, and a killed run goes on where it stopped: give the same command again. The
    steps alone, with all their settings, are `insight cache write`, `train`, `relate` and `name`.

    Example: insight build photos --out model

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
    from .inputs import check_at_least, check_positive, check_within
    from .outputs import OF_CACHE, OF_MODEL, check_folder

    features = cache or out.with_name(out.name + "-cache")
    check_at_least(1, concepts=concepts, k=k, steps=steps)
    check_at_least(0, seed=seed)
    check_positive(lr=lr)
    if concepts is not None:
        check_within(1, concepts, k=k)
    check_folder("--out", out, own=OF_MODEL, what="a model")
    check_folder("--cache", features, own=OF_CACHE, what="a feature cache")

    from ..pipeline import build_model

    build_model(
        folder,
        out,
        features,
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
