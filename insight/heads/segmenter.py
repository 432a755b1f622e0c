"""ConceptSegmenter: the class of every pixel of a photo, from named concepts alone, by text or by training.

In: a `ConceptModel` and names of classes. Out: `Segmentation` of a photo of any size and shape; of plain codes, the
logits of every class.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image
from scipy.sparse import csr_array

from naming import TEMPLATES
from sae import SparseCodes
from sae.errors import InsightError

from ..backbones import DenseFeatures, FitPatches, encode_windows
from ..edits.shown import shown_as
from ..upsampling import LEARNED
from ..upsampling.to_pixels import Upsampler
from .activations import load_photo
from .class_texts import Classes, ClassWords, word_vectors
from .defaults import TEMPERATURE
from .pixels import LINEAR, Pixels
from .segmentation import Segmentation
from .surroundings import check_whole
from .token_head import TokenHead, as_rows, in_parts

if TYPE_CHECKING:
    from ..cache import FeatureCache
    from ..model import ConceptModel


class ConceptSegmenter:
    """Segments photos with the concepts of a model.

    Open vocabulary until `fit` is called: the logit of a class on a patch is the cosine of the patch's reconstruction
    with the class's text, over `temperature`; trained, it is linear in the codes. Either way it
    is a sum over concepts, which `Segmentation` tells.

    Args:
        model: backbone, dictionary and names.
        classes: names, or {name: words that stand for it}; a class has the logit of its best word, because its words
            may look nothing alike ({"background": ("wall", "floor", "sky")}), and their mean would look like none of
            them. None: `fit` on a cache takes the cache's classes.
        templates: sentences around each word; its vector is the mean of their unit vectors, renormalised.
        temperature: of the cosines; the smaller, the surer. 0.01 is what CLIP learnt.
        background: None: every pixel gets a class; else the probability (0 to 1) below which a pixel is background.
        size: short side in pixels that a photo is seen at, its shape kept (None: the side of the square the encoder
            was made for). Larger shows more detail and takes more windows.
        window: side of the encoder's windows in pixels (None: its own square).
        stride: step from one window to the next (None: half a window).
        upsampling: "bilinear", "jbu" or what else `insight.upsampling.upsample` takes.

    `InsightError` for classes that are empty or collide, and settings out of range.
    """

    def __init__(
        self,
        model: ConceptModel,
        classes: Classes | None = None,
        *,
        templates: Sequence[str] = TEMPLATES,
        temperature: float = TEMPERATURE,
        background: float | None = None,
        size: int | None = None,
        window: int | None = None,
        stride: int | None = None,
        upsampling: str | Upsampler = "bilinear",
    ) -> None:
        self.model = model
        self.class_words = None if classes is None else ClassWords.read(classes)
        self.templates = templates if isinstance(templates, str) else tuple(templates)
        self.temperature, self.background = temperature, background
        self.size, self.window, self.stride, self.upsampling = size, window, stride, upsampling
        self._check()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in order. `InsightError` as long as none are known."""
        if self.class_words is None:
            raise InsightError("segmenter: has no classes yet; give some, or fit it on a cache with patch classes")
        return self.class_words.names

    @cached_property
    def head(self) -> TokenHead:
        """From codes to logits: by text, unless `fit` put a trained one here."""
        _ = self.classes
        assert self.class_words is not None
        vectors = word_vectors(self.model.backbone, self.class_words, self.templates).numpy()
        return TokenHead.of_text(self.model.sae, vectors, self.class_words.class_of_word.numpy(), self.temperature)

    @property
    def trained(self) -> bool:
        """Whether the head was fitted; else it is of text."""
        return "head" in self.__dict__ and self.head.directions is None

    def token_logits(
        self, codes: SparseCodes | csr_array, grid: tuple[int, int] | None = None
    ) -> Float32[torch.Tensor, "n C"]:
        """The logits of all classes on patches with these codes [n, m], on the CPU.

        grid: (h, w) of the whole images that they are, one after the other: a head that learnt from surroundings needs
        to know. `InsightError` where it does not, or where the codes are no whole images.
        """
        head = self.head
        rows = as_rows(codes, head.n_concepts)
        if grid is not None:
            check_whole(rows, grid)
        elif head.around is not None:
            raise InsightError("token_logits: this head reads what stands around a patch; give the grid of the images")
        logits = np.empty((rows.shape[0], head.n_classes), np.float32)
        for first, part in in_parts(rows, 1 if grid is None else grid[0] * grid[1]):
            logits[first : first + part.shape[0]] = head.best_words(head.word_logits(part, grid))
        return torch.from_numpy(logits)

    @torch.no_grad()
    def predict(self, image: Path | str | Image.Image, features: DenseFeatures | None = None) -> Segmentation:
        """The classes of a photo: a path, or a PIL image of any mode (`insight.data.decode` says what becomes of it).

        features: of the whole photo, where they are there already; the encoder does not run then.
        `BadImage` where there is no picture, `InsightError` for one so long and thin that it does not fit into memory.
        """
        head = self.head
        photo = load_photo(image)
        if features is None:
            backbone = self.model.backbone
            fitted = FitPatches(self.size or backbone.image_size, backbone.patch)(photo)
            features = encode_windows(backbone, fitted.to(self.model.device), self.window, self.stride)
        codes = self.model.sae.encode(features.patches[0].float())
        return Segmentation(
            image="image" if isinstance(image, Image.Image) else str(image),
            photo=photo,
            classes=self.classes,
            codes=as_rows(codes, head.n_concepts),
            head=head,
            pixels=Pixels(features.grid, photo.size[::-1], self.upsampling, photo),
            titles=self._titles,
            background=self.background,
            backbone=self.model.config["backbone"]["name"],
        )

    def fit(
        self,
        X: FeatureCache | Path | str | SparseCodes | csr_array,
        y: Any = None,
        *,
        alpha: float = 1e-3,
        l1_ratio: float = 0.99,
        class_weight: Literal["balanced"] | None = None,
        surroundings: bool = True,
        grid: tuple[int, int] | None = None,
        most_patches: int = 200_000,
        random_state: int = 0,
        max_iter: int = 1000,
    ) -> ConceptSegmenter:
        """Learn a linear head on the codes of patches (`insight.heads.linear.fit_linear`), and return itself.

        X: a feature cache with patch classes (or its path), of which the classes of the segmenter are used, all that
        have patches where it has none yet; or codes [n, m] with y: int [n], places in `classes`, -1 for patches without
        a class, which are left out. class_weight "balanced": patches weigh as if all classes had as many. Of more than
        `most_patches` a random part is used. alpha, l1_ratio: of the penalty.

        surroundings: a patch is also read by the mean codes of the 3 × 3 patches around it, which tells an object's
        inside from its rim. Codes need `grid`, (h, w) of the whole images that they are, for it; without, each patch is
        read by itself.

        `InsightError` for fewer than two classes with patches, classes the cache does not have, and what does not fit.
        """
        from .segmenter_training import fit_head, patches_of_cache, patches_of_codes

        n_concepts = self.model.sae.n_concepts
        if isinstance(X, SparseCodes | csr_array):
            grid = grid if surroundings else None
            patches = patches_of_codes(X, y, len(self.classes), n_concepts, grid, most_patches, random_state)
            words = self.class_words
        else:
            if grid is not None:
                raise InsightError("fit: a cache knows its own grid; leave grid out")
            patches, words = patches_of_cache(
                X, y, self.class_words, self.model, surroundings, most_patches, random_state
            )
        assert words is not None
        fit = fit_head(patches, words.names, alpha, l1_ratio, class_weight, max_iter)
        head = TokenHead.of_fit(fit, n_concepts)
        self.class_words, self.head = words, head
        return self

    def save(self, folder: Path | str, *, model_place: Path | str | None = None) -> None:
        """Write a trained segmenter as `segmenter.json` and `segmenter.safetensors`. `model_place`: where `load` shall
        look for the model. `InsightError` for one of text, which is its classes and nothing else."""
        from .segmenter_file import save_segmenter

        save_segmenter(self, Path(folder), None if model_place is None else str(model_place))

    @classmethod
    def load(
        cls, folder: Path | str, model: ConceptModel | Path | str | None = None, **settings: Any
    ) -> ConceptSegmenter:
        """Read what `save` wrote. `model`: the model it is of, or where it is (default: where the head remembers it).

        `settings`: background, size, window, stride, upsampling in place of those that were saved. `InsightError` for
        damaged files, and for a model whose backbone or dictionary is not that of the head.
        """
        from .segmenter_file import load_segmenter

        return load_segmenter(cls, Path(folder), model, settings)

    @property
    def _titles(self) -> tuple[str | None, ...]:
        """What each concept is shown as; None for those that an edit hides."""
        concepts = self.model.concepts
        return tuple(None if shown < 0 else concepts[shown].guessed for shown in shown_as(concepts).tolist())

    def _check(self) -> None:
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise InsightError(f"temperature: expected a number above 0, found {self.temperature}")
        if self.background is not None and not 0 <= self.background <= 1:
            raise InsightError(f"background: expected None or a probability from 0 to 1, found {self.background}")
        for what, value in (("size", self.size), ("window", self.window), ("stride", self.stride)):
            if value is not None and value < 1:
                raise InsightError(f"{what}: expected None or at least one pixel, found {value}")
        if isinstance(self.upsampling, str) and self.upsampling not in (*LINEAR, *LEARNED):
            known = ", ".join((*LINEAR, *LEARNED))
            raise InsightError(f"upsampling: expected {known} or a function, found {self.upsampling!r}")
