"""The probes of alignment: mosaics, kept tokens, who answers, and what is counted of the answers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score
from torch import Tensor

from benchmarks.probes import tokens
from benchmarks.probes.asked import (
    ALL,
    CHANCE,
    CONSTANT,
    DEALT,
    PATCHES,
    PRESENT,
    SHUFFLED,
    TURNED,
    WHOLE,
    find_captions,
    label_patches,
    name_photos,
)
from benchmarks.probes.metrics import (
    VOID,
    patch_classes,
    pixel_classes,
)
from benchmarks.probes.photos import CIFAR_CLASSES, Captioned, Masked, Named, Photos, mosaics
from benchmarks.probes.speakers import OfBridge, OfNames, Speaker, check_is_backbone
from benchmarks.probes.tokens import Network, folder_of, stream
from insight.backbones import CentreSquare, DenseFeatures
from insight.backbones.small.bridge import SHAPES, Bridge
from sae.errors import InsightError


def unit(*shape: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def flat(colour: int) -> Image.Image:
    return Image.new("RGB", (32, 32), (colour, 255 - colour, 7))


class Known(Speaker):
    """Says what it was given: vectors of texts by their last word, and of photos by their order."""

    def __init__(self, words: dict[str, Tensor], patches: Tensor, whole: Tensor, grid: tuple[int, int]) -> None:
        super().__init__("known", "0", CentreSquare(16 * grid[0]), grid)
        self.words, self.patches, self.whole = words, patches, whole

    def text(self, texts: list[str]) -> Tensor:
        return torch.stack([self.words[text.split()[-1]] for text in texts])

    def features(self, photos: Photos) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, photos.count, 3):
            yield self.patches[start : start + 3], self.whole[start : start + 3]


def found(rows: list[dict], **wanted: object) -> float:
    (row,) = [row for row in rows if all(row[key] == value for key, value in ({"against": None} | wanted).items())]
    return row["value"]


def test_mosaics_have_four_classes_each_in_its_quarter() -> None:
    truth = torch.arange(40) % 8
    photos = Named("made", "key", 40, lambda i: flat(int(truth[i]) * 30), CIFAR_CLASSES, truth)
    made = mosaics(photos, 9, seed=4)
    again = mosaics(photos, 9, seed=4)
    assert made.key == again.key != mosaics(photos, 9, seed=5).key
    for i in range(9):
        picture, mask = np.asarray(made.photo(i)), np.asarray(made.mask(i))
        assert picture.shape == (224, 224, 3)
        assert np.array_equal(picture, np.asarray(again.photo(i)))
        assert np.array_equal(picture[..., 0], mask * 30)
        corners = mask[::112, ::112].flatten()
        assert len(set(corners)) == 4
        assert np.array_equal(mask, corners.reshape(2, 2).repeat(112, 0).repeat(112, 1))
    pixels = pixel_classes(made.mask(0), CentreSquare(224), 10)
    even = patch_classes(pixels, (16, 16), 10).reshape(16, 16)
    assert torch.equal(even, pixels[::14, ::14])
    odd = patch_classes(pixels, (7, 7), 10).reshape(7, 7)  # the middle ones belong to two or four photos
    assert (odd[3] == VOID).all()
    assert (odd[:, 3] == VOID).all()
    assert torch.equal(odd[:3, 4:].unique(), pixels[0, 223:])


def test_photos_are_named_by_the_nearest_text() -> None:
    truth, answers = torch.arange(60) % 4, torch.randint(4, (60,))
    texts = torch.eye(5, 12)
    patches = 0.1 * torch.randn(60, 50, 12)
    patches[:, :40, 4] += 1  # most patches say the fifth name, the ten last and best what the photo's answer is
    patches[:, 40:] += 8 * texts[answers][:, None]
    speaker = Known(dict(zip("abcde", texts)), patches, texts[truth], (5, 10))
    photos = Named("made", "key", 60, lambda i: flat(0), list("abcde"), truth)
    rows = name_photos(photos, speaker, deals=30, seed=int(torch.randint(1000, ())))
    assert found(rows, by=WHOLE) == 1
    assert found(rows, by=PATCHES) == pytest.approx(float((answers == truth).double().mean()))
    # 15 of 60 are right by chance, 0.056 of deviation a deal and 0.01 of 30 deals
    assert found(rows, by=WHOLE, against=SHUFFLED) == pytest.approx(0.25, abs=0.08)
    assert found(rows, by=WHOLE, against=CONSTANT) == 0.25
    assert {row["against"] for row in rows} == {None, SHUFFLED, TURNED, CONSTANT}


def test_captions_are_found_and_not_by_chance() -> None:
    whole, names = unit(40, 60), [str(i) for i in range(40)]
    speaker = Known(dict(zip(names, whole)), whole[:, None], whole, (1, 1))
    photos = Captioned("made", "key", 40, lambda i: flat(0), [[f"{word} {name}" for word in "abcde"] for name in names])
    rows = find_captions(photos, speaker, deals=10, seed=0)
    assert found(rows, figure="text to image R@1") == found(rows, figure="image to text R@1") == 1
    # 1 of 40 by chance, 0.025 of deviation a deal and 0.008 of ten deals
    assert found(rows, figure="text to image R@1", against="photos shuffled") < 0.1
    assert found(rows, figure="image to text R@5", against=TURNED) < 0.5


def test_patches_are_labelled_among_all_names_and_among_the_photos_own() -> None:
    truth = torch.randint(4, (12, 4))  # a 2x2 grid, four of six names
    truth[:, 0], truth[:, 1] = torch.arange(12) % 4, (torch.arange(12) + 1) % 4
    answers = torch.randint(6, (12, 4))
    texts = torch.eye(6, 20)
    patches = texts[answers] + 0.2 * texts[truth]

    def mask(i: int) -> Image.Image:
        return Image.fromarray(truth[i].reshape(2, 2).numpy().astype(np.uint8)).resize((64, 64), Image.NEAREST)

    photos = Masked("made", "key", 12, lambda i: flat(0), list("abcdef"), mask)
    speaker = Known(dict(zip("abcdef", texts)), patches, patches.mean(1), (2, 2))
    rows = label_patches(photos, speaker, deals=5, seed=0)

    t, a = truth.flatten().numpy(), answers.flatten().numpy()
    expected = jaccard_score(t, a, average="macro", labels=range(4), zero_division=0)
    assert found(rows, by=ALL, figure="patch mIoU") == pytest.approx(expected)
    assert found(rows, by=ALL, figure="patch accuracy") == pytest.approx(float((t == a).mean()))
    own = [set(classes.tolist()) for classes in truth]
    among = [
        int(said) if int(said) in own[i] else int(right) for i in range(12) for said, right in zip(answers[i], truth[i])
    ]
    expected = jaccard_score(t, among, average="macro", labels=range(4))
    assert found(rows, by=PRESENT, figure="patch mIoU") == pytest.approx(expected)
    assert found(rows, by=PRESENT, figure="pixel accuracy") > found(rows, by=ALL, figure="pixel accuracy") - 1e-9

    most = np.bincount(t).max() / 48
    assert found(rows, by=ALL, against=CONSTANT) == pytest.approx(most / 4)
    table = np.zeros((6, 6))
    for i in range(12):
        for right in truth[i].tolist():
            for name in own[i]:
                table[right, name] += 1 / len(own[i])
    ious = [table[c, c] / (table[c].sum() + table[:, c].sum() - table[c, c]) for c in range(4)]
    assert found(rows, by=PRESENT, against=CHANCE) == pytest.approx(np.mean(ious))
    assert {row["against"] for row in rows if row["by"] == ALL} == {None, TURNED, DEALT, CONSTANT}


@pytest.fixture
def numbered() -> Photos:
    return Photos("Seven photos", "key", 7, lambda i: flat(i * 9))


def counting(shape: tuple[int, ...], seen: list[int]) -> Network:
    """A network that says the first colour of each photo, and keeps count of the photos it was shown."""

    def build():
        seen.append(0)

        def forward(images: Tensor) -> Tensor:
            seen[-1] += len(images)
            return (255 * images[:, 0, 0, 0]).reshape(-1, *[1] * len(shape)).expand(-1, *shape)

        return forward

    return Network("first colour", "weights", CentreSquare(8), build)


def test_tokens_are_kept_and_a_stopped_run_goes_on(
    numbered: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "CHUNK", 3)
    monkeypatch.setattr(tokens, "BATCH", 2)
    seen: list[int] = []
    network = counting((2, 4), seen)
    run = stream(tmp_path, numbered, network)
    next(run)
    run.close()
    assert seen == [3]
    values = torch.cat(list(stream(tmp_path, numbered, counting((2, 4), seen))))
    assert seen == [3, 4]
    assert values.dtype == torch.float32
    assert torch.equal(values, (torch.arange(7.0) * 9)[:, None, None].expand(7, 2, 4))
    list(stream(tmp_path, numbered, network))
    assert seen == [3, 4]  # nobody was built again

    other = Photos(numbered.name, "other key", 7, numbered.photo)
    assert folder_of(tmp_path, other, network) != folder_of(tmp_path, numbered, network)
    damaged = sorted(folder_of(tmp_path, numbered, network).iterdir())[1]
    damaged.write_bytes(damaged.read_bytes()[:-3])
    with pytest.raises(InsightError, match=r"000003\.safetensors: expected kept tokens"):
        list(stream(tmp_path, numbered, network))


class TwoWords:
    """A sentence encoder that knows two texts."""

    vectors = unit(2, 384)

    def __call__(self, texts: list[str]) -> Tensor:
        return torch.stack([self.vectors[int(text.endswith("sky"))] for text in texts])


def test_a_bridge_reads_kept_tokens_and_is_what_its_backbone_is(numbered: Photos, tmp_path: Path) -> None:
    colours = torch.arange(7.0) * 9
    bridge = Bridge({name: torch.randn(shape) for name, shape in SHAPES.items()})
    direction = torch.randn(257, 384).half().float()

    def forward(images: Tensor) -> Tensor:
        return (images[:, 0, 0, 0, None, None] * 255 + 1) * direction

    network = Network("stand-in", "weights", CentreSquare(8), lambda: forward)
    speaker = OfBridge("made", bridge, network, TwoWords(), tmp_path)
    ((patches, pooled),) = speaker.features(numbered)
    expected = bridge((colours[:, None, None] + 1) * direction)
    for vectors, told in zip((patches, pooled), expected):
        assert (torch.cosine_similarity(vectors, told, dim=-1) > 0.999).all()
        assert torch.allclose(vectors.norm(dim=-1), torch.ones(()))

    class Same:
        name, transform = "same", CentreSquare(8)
        sign = 1

        def encode_image(self, images: Tensor) -> DenseFeatures:
            patches, pooled = bridge(forward(images))
            return DenseFeatures(patches, self.sign * pooled, (16, 16))

        def encode_text(self, texts: list[str]) -> Tensor:
            return speaker.text(texts)

    check_is_backbone(speaker, Same(), numbered)
    other = Same()
    other.sign = -1
    with pytest.raises(InsightError, match="pooled of same"):
        check_is_backbone(speaker, other, numbered)


def test_names_alone_are_a_mean_of_texts_weighted_by_the_posterior(numbered: Photos, tmp_path: Path) -> None:
    vectors = unit(3, 20)
    speaker = Known(dict(zip("abc", vectors)), torch.empty(0), torch.empty(0), (1, 1))
    posterior = torch.rand(3).softmax(0)
    network = Network("classifier", "weights", CentreSquare(8), lambda: lambda images: posterior.repeat(len(images), 1))
    ((patches, whole),) = OfNames("names", network, list("abc"), speaker, tmp_path).features(numbered)
    assert patches is None
    mean = sum(float(p) * vector for p, vector in zip(posterior, vectors))
    assert (torch.cosine_similarity(whole, mean) > 0.9999).all()
