"""How well a backbone's patches and texts agree, without training: CIFAR-10 photos named, MSRC patches labelled.

    python -m benchmarks.zero_shot --json FILE --cifar DIR --msrc DIR [--quick]

CIFAR DIR holds `test_batch.png` (one photo a row, 32x32x3) and `test_lables.json`, as the npm package has them; MSRC
DIR holds `images/`, `masks/`, `classes.txt` and `test.txt`. Each figure stands beside its nulls: the best constant
answer, and the same scores with the labels or names dealt out anew. `--card` also puts the claims into a bridge's card.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

import insight.backbones
from benchmarks.record import write_record
from insight.backbones import Backbone
from sae.files import read_json, write_json

PROMPT = "a photo of a {}"
CIFAR_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
VOID = 255
Row = dict[str, Any]
BEST = 32  # patches that stand for a photo when its best ones are asked


def encode(backbone: Backbone, photos: list[Image.Image], names: list[str], batch: int = 8) -> tuple[Tensor, Tensor]:
    """Cosines of each photo's image vector [n, c], and of its patches [n, h*w, c], with the prompted names."""
    texts = backbone.encode_text([PROMPT.format(name) for name in names])
    whole, patches = [], []
    for start in tqdm(range(0, len(photos), batch), desc=f"{backbone.name}: {len(names)} names", unit="batch"):
        images = torch.stack([backbone.transform(photo) for photo in photos[start : start + batch]])
        features = backbone.encode_image(images)
        whole.append(normalize(features.pooled, dim=-1) @ texts.T)
        patches.append(normalize(features.patches, dim=-1) @ texts.T)
    return torch.cat(whole), torch.cat(patches)


def read_cifar(folder: Path, count: int, seed: int) -> tuple[list[Image.Image], Tensor]:
    """`count` of the 10,000 test photos, drawn with `seed`, and their classes."""
    rows = np.asarray(Image.open(folder / "test_batch.png").convert("RGB")).reshape(-1, 32, 32, 3)
    labels = json.loads((folder / "test_lables.json").read_text(encoding="utf-8"))
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    return [Image.fromarray(rows[i]) for i in chosen], torch.tensor([labels[i] for i in chosen])


def read_msrc(folder: Path, backbone: Backbone, count: int | None) -> tuple[list[Image.Image], Tensor, list[str]]:
    """Test photos, the class of each patch [n, h*w] (`VOID` where at least half of it is void), and the class names.

    A patch has the class that most of its labelled pixels have, in the square that the backbone's transform keeps.
    """
    names = (folder / "classes.txt").read_text(encoding="utf-8").split("\n")
    names = [name.strip() for name in names if name.strip()]
    stems = (folder / "test.txt").read_text(encoding="utf-8").split()[:count]
    photos = [Image.open(next((folder / "images").glob(f"{stem}.*"))).convert("RGB") for stem in stems]
    labels = [patch_classes(Image.open(folder / "masks" / f"{stem}.png"), backbone, len(names)) for stem in stems]
    return photos, torch.stack(labels), names


