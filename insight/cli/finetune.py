"""`insight finetune`: fit one of the published methods on labelled photos, say what it is worth, and use it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from .dispatch import Command, Group
from .options import BackboneName, Device, Flag, Folder, MaybeFile, MaybeFloat, MaybeInt, MaybeText, pick_device

if TYPE_CHECKING:
    from ..methods import FineTuned
    from ..methods.bank import ConceptBank
    from ..methods.training import Examples

Data = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(
        metavar="DATA",
        help="Labelled photographs: a folder with a subfolder a class, a list with labels, or another source that"
        " `insight cache write` takes. A feature cache will do where the encoder stays frozen.",
    ),
]
_WITHOUT_CONCEPTS = ("probe", "coop", "cocoop")
"""Methods that do without a bank: the names of the classes are enough."""
LISTED = 5  # classes and concepts a photo, in print


@dataclass(frozen=True)
class Training:
    """What every method is given."""

    data: Data
    out: Folder
    """Folder to write the fine-tuned model to. The same command goes on where it was stopped."""
    bank: MaybeText = None
    """Classes and their concepts: a JSON file {class: [concept, ...]}, or the name of a shipped bank."""
    bank_from: MaybeText = None
    """In place of a bank: a concept model, whose concepts that speak for the classes become the bank."""
    gold: MaybeFile = None
    """CSV of photos (id or file name first) and concepts (0 or 1): which concepts each photo really shows."""
    backbone: BackboneName = "small"
    """Encoder, by its name."""
    split: MaybeText = None
    """Split to learn from (default: train, where there is one); without splits a fifth is held out."""
    epochs: MaybeInt = None
    """Passes over the photos (default: the method's own)."""
    batch_size: MaybeInt = None
    """Photos a step."""
    lr: MaybeFloat = None
    """Learning rate."""
    seed: int = 0
    """Of order, noise and what is held out."""
    device: Device = None


Given = Annotated[Training, tyro.conf.arg(name="")]


def probe(given: Given) -> None:
    """A linear layer on the frozen photo vector: what any method must beat.

    Example: insight finetune probe photos --out tuned, where photos has a subfolder for each class
    """
    _finetune("probe", given)


def coop(given: Given, n_ctx: int = 4, class_specific: Flag = False) -> None:
    """Learn the words around the classes' names (CoOp).

    Example: insight finetune coop photos --out tuned

    Args:
        n_ctx: Vectors that are learnt.
        class_specific: Each class has its own.
    """
    _finetune("coop", given, n_ctx=n_ctx, class_specific=class_specific)


def cocoop(given: Given, n_ctx: int = 4) -> None:
    """Learn words that depend on the photo (CoCoOp); slow with many classes.

    Example: insight finetune cocoop photos --out tuned

    Args:
        n_ctx: Vectors that are learnt.
    """
    _finetune("cocoop", given, n_ctx=n_ctx)


def xcoop(
    given: Given,
    n_prompts: int = 4,
    pairing: Literal["concepts", "hard"] = "concepts",
    prompt_weight: float = 5.0,
    token_weight: float = 5.0,
    train_norms: Flag = False,
) -> None:
    """Learn several prompts a class, each held to a concept of the bank (XCoOp).

    Example: insight finetune xcoop photos --bank bank.json --out tuned

    Args:
        n_prompts: Prompts a class.
        pairing: Prompt n with concept n, or all with the whole clinical prompt as published.
        prompt_weight: Of the alignment of prompts.
        token_weight: Of the alignment of tokens.
        train_norms: Train the image tower's layer norms too.
    """
    settings = {"n_prompts": n_prompts, "pairing": pairing, "prompt_weight": prompt_weight}
    _finetune("xcoop", given, **settings, token_weight=token_weight, train_norms=train_norms)


def deal(
    given: Given,
    separation: float = 0.1,
    consistency: float = 0.01,
    captions: Literal["rich", "plain"] = "rich",
    concepts: int = 5,
    blocks: MaybeInt = None,
) -> None:
    """Fine-tune the encoder so that concepts stand apart and where their class stands (DEAL).

    Example: insight finetune deal photos --bank bank.json --out tuned

    Args:
        separation: Weight of the loss that keeps maps of concepts apart; 0 for the control.
        consistency: Weight of the loss that holds them to the class's map; 0 for the control.
        captions: Name the concepts in captions, or the class alone.
        concepts: Of each class, the first of the bank.
        blocks: Last blocks of the image tower that are trained (default: all).
    """
    settings = {"separation": separation, "consistency": consistency, "captions": captions}
    _finetune("deal", given, **settings, concepts=concepts, blocks=blocks)


def ecor(
    given: Given,
    order: Literal["r->c", "c->r", "independent"] = "r->c",
    adapter: Literal["tokens", "lora", "blocks"] = "tokens",
    blocks: int = 2,
    tokens: int = 3,
    rank: int = 4,
) -> None:
    """Learn to say a rationale and the class it speaks for (ECOR).

    Example: insight finetune ecor photos --bank bank.json --out tuned

    Args:
        order: What is chosen first.
        adapter: What is trained of the encoder.
        blocks: Last blocks that are adapted or trained.
        tokens: Learnt visual tokens.
        rank: Of LoRA.
    """
    _finetune("ecor", given, order=order, adapter=adapter, blocks=blocks, tokens=tokens, rank=rank)


def why(given: Given, tokens: int = 3) -> None:
    """Learn visual tokens for all pairs of class and rationale (Why Prompt): ECOR's baseline.

    Example: insight finetune why photos --bank bank.json --out tuned

    Args:
        tokens: Learnt visual tokens.
    """
    _finetune("why", given, tokens=tokens)


def predict(
    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL", help="Folder of a fine-tuned model.")],
    photos: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="PHOTO...", help="Photographs to classify.", help_behavior_hint="(required)"),
    ],
    /,
    json: MaybeFile = None,
    device: Device = None,
) -> None:
    """Say of each photo the likeliest classes and concepts, by a fine-tuned model.

    Example: insight finetune predict tuned photo.jpg

    Args:
        json: File to write everything to.
    """
    from sae.errors import InsightError
    from sae.files import write_json

    from .inputs import check_photos
    from .outputs import check_file

    if not photos:
        raise InsightError("expected at least one photo to classify, found none; insight finetune predict MODEL PHOTO")
    check_file("--json", json, ".json")
    check_photos(photos)

    import torch

    from ..data.decode import decode
    from ..methods import load_method

    method = load_method(model, device=pick_device(device))
    found = []
    for photo in photos:
        image = method.backbone.transform(decode(photo))[None].to(method.backbone.colour_mean.device)
        with torch.no_grad():
            output = method(image)
        chances = output.logits[0].double().softmax(0).tolist()
        scores = [] if output.concept_scores is None else output.concept_scores[0].tolist()
        classes = sorted(zip(method.classes, chances), key=lambda pair: -pair[1])
        concepts = sorted(zip(method.bank.concepts, scores), key=lambda pair: -pair[1])
        found.append({"image": str(photo), "method": method.kind, "classes": classes, "concepts": concepts})
        if not json:
            print(f"{photo}: {classes[0][0]}")
            for name, chance in classes[:LISTED]:
                print(f"  {chance:7.1%}  {name}")
            for name, score in concepts[:LISTED]:
                print(f"  {score:8.3f}  {name}")
    if json:
        write_json(json, found)


