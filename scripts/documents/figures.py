"""The pictures of docs/explained.md. In: the model `small`, photographs of the demo. Out: JPEG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from insight import ConceptModel, Explanation
from insight.backbones import CentreSquare
from insight.cache import FeatureCache
from insight.examples import Example, crop
from insight.heads import ConceptClassifier
from insight.render.figure import spotlight

CLASSES = ["bird", "house", "dog", "flower"]
FOR, AGAINST, GREY = "#0072b2", "#d55e00", "#9a9a9a"
ENLARGED = 360


def patches(model: ConceptModel, photo: Path, out: Path) -> None:
    """A photo, the grid of its patches, and one patch as the vector that the encoder makes of it."""
    found = model.explain(photo, top=1)
    view = found.photo.resize((ENLARGED, ENLARGED), Image.Resampling.LANCZOS)
    features = model.backbone.encode_image(model.backbone.transform(found.photo)[None]).patches[0]
    rows, columns = found.grid
    row, column = 4, 5
    figure = Figure(figsize=(9, 3.1), dpi=100, layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.6))
    for axis, title in zip(axes, ("a photograph", f"{rows} × {columns} patches", "one patch: 384 numbers")):
        axis.set_title(title, fontsize=10)
    for axis in axes[:2]:
        axis.imshow(view)
        axis.set_axis_off()
    step = ENLARGED / columns
    for place in range(1, columns):
        axes[1].axhline(place * step, color="white", lw=0.6)
        axes[1].axvline(place * step, color="white", lw=0.6)
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]) * step + (column * step, row * step)
    axes[1].plot(*square.T, color=AGAINST, lw=2.5)
    axes[2].bar(range(features.shape[1]), features[row * columns + column], width=1, color="#555")
    axes[2].set(xlim=(0, features.shape[1]), yticks=[])
    axes[2].spines[["top", "right", "left"]].set_visible(False)
    _save(figure, out)


def concepts(model: ConceptModel, photo: Path, out: Path) -> None:
    """A photo and where its five strongest concepts stand."""
    found = model.explain(photo, top=5)
    _save(_maps(found, [(c.map, f"{c.name}, {c.activation:.2f}") for c in found.concepts], columns=3), out)


def levels(model: ConceptModel, photo: Path, out: Path) -> None:
    """Of each level the concept that is strongest in a photo, and what the levels up to it leave unexplained."""
    found = model.explain(photo, top=None)
    features = model.backbone.encode_image(model.backbone.transform(found.photo)[None]).patches[0].float()
    codes = model.sae.encode(features)
    whole = (features - model.sae.decoder_bias).square().sum()
    panels = []
    for level, size in enumerate(model.sae.config.levels):
        strongest = next(concept for concept in found.concepts if concept.level == level)
        left = float((features - model.sae.decode(codes, level=level)).square().sum() / whole)
        panels.append((strongest.map, f"level {level}: {strongest.name}\n{size:,} concepts leave {left:.0%}"))
    _save(_maps(found, panels, columns=4), out)


def relations(model: ConceptModel, cache: FeatureCache, photos: Path, out: Path) -> None:
    """Three generations of concepts, each with the patches of the demo's photographs where it is strongest."""
    child = next(c.id for c in model.concepts if c.name == "chicken" and len(model.relations.parents(c.id)))
    line = [child]
    while len(parents := model.relations.parents(line[-1])):
        line.append(int(parents[0]))
    line.reverse()
    figure = Figure(figsize=(8.4, 1.55 * len(line)), dpi=100, layout="constrained")
    axes = figure.subplots(len(line), 6, squeeze=False)
    strongest = _strongest(model, cache, line, 5)
    for place, (concept, row) in enumerate(zip(line, axes)):
        kind = model.relations.edge(concept, line[place - 1]).kind if place else None
        where = f"{(kind or 'in').replace('-', ' ')} the one above" if place else "no parent"
        level = model.concepts[concept].level
        text = f"{model.concepts[concept].title}\nconcept {concept}, level {level}\n{where}"
        row[0].text(0, 0.5, text, fontsize=10, va="center")
        for axis, example in zip(row[1:], strongest[concept]):
            axis.imshow(crop(Image.open(photos / example.image), CentreSquare(224), cache.grid, example, 160))
        for axis in row:
            axis.set_axis_off()
    _save(figure, out)


