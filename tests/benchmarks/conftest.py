"""Photographs for benchmarks: the four sets of this project's documents, small, drawn, in four colours."""

import json
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from benchmarks.concepts import material

COLOURS = ((220, 30, 30), (30, 220, 30), (30, 30, 220), (230, 230, 20))


def photo(file: Path, classes: tuple[int, int], mask: Path | None = None) -> None:
    """Two colours side by side, with noise; the mask has a class for each."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((64, 64, 3)) + np.array([COLOURS[c] for c in classes]).repeat(32, 0)
    noise = np.random.default_rng(crc32(file.name.encode())).integers(-20, 20, pixels.shape)
    Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(file)
    if mask:
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array(classes, np.uint8).repeat(32)[None].repeat(64, 0)).save(mask)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The four sets, small and in four colours."""
    root = tmp_path / "data"
    for name, folder in material.MASKED.items():
        groups = " ".join(members for level in material.GROUPS[name] for members in level.values())
        labels = ["background", *dict.fromkeys(groups.replace("*", "").split())]
        (root / folder).mkdir(parents=True)
        (root / folder / "classes.txt").write_text("\n".join(labels))
        stems = [f"{part}{i}" for part in ("train", "test") for i in range(8)]
        for i, stem in enumerate(stems):
            photo(
                root / folder / "images" / f"{stem}.png",
                (i % 4, (i // 4 + i + 1) % 4),
                root / folder / "masks" / f"{stem}.png",
            )
        for part in ("train", "test"):
            (root / folder / f"{part}.txt").write_text("\n".join(stem for stem in stems if stem.startswith(part)))
    images, said = [], []
    for i in range(8):
        photo(root / "coco-captions" / "images" / f"{i}.png", (i % 4, i // 4))
        photo(root / "imagenet-200x5" / "images" / "n1" / f"{i}.png", (i // 4, i % 4))
        images.append({"id": i, "file_name": f"{i}.png"})
        said.append({"image_id": i, "id": i, "caption": "a dog beside a house"})
    (root / "coco-captions" / "captions.json").write_text(json.dumps({"images": images, "annotations": said}))
    held_out = {"coco": [f"{i}.png" for i in range(2, 8)], "imagenet": ["n1/0.png"]}
    (tmp_path / "held_out.json").write_text(json.dumps(held_out))
    monkeypatch.setattr(material, "HELD_OUT", tmp_path / "held_out.json")
    return root
