"""`insight relate`: which concept belongs to which, and where each is strongest."""

from .options import Cache, Device, MaybeInt, Model, pick_device


def relate(
    model: Model,
    cache: Cache,
    /,
    threshold: float = 0.75,
    min_support: int = 20,
    q: float = 0.05,
    min_lift: float = 2.0,
    most_partners: MaybeInt = None,
    device: Device = None,
) -> None:
    """Encode the patches of CACHE once and write what they say of the concepts of MODEL.

    That is MODEL/evidence (which concepts fire together, in one image, in and beside each other's regions, and the mean
    features of each), the concept graph, and the strongest patches of each concept. Several processes share the images:
    torchrun --nproc-per-node 2 -m insight relate ...

    Example: insight relate model model-cache

    Args:
        threshold: A concept's parents are those active on this share of its own (activation-weighted) patches.
        min_support: Concepts active on fewer patches get no parents.
        q: Share of parents that may be chance, at most: the false discovery rate of their test over images.
        min_lift: A parent must cover the child this many times as often as it covers concepts like the child.
        most_partners: Keep so many partners of each concept, those met most; bounds the memory that large dictionaries
            take (default: all, in dictionaries of more than 16,384 concepts 512).
    """
    import os

    from ..models import own_folder

    folder = own_folder(model)  # that there is none is said before torch is loaded

    from ..cache import FeatureCache
    from ..pipeline import relate_concepts

    graph = relate_concepts(
        folder,
        FeatureCache.open(cache),
        threshold=threshold,
        min_support=min_support,
        q=q,
        min_lift=min_lift,
        most_partners=most_partners,
        device=pick_device(device),
    )
    if os.environ.get("RANK", "0") == "0":
        print(f"{model}: {len(graph.parent_ids)} parents among {graph.n_concepts} concepts; next: insight name {model}")
