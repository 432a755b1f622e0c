"""Explanations made up for tests: fresh random maps over a small random photo."""

import numpy as np
from PIL import Image

from insight.explanation import ConceptEvidence, Explanation


def random_explanation(seed: int, *, concepts: int = 5, name: str = "beak") -> Explanation:
    """An explanation with `concepts` concepts on a 4 × 6 grid, sorted by activation as the real ones are."""
    rng = np.random.default_rng(seed)
    evidence = []
    for i in range(concepts):
        heat = rng.random((4, 6)).astype(np.float32) * (rng.random((4, 6)) < 0.5)
        heat[i % 4, i % 6] = rng.uniform(1, 2)
        evidence.append(
            ConceptEvidence(
                id=i,
                name=f"{name} {i}",
                score=0.75,
                alternatives=(("bill", 0.5), ("nose", 0.25)),
                level=i % 3,
                activation=float(heat.max()),
                map=heat,
                parents=(concepts,) if i else (),
                children=(),
            )
        )
    return Explanation(
        image="folder/photo.jpg",
        backbone="small",
        grid=(4, 6),
        fvu=float(rng.random()),
        concepts=tuple(sorted(evidence, key=lambda item: -item.activation)),
        photo=Image.fromarray(rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)),
        names={i: f"{name} {i}" for i in range(concepts + 1)},
        description="made up for a test",
    )
