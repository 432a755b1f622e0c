"""Train the bridge of the `small` backbone: from DINOv2's tokens to the MiniLM sentence space, on 3,193 photos.

In: `--coco` (COCO's `captions.json` and `images/`), `--imagenet` (`classes.tsv` and `images/<wnid>/`); the teacher
comes through pip. Out: `bridge.safetensors` and its card `bridge.json` in `--out`. `--features` keeps what the trunk
and the teacher see between runs (about 650 MB; making it takes minutes), and gets the bridges in closed form:
`ridge.safetensors`, from the mean patch to the mean caption or name, and `teacher.safetensors`, from the mean patch to
the teacher's names.

    python scripts/train_bridge.py --coco DIR --imagenet DIR --features DIR
        --out insight/backbones/small/bridge

All maps are linear: `bridge/patches.py` and `bridge/pooled.py` say how they are trained. Photos of `held_out.json` are
never seen, nor is any of CIFAR-10, MSRC, clothing-parts or PH2.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from insight.backbones.base import hash_tensors
from insight.backbones.small.minilm import MiniLM
from sae.files import atomic_write, write_json
from scripts.bridge.card import card_of
from scripts.bridge.closed_form import caption_targets, ridge, teacher_targets
from scripts.bridge.material import Material, gather
from scripts.bridge.patches import PatchRecipe, fit_patches
from scripts.bridge.photos import TOO_GENERAL, embed, read_photos
from scripts.bridge.pooled import PooledRecipe, fit_pooled

MIN_PHOTOS_PER_WORD = 5  # a word of the captions that fewer photos have is not learnt from


def of_length(weight: Tensor, inputs: Tensor) -> Tensor:
    """The map times what makes the mean squared norm of its outputs 1 over the inputs [..., d]."""
    return weight / (inputs @ weight.T).square().sum(-1).mean().sqrt()


def tensors_of(weight: Tensor, pooled_weight: Tensor, material: Material, text_mean: Tensor) -> dict[str, Tensor]:
    """The tensors of a `Bridge`: maps scaled so that patches and image vectors have a mean squared norm of 1."""
    tokens = torch.cat([material.captioned[::10], material.named[::10]])[:, 1:].float()  # enough to know the scale
    tensors = {
        "weight": of_length(weight, tokens - material.patch_mean),
        "patch_mean": material.patch_mean,
        "pooled_weight": of_length(pooled_weight, material.sharp),
        "pooled_mean": material.pooled_mean,
        "text_mean": text_mean,
    }
    return {name: tensor.clone() for name, tensor in tensors.items()}


def of_mean_patch(weight: Tensor) -> Tensor:
    """[384, 768]: the map of the mean patch alone."""
    return torch.cat([torch.zeros_like(weight), weight], dim=1)


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(tensors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("coco", "imagenet", "features", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.features.mkdir(parents=True, exist_ok=True)
    patch_recipe, pooled_recipe = PatchRecipe(), PooledRecipe()

    photos = read_photos(arguments.coco, arguments.imagenet)
    material = gather(photos, arguments.features, arguments.seed)
    with torch.no_grad():
        texts = embed(photos, MiniLM(), MIN_PHOTOS_PER_WORD)

    start = ridge(material.sharp[:, 384:], caption_targets(texts, len(photos.captioned)), patch_recipe.ridge)
    taught = ridge(material.views[:, 384:], teacher_targets(texts, material.posteriors), patch_recipe.ridge)
    for name, weight in (("ridge", start), ("teacher", taught)):
        closed = tensors_of(weight, of_mean_patch(weight), material, texts.mean)
        write_tensors(arguments.features / f"{name}.safetensors", closed)

    weight = fit_patches(start, material, texts, patch_recipe, arguments.seed)
    # The mean patch knows common things, a map of its own fine names: the image vector is half of either.
    fine = fit_pooled(material, texts, pooled_recipe, arguments.seed)
    pooled_weight = of_length(of_mean_patch(weight), material.sharp) + of_length(fine, material.sharp)
    bridge = tensors_of(weight, pooled_weight, material, texts.mean)
    write_tensors(arguments.out / "bridge.safetensors", bridge)
    recipe = {
        "seed": arguments.seed,
        "fewest photos with a word": MIN_PHOTOS_PER_WORD,
        "largest share of classes under a noun": TOO_GENERAL,
        "patches": asdict(patch_recipe),
        "image vectors": asdict(pooled_recipe),
    }
    write_json(arguments.out / "bridge.json", card_of(hash_tensors(bridge), photos, material, texts, recipe))
    print("now measure it: python -m benchmarks.alignment --help")


if __name__ == "__main__":
    main()