SUBCOMMANDS: dict[str, Command] = {f.__name__: f for f in (probe, coop, cocoop, xcoop, deal, ecor, why, predict)}
GROUP = Group("Fit one of the published methods on labelled photos, or use one that was fitted.", SUBCOMMANDS)


def _finetune(kind: str, given: Training, **settings: Any) -> None:
    from dataclasses import replace

    from sae.errors import InsightError

    from .inputs import check_at_least, check_positive
    from .outputs import check_folder

    out = given.out
    check_at_least(1, epochs=given.epochs, batch_size=given.batch_size)
    check_at_least(0, seed=given.seed)
    check_positive(lr=given.lr)
    check_folder("--out", out, own=["method.json", "fit.safetensors"], what="a fine-tuned model")
    if given.bank is not None and given.bank_from is not None:
        raise InsightError("expected --bank or --bank-from, found both; leave one out")
    if kind not in _WITHOUT_CONCEPTS and given.bank is None and given.bank_from is None:
        raise InsightError(f"{kind} needs concepts of each class: expected --bank or --bank-from, found neither")

    from ..backbones import load
    from ..methods import method_class, save_method
    from ..methods.training import fit

    backbone = load(given.backbone, device=pick_device(given.device))
    method_type = method_class(kind)
    bank = _bank(given)
    if given.bank_from is not None:
        bank = _found_bank(given, given.bank_from, _examples(replace(given, gold=None), bank)[0])
    learn, hold = _examples(given, bank)
    method = method_type(backbone, bank, method_type.Settings(**settings))
    asked: dict[str, Any] = {"epochs": given.epochs, "batch_size": given.batch_size, "lr": given.lr, "seed": given.seed}
    config = replace(method.fit_config, **{name: value for name, value in asked.items() if value is not None})
    history = fit(method, learn, config, folder=out)
    method.eval()
    save_method(method, out, fit=vars(config), history=history)
    values = sum(value.numel() for value in method.trained().values())
    print(f"{out}: {kind}, {len(bank.classes)} classes, {len(bank.concepts)} concepts, {values:,} trained numbers")
    print(f"held out: {_worth(method, hold)}" if len(hold) else "held out: no image to measure it on")


