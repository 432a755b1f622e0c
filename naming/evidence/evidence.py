"""All that one pass over codes and features leaves for relations and names: the evidence, of bounded size.

In: codes and features of whole images, chunk by chunk. Out: pairs on one token, in one image and between regions; where
each concept is strongest; its mean features. Passes over other images merge; a folder of npz files holds it.
"""

from __future__ import annotations

from pathlib import Path

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

_REMEDY = "gather it again (`insight relate`)"


class Evidence:
    """Streaming evidence on m concepts over images of one grid."""

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
        if (other.n_concepts, other.grid, other.dim) != (self.n_concepts, self.grid, self.dim):
            expected = f"{self.n_concepts} concepts on {self.grid} with {self.dim} features"
            found = f"{other.n_concepts} on {other.grid} with {other.dim}"
            raise InsightError(f"Evidence: expected {expected}, found {found}")
        self.tokens.merge(other.tokens)
        self.images.merge(other.images)
        self.regions.merge(other.regions)
        self.exemplars.merge(other.exemplars)
        self.examples.merge(other.examples)
        self.features.merge(other.features)
        self.images_seen += other.images_seen

    def save(self, folder: Path | str) -> None:
        """Write tokens, images, regions, exemplars, examples and features as .npz, each whole or not at all.

        `evidence.json` goes first and comes back last: a folder without it was not finished.
        """
        folder = Path(folder)
        (folder / "evidence.json").unlink(missing_ok=True)
        for name in ("tokens", "images", "regions", "exemplars", "examples", "features"):
            getattr(self, name).save(folder / f"{name}.npz")
        about = {"n_concepts": self.n_concepts, "grid": self.grid, "dim": self.dim, "images": self.images_seen}
        write_json(folder / "evidence.json", {**about, "most_partners": self.most_partners})

    @classmethod
    def load(cls, folder: Path | str) -> Evidence:
        """Read what `save` wrote; `InsightError` names what is missing or damaged."""
        folder = Path(folder)
        about = read_json(folder / "evidence.json")
        try:
            height, width = about["grid"]
            partners = about["most_partners"]
            loaded = cls(about["n_concepts"], (height, width), about["dim"], most_partners=partners)
            loaded.images_seen = int(about["images"])
        except (KeyError, TypeError, ValueError) as error:
            path = folder / "evidence.json"
            raise InsightError(f"{path}: expected what describes evidence, found {error!r}; {_REMEDY}") from None
        loaded.tokens = Cooccurrence.load(folder / "tokens.npz")
        loaded.images = Cooccurrence.load(folder / "images.npz")
        loaded.regions = RegionPairs.load(folder / "regions.npz")
        loaded.exemplars = Exemplars.load(folder / "exemplars.npz")
        loaded.examples = Exemplars.load(folder / "examples.npz")
        loaded.features = FeatureMeans.load(folder / "features.npz")
        for name in ("tokens", "images", "regions", "exemplars", "examples", "features"):
            found = getattr(loaded, name).n_concepts
            if found != loaded.n_concepts:
                expected = f"{loaded.n_concepts} concepts as in evidence.json"
                raise InsightError(f"{folder / name}.npz: expected {expected}, found {found}; {_REMEDY}")
        return loaded
