"""`insight cache write|verify|info|merge|convert|sample`: patch features of images, once, on disk."""

import os
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .dispatch import Command, Group
from .info import facts_of_cache, print_facts
from .options import Cache, Device, Flag, Folder, MaybeFile, MaybeFolder, MaybeInt, pick_device

Source = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(
        metavar="SOURCE",
        help="Folder of images (searched recursively), list of images (.txt, .csv, .tsv, .jsonl, .parquet), tar shards"
        " ('data/{00000..00099}.tar'), 'torchvision:NAME?root=FOLDER', 'hf:NAME?split=train', or a standard set"
        " ('voc:ROOT?split=train', coco:, ade20k:, part-imagenet:, cub:, images:; see docs/data.md).",
    ),
]
Caches = Annotated[
    tyro.conf.Positional[tuple[Path, ...]],
    tyro.conf.arg(metavar="CACHE...", help="Folders of feature caches.", help_behavior_hint="(required)"),
]
Splits = Annotated[dict[str, Path] | None, tyro.conf.arg(metavar="SPLIT FILE ...", help_behavior_hint="")]
Dtype = Literal["float16", "bfloat16", "float32", "int8"]


def write(
    source: Source,
    /,
    out: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER...")],
    backbone: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ("small",),
    dtype: Dtype = "float16",
    tokens: MaybeInt = None,
    seed: int = 0,
    append: Flag = False,
    masks: MaybeFolder = None,
    classes: MaybeFile = None,
    splits: Splits = None,
    batch_size: int = 16,
    shard_images: int = 256,
    workers: MaybeInt = None,
    device: Device = None,
) -> None:
    """Encode every image of SOURCE and write its patch features to a cache.

    Images that give no features are skipped, counted and listed in OUT/skipped.parquet. A killed run goes on where it
    stopped when the same command is given again. Several processes share the work:
    torchrun --nproc-per-node 2 -m insight cache write ...

    Example: insight cache write photos --out photos-cache

    Args:
        out: Folder to write the cache to; with several backbones a folder for each, in their order.
        backbone: Encoder: `small`, `openclip:MODEL/PRETRAINED` or `timm:MODEL`, or NAME@BLOCK for what goes into a
            block of one. Several share one pass over the images: --backbone small small@6 --out A B.
        dtype: How features are stored; int8 has a scale for each patch and half the bytes of float16.
        tokens: Patches kept of each image, drawn at random (default: all).
        seed: Seed of that draw.
        append: Add the images of SOURCE that a finished cache in OUT has not got yet.
        masks: Folder of masks, a PNG with the class of every pixel (255: none) for each image of a folder.
        classes: Text file that names the classes of the masks, a line each.
        splits: For each split a text file that lists its images, for a folder: --splits train a.txt test b.txt.
        batch_size: Images a forward pass.
        shard_images: Images a shard.
        workers: Threads that read and decode images (default: one per core, at most 16).
    """
    from sae.errors import InsightError

    from ..data import open_source
    from .inputs import check_at_least
    from .outputs import OF_CACHE, check_folder

    if len(out) != len(backbone):
        raise InsightError(f"expected a folder (--out) for each backbone, found {len(out)} for {len(backbone)}")
    if len({*out}) < len(out):
        raise InsightError(f"--out: expected a folder for each backbone, found one twice: {' '.join(map(str, out))}")
    check_at_least(1, tokens=tokens, batch_size=batch_size, shard_images=shard_images, workers=workers)
    for folder in out:
        check_folder("--out", folder, own=OF_CACHE, what="a feature cache")
    images = open_source(source, masks=masks, classes=classes, splits=splits)

    import torch

    from sae.distributed import local_device

    from ..backbones import load_together
    from ..cache import write_caches

    encoders = load_together(backbone, local_device(torch.device(pick_device(device))))
    written = write_caches(
        images,
        dict(zip(out, encoders, strict=True)),
        dtype=dtype,
        tokens=tokens,
        seed=seed,
        shard_images=shard_images,
        batch_size=batch_size,
        workers=workers,
        append=append,
    )
    for cache in written:
        skipped = cache.manifest.skipped.rows
        _say(
            f"{cache.folder}: {cache.n_images:,} images, {cache.n_tokens:,} patches of {cache.dim} values"
            + (f"; {skipped:,} images gave none: insight cache info {cache.folder}" if skipped else "")
        )


