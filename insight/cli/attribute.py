"""`insight attribute`: where in a photo texts stand, by the published methods and by our concepts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from .dispatch import Command, Group
from .options import Device, Flag, MaybeFile, MaybeInt, pick_device

if TYPE_CHECKING:
    from ..attribution import Explainer
    from ..backbones import Backbone

Spec = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(
        metavar="MODEL",
        help="A model (its folder, or `small`), a head or a fine-tuned model (its folder), or an encoder by its name,"
        " such as openclip:ViT-B-16/laion2b_s34b_b88k.",
    ),
]
Photo = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGE", help="Photograph; its centre square.")]
Texts = Annotated[
    tyro.conf.Positional[tuple[str, ...]],
    tyro.conf.arg(
        metavar="TEXT...",
        help="What to look for; of a head or fine-tuned model its classes.",
        help_behavior_hint="(required)",
    ),
]
CaptumMethod = Literal["saliency", "input_x_gradient", "integrated_gradients", "occlusion"]


@dataclass(frozen=True)
class Asked:
    """What every method is given."""

    model: Spec
    image: Photo
    texts: Texts
    png: MaybeFile = None
    """File to draw to."""
    json: MaybeFile = None
    """File to write scores and maps to."""
    encoder: Flag = False
    """Of a concept model, ask its encoder alone: how like photo and text are, without concepts."""
    device: Device = None


On = Annotated[Asked, tyro.conf.arg(name="")]


def m2ib(on: On, layer: MaybeInt = None, beta: float = 0.1, steps: int = 10, samples: int = 10, seed: int = 0) -> None:
    """What has to get through for photo and text to match, patch by patch and word by word (M2IB).

    Example: insight attribute m2ib small photo.jpg "a dog" grass --png maps.png

    Args:
        layer: Block behind which the bottleneck stands, counted from 0 (default: three quarters of the depth).
        beta: Weight of the information against the match; larger keeps less.
        steps: Steps of the optimisation.
        samples: Noisy copies of each pair.
        seed: Of the noise.
    """
    _attribute(on, "m2ib", layer=layer, beta=beta, steps=steps, samples=samples, seed=seed)


def relevance(on: On) -> None:
    """Attention of the last block, weighted by what the score gains from it.

    Example: insight attribute relevance small photo.jpg "a dog" --png maps.png
    """
    _attribute(on, "relevance")


def gradcam(on: On, layer: MaybeInt = None) -> None:
    """Grad-CAM on the tokens of patches.

    Example: insight attribute gradcam small photo.jpg "a dog" --png maps.png

    Args:
        layer: The tokens that go into this block (default: into the last).
    """
    _attribute(on, "gradcam", layer=layer)


def rise(on: On, masks: int = 1000, seed: int = 0) -> None:
    """Cover random parts of the photo and see what the score needs (RISE).

    Example: insight attribute rise small photo.jpg "a dog" --png maps.png

    Args:
        masks: How many; each is a forward pass.
        seed: Of the masks.
    """
    _attribute(on, "rise", masks=masks, seed=seed)


def similarity(on: On) -> None:
    """Cosine of each patch with the text.

    Example: insight attribute similarity small photo.jpg "a dog" --png maps.png
    """
    _attribute(on, "similarity")


def concepts(on: On) -> None:
    """The text's likeness to what the concepts of each patch make of it: ours, at the cost of a forward pass.

    Example: insight attribute concepts small photo.jpg "a dog" --png maps.png
    """
    from sae.errors import InsightError

    from ..models import is_model

    if not is_model(on.model):
        raise InsightError(
            f"{on.model}: expected a concept model (its folder, or `small`) to ask for its concepts, found none; an"
            " encoder alone is asked by the other methods"
        )
    _attribute(on, "concepts")


def captum(on: On, method: CaptumMethod = "integrated_gradients") -> None:
    """One of captum's attributions, pixel by pixel (`pip install 'insight-concepts[methods]'`).

    Example: insight attribute captum small photo.jpg "a dog" --png maps.png

    Args:
        method: Which of them.
    """
    _attribute(on, f"captum:{method}")


METHODS = (concepts, similarity, relevance, gradcam, m2ib, rise, captum)
SUBCOMMANDS: dict[str, Command] = {f.__name__: f for f in METHODS}
GROUP = Group("Say where in a photo texts stand, by one of the published methods or by our concepts.", SUBCOMMANDS)


def _attribute(on: Asked, method: str, **settings: Any) -> None:
    """Maps of the texts, to the files that were asked for or to the screen."""
    from sae.errors import InsightError

    from .inputs import check_photos
    from .outputs import check_file

    if not on.texts or not all(text.strip() for text in on.texts):
        found = "an empty one" if on.texts else "none"
        usage = "insight attribute METHOD MODEL IMAGE TEXT..."
        raise InsightError(f"expected at least one text to look for, found {found}; usage: {usage}")
    check_file("--png", on.png, ".png")
    check_file("--json", on.json, ".json")
    check_photos([on.image])

    import torch

    from ..attribution import scorer_of
    from ..data.decode import decode
    from ..model import PHOTO_PIXELS
    from ..render.maps_figure import draw_maps

    explainer, model, backbone = _read(on, method, settings)
    photo = decode(on.image)
    transform = backbone.transform
    image = transform(photo)[None].to(backbone.colour_mean.device)
    scorer = scorer_of(backbone if on.encoder else model, on.texts)
    with torch.no_grad():
        scores = scorer(image)[0].tolist()
    maps = explainer.maps(scorer, image)[0].detach().cpu()
    words = _words(explainer, backbone, image, on.texts) if scorer.vectors is not None else [None] * len(on.texts)
    if on.json:
        _write(on, explainer.name, backbone.name, scores, maps, words)
    if on.png:
        view = transform.view(photo, PHOTO_PIXELS)
        strongest = [f" · {_strongest(said)}" if said else "" for said in words]
        notes = [f"score {score:.3f}{more}" for score, more in zip(scores, strongest)]
        caption = f"{explainer.name} of {on.model}" + (" (encoder alone)" if on.encoder else "")
        _draw(on.png, lambda path: draw_maps(view, maps.numpy(), on.texts, notes, caption, path))
    if not (on.json or on.png):
        for text, score, one, said in zip(on.texts, scores, maps, words):
            row, column = divmod(int(one.argmax()), one.shape[1])
            height, width = one.shape
            place = f"{(column + 0.5) / width:.0%} from the left, {(row + 0.5) / height:.0%} from the top"
            print(f"{text}: score {score:.4f}, strongest {place}" + (f"; {_strongest(said)}" if said else ""))


def _read(on: Asked, method: str, settings: dict[str, Any]) -> tuple[Explainer, Any, Backbone]:
    """The method, and the model and encoder that it is asked of."""
    from ..attribution import ConceptMaps, explainer
    from ..model import ConceptModel
    from .explained import read_explained

    if method == "concepts":
        model = ConceptModel.from_pretrained(on.model, device=pick_device(on.device))
        return ConceptMaps(model), model, model.backbone
    asked = explainer(method, **settings)  # a wrong setting is said before an encoder is loaded
    return asked, *read_explained(on.model, pick_device(on.device))


def _words(explainer: Explainer, backbone: Backbone, image: Any, texts: tuple[str, ...]) -> list[Any]:
    """What M2IB says of the words of each text; None by other methods, and where the text tower cannot be cut."""
    from sae.errors import InsightError

    from ..attribution import M2IB

    if not isinstance(explainer, M2IB):
        return [None] * len(texts)
    try:
        return list(explainer.text_maps(backbone, image.expand(len(texts), -1, -1, -1), texts))
    except InsightError:
        return [None] * len(texts)


def _strongest(said: Any) -> str:
    """The three pieces of a text that count most."""
    best = said.scores.argsort(descending=True)[:3].tolist()
    return "words: " + ", ".join(f"{said.pieces[i]} {float(said.scores[i]):.2f}" for i in best)


def _write(on: Asked, method: str, backbone: str, scores: list[float], maps: Any, words: list[Any]) -> None:
    from sae.files import write_json

    texts = [
        {
            "text": text,
            "score": round(score, 6),
            "map": [[round(float(value), 6) for value in row] for row in one],
            **({} if said is None else {"words": [[p, round(float(s), 6)] for p, s in zip(said.pieces, said.scores)]}),
        }
        for text, score, one, said in zip(on.texts, scores, maps, words)
    ]
    about = {"image": str(on.image), "model": on.model, "encoder_alone": on.encoder, "backbone": backbone}
    assert on.json is not None
    write_json(on.json, {**about, "method": method, "grid": [*maps.shape[1:]], "texts": texts})


def _draw(path: Path, draw: Any) -> None:
    from sae.files import atomic_write

    with atomic_write(path) as temporary:
        draw(temporary)
