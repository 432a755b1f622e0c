"""The probes: photos named, captions found, patches labelled. Each gives rows, one figure a row, with its nulls.

A row: {"data", "images", "who", "by", "against", "figure", "value", "interval"}. `against` is None for a measurement,
else the null that stands beside it, the mean over deals. Measurements have 95 % intervals over photos drawn anew.
"""

from __future__ import annotations

from statistics import mean
from typing import Any

import torch
from torch import Tensor

from benchmarks.probes.metrics import (
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
from benchmarks.probes.photos import Captioned, Masked, Named, Photos
from benchmarks.probes.speakers import PROMPT, Speaker

Row = dict[str, Any]
BEST = 32  # patches that stand for a photo when its best ones are asked
CUTOFFS = (1, 5, 10)
WHOLE, PATCHES = "image vector", f"{BEST} best patches"
ALL, PRESENT = "all names", "the photo's own names"
SHUFFLED, TURNED, DEALT = "labels shuffled", "texts turned at random", "names dealt anew"
CONSTANT, CHANCE = "always the commonest class", "own names drawn by chance"


def name_photos(photos: Named, speaker: Speaker, deals: int, seed: int) -> list[Row]:
    """Which name is nearest to the image vector, and to the mean of the `BEST` patches that are nearest to it."""
    random = torch.Generator().manual_seed(seed)
    texts = speaker.text([PROMPT.format(name) for name in photos.names])
    banks = [texts, *(turned(texts, random) for _ in range(deals))]
    answers: dict[str, list[Tensor]] = {}  # [b, 1 + deals] of each batch
    for patches, whole in speaker.features(photos):
        scores = {WHOLE: whole @ torch.cat(banks).T}
        if patches is not None:
            scores[PATCHES] = torch.cat(
                [(patches @ bank.T).topk(min(BEST, patches.shape[1]), dim=1).values.mean(1) for bank in banks], dim=1
            )
        for by, found in scores.items():
            answers.setdefault(by, []).append(found.unflatten(1, (len(banks), -1)).argmax(2))
    rows = []
    for by, batches in answers.items():
        right = torch.cat(batches) == photos.truth[:, None]
        base = base_row(photos, speaker.name, by, "accuracy")
        rows.append(measured(base, right[:, 0], seed))
        mixed = [photos.truth[torch.randperm(photos.count, generator=random)] for _ in range(deals)]
        found = torch.cat(batches)[:, 0]
        rows.append(null(base, SHUFFLED, [float((found == truth).double().mean()) for truth in mixed]))
        rows.append(null(base, TURNED, right[:, 1:].double().mean(0).tolist()))
    commonest = float((photos.truth == photos.truth.mode().values).double().mean())
    return [*rows, null(base_row(photos, speaker.name, WHOLE, "accuracy"), CONSTANT, [commonest])]


def find_captions(photos: Captioned, speaker: Speaker, deals: int, seed: int) -> list[Row]:
    """Each photo's captions among all captions and each caption's photo among all photos, by the image vector."""
    random = torch.Generator().manual_seed(seed)
    texts = speaker.text([caption for captions in photos.captions for caption in captions])
    owner = torch.tensor([i for i, captions in enumerate(photos.captions) for _ in captions])
    whole = torch.cat([pooled for _, pooled in speaker.features(photos)])

    def each(vectors: Tensor, captions: Tensor) -> dict[str, Tensor]:
        return retrieved(vectors, captions, owner, CUTOFFS)

    mixed = [each(whole[torch.randperm(len(whole), generator=random)], texts) for _ in range(deals)]
    aside = [each(whole, turned(texts, random)) for _ in range(deals)]
    rows = []
    for figure, values in each(whole, texts).items():
        base = base_row(photos, speaker.name, WHOLE, figure)
        rows.append(measured(base, values, seed))
        for name, found in (("photos shuffled", mixed), (TURNED, aside)):
            rows.append(null(base, name, [float(values[figure].mean()) for values in found]))
    return rows


def label_patches(photos: Masked, speaker: Speaker, deals: int, seed: int) -> list[Row]:
    """Which name is nearest to each patch, with all names on offer and with those that the photo's patches have.

    Pixels have the name that is best after the patches' cosines are drawn out bilinearly.
    """
    random = torch.Generator().manual_seed(seed)
    texts = speaker.text([PROMPT.format(name) for name in photos.names])
    aside = [turned(texts, random) for _ in range(deals)]
    n_classes = len(texts)
    assert speaker.grid is not None
    tables: dict[tuple[str, str, int], list[Tensor]] = {}  # by (answered by, cells, deal): [b, c, c] of each batch
    chance, i = [], 0
    for patches, _ in speaker.features(photos):
        assert patches is not None
        pixels = [pixel_classes(photos.mask(j), speaker.transform, n_classes) for j in range(i, i + len(patches))]
        truth = torch.stack([patch_classes(one, speaker.grid, n_classes) for one in pixels])
        i += len(patches)
        own = torch.stack([torch.isin(torch.arange(n_classes), classes) for classes in truth])[:, None]
        for deal, bank in enumerate([texts, *aside]):
            scores = patches @ bank.T
            for by, offered in ((ALL, scores), (PRESENT, scores.masked_fill(~own, -2))):
                table = confusion(offered.argmax(-1), truth, n_classes)
                tables.setdefault((by, "patch", deal), []).append(table)
                if deal == 0:
                    drawn = torch.stack([upsampled(one, speaker.grid, speaker.transform.size) for one in offered])
                    table = confusion(drawn, torch.stack(pixels), n_classes)
                    tables.setdefault((by, "pixel", 0), []).append(table)
        of_class = torch.stack([(truth == c).sum(1) for c in range(n_classes)], dim=1).double()
        chance.append((of_class[:, :, None] * own / own.sum(-1, keepdim=True).clamp(min=1)).sum(0))
    return [row for by in (ALL, PRESENT) for row in _labelled(photos, speaker, by, tables, chance, random, seed)]


def _labelled(
    photos: Masked,
    speaker: Speaker,
    by: str,
    tables: dict[tuple[str, str, int], list[Tensor]],
    chance: list[Tensor],
    random: torch.Generator,
    seed: int,
) -> list[Row]:
    rows = []
    for cells in ("patch", "pixel"):
        table = torch.cat(tables[by, cells, 0])
        for figure, score in (("mIoU", mean_iou), ("accuracy", accuracy)):
            base = base_row(photos, speaker.name, by, f"{cells} {figure}")
            interval = interval_of_tables(table, score, seed)
            rows.append({**base, "value": float(score(table.sum(0))), "interval": interval})
    base = base_row(photos, speaker.name, by, "patch mIoU")
    total = torch.cat(tables[by, "patch", 0]).sum(0)
    deals = range(1, 1 + max(deal for _, _, deal in tables))
    aside = [float(mean_iou(torch.cat(tables[by, "patch", deal]).sum(0))) for deal in deals]
    rows.append(null(base, TURNED, aside))
    if by == PRESENT:
        return [*rows, null(base, CHANCE, [float(mean_iou(sum(chance, torch.zeros(()))))])]
    dealt = [float(mean_iou(total[:, torch.randperm(len(total), generator=random)])) for _ in deals]
    constant = torch.zeros_like(total)
    constant[:, total.sum(1).argmax()] = total.sum(1)
    return [*rows, null(base, DEALT, dealt), null(base, CONSTANT, [float(mean_iou(constant))])]


def base_row(photos: Photos, who: str, by: str, figure: str) -> Row:
    """What a row begins with."""
    return {"data": photos.name, "images": photos.count, "who": who, "by": by, "against": None, "figure": figure}


def measured(base: Row, values: Tensor, seed: int) -> Row:
    """The mean of one number a photo, with its interval."""
    return {**base, "value": float(values.double().mean()), "interval": interval_of_mean(values, seed)}


def null(base: Row, against: str, values: list[float]) -> Row:
    """The mean of a null's figures over deals."""
    return {**base, "against": against, "value": mean(values), "interval": None}
