"""Every kind of image gives the explanation of the picture a person sees, as a file and as a PIL image, or one line.

The model's concepts are the colours themselves: a patch's red, green and blue, so maps can be compared with pixels.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from insight import ConceptModel, Explanation, InsightError
from insight.backbones import Backbone, DenseFeatures
from insight.concept import unnamed
from naming import Cooccurrence, Exemplars, published_graph
from sae import SaeConfig, SparseAutoencoder


class Colours(Backbone):
    """4 × 4 patches of 8 pixels; a patch's vector is its mean colour."""

    name, description, dim, patch, image_size, grid, depth, fingerprint = "colours", "", 3, 8, 32, (4, 4), 0, "none"

    def encode_image(self, images: Tensor) -> DenseFeatures:
        self.check_images(images)
        patches = torch.nn.functional.avg_pool2d(images, 8).flatten(2).mT
        return DenseFeatures(patches, patches.mean(1), self.grid_for(images))


@pytest.fixture(scope="module")
def model() -> ConceptModel:
    sae = SparseAutoencoder(SaeConfig(dim=3, n_concepts=3, k=3, fractions=(1.0,), selection="relu"))
    with torch.no_grad():
        sae.encoder.copy_(torch.eye(3))
        sae.decoder.copy_(torch.eye(3))
    graph = published_graph(Cooccurrence(3), Exemplars(3))  # no edges
    config = {"backbone": {"name": "colours", "fingerprint": "none", "description": ""}}
    return ConceptModel(sae, unnamed([0] * 3, [1] * 3, [0.0] * 3), graph, config, backbone=Colours())


def colours_of(explanation: Explanation) -> np.ndarray:
    """What the concepts say of each patch: [4, 4, 3] in [0, 1]."""
    found = np.zeros((4, 4, 3))
    for concept in explanation.concepts:
        found[..., concept.id] = concept.map
    return found


def quarters(*colours: tuple[int, ...]) -> np.ndarray:
    """A picture of 32 × 32 pixels: a colour for each quarter, in reading order."""
    dtype = np.uint8 if max(map(max, colours)) < 256 else np.uint16
    return np.array(colours, dtype).reshape(2, 2, -1).repeat(16, 0).repeat(16, 1)


def check(model: ConceptModel, path: Path, expected: list[tuple[float, float, float]]) -> None:
    """File and opened image say the same, and in the inner corners of the quarters what is expected (0 to 255)."""
    from_file = colours_of(model.explain(path))
    with Image.open(path) as image:
        from_image = colours_of(model.explain(image))
    np.testing.assert_array_equal(from_file, from_image)
    corners = from_file[::3, ::3].reshape(4, 3) * 255
    np.testing.assert_allclose(corners, expected, atol=1.01)


def test_grey_becomes_three_equal_colours(model: ConceptModel, tmp_path: Path) -> None:
    Image.fromarray(quarters((0,), (80,), (160,), (255,))[..., 0]).save(tmp_path / "a.png")
    check(model, tmp_path / "a.png", [(0, 0, 0), (80, 80, 80), (160, 160, 160), (255, 255, 255)])
    Image.fromarray(quarters((0,), (255,), (255,), (0,))[..., 0]).convert("1").save(tmp_path / "b.png")
    check(model, tmp_path / "b.png", [(0, 0, 0), (255, 255, 255), (255, 255, 255), (0, 0, 0)])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_scaled_and_not_clipped_to_white(model: ConceptModel, tmp_path: Path, suffix: str) -> None:
    Image.fromarray(quarters((0,), (257,), (32896,), (65535,))[..., 0]).save(tmp_path / f"a{suffix}")
    check(model, tmp_path / f"a{suffix}", [(0, 0, 0), (1, 1, 1), (128, 128, 128), (255, 255, 255)])


def test_transparency_is_laid_on_white(model: ConceptModel, tmp_path: Path) -> None:
    rgba = quarters((200, 0, 40, 255), (200, 0, 40, 0), (0, 0, 0, 51), (0, 100, 0, 204))
    Image.fromarray(rgba).save(tmp_path / "a.png")
    check(model, tmp_path / "a.png", [(200, 0, 40), (255, 255, 255), (204, 204, 204), (51, 131, 51)])
    Image.fromarray(quarters((0, 255), (0, 0), (100, 51), (255, 255))).save(tmp_path / "b.png")
    check(model, tmp_path / "b.png", [(0, 0, 0), (255, 255, 255), (224, 224, 224), (255, 255, 255)])


def test_a_palette_gives_its_colours_and_its_transparent_one_white(model: ConceptModel, tmp_path: Path) -> None:
    image = Image.fromarray(quarters((0,), (1,), (2,), (0,))[..., 0]).convert("P")
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 90, 0])
    image.save(tmp_path / "a.png")
    check(model, tmp_path / "a.png", [(10, 20, 30), (200, 0, 0), (0, 90, 0), (10, 20, 30)])
    image.save(tmp_path / "b.png", transparency=1)
    check(model, tmp_path / "b.png", [(10, 20, 30), (255, 255, 255), (0, 90, 0), (10, 20, 30)])


def test_cmyk_becomes_rgb(model: ConceptModel, tmp_path: Path) -> None:
    cmyk = quarters((0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 255, 0), (0, 0, 0, 255))
    Image.frombytes("CMYK", (32, 32), cmyk.tobytes()).save(tmp_path / "a.tif")
    check(model, tmp_path / "a.tif", [(255, 255, 255), (0, 255, 255), (255, 0, 0), (0, 0, 0)])


def test_a_photo_taken_sideways_is_explained_upright(model: ConceptModel, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera's top is the picture's right side
    Image.fromarray(quarters((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))).save(
        tmp_path / "a.png", exif=exif
    )
    check(model, tmp_path / "a.png", [(0, 0, 255), (255, 0, 0), (255, 255, 255), (0, 255, 0)])


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (37, 5), (33, 31)])
def test_any_number_of_pixels_is_a_photo(model: ConceptModel, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (255, 102, 0)).save(tmp_path / "a.png")
    explanation = model.explain(tmp_path / "a.png")
    np.testing.assert_allclose(colours_of(explanation), np.broadcast_to([1, 0.4, 0], (4, 4, 3)), atol=1e-4)
    explanation.save_png(tmp_path / "out.png")
    explanation.save_html(tmp_path / "out.html")
    explanation.save_json(tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["grid"] == [4, 4]


def test_what_shows_no_picture_ends_in_one_line(model: ConceptModel, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng().integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(stream, "JPEG")
    half = stream.getvalue()[:-1500]
    (tmp_path / "half.jpg").write_bytes(half)
    Image.new("F", (4, 4)).save(tmp_path / "floats.tif")
    bad: list[Path | Image.Image] = [
        tmp_path / "half.jpg",
        tmp_path / "floats.tif",
        tmp_path / "nothing.jpg",
        Image.open(io.BytesIO(half)),
        Image.new("F", (4, 4)),
        Image.new("I", (4, 4)),
        Image.new("RGB", (0, 4)),
    ]
    for image in bad:
        with pytest.raises(InsightError) as caught:
            model.explain(image)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 3, 33, 32), (1, 3, 32, 4), (1, 1, 32, 32), (3, 32, 32), (1, 4, 32, 32)])
def test_tensors_that_are_no_whole_patches_are_refused(model: ConceptModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(InsightError, match=r"\[B, 3, H, W\] in \[0, 1\] with H and W multiples of 8"):
        model.encode(torch.zeros(shape))
