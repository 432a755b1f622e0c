"""Train the bridge of the `small` backbone: from DINOv2 patch tokens to the MiniLM sentence space, on 3,693 photos.

In: `--coco` (COCO's `captions.json` and `images/`) and `--imagenet` (`classes.tsv` and `images/<wnid>/`). Out:
`bridge.safetensors` (weight [384, 384], patch_mean [384], text_mean [384]) and its card `bridge.json`. Patch tokens are
kept in `--features` between runs (about 730 MB); making them takes minutes.

    python scripts/train_bridge.py --coco DIR --imagenet DIR --features DIR --out insight/backbones/bridge

The map is linear. It starts as the ridge regression from a photo's mean patch to its mean caption, and is then trained
by contrast: a photo must prefer its own caption, its own class name and the words of its captions to those of the other
photos in the batch, and they it. How well a text fits a photo is the mean cosine of the photo's patches with the text,
weighted by the softmax of the same cosines: the patches that fit best decide, which is what makes single patches
nameable. No photo of CIFAR-10, MSRC, clothing-parts or PH2 is trained on; the settings were chosen on MSRC's *train*
masks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from insight.backbones.base import CentreSquare, hash_tensors
from insight.backbones.dinov2 import IMAGE_SIZE, MEAN, STD, build_dinov2
from insight.backbones.minilm import MiniLM
from sae.files import atomic_write, write_json

TEMPLATES = ("a photo of a {}", "{}", "a {} in a photo", "a close-up of a {}")
VOCABULARY = Path(__file__).resolve().parents[1] / "naming" / "vocabularies" / "english.txt"


@dataclass(frozen=True)
class Recipe:
    """Every number that the result depends on; written into the card."""

    seed: int = 0
    ridge: float = 3000.0
    steps: int = 600
    captioned_per_batch: int = 64
    named_per_batch: int = 48
    words_per_batch: int = 128
    patches_per_photo: int = 64
    patch_temperature: float = 0.1
    text_temperature: float = 0.2
    word_weight: float = 3.0
    learning_rate: float = 3e-3
    min_photos_per_word: int = 5


@dataclass(frozen=True)
class Photos:
    """Captioned photos first, then named ones. patches: [n, 256, 384] float16; the rest says what belongs to which.

    captions: [c, 384] vectors with caption_photo [c]; names: [templates, 200, 384] with photo_name [n - n_captioned];
    words: [templates, w, 384] with has_word [n_captioned, w]. All text vectors are centred and of unit length.
    """

    patches: Tensor
    n_captioned: int
    captions: Tensor
    caption_photo: Tensor
    names: Tensor
    photo_name: Tensor
    words: Tensor
    has_word: Tensor


def patch_tokens(files: list[Path], kept: Path) -> Tensor:
    """DINOv2's patch tokens [n, 256, 384] (float16) of the photos' centre squares; read from `kept` if made before."""
    if kept.exists():
        return load_file(kept)["patches"]
    model, transform = build_dinov2().eval(), CentreSquare(IMAGE_SIZE)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    patches = torch.empty(len(files), 256, 384, dtype=torch.float16)
    with torch.inference_mode():
        for start in tqdm(range(0, len(files), 8), desc=kept.stem, unit="batch"):
            photos = torch.stack([transform(Image.open(file).convert("RGB")) for file in files[start : start + 8]])
            patches[start : start + 8] = model.forward_features((photos - mean) / std)[:, 1:].half()
    with atomic_write(kept) as temporary:
        temporary.write_bytes(save({"patches": patches}))
    return patches


def read_photos(coco: Path, imagenet: Path, features: Path, text: MiniLM, recipe: Recipe) -> tuple[Photos, Tensor]:
    """Everything that training needs, and the mean caption vector that all texts were centred by."""
    listing = json.loads((coco / "captions.json").read_text(encoding="utf-8"))
    numbers = {image["id"]: i for i, image in enumerate(listing["images"])}
    caption_photo = [numbers[entry["image_id"]] for entry in listing["annotations"]]
    sentences = [entry["caption"] for entry in listing["annotations"]]
    classes = dict(line.split("\t") for line in (imagenet / "classes.tsv").read_text(encoding="utf-8").splitlines())
    named_files = sorted((imagenet / "images").glob("*/*"))

    vectors = text(sentences)
    mean = vectors.mean(0)

    def embed(phrases: list[str]) -> Tensor:
        return torch.stack([normalize(text([form.format(p) for p in phrases]) - mean, dim=1) for form in TEMPLATES])

    words, has_word = words_of(sentences, caption_photo, len(numbers), recipe.min_photos_per_word)
    captioned = [coco / "images" / image["file_name"] for image in listing["images"]]
    patches = [
        patch_tokens(captioned, features / "captioned.safetensors"),
        patch_tokens(named_files, features / "named.safetensors"),
    ]
    wnids = list(classes)
    photos = Photos(
        patches=torch.cat(patches),
        n_captioned=len(captioned),
        captions=normalize(vectors - mean, dim=1),
        caption_photo=torch.tensor(caption_photo),
        names=embed(list(classes.values())),
        photo_name=torch.tensor([wnids.index(file.parent.name) for file in named_files]),
        words=embed(words),
        has_word=has_word,
    )
    return photos, mean


def words_of(sentences: list[str], photo: list[int], n_photos: int, least: int) -> tuple[list[str], Tensor]:
    """Words and word pairs of the captions that the vocabulary of visible things has, and [n_photos, w] who has which.

    A plural counts for its singular too; words on fewer than `least` photos are left out.
    """
    known = {line.split("\t")[0] for line in VOCABULARY.read_text(encoding="utf-8").splitlines()}
    photos_of: dict[str, set[int]] = {}
    for sentence, i in zip(sentences, photo, strict=True):
        tokens = re.findall("[a-z]+", sentence.lower())
        for phrase in [*tokens, *(f"{a} {b}" for a, b in itertools.pairwise(tokens))]:
            for form in {phrase, phrase.removesuffix("s")} & known:
                photos_of.setdefault(form, set()).add(i)
    words = sorted(word for word, found in photos_of.items() if len(found) >= least)
    has_word = torch.zeros(n_photos, len(words), dtype=torch.bool)
    for column, word in enumerate(words):
        has_word[sorted(photos_of[word]), column] = True
    return words, has_word


def fit_ridge(photos: Photos, patch_mean: Tensor, strength: float) -> Tensor:
    """[384, 384]: mean patch to mean caption (captioned photos) or class name (named ones), with ridge `strength`."""
    inputs = photos.patches.float().mean(1) - patch_mean
    captions = torch.zeros(photos.n_captioned, 384).index_add_(0, photos.caption_photo, photos.captions)
    targets = torch.cat([normalize(captions, dim=1), photos.names[0][photos.photo_name]])
    return torch.linalg.solve(inputs.T @ inputs + strength * torch.eye(384), inputs.T @ targets).T


def fit_contrast(weight: Tensor, photos: Photos, patch_mean: Tensor, recipe: Recipe) -> Tensor:
    """Go on from `weight` by contrast between the photos, captions, names and words of each batch."""
    random = torch.Generator().manual_seed(recipe.seed)
    weight = (weight * 20 / weight.norm()).requires_grad_()
    optimiser = torch.optim.Adam([weight], lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
    n, m = recipe.captioned_per_batch, recipe.named_per_batch

    def draw(among: int, count: int) -> Tensor:
        return torch.randperm(among, generator=random)[:count]

    def template(vectors: Tensor) -> Tensor:
        return vectors[int(torch.randint(len(vectors), (1,), generator=random))]

    for _ in tqdm(range(recipe.steps), desc="contrast", unit="step"):
        captioned, named = draw(photos.n_captioned, n), draw(len(photos.photo_name), m)
        chosen = torch.stack([draw(256, recipe.patches_per_photo) for _photo in range(n + m)])
        tokens = photos.patches[torch.cat([captioned, photos.n_captioned + named])]
        tokens = tokens.gather(1, chosen[..., None].expand(-1, -1, 384)).float() - patch_mean
        vectors = normalize(tokens @ weight.T, dim=-1)

        captions = torch.stack([draw_one(photos.caption_photo == i, random) for i in captioned])
        names = photos.photo_name[named].unique()
        texts = torch.cat([photos.captions[captions], template(photos.names)[names]])
        fits = torch.zeros(n + m, len(texts), dtype=torch.bool)
        fits[:n, :n] = torch.eye(n, dtype=torch.bool)
        fits[n:, n:] = photos.photo_name[named][:, None] == names
        loss = contrast(fit(vectors, texts, recipe.patch_temperature), fits, recipe.text_temperature)

        words = draw(photos.words.shape[1], recipe.words_per_batch)
        words = words[photos.has_word[captioned][:, words].any(0)]
        scores = fit(vectors[:n], template(photos.words)[words], recipe.patch_temperature)
        has_word = photos.has_word[captioned][:, words]
        loss = loss + recipe.word_weight * contrast(scores, has_word, recipe.text_temperature)

        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return weight.detach()


def draw_one(among: Tensor, random: torch.Generator) -> Tensor:
    """The index of one of the True entries."""
    indices = among.nonzero().flatten()
    return indices[torch.randint(len(indices), (1,), generator=random)[0]]


def fit(patches: Tensor, texts: Tensor, temperature: float) -> Tensor:
    """How well each text fits each photo, [n, m]: its cosines with the patches, averaged with their own softmax."""
    cosines = patches @ texts.T
    return ((cosines / temperature).softmax(1) * cosines).sum(1)


def contrast(scores: Tensor, fits: Tensor, temperature: float) -> Tensor:
    """InfoNCE both ways where several may fit: -log of the share that the fitting ones have in each row and column."""
    logits = scores / temperature
    right = logits.masked_fill(~fits, -1e9)
    terms = [(logits.logsumexp(axis) - right.logsumexp(axis))[fits.any(axis)].mean() for axis in (0, 1)]
    return (terms[0] + terms[1]) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("coco", "imagenet", "features", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    arguments = parser.parse_args()
    recipe = Recipe(seed=arguments.seed)

    with torch.inference_mode():
        photos, text_mean = read_photos(arguments.coco, arguments.imagenet, arguments.features, MiniLM(), recipe)
        patch_mean = photos.patches[: photos.n_captioned].float().mean((0, 1))
        weight = fit_ridge(photos, patch_mean, recipe.ridge)
    weight = fit_contrast(weight.clone(), photos, patch_mean.clone(), recipe)
    squared = [((part.float() - patch_mean) @ weight.T).square().sum(-1).mean() for part in photos.patches.split(256)]
    weight = weight / torch.stack(squared).mean().sqrt()  # a patch has a mean squared norm of 1

    bridge = {"weight": weight.contiguous(), "patch_mean": patch_mean.clone(), "text_mean": text_mean.clone()}
    with atomic_write(arguments.out / "bridge.safetensors") as temporary:
        temporary.write_bytes(save(bridge))
    card = {
        "what": "A linear map from DINOv2 ViT-S/14 patch tokens to the MiniLM sentence space. This is not CLIP: no "
        "image encoder was trained together with a text encoder, and the map has seen few photographs.",
        "tensors_sha256": hash_tensors(bridge),
        "data": {
            "captioned photos (COCO val2017, with people)": photos.n_captioned,
            "captions": len(photos.captions),
            "named photos (ImageNet, 200 classes)": len(photos.photo_name),
            "words of the captions": photos.words.shape[1],
            "never trained on": ["CIFAR-10", "MSRC-v2", "clothing-parts", "PH2"],
            "settings chosen on": "MSRC-v2, train masks",
        },
        "recipe": asdict(recipe),
        "measured": {},
    }
    write_json(arguments.out / "bridge.json", card)
    print("now measure it: python -m benchmarks.zero_shot --help")


if __name__ == "__main__":
    main()