def patch_classes(mask: Image.Image, backbone: Backbone, n_classes: int) -> Tensor:
    """[h*w] classes of the patches of one mask."""
    (height, width), size = backbone.grid, backbone.image_size
    square = mask.resize((size, size), Image.Resampling.NEAREST, box=backbone.transform.box(*mask.size))
    pixels = np.asarray(square).reshape(height, size // height, width, size // width).swapaxes(1, 2)
    counts = np.stack([(pixels == c).sum((2, 3)) for c in range(n_classes)], axis=-1).reshape(height * width, -1)
    enough = counts.sum(1) > (size // height) * (size // width) / 2
    return torch.from_numpy(np.where(enough, counts.argmax(1), VOID))


def accuracy(answers: Tensor, truth: Tensor) -> float:
    """Share of right answers."""
    return float((answers == truth).float().mean())


def patch_scores(answers: Tensor, truth: Tensor, n_classes: int) -> tuple[float, float]:
    """(mean IoU over the classes that occur, patch accuracy), void patches left out."""
    kept = truth != VOID
    table = torch.bincount(truth[kept] * n_classes + answers[kept], minlength=n_classes**2)
    table = table.reshape(n_classes, n_classes).double()
    union = table.sum(0) + table.sum(1) - table.diag()
    occurs = table.sum(1) > 0
    return float((table.diag() / union)[occurs].mean()), float(table.diag().sum() / table.sum())


def measure_cifar(backbone: Backbone, folder: Path, count: int, seed: int, deals: int) -> list[Row]:
    """Accuracy of the image vector and of the best patches, each beside the mean accuracy with labels shuffled."""
    photos, truth = read_cifar(folder, count, seed)
    whole, patches = encode(backbone, photos, CIFAR_CLASSES)
    best = patches.topk(BEST, dim=1).values.mean(1)
    rng = torch.Generator().manual_seed(seed)
    rows: list[Row] = []
    for method, scores in (("image vector", whole), (f"{BEST} best patches", best)):
        answers = scores.argmax(1)
        shuffled = [accuracy(answers, truth[torch.randperm(len(truth), generator=rng)]) for _ in range(deals)]
        low, high = interval(lambda drawn, a=answers: accuracy(a[drawn], truth[drawn]), len(truth), seed)
        figures = {"images": len(truth), "accuracy": accuracy(answers, truth), "low": low, "high": high}
        rows.append({"data": "CIFAR-10 test", "method": method, **figures})
        rows.append({"data": "CIFAR-10 test", "method": f"{method}, labels shuffled", "accuracy": mean(shuffled)})
    constant = accuracy(truth.mode().values.expand(len(truth)), truth)
    return [*rows, {"data": "CIFAR-10 test", "method": "always the commonest class", "accuracy": constant}]


def measure_msrc(backbone: Backbone, folder: Path, count: int | None, seed: int, deals: int) -> list[Row]:
    """Mean IoU and patch accuracy with all names to choose from, with the photo's own names only, and their nulls."""
    photos, truth, names = read_msrc(folder, backbone, count)
    _, scores = encode(backbone, photos, names)
    rng = torch.Generator().manual_seed(seed)
    own = torch.stack([torch.isin(torch.arange(len(names)), classes) for classes in truth])[:, None]

    def row(method: str, answers: list[Tensor]) -> Row:
        iou, right = zip(*(patch_scores(answer, truth, len(names)) for answer in answers))
        return {"data": "MSRC-v2 test", "method": method, "miou": mean(iou), "patch_accuracy": mean(right)}

    rows = []
    for method, answers in (("all names", scores.argmax(-1)), ("own names", scores.masked_fill(~own, -2).argmax(-1))):
        low, high = interval(
            lambda drawn, a=answers: patch_scores(a[drawn], truth[drawn], len(names))[0], len(truth), seed
        )
        rows.append({**row(method, [answers]), "images": len(truth), "low": low, "high": high})
    dealt = [scores[..., torch.randperm(len(names), generator=rng)].argmax(-1) for _ in range(deals)]
    drawn = [torch.rand(scores.shape, generator=rng).masked_fill(~own, -2).argmax(-1) for _ in range(deals)]
    commonest = truth[truth != VOID].mode().values.expand(truth.shape)
    return [
        *rows,
        row("all names, dealt out anew", dealt),
        row("own names, drawn by chance", drawn),
        row("always the commonest class", [commonest]),
    ]


def interval(figure: Callable[[Tensor], float], n: int, seed: int, draws: int = 1000) -> tuple[float, float]:
    """95 % of the figure over photos drawn anew with replacement; `figure` gets the indices of the drawn photos."""
    rng = torch.Generator().manual_seed(seed)
    figures = [figure(torch.randint(n, (n,), generator=rng)) for _ in range(draws)]
    return float(np.quantile(figures, 0.025)), float(np.quantile(figures, 0.975))


def claims_from(rows: list[Row]) -> list[dict[str, Any]]:
    """The sentences that may be said, computed from the rows."""
    by_name = {(row["data"], row["method"]): row for row in rows}
    claims = []
    for data, method, key, claim, target in (
        ("CIFAR-10 test", "image vector", "accuracy", "CIFAR-10 zero-shot accuracy by the image vector", 0.8),
        ("CIFAR-10 test", f"{BEST} best patches", "accuracy", "CIFAR-10 zero-shot accuracy by the best patches", 0.8),
        ("MSRC-v2 test", "all names", "miou", "MSRC mean IoU per patch, 23 names", 0.4),
        ("MSRC-v2 test", "own names", "miou", "MSRC mean IoU per patch, the photo's own names", 0.5),
    ):
        row = by_name[data, method]
        value, bounds = row[key], [row["low"], row["high"]]
        entry = {"claim": claim, "value": value, "unit": "share", "target": target, "holds": value >= target}
        claims.append({**entry, "interval": bounds})
    return claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--msrc", type=Path, required=True)
    parser.add_argument("--backbone", default="small")
    parser.add_argument("--card", type=Path, help="the bridge's card, which is to quote the claims")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="20 photos of each set, for a smoke test")
    arguments = parser.parse_args()

    backbone = insight.backbones.load(arguments.backbone)
    n_cifar, n_msrc, deals = (20, 20, 3) if arguments.quick else (1000, None, 20)
    with torch.inference_mode():
        cifar = measure_cifar(backbone, arguments.cifar, n_cifar, arguments.seed, deals)
        msrc = measure_msrc(backbone, arguments.msrc, n_msrc, arguments.seed, deals)
    claims = claims_from([*cifar, *msrc])
    write_record(
        arguments.json,
        benchmark="zero_shot",
        data={"name": "CIFAR-10 and MSRC-v2", "images": cifar[0]["images"] + msrc[0]["images"], "split": "test"},
        settings={"backbone": backbone.name, "fingerprint": backbone.fingerprint, "prompt": PROMPT, "deals": deals},
        rows=[*cifar, *msrc],
        claims=claims,
        packages=["timm", "transformers"],
    )
    if arguments.card:
        write_json(arguments.card, {**read_json(arguments.card), "measured": claims})


if __name__ == "__main__":
    main()
