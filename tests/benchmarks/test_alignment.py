"""The benchmark of alignment: its measures against independent forms, its sets, its speakers, and that it runs."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, jaccard_score
from torch import Tensor

from benchmarks import alignment
from benchmarks.probes import photos as sets
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
from benchmarks.probes.claims import claims_of
from benchmarks.probes.metrics import (
    VOID,
    accuracy,
    confusion,
    interval_of_mean,
    interval_of_tables,
    mean_iou,
    patch_classes,
    pixel_classes,
    retrieved,
    turned,
    upsampled,
)
from benchmarks.probes.photos import CIFAR_CLASSES, Captioned, Masked, Named, Photos, mosaics
from benchmarks.probes.speakers import OfBridge, OfNames, Speaker, check_is_backbone
from benchmarks.probes.speed import with_known_words
from benchmarks.probes.tokens import Network, folder_of, stream
from insight.backbones import CentreSquare, DenseFeatures
from insight.backbones.bridge import SHAPES, Bridge
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


def test_mean_iou_and_accuracy_of_summed_tables_equal_scikit_learns() -> None:
    truth, answers = torch.randint(5, (6, 4, 10)), torch.randint(6, (6, 4, 10))
    truth[torch.rand(6, 4, 10) < 0.2] = VOID
    tables = confusion(answers, truth, 7)  # class 5 is only ever answered, class 6 neither is nor answered
    assert tables.shape == (6, 7, 7)
    for photo in range(6):
        for t in range(7):
            for a in range(7):
                assert tables[photo, t, a] == ((truth[photo] == t) & (answers[photo] == a)).sum()
    kept = truth != VOID
    t, a = truth[kept].numpy(), answers[kept].numpy()
    expected = jaccard_score(t, a, average="macro", labels=range(5))
    assert math.isclose(mean_iou(tables.sum(0)), expected, rel_tol=1e-9)
    assert math.isclose(accuracy(tables.sum(0)), accuracy_score(t, a), rel_tol=1e-9)


def test_pixels_are_of_the_centre_square_and_patches_have_the_class_of_most_of_them() -> None:
    mask = np.full((224, 448), 9, np.uint8)  # the outer quarters are cut off
    mask[:, 112:336] = 200  # no class
    mask[:14, 112:126] = 3
    mask[:5, 112:126] = 1
    mask[14:28, 112:117] = 2  # 5 of 14 columns: too little
    mask[28:42, 112:119] = 0  # one half
    mask[28:42, 119:126] = 2  # the other
    pixels = pixel_classes(Image.fromarray(mask), CentreSquare(224), 4)
    assert torch.equal(pixels[:14, :14], torch.tensor([1] * 5 + [3] * 9)[:, None].expand(14, 14))
    patches = patch_classes(pixels, (16, 16), 4).reshape(16, 16)
    assert patches[0, 0] == 3
    assert (patches.flatten()[1:] == VOID).all()
    assert 9 not in pixels


def test_retrieval_counts_what_is_ranked_among_the_first() -> None:
    photos, captions = unit(7, 9).double(), unit(35, 9).double()
    owner = torch.arange(35) % 7
    captions += 0.8 * photos[owner]
    shares = retrieved(photos, captions, owner, (1, 3))
    scores = (photos @ captions.T).numpy()
    for k in (1, 3):
        for photo in range(7):
            own = [c for c in range(35) if c % 7 == photo]
            to_image = [photo in np.argsort(-scores[:, c])[:k] for c in own]
            to_text = any(c in own for c in np.argsort(-scores[photo])[:k])
            assert math.isclose(shares[f"text to image R@{k}"][photo], np.mean(to_image), abs_tol=1e-9)
            assert shares[f"image to text R@{k}"][photo] == to_text


def test_retrieval_finds_nothing_where_all_score_the_same() -> None:
    same = torch.ones(6, 4) / 2
    shares = retrieved(same, same.repeat(5, 1), torch.arange(30) % 6, (1, 5))
    assert all(values.sum() == 0 for values in shares.values())


def test_pixels_between_patches_get_what_is_best_when_scores_are_drawn_out() -> None:
    scores = torch.tensor([[1.0, 0.0], [0.0, 0.5]])  # two patches side by side, two classes
    classes = upsampled(scores.repeat(2, 1), (2, 2), 8)
    # Between the centres (columns 1.5 and 5.5) class 0 falls from 1 to 0 while class 1 rises to 0.5: they meet at 4.17.
    assert torch.equal(classes, torch.tensor([0, 0, 0, 0, 0, 1, 1, 1]).expand(8, 8))


def test_intervals_are_those_of_means_and_both_forms_agree() -> None:
    right = torch.rand(900) < 0.7
    tables = torch.zeros(900, 2, 2)
    tables[torch.arange(900), 0, (~right).long()] = 1
    low, high = interval_of_mean(right, 3)
    assert interval_of_tables(tables, accuracy, 3) == pytest.approx((low, high), abs=1e-12)
    share = float(right.double().mean())
    half = 1.96 * math.sqrt(share * (1 - share) / 900)
    assert low == pytest.approx(share - half, abs=half / 2)
    assert high == pytest.approx(share + half, abs=half / 2)


def test_turned_texts_keep_their_angles_and_lose_their_place() -> None:
    texts = unit(6, 40)
    aside = turned(texts, torch.Generator().manual_seed(1))
    assert torch.allclose(aside @ aside.T, texts @ texts.T, atol=1e-5)
    assert (aside * texts).sum(1).abs().mean() < 0.6


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


def row(data: str, by: str, figure: str, value: float, who: str = "small", against: str | None = None) -> dict:
    known = {"images": 10, "interval": (value - 0.1, value + 0.1)}
    return {"data": data, "who": who, "by": by, "against": against, "figure": figure, "value": value, **known}


def test_claims_hold_by_their_value_and_speeds_by_the_worse_end() -> None:
    rows = [
        row("CIFAR-10 test", WHOLE, "accuracy", 0.88),
        row("CIFAR-10 test", WHOLE, "accuracy", 0.1, against=CONSTANT),
        row("CIFAR-10 test", WHOLE, "accuracy", 0.7, who="ridge"),
        row("CIFAR-10 test", WHOLE, "accuracy", 0.2, who="ridge", against=CONSTANT),
        row("MSRC-v2 test", PRESENT, "patch mIoU", 0.55),
        row("COCO val2017", WHOLE, "text to image R@1", 0.4),
    ]
    slow = [1.0, 1.05, 1.08, 1.04, 1.3, 1.06]
    rows += [{"part": "speed", "who": "a", "images_per_s": 10, "bare_images_per_s": 10 * ratio} for ratio in slow]
    rows += [{"part": "speed", "who": "b", "images_per_s": 10, "bare_images_per_s": 10.4} for _ in range(5)]
    said = {claim["claim"]: claim for claim in claims_of(rows, "small")}
    cifar = "CIFAR-10 test: accuracy by image vector"
    assert [(claim["target"], claim["holds"]) for claim in said.values()] == [
        ("at least 0.87", True),
        ("at least 0.9", False),
        (None, None),
        (None, None),
        ("at least 0.56", False),
        (None, None),
        ("at most 1.1", False),
        ("at most 1.1", True),
    ]
    assert list(said)[:4] == [cifar, f"{cifar} (aimed at)", f"{cifar}, {CONSTANT}", f"{cifar}, ridge"]
    assert said[f"{cifar}, ridge"]["value"] == 0.7
    speed = said["a: time of dense features, of the bare forward of the same tower"]
    assert speed["value"] == pytest.approx(1.055)
    assert speed["interval"][1] > 1.1


TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng().integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Small sets of noise in the layouts of the real ones, as the arguments that name them."""
    cifar, msrc, coco, imagenet = (tmp_path / name for name in ("cifar", "msrc", "coco", "imagenet"))
    for folder in (cifar, msrc / "images", msrc / "masks", coco / "images", imagenet / "images" / "n1"):
        folder.mkdir(parents=True)
    noise(30, 1024 * 3).crop((0, 0, 1024, 30)).save(cifar / "test_batch.png")
    (cifar / "test_lables.json").write_text(json.dumps([i % 10 for i in range(30)]))
    for stem in ("a", "b", "c"):
        noise(70, 90).save(msrc / "images" / f"{stem}.png")
        Image.fromarray(np.full((70, 90), ord(stem) - 97, np.uint8)).save(msrc / "masks" / f"{stem}.png")
    (msrc / "classes.txt").write_text("grass\nsky\nboat\ncow\n")
    (msrc / "test.txt").write_text("a\nb\nc\n")
    images, said = [], []
    for i in range(4):
        noise(64, 80).save(coco / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png"})
        said += [{"image_id": i, "id": 10 * i + j, "caption": f"number {i} as {j} "} for j in (5, 3, 1, 4, 2, 0)]
        noise(64, 80).save(imagenet / "images" / "n1" / f"{i}.png")
    (coco / "captions.json").write_text(json.dumps({"images": images, "annotations": said}))
    (imagenet / "classes.tsv").write_text("n0\tperson\nn1\tray\nn2\tbird\n")
    held_out = {"coco": ["3.png", "0.png"], "imagenet": ["n1/2.png", "n1/0.png"]}
    (tmp_path / "held_out.json").write_text(json.dumps(held_out))
    monkeypatch.setattr(sets, "HELD_OUT", tmp_path / "held_out.json")
    return [f"--{folder.name}={folder}" for folder in (cifar, msrc, coco, imagenet)]


def test_held_out_photos_come_with_their_first_five_captions_and_names(folders: list[str]) -> None:
    coco, imagenet = (Path(folder.partition("=")[2]) for folder in folders[2:])
    found = sets.read_coco(coco, None)
    assert found.captions == [[f"number {i} as {j}" for j in range(5)] for i in (3, 0)]
    assert np.array_equal(np.asarray(found.photo(1)), np.asarray(Image.open(coco / "images" / "0.png")))
    named = sets.read_imagenet(imagenet, None)
    assert named.truth.tolist() == [1, 1]
    (coco / "images" / "3.png").unlink()
    with pytest.raises(InsightError, match=r"3\.png: no such photo"):
        sets.read_coco(coco, None)


def test_the_benchmark_runs_on_any_backbone_with_a_text_space(folders: list[str], tmp_path: Path) -> None:
    import open_clip

    (tmp_path / "insight-tiny-aligned.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path / "insight-tiny-aligned.json")
    name, file, card = "openclip:insight-tiny-aligned/", tmp_path / "found.json", tmp_path / "card.json"
    card.write_text('{"what": "a card"}')
    alignment.main(
        [f"--json={file}", "--quick", f"--backbone={name}", f"--speed={name},nobody", f"--card={card}", *folders]
    )
    record = json.loads(file.read_text())
    asked = [row for row in record["rows"] if row.get("part") != "speed"]
    assert {row["data"]: row["images"] for row in asked} == {
        "CIFAR-10 test": 20,
        "CIFAR-10 mosaics": 6,
        "ImageNet, 200 names": 2,
        "COCO val2017": 2,
        "MSRC-v2 test": 3,
    }
    assert all(0 <= row["value"] <= 1 for row in asked)
    speeds = [row for row in record["rows"] if row.get("part") == "speed"]
    assert [(row["who"], "error" in row) for row in speeds] == [(name, False), (name, False), ("nobody", True)]
    assert [claim["target"] for claim in record["claims"] if claim["target"]] == [
        *("at least 0.87", "at least 0.9", "at least 0.45", "at least 0.5", "at least 0.56", "at most 1.1")
    ]
    assert json.loads(card.read_text()) == {"what": "a card", "measured": record["claims"]}


def test_bridges_are_compared_on_the_tokens_of_small_alone(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"--json={tmp_path / 'found.json'}", "--quick", "--speed=", *folders]
    with pytest.raises(SystemExit):
        alignment.main([*arguments, "--bridge=nobody"])
    assert "expected NAME=FILE of a bridge, found 'nobody'" in capsys.readouterr().err
    (tmp_path / "bridge").touch()
    with pytest.raises(InsightError, match="expected --backbone small"):
        alignment.main([*arguments, f"--bridge=a={tmp_path / 'bridge'}", "--backbone=openclip:ViT-S-32-alt/"])


def test_towers_whose_tokenizer_is_on_a_hub_are_timed_beside_other_words() -> None:
    import open_clip

    assert with_known_words("small") == "small"
    assert with_known_words("openclip:ViT-B-32/") == "openclip:ViT-B-32/"
    name = with_known_words("openclip:ViT-B-16-SigLIP/")
    config = open_clip.get_model_config(name.partition(":")[2].partition("/")[0])
    assert config["vision_cfg"] == open_clip.get_model_config("ViT-B-16-SigLIP")["vision_cfg"]
    assert "hf_tokenizer_name" not in config["text_cfg"]