def verify(caches: Caches, /) -> None:
    """Read every byte of the caches and compare it with their checksums; every damaged file is named.

    Example: insight cache verify photos-cache
    """
    from sae.errors import InsightError

    from ..cache import FeatureCache

    damaged = []
    for folder in _some(caches):
        try:
            cache = FeatureCache.open(folder)
            cache.verify()
            _say(f"{folder}: whole: {cache.n_images:,} images in {len(cache.manifest.shards):,} shards")
        except InsightError as error:
            damaged.append(str(error))
    if damaged:
        raise InsightError("; and ".join(damaged))


def info(cache: Cache, /, json: Flag = False) -> None:
    """Say what a cache is: backbone, counts, bytes a patch, labels, splits, classes, what gave no features.

    Example: insight cache info photos-cache

    Args:
        json: Print everything as one JSON object.
    """
    from json import dumps

    from ..cache import FeatureCache
    from ..cache.derived.describe import describe_cache

    found = describe_cache(FeatureCache.open(cache))
    if json:
        print(dumps(found, indent=1, ensure_ascii=False))
    else:
        print_facts(facts_of_cache(found))


def merge(caches: Caches, /, out: Folder) -> None:
    """Make one cache of several of the same backbone, dtype and patches an image.

    Shards are linked where the file system can, and else copied; the caches that are merged stay as they are.

    Example: insight cache merge spring-cache autumn-cache --out year-cache

    Args:
        out: Folder to write the cache to.
    """
    from .outputs import check_folder

    check_folder("--out", out)

    from ..cache import merge_caches

    made = merge_caches(_some(caches), out)
    _say(f"{out}: {made.n_images:,} images of {len(caches)} caches in {len(made.manifest.shards):,} shards")


def convert(cache: Cache, /, out: Folder, dtype: Dtype) -> None:
    """Store a cache's features in another dtype; every block is checked on the way.

    Example: insight cache convert photos-cache --out small-cache --dtype int8

    Args:
        out: Folder to write the new cache to.
        dtype: How its features are stored.
    """
    from .outputs import check_folder

    check_folder("--out", out)

    from ..cache import convert_cache

    made = convert_cache(cache, out, dtype)
    _say(f"{out}: {made.n_images:,} images in {dtype}")


def sample(cache: Cache, /, out: Folder, images: MaybeInt = None, tokens: MaybeInt = None, seed: int = 0) -> None:
    """Draw a random part of a cache: some of its images, some of the patches of each, or both.

    Example: insight cache sample photos-cache --out part-cache --images 1000

    Args:
        out: Folder to write the new cache to.
        images: How many images (default: all).
        tokens: How many patches of each (default: all that it has).
        seed: Seed of the draw.
    """
    from .outputs import check_folder

    check_folder("--out", out)

    from ..cache import sample_cache

    made = sample_cache(cache, out, images=images, tokens=tokens, seed=seed)
    _say(f"{out}: {made.n_images:,} images, {made.tokens_per_image:,} patches each")


SUBCOMMANDS: dict[str, Command] = {f.__name__: f for f in (write, verify, info, merge, convert, sample)}
GROUP = Group("Feature caches, patch features of images on disk: write, check, describe, merge, sample.", SUBCOMMANDS)


def _some(caches: tuple[Path, ...]) -> tuple[Path, ...]:
    from sae.errors import InsightError

    if not caches:
        raise InsightError("expected at least one cache, found none; see insight cache --help")
    return caches


def _say(text: str) -> None:
    """Print, but only once where torchrun started several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(text)
