"""From a word to what is to be explained: a concept model, a head, a fine-tuned model or an encoder alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..attribution import Explainable
    from ..backbones import Backbone


def read_explained(word: str, device: str) -> tuple[Explainable | Backbone, Backbone]:
    """The model and its encoder; folders win over names of models, and these over names of encoders."""
    from sae.errors import InsightError

    from ..backbones import load
    from ..data.place import NOTHING, found_at
    from ..heads import ConceptClassifier
    from ..methods.files import FACTS, load_method
    from ..model import ConceptModel
    from ..models import is_model

    folder = Path(word)
    if (folder / FACTS).exists():
        method = load_method(folder, device=device)
        return method, method.backbone
    if (folder / "head.json").exists():
        head = ConceptClassifier.load(folder, device=device)
        assert head.model is not None
        return head, head.model.backbone
    if is_model(word):
        model = ConceptModel.from_pretrained(word, device=device)
        return model, model.backbone
    if (found := found_at(folder)) != NOTHING:
        raise InsightError(
            f"{word}: expected a model, a head or a fine-tuned model (its folder), or an encoder by its name, found"
            f" {found} that is none of these"
        )
    backbone = load(word, device=device)
    return backbone, backbone