def sum_of_concepts(model: ConceptModel, photo: Path, out: Path) -> None:
    """A decision as a sum: the contributions to the logit, and where the largest of them stand."""
    why = ConceptClassifier.zero_shot(model, CLASSES).explain(photo)
    shown, rest = why.contributions[:7], sum(item.contribution for item in why.contributions[7:])
    names = [*(item.guessed for item in shown), f"{len(why.contributions) - 7} others", "constant", "logit"]
    sizes = [*(item.contribution for item in shown), rest, why.intercept, why.logit]
    figure = Figure(figsize=(9, 3.2), dpi=100, layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.5))
    axes[0].imshow(why.photo)
    axes[0].set_title(f"decided: {why.predicted}", fontsize=10)
    axes[1].imshow(spotlight(_large(why.photo), shown[0].map / shown[0].map.max()))
    axes[1].set_title(f"where {shown[0].title} stands", fontsize=10)
    for axis in axes[:2]:
        axis.set_axis_off()
    colours = [*(FOR if size > 0 else AGAINST for size in sizes[:-1]), "#333"]
    axes[2].barh(range(len(sizes)), sizes, color=colours, tick_label=names)
    axes[2].invert_yaxis()
    axes[2].axvline(0, color="black", lw=0.8)
    axes[2].tick_params(labelsize=8)
    axes[2].spines[["top", "right"]].set_visible(False)
    axes[2].set_title(f"what makes the logit of “{why.target}”", fontsize=10)
    _save(figure, out)


def without_a_concept(model: ConceptModel, photo: Path, out: Path) -> None:
    """The probabilities of all classes before and after the concepts of the least set are removed."""
    why = ConceptClassifier.zero_shot(model, CLASSES).explain(photo)
    gone = why.least.concepts
    cases = {
        "all concepts": why.probabilities,
        f"without {', '.join(model.concepts[i].title for i in gone)}": why.without(gone).probabilities,
    }
    figure = Figure(figsize=(6.4, 2.2), dpi=100, layout="constrained")
    for axis, (title, chances) in zip(figure.subplots(1, 2, sharey=True), cases.items()):
        axis.barh(CLASSES, chances, color=[FOR if chance == chances.max() else GREY for chance in chances])
        axis.set_title(title, fontsize=10)
        axis.set_xlim(0, 1)
        axis.spines[["top", "right"]].set_visible(False)
    _save(figure, out)


def _strongest(model: ConceptModel, cache: FeatureCache, wanted: list[int], most: int) -> dict[int, list[Example]]:
    """Of each concept the photographs where it is strongest, with the patch; one patch a photograph."""
    peaks = {concept: np.zeros(cache.n_images) for concept in wanted}
    places = {concept: np.zeros(cache.n_images, dtype=int) for concept in wanted}
    for image in range(cache.n_images):
        codes = model.sae.encode(cache.image(image))
        rows = codes.rows()
        for concept in wanted:
            here = codes.concepts == concept
            if here.any():
                best = torch.argmax(codes.activations * here)
                peaks[concept][image], places[concept][image] = codes.activations[best], rows[best]
    ids, columns = cache.index["id"].to_pylist(), cache.grid[1]
    return {
        concept: [
            Example(ids[i], places[concept][i] // columns, places[concept][i] % columns, float(peaks[concept][i]))
            for i in np.argsort(-peaks[concept], kind="stable")[:most]
        ]
        for concept in wanted
    }


def _maps(found: Explanation, panels: list[tuple[np.ndarray, str]], columns: int) -> Figure:
    """The photo, then maps laid over it, each scaled by its own maximum; so many beside each other."""
    rows = -(-(len(panels) + 1) // columns)
    figure = Figure(figsize=(2.25 * columns, 2.6 * rows), dpi=100, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    axes[0].imshow(_large(found.photo))
    axes[0].set_title("photograph", fontsize=10)
    for axis, (heat, title) in zip(axes[1:], panels):
        axis.imshow(spotlight(_large(found.photo), heat / heat.max()))
        axis.set_title(title, fontsize=10)
    for axis in axes:
        axis.set_axis_off()
    return figure


def _large(photo: Image.Image) -> Image.Image:
    return photo.resize((ENLARGED, ENLARGED), Image.Resampling.LANCZOS)


def _save(figure: Figure, out: Path) -> None:
    figure.savefig(out, format="jpeg", pil_kwargs={"quality": 86, "optimize": True})
