"""`insight classify fit|predict|explain`: images into classes by their concepts, with reasons that add up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from .dispatch import Command, Group
from .options import Device, Flag, Folder, MaybeFile, MaybeFloat, MaybeInt, MaybeText, ReadModel, Texts, pick_device

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array

    from ..heads import ClassExplanation, ConceptClassifier
    from ..heads.activations import LabelledRows

Data = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(
        metavar="DATA",
        help="Feature cache of labelled images, or the images themselves: a folder with a subfolder a class, a list"
        " with labels, or another source that `insight cache write` takes.",
    ),
]
HeadOrModel = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="HEAD", help="Folder of a head; with --classes a model: its folder, or `small`."),
]
Photos = Annotated[
    tyro.conf.Positional[tuple[Path, ...]],
    tyro.conf.arg(metavar="PHOTO...", help="Photographs to classify.", help_behavior_hint="(required)"),
]
Photo = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PHOTO", help="Photograph to explain.")]
Classes = Annotated[
    MaybeText, tyro.conf.arg(help="Names of classes, such as 'cat,dog': told apart by text alone, without a head.")
]
OtherModel = Annotated[MaybeText, tyro.conf.arg(metavar="MODEL", help="Where the head's model is now, if it moved.")]
Pooling = Literal["max", "mean", "max+mean", "top"]
LISTED = 5  # classes and concepts a photo, in print


def fit(
    model: ReadModel,
    data: Data,
    /,
    out: Folder,
    split: MaybeText = None,
    pooling: Annotated[Pooling | None, tyro.conf.arg(help_behavior_hint="")] = None,
    alpha: MaybeFloat = None,
    max_concepts: MaybeInt = None,
    few_shot: Flag = False,
    balanced: Flag = False,
    seed: int = 0,
    device: Device = None,
) -> None:
    """Fit a sparse head on the concepts of labelled images, and say what it is worth on images held out.

    Images without a label are left out. Where DATA names splits, those of one are learnt from and all others held out;
    else a fifth of each class is held out to be measured, and the head that is kept is fitted on all images.

    Example: insight classify fit small photos --out head, where photos has a subfolder for each class

    Args:
        out: Folder to write the head to.
        split: Name of the split to learn from (default: train, where there is one).
        pooling: How the concepts of patches become those of the image (default: max+mean).
        alpha: Strength of the penalty (default: chosen on held-out images).
        max_concepts: Most concepts that a class may use.
        few_shot: Begin with what the names of the classes say, and learn the rest.
        balanced: Every class counts alike, however many images it has.
        seed: Of what is held out.
    """
    import numpy as np

    from ..models import model_folder, shipped_models
    from .inputs import check_at_least, check_positive
    from .outputs import check_folder

    check_at_least(1, max_concepts=max_concepts)
    check_at_least(0, seed=seed)
    check_positive(alpha=alpha)
    check_folder("--out", out, own=["head.json"], what="a head")

    folder = model_folder(model)  # that there is none is said before torch is loaded

    from ..heads import ConceptClassifier
    from ..heads.activations import read_labelled
    from ..heads.defaults import POOLING
    from ..model import ConceptModel

    loaded = ConceptModel.from_pretrained(folder, device=pick_device(device))
    head = ConceptClassifier(
        loaded,
        pooling=pooling or POOLING,
        alpha="auto" if alpha is None else alpha,
        max_concepts=max_concepts,
        prior="text" if few_shot else None,
        class_weight="balanced" if balanced else None,
        random_state=seed,
    )
    images = read_labelled(data, loaded, head.pooling)
    for id, reason in images.skipped.items():
        print(f"{id}: left out: {reason}", file=sys.stderr)
    learn, hold, whole = _parts(images, data, split, seed)
    unlabelled = sum(label is None for label in images.labels)
    if unlabelled:
        print(f"{unlabelled:,} of {len(images.labels):,} images have no label and are left out", file=sys.stderr)
    labels = np.array(images.labels, dtype=object)
    head.fit(images.at(learn), labels[learn].astype(str))
    said = _worth(head, images.at(hold), labels[hold].astype(str)) if len(hold) else "no image to measure it on"
    if whole:
        kept = np.sort(np.concatenate([learn, hold]))
        head.fit(images.at(kept), labels[kept].astype(str))
    head.save(out, model_place=model if model in shipped_models() else folder.resolve())
    weights = (head.coef_ != 0).reshape(len(head.coef_), -1, loaded.sae.n_concepts).any(1)
    print(
        f"{out}: {len(head.classes_)} classes, {weights.sum(1).mean():.1f} concepts a class,"
        f" {weights.any(0).sum():,} of {loaded.sae.n_concepts:,} in all; penalty {head.alpha_:.3g}"
    )
    print(f"held out: {said}")


def predict(
    head: HeadOrModel,
    photos: Photos,
    /,
    classes: Classes = None,
    model: OtherModel = None,
    json: MaybeFile = None,
    device: Device = None,
) -> None:
    """Say of each photo the likeliest classes. With --classes, HEAD is a model, and text alone decides.

    Example: insight classify predict small photo.jpg --classes "cat,dog"

    Args:
        json: File to write all probabilities to, a list with an object a photo.
    """
    import numpy as np

    from sae.errors import InsightError
    from sae.files import write_json

    from .inputs import check_photos
    from .outputs import check_file

    if not photos:
        raise InsightError("expected at least one photo, found none; usage: insight classify predict HEAD PHOTO...")
    check_file("--json", json, ".json")
    check_photos(photos)
    read = _read(head, classes, model, device)
    found = read.predict_proba(list(photos))
    orders = np.argsort(-found, axis=1, kind="stable")
    if json:
        names = read.classes_.tolist()
        write_json(
            json,
            [
                {
                    "image": str(photo),
                    "predicted": names[order[0]],
                    "classes": [[names[i], float(row[i])] for i in order],
                }
                for photo, row, order in zip(photos, found, orders)
            ],
        )
        return
    for photo, row, order in zip(photos, found, orders):
        print(f"{photo}: " + ", ".join(f"{read.classes_[i]} {row[i]:.1%}" for i in order[:LISTED]))


def explain(
    head: HeadOrModel,
    photo: Photo,
    /,
    target: MaybeText = None,
    remove: Texts = (),
    classes: Classes = None,
    model: OtherModel = None,
    json: MaybeFile = None,
    png: MaybeFile = None,
    device: Device = None,
) -> None:
    """Say why a photo is of its class: what each concept adds, where it stands, and the fewest that suffice.

    Example: insight classify explain head photo.jpg --png why.png

    Args:
        target: The class to explain (default: the one that is predicted).
        remove: Concepts, by number or title, without which the photo is judged once more.
        json: File to write everything to.
        png: File to draw to: the photo, the contributions and the maps.
    """
    from sae.files import write_json

    from .inputs import check_photos
    from .outputs import check_file

    check_file("--json", json, ".json")
    check_file("--png", png, ".png")
    check_photos([photo])
    read = _read(head, classes, model, device)
    asked = [int(word) if word.isdecimal() else word for word in remove]
    numbers = read.concept_numbers(asked)
    explanation = read.explain(photo, target=_as_class(target, read))
    said = explanation.to_dict()
    if remove:
        after = explanation.without(numbers.tolist())
        said["without"] = {"concepts": numbers.tolist(), **after.to_dict()}
    if json:
        write_json(json, said)
    if png:
        explanation.save_png(png)
    if not (json or png):
        _print(explanation)
    if remove:
        before = explanation.probabilities[explanation.classes.index(explanation.predicted)]
        left = after.probabilities[explanation.classes.index(explanation.predicted)]
        titles = ", ".join(read.model.concepts[number].title for number in numbers)
        now = after.probabilities.max()
        print(
            f"without {titles}: {after.predicted} {now:.1%} (before: {explanation.predicted} {before:.1%}"
            + (f", now {left:.1%})" if after.predicted != explanation.predicted else ")")
        )


SUBCOMMANDS: dict[str, Command] = {f.__name__: f for f in (fit, predict, explain)}
GROUP = Group("Classify photos by their concepts: fit a head, use it, see why.", SUBCOMMANDS)


def _read(head: str, classes: str | None, model: str | None, device: str | None) -> ConceptClassifier:
    """The head in a folder, or the one that text makes of a model."""
    from sae.errors import InsightError

    from ..heads import ConceptClassifier
    from ..model import ConceptModel

    if classes is not None and model is not None:
        raise InsightError("--model: with --classes HEAD is the model itself; leave --model out")
    if classes is not None:
        loaded = ConceptModel.from_pretrained(head, device=pick_device(device))
        return ConceptClassifier.zero_shot(loaded, [name.strip() for name in classes.split(",")])
    return ConceptClassifier.load(head, model, device=pick_device(device))


def _as_class(target: str | None, head: ConceptClassifier) -> Any:
    """A class as the head has it, which need not be a text."""
    return next((name for name in head.classes_.tolist() if str(name) == target), target)


def _parts(images: LabelledRows, data: str, split: str | None, seed: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Images to learn from, images held out, and whether the head that is kept shall have seen both."""
    import numpy as np

    from sae.errors import InsightError

    from ..heads.choice import held_out_parts
    from ..heads.defaults import VALIDATION

    known = np.array([label is not None for label in images.labels], dtype=bool)
    if not known.any():
        raise InsightError(
            f"{data}: expected labelled images, found {len(known):,} without a label; put them into a folder a class,"
            " or give a list with labels"
        )
    names = sorted({name for name in images.splits if name is not None})
    if split is not None and split not in names:
        raise InsightError(f"{data}: expected a split {split!r}, found {', '.join(names) or 'none'}")
    chosen = split or ("train" if "train" in names else None)
    if chosen is not None:
        mine = np.array([name == chosen for name in images.splits], dtype=bool)
        return np.flatnonzero(known & mine), np.flatnonzero(known & ~mine), False
    of_known = np.flatnonzero(known)
    classes = np.unique([label for label in images.labels if label is not None], return_inverse=True)[1]
    for learn, hold in held_out_parts(classes, VALIDATION, np.random.RandomState(seed)):
        return of_known[learn], of_known[hold], True
    return of_known, of_known[:0], False


