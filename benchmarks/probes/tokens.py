"""What a frozen network makes of a set of photos, computed once and kept: chunks of float16 in safetensors files.

A run that was stopped goes on with the next chunk. Files lie in a folder of their own for each set and network, named
by the keys of both: other photos or other weights are never taken for these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm import tqdm

from benchmarks.probes.photos import Photos
from insight.backbones import CentreSquare
from insight.backbones.small.dinov2 import DINOV2_S, IMAGE_SIZE, MEAN, STD, build_dinov2
from sae.errors import InsightError
from sae.files import atomic_write

CHUNK, BATCH = 250, 10  # photos in a file (50 MB of DINOv2's tokens), photos in a forward

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Network:
    """name: of its files; key: of its weights and of what is done with them; transform: how it sees a photo;
    build: gives the forward [B, 3, S, S] -> [B, ...], called only when something is missing."""

    name: str
    key: str
    transform: CentreSquare
    build: Callable[[], Forward]

    @cached_property
    def forward(self) -> Forward:
        return self.build()


def trunk() -> Network:
    """DINOv2 ViT-S/14: class token and patches after the final norm, [B, 257, 384]."""

    def build() -> Forward:
        vit = build_dinov2().eval()
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        return lambda images: vit.forward_features((images - mean) / std)

    return Network("dinov2-s", DINOV2_S.files[0].sha256 + " final norm 1", CentreSquare(IMAGE_SIZE), build)


def folder_of(root: Path, photos: Photos, network: Network) -> Path:
    """Where the chunks of this set and this network lie below `root`."""
    both = hashlib.sha256(f"{photos.key} {network.key} {CHUNK}".encode()).hexdigest()[:12]
    words = "".join(letter if letter.isalnum() else "-" for letter in photos.name.lower())
    return root / f"{words}-{network.name}-{both}"


def stream(root: Path, photos: Photos, network: Network) -> Iterator[Tensor]:
    """What `network` makes of the photos, in order, as float32 chunks [<= CHUNK, ...]; missing ones are made and kept.

    `InsightError` where a chunk is not what was written.
    """
    folder = folder_of(root, photos, network)
    for start in tqdm(range(0, photos.count, CHUNK), desc=f"{network.name}: {photos.name}", unit="chunk"):
        file = folder / f"{start:06d}.safetensors"
        stop = min(start + CHUNK, photos.count)
        if not file.exists():
            batches = photos.batches(network.transform, BATCH, start, stop)
            with torch.inference_mode():
                made = torch.cat([network.forward(images).half() for images in batches])
            with atomic_write(file) as temporary:
                temporary.write_bytes(save({"values": made.contiguous()}))
        yield _read(file, stop - start).float()


def _read(file: Path, count: int) -> Tensor:
    try:
        values = load_file(file)["values"]
    except (SafetensorError, KeyError) as error:
        raise InsightError(f"{file}: expected kept tokens, found something else ({error}); delete it") from None
    if len(values) != count:
        raise InsightError(f"{file}: expected {count} photos, found {len(values)}; delete it")
    return values
