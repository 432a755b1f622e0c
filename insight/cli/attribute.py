"""`insight attribute`: where in a photo texts stand, by the published methods and by our concepts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import tyro

from .options import Device, pick_device

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
    tyro.conf.arg(metavar="TEXT...", help="What to look for; of a head or fine-tuned model its classes."),
]
CaptumMethod = Literal["saliency", "input_x_gradient", "integrated_gradients", "occlusion"]


@dataclass(frozen=True)
class Asked:
    """What every method is given."""

    model: Spec
    image: Photo
    texts: Texts
    png: Path | None = None
    """File to draw to."""
    json: Path | None = None
    """File to write scores and maps to."""
    encoder: bool = False
    """Of a concept model, ask its encoder alone: how like photo and text are, without concepts."""
    device: Device = None


On = Annotated[Asked, tyro.conf.arg(name="")]


def m2ib(
    on: On, layer: int | None = None, beta: float = 0.1, steps: int = 10, samples: int = 10, seed: int = 0
) -> None:
    """What has to get through for photo and text to match, patch by patch and word by word (M2IB).

    Args:
        layer: Block behind which the bottleneck stands, counted from 0 (default: three quarters of the depth).
        beta: Weight of the information against the match; larger keeps less.
        steps: Steps of the optimisation.
        samples: Noisy copies of each pair.
        seed: Of the noise.
    """
    from ..attribution import explainer

    found = explainer("m2ib", layer=layer, beta=beta, steps=steps, samples=samples, seed=seed)
    _attribute(on, found)


def relevance(on: On) -> None:
    """Attention of the last block, weighted by what the score gains from it."""
    from ..attribution import explainer

    _attribute(on, explainer("relevance"))


def gradcam(on: On, layer: int | None = None) -> None:
    """Grad-CAM on the tokens of patches.

    Args:
        layer: The tokens that go into this block (default: into the last).
    """
    from ..attribution import explainer

    _attribute(on, explainer("gradcam", layer=layer))


def rise(on: On, masks: int = 1000, seed: int = 0) -> None:
    """Cover random parts of the photo and see what the score needs (RISE).

    Args:
        masks: How many; each is a forward pass.
        seed: Of the masks.
    """
    from ..attribution import explainer

    _attribute(on, explainer("rise", masks=masks, seed=seed))


def similarity(on: On) -> None:
    """Cosine of each patch with the text."""
    from ..attribution import explainer

    _attribute(on, explainer("similarity"))


def concepts(on: On) -> None:
    """The text's likeness to what the concepts of each patch make of it: ours, at the cost of a forward pass."""
    from sae.errors import InsightError

    from ..attribution import ConceptMaps
    from ..model import ConceptModel
    from ..models import is_model

    if not is_model(on.model):
        raise InsightError(f"{on.model}: expected a concept model (its folder, or `small`) to ask for its concepts")
    _attribute(on, ConceptMaps(ConceptModel.from_pretrained(on.model, device=pick_device(on.device))))


def captum(on: On, method: CaptumMethod = "integrated_gradients") -> None:
    """One of captum's attributions, pixel by pixel (`pip install 'insight-concepts[methods]'`).

    Args:
        method: Which of them.
    """
    from ..attribution import explainer

    _attribute(on, explainer(f"captum:{method}"))


SUBCOMMANDS = {f.__name__: f for f in (m2ib, relevance, gradcam, rise, similarity, concepts, captum)}
_Chosen: Any = Union[  # noqa: UP007
    tuple(
        Annotated[Any, tyro.conf.subcommand(name, constructor=command, prefix_name=False)]
        for name, command in SUBCOMMANDS.items()
    )
]


def attribute(subcommand: Annotated[_Chosen, tyro.conf.arg(name="")]) -> None:
    """Say where in a photo texts stand. Each method has its own settings: `insight attribute m2ib --help`."""


def _attribute(on: Asked, explainer: Explainer) -> None:
    """Maps of the texts, to the files that were asked for or to the screen."""
    import torch
    from PIL import Image

    from sae.errors import InsightError

    from ..attribution import ConceptMaps, scorer_of
    from ..data.decode import decode
    from ..data.place import FILE, found_at
    from ..model import PHOTO_PIXELS
    from ..render.maps_figure import draw_maps

    if not on.texts:
        usage = "insight attribute METHOD MODEL IMAGE TEXT..."
        raise InsightError(f"expected at least one text to look for, found none; usage: {usage}")
    if (found := found_at(on.image)) != FILE:
        raise InsightError(f"{on.image}: expected a photo, found {found}; check the path")
    if isinstance(explainer, ConceptMaps):
        model: Any = explainer.model
        backbone: Backbone = model.backbone
    else:
        model, backbone = _read(on)
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
        side = min(PHOTO_PIXELS, *photo.size)
        view = photo.resize((side, side), Image.Resampling.LANCZOS, box=transform.box(*photo.size))
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


def _read(on: Asked) -> tuple[Any, Backbone]:
    from .explained import read_explained

    return read_explained(on.model, pick_device(on.device))


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