def _bank(given: Training) -> ConceptBank:
    """The bank asked for; without one the classes are the labels, and have no concepts."""

    from ..methods.bank import ConceptBank, import_bank, shipped_bank, shipped_banks

    if given.bank is None:
        return ConceptBank.of({label: [] for label in _labels(given.data)})
    if not Path(given.bank).exists() and given.bank in shipped_banks():
        return shipped_bank(given.bank)
    return import_bank(given.bank)


def _found_bank(given: Training, place: str, learn: Examples) -> ConceptBank:
    """The concepts of a model that speak for the classes in the photos to learn from; those held out have no say."""
    import numpy as np

    from ..heads.activations import read_labelled
    from ..heads.defaults import POOLING
    from ..methods.bank import bank_from_model
    from ..model import ConceptModel

    model = ConceptModel.from_pretrained(place, device=pick_device(given.device))
    photos, wanted = read_labelled(given.data, model, POOLING), {*learn.ids}
    chosen = np.flatnonzero([id in wanted for id in photos.ids])
    found = bank_from_model(model, photos.rows[chosen], np.array(photos.labels, dtype=object)[chosen].astype(str)).bank
    for number, name in enumerate(found.classes):
        print(f"{name}: {', '.join(found.concepts_of(number))}")
    return found


def _labels(data: str) -> list[str]:
    """The labels of the photos, in alphabetical order."""
    from sae.errors import InsightError

    from ..cache import FeatureCache
    from ..data import open_source

    if (Path(data) / "manifest.json").exists():
        found = {label for label in FeatureCache.open(data).labels if label is not None}
    else:
        source = open_source(data)
        items = (item for part in source.parts(256) for item in source.read(part))
        found = {item.label for item in items if item.label is not None}
    if not found:
        raise InsightError(f"{data}: expected labelled photos, found none; put them into a folder a class")
    return sorted(found)


def _examples(given: Training, bank: ConceptBank) -> tuple[Examples, Examples]:
    """Photos to learn from, and photos held out."""
    import numpy as np

    from sae.errors import InsightError

    from ..cache import FeatureCache
    from ..heads.choice import held_out_parts
    from ..heads.defaults import VALIDATION
    from ..methods.training import Examples

    if (Path(given.data) / "manifest.json").exists():
        examples = Examples.of_cache(FeatureCache.open(given.data), bank)
    else:
        examples = Examples.read(given.data, bank)
    for id, reason in examples.left_out.items():
        print(f"{id}: left out: {reason}", file=sys.stderr)
    if given.gold is not None:
        examples = examples.with_concepts(given.gold, bank)
    names = {split for split in examples.splits if split is not None}
    if given.split is not None and given.split not in names:
        known = ", ".join(sorted(names)) or "none"
        raise InsightError(f"{given.data}: expected a split {given.split!r}, found {known}")
    chosen = given.split or ("train" if "train" in names else None)
    if chosen is not None:
        mine = np.array([split == chosen for split in examples.splits])
        return examples.at(np.flatnonzero(mine)), examples.at(np.flatnonzero(~mine))
    for learn, hold in held_out_parts(examples.labels.numpy(), VALIDATION, np.random.RandomState(given.seed)):
        return examples.at(learn), examples.at(hold)
    return examples, examples.at([])


def _worth(method: FineTuned, hold: Examples) -> str:
    """What it is worth on photos that it has not seen."""
    from ..evaluation import classification
    from ..methods.training import predict as ask

    hold, logits = ask(method, hold)
    found = classification(logits.double().softmax(1).numpy(), hold.labels.numpy())
    said = (f"{name} {of.value:.3f} [{of.low:.3f}, {of.high:.3f}]" for name, of in found.items())
    return f"{', '.join(said)} of {len(hold):,} photos"
