"""The contract itself: the square that is cut from a photo, names, hashes."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from insight.backbones import CentreSquare, load
from insight.backbones.base import hash_tensors
from sae.errors import InsightError


@pytest.mark.parametrize("size", [(640, 480), (333, 1000), (1, 1), (1, 500), (224, 224)])
def test_any_photo_becomes_a_square_of_floats_between_0_and_1(size: tuple[int, int]) -> None:
    noise = np.random.default_rng().integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    tensor = CentreSquare(98)(Image.fromarray(noise))
    assert tensor.shape == (3, 98, 98)
    assert tensor.dtype == torch.float32
    assert 0 <= tensor.min() <= tensor.max() <= 1


def test_the_box_is_the_part_of_the_photo_that_is_kept() -> None:
    photo = Image.new("RGB", (400, 100), (255, 0, 0))
    square = CentreSquare(100)
    left, top, right, bottom = square.box(*photo.size)
    assert (left, top, right, bottom) == (150, 0, 250, 100)
    photo.paste((0, 0, 255), (150, 0, 250, 100))
    kept = square(photo)
    assert kept[2].min() == 1
    assert kept[0].max() == 0


def test_a_photo_that_is_not_rgb_is_refused() -> None:
    with pytest.raises(InsightError, match="mode L"):
        CentreSquare(10)(Image.new("L", (20, 20)))


@pytest.mark.parametrize(
    "name", ["", "clip", "small:", "openclip:", "timm:", "openclip:ViT-B-32", "timm:no_such_model"]
)
def test_unknown_names_end_in_one_line(name: str) -> None:
    with pytest.raises(InsightError) as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_a_hash_depends_on_every_weight_name_shape_and_type_and_on_nothing_else() -> None:
    tensors = {"b": torch.randn(3, 4), "a": torch.randn(5)}
    one = hash_tensors(tensors)
    assert hash_tensors(dict(reversed(tensors.items()))) == one
    assert hash_tensors({"a": tensors["a"], "b": tensors["b"].T.contiguous().T}) == one  # another layout in memory
    changed = tensors["b"].clone()
    changed[random.randrange(3), random.randrange(4)] += 1e-6
    others = [
        {**tensors, "b": changed},
        {**tensors, "b": tensors["b"].reshape(4, 3)},
        {**tensors, "b": tensors["b"].double()},
        {"c": tensors["b"], "a": tensors["a"]},
    ]
    assert one not in {hash_tensors(other) for other in others}
