"""All that one pass over codes and features leaves for relations and names: the evidence, of bounded size.

In: codes and features of whole images, chunk by chunk. Out: pairs on one token, in one image and between regions; where
each concept is strongest; its mean features. Passes over other images merge; a folder of npz files holds it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae import SparseCodes
from sae.errors import InsightError
from sae.files import read_json, write_json

from .components import require_whole_images
from .cooccurrence import Cooccurrence
from .exemplars import Exemplars
from .features import FeatureMeans
from .peaks import image_codes, strongest_of_image
from .regions import RegionPairs

PARTS = ("tokens", "images", "regions", "exemplars", "examples", "features")
_REMEDY = "gather it again (`insight relate`)"


class Evidence:
    """Streaming evidence on m concepts over images of one grid of patches, h · w tokens each; d features a token.

    `most_partners`: how many partners of each concept the pairs keep (default: all that met); what that misses is
    bounded, see `Cooccurrence` and `RegionPairs`. With 512 at m = 65,536 and d = 768 everything held is about 6 GB, and
    up to 15 GB while sums are merged, for 10^9 tokens as for any number.
    """

    tokens: Cooccurrence
    """Pairs on one token."""
    images: Cooccurrence
    """Pairs in one image: the same over each image's largest activations; its `tokens` are images."""
    regions: RegionPairs
    """Pairs of regions: on each other, covering each other, beside each other."""
    exemplars: Exemplars
    """The 30 strongest tokens of each concept, as published."""
    examples: Exemplars
    """The strongest token of each of the 30 images in which a concept is strongest: to be looked at."""
    features: FeatureMeans
    """Mean features of each concept's tokens, by fold of images."""

    def __init__(self, n_concepts: int, grid: tuple[int, int], dim: int, *, most_partners: int | None = None) -> None:
        self.n_concepts, self.grid, self.dim = n_concepts, (int(grid[0]), int(grid[1])), dim
        self.most_partners = most_partners
        self.images_seen = 0
        self.tokens = Cooccurrence(n_concepts, most_partners=most_partners)
        self.images = Cooccurrence(n_concepts, most_partners=most_partners)
        self.regions = RegionPairs(n_concepts, grid, most_partners=most_partners)
        self.exemplars = Exemplars(n_concepts)
        self.examples = Exemplars(n_concepts)
        self.features = FeatureMeans(n_concepts, dim)

    def update(self, codes: SparseCodes, features: Tensor, first_image: int) -> None:
        """Add whole images, numbers `first_image` and following, h · w rows each; features float [n, d].

        Each image must be given once. `InsightError` where rows are not whole images or sizes are others.
        """
        images = require_whole_images(codes, self.grid)
        per_image = self.grid[0] * self.grid[1]
        codes = codes.to("cpu")
        image_of_row = torch.arange(codes.n) // per_image
        self.features.update(codes, features, image_of_row + first_image)
        peaks = strongest_of_image(codes, per_image)
        first_token = first_image * per_image
        self.tokens.update(codes)
        self.images.update(image_codes(peaks, per_image))
        self.regions.update(codes)
        self.exemplars.update(codes, first_token)
        self.examples.update(peaks, first_token)
        self.images_seen += images

    def merge(self, other: Evidence) -> None:
        """Add a pass over other images; `other` keeps its own."""
        if other._about() != self._about():
            raise InsightError(f"Evidence: expected {self._about()} as here, found {other._about()}")
        for name in PARTS:
            getattr(self, name).merge(getattr(other, name))
        self.images_seen += other.images_seen

    def save(self, folder: Path | str) -> None:
        """Write tokens, images, regions, exemplars, examples and features as .npz, each whole or not at all.

        `evidence.json` goes first and comes back last: a folder without it was not finished.
        """
        folder = Path(folder)
        (folder / "evidence.json").unlink(missing_ok=True)
        for name in PARTS:
            getattr(self, name).save(folder / f"{name}.npz")
        write_json(folder / "evidence.json", {**self._about(), "images": self.images_seen})

    @classmethod
    def load(cls, folder: Path | str) -> Evidence:
        """Read what `save` wrote; `InsightError` names what is missing or damaged."""
        folder = Path(folder)
        path = folder / "evidence.json"
        if not path.exists():
            raise InsightError(f"{folder}: expected finished evidence, found no evidence.json; {_REMEDY}")
        about = read_json(path)
        try:
            height, width = about["grid"]
            loaded = cls(about["n_concepts"], (height, width), about["dim"], most_partners=about["most_partners"])
            loaded.images_seen = int(about["images"])
        except (InsightError, KeyError, TypeError, ValueError) as error:
            raise InsightError(f"{path}: expected what describes evidence, found {error!r}; {_REMEDY}") from None
        loaded.tokens = Cooccurrence.load(folder / "tokens.npz")
        loaded.images = Cooccurrence.load(folder / "images.npz")
        loaded.regions = RegionPairs.load(folder / "regions.npz")
        loaded.exemplars = Exemplars.load(folder / "exemplars.npz")
        loaded.examples = Exemplars.load(folder / "examples.npz")
        loaded.features = FeatureMeans.load(folder / "features.npz")
        parts = {name: getattr(loaded, name) for name in PARTS}
        sizes = {name: part.n_concepts for name, part in parts.items()}
        sizes |= {"grid": loaded.regions.grid, "dim": loaded.features.dim}
        expected = dict.fromkeys(PARTS, loaded.n_concepts) | {"grid": loaded.grid, "dim": loaded.dim}
        bounds = {parts[name].most_partners for name in ("tokens", "images", "regions")}
        if sizes != expected or bounds != {loaded.most_partners}:
            found = f"{sizes}, most_partners {bounds}"
            raise InsightError(f"{folder}: expected {loaded._about()} in all files, found {found}; {_REMEDY}")
        return loaded

    def _about(self) -> dict[str, Any]:
        """What two passes must share to be merged."""
        about = {"n_concepts": self.n_concepts, "grid": list(self.grid), "dim": self.dim}
        return {**about, "most_partners": self.most_partners}