def _worth(head: ConceptClassifier, rows: csr_array, labels: np.ndarray) -> str:
    """What a head is worth on images it has not seen."""
    import numpy as np

    from ..evaluation.sparsity import concepts_to_reach
    from ..heads.defaults import SHARE
    from ..heads.row_store import in_parts

    accuracy = head.score(rows, labels)
    needed = np.concatenate([concepts_to_reach(head.contributions(part)[0], SHARE) for part in in_parts(rows)]).mean()
    images = f"{len(labels):,} images"
    return f"{accuracy:.1%} of {images} right; {needed:.1f} concepts make {SHARE:.0%} of what speaks for a decision"


def _print(explanation: ClassExplanation) -> None:
    print(f"{explanation.image}: {explanation.predicted}")
    for name, logit, probability in explanation.prediction.to_dict()["classes"][:LISTED]:
        print(f"  {probability:7.1%}  {name} (logit {logit:+.3f})")
    print(f"what speaks for and against {explanation.target}:")
    for item in explanation.contributions[:20]:
        print(f"  {item.contribution:+8.3f}  {item.guessed} [{item.id}]{' (edited)' if item.edited else ''}")
    rest = explanation.contributions[20:]
    if rest:
        print(f"  {sum(item.contribution for item in rest):+8.3f}  {len(rest)} others")
    print(f"  {explanation.intercept:+8.3f}  intercept")
    print(f"  {explanation.logit:+8.3f}  together")
    titles = dict(zip(explanation.active, explanation.titles))
    names = ", ".join(titles[number] for number in explanation.least.concepts) or "none"
    how = "the fewest" if explanation.least.exact else "few (perhaps not the fewest)"
    print(f"{how} concepts that alone keep {explanation.predicted}: {names}")
    print(f"{explanation.n90} concepts make 90% of what speaks for {explanation.target}")
