"""Attributions of the captum library on pixels, for comparison: `captum:METHOD`.

In: a scorer and photos. Out: a value a pixel. captum is imported when maps are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from sae.errors import InsightError

from ..backbones.names import meant
from .at_rest import at_rest
from .explainer import Explainer
from .scorer import Scorer

METHODS = ("saliency", "input_x_gradient", "integrated_gradients", "occlusion")
AT_ONCE = 32
"""Photos in one forward pass of integrated gradients and occlusion, or as many as were given if these are more."""


@dataclass(frozen=True)
class Captum(Explainer):
    """One of captum's methods. Colours are counted from the backbone's mean colour, which is therefore the baseline.

    method: of `METHODS`. "saliency": Σ_c |∂s/∂x_c| over the three colours; "input_x_gradient" and
    "integrated_gradients": |Σ_c a_c|, without sign, so a pixel that speaks against the text counts as one that speaks
    for it; "occlusion": by how much the score falls when squares of 2 × 2 patches, a patch apart, are covered, with its
    sign. steps: of integrated gradients. Each text is followed by itself: cost grows with the texts, memory does not.

    `InsightError` for an unknown method, and, when maps are asked for, without captum.
    """

    method: str
    steps: int = 50

    name: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            found = f"{self.method!r}{meant(self.method, METHODS)}"
            raise InsightError(f"captum: expected a method of {', '.join(METHODS)}, found {found}")
        if self.steps < 1:
            raise InsightError(f"captum: steps must be at least 1, found {self.steps}")
        object.__setattr__(self, "name", f"captum:{self.method}")

    def maps(self, scorer: Scorer, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T H W"]:
        """At the size of the photos."""
        captum, backbone = _captum(), scorer.backbone
        mean = backbone.colour_mean
        with at_rest(backbone), torch.enable_grad():
            attribute = self._method(captum, lambda shifted: scorer(shifted + mean), images, backbone.patch)
            shifted = (images.detach() - mean).requires_grad_()
            found = [attribute(shifted, target=text).detach() for text in range(len(scorer.texts))]
        attributions = torch.stack(found, dim=1)
        if self.method == "occlusion":
            return attributions.mean(2)  # the three colours are covered together and have the same value
        return attributions.abs().sum(2) if self.method == "saliency" else attributions.sum(2).abs()

    def _method(
        self, captum: ModuleType, score: Callable[[Tensor], Tensor], images: Tensor, patch: int
    ) -> Callable[..., Tensor]:
        """captum's method with everything but photos and target said."""
        if self.method == "saliency":
            return captum.Saliency(score).attribute
        if self.method == "input_x_gradient":
            return captum.InputXGradient(score).attribute
        if self.method == "integrated_gradients":
            method, most = captum.IntegratedGradients(score), max(AT_ONCE, len(images))
            return partial(method.attribute, n_steps=self.steps, internal_batch_size=most)
        window = (3, *(min(2 * patch, side) for side in images.shape[-2:]))
        together = max(1, AT_ONCE // len(images))
        method = captum.Occlusion(score)
        return torch.no_grad()(
            partial(
                method.attribute,
                sliding_window_shapes=window,
                strides=(3, patch, patch),
                perturbations_per_eval=together,
            )
        )


def _captum() -> ModuleType:
    try:
        import captum.attr
    except ImportError as error:
        raise InsightError(
            f"captum's methods need captum, which cannot be imported ({error}); pip install 'insight-concepts[methods]'"
        ) from None
    return captum.attr
