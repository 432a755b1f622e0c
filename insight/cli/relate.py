"""`insight relate`: which concept belongs to which, and where each is strongest."""

from .options import Cache, Device, Model, pick_device


def relate(
    model: Model,
    cache: Cache,
    /,
    threshold: float = 0.75,
    min_support: int = 20,
    min_lift: float = 2.0,
    device: Device = None,
) -> None:
    """Encode the patches of CACHE once and write the concept graph and the strongest patches of each concept.

    Args:
        threshold: A concept's parents are those active on this share of its own (activation-weighted) patches.
        min_support: Concepts active on fewer patches get no parents.
        min_lift: A parent must be this many times likelier given the child than anywhere; 1 is the published rule.
    """
    from ..cache import FeatureCache
    from ..pipeline import relate_concepts

    graph = relate_concepts(
        model,
        FeatureCache.open(cache),
        threshold=threshold,
        min_support=min_support,
        min_lift=min_lift,
        device=pick_device(device),
    )
    print(f"{model}: {len(graph.parent_ids)} parents among {graph.n_concepts} concepts; next: insight name {model}")
