"""Train CLIP-DINOiser's two convolutions for any of open_clip's own vision transformers, on a folder of photos.

    python scripts/train_dinoiser.py --base openclip:ViT-B-16/laion2b_s34b_b88k --photos DIR --out DIR [--saliency DIR]

In: photos in `--photos` and its subfolders; for the second convolution `--saliency`, maps of what is an object
(FOUND's, or any other's) as grey PNGs at the same paths. Out: `dinoiser.safetensors` for `insight.backbones.dinoiser`,
its card `dinoiser.json`, and `state.safetensors`, with which a run that was stopped or killed goes on to exactly the
result that it would have had on the same machine; with more --steps a finished one goes on too.

The recipe is CLIP-DINOiser's (arXiv 2312.12359 and its train.py): 1,000 photos; resized so that the short side has 448
pixels, a random square of 448, mirrored half the time, brightness between half and one and a half; AdamW, 16 photos a
step, 100 epochs, rates 5e-5 and 1e-2, a tenth of them from step 5000 on. The first convolution's correlations, clipped
at 0, are the logits of whether the values of the last block of DINO ViT-B/16 have a cosine of at least 0.2; the
second's output is the logit of whether a patch's saliency is above a half. Three things differ: photos are drawn
without replacement, resized with antialiasing, and FOUND is not run on every crop: its map is cropped as the photo.

Held-out photos, never trained on, tell what was learnt: the loss beside that of the best constant answer. With a base
of random weights (a name that ends in a slash) the script runs, but what comes out is of no use except for tests. It
has not been run with CLIP's weights, which could not be had where it was written.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from insight.backbones import Backbone, load
from insight.backbones.guided.dino import GAMMA, GUIDE, as_guide, correlations, values_of
from insight.backbones.guided.dinoiser import FROM_END, Convolutions, Dinoiser, tap
from insight.data import ImageFolder
from sae.errors import InsightError
from sae.files import atomic_write, write_json
from scripts.dinoiser.photos import Drawn, draw, example

Figures = dict[str, float]


@dataclass(frozen=True)
class Recipe:
    """Every number that the result depends on, as published; written into the card."""

    steps: int = 6300  # 100 epochs of 63 batches
    photos: int = 1000
    held_out: int = 32
    batch: int = 16
    size: int = 448
    brightness: float = 0.5
    correlation_rate: float = 5e-5
    foreground_rate: float = 1e-2
    milestone: int = 5000
    decay: float = 0.1
    gamma: float = GAMMA
    seed: int = 0


class Training:
    """Two convolutions, their optimiser and the losses so far; `Recipe` and `Drawn` say all the rest."""

    def __init__(self, base: Backbone, guide: Backbone, drawn: Drawn, recipe: Recipe) -> None:
        if recipe.size % base.patch:
            raise InsightError(f"expected a size of whole patches of {base.patch} pixels, found --size {recipe.size}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            convolutions = Convolutions(base.width, foreground=drawn.saliency is not None)
        self.backbone = Dinoiser(base, convolutions)  # refuses towers that it cannot be made for
        self.base, self.guide, self.drawn, self.recipe = base, as_guide(guide), drawn, recipe
        self.device = base.colour_mean.device
        self.convolutions = convolutions.to(self.device)
        groups = [
            (convolutions.correlation, recipe.correlation_rate),
            (convolutions.foreground, recipe.foreground_rate),
        ]
        self.rates = [rate for layer, rate in groups if layer]
        self.optimiser = torch.optim.AdamW([{"params": layer.parameters()} for layer, _ in groups if layer])
        self.losses: list[list[float]] = []  # of each step: correlation, foreground

    @property
    def made_of(self) -> dict[str, Any]:
        """What must be the same for a stopped run to go on: all but the number of steps."""
        recipe = {key: value for key, value in asdict(self.recipe).items() if key != "steps"}
        names = {"base": self.base.name, "guide": self.guide.name, "saliency": self.drawn.saliency is not None}
        prints = {"base_fingerprint": self.base.fingerprint, "guide_fingerprint": self.guide.fingerprint}
        return {**recipe, **names, **prints, "photos_sha256": self.drawn.hash}

    def step(self) -> None:
        """One step on the photos of its number: each epoch has its own order, each photo of a step its own crop."""
        number, recipe, photos = len(self.losses), self.recipe, self.drawn.training
        epoch, batch = divmod(number, math.ceil(len(photos) / recipe.batch))
        order = np.random.default_rng([recipe.seed, 0, epoch]).permutation(len(photos))
        chosen = [photos[i] for i in order[batch * recipe.batch : (batch + 1) * recipe.batch]]
        rngs = [np.random.default_rng([recipe.seed, 1, number, i]) for i in range(len(chosen))]
        losses = self.losses_of(*self.seen(chosen, rngs))
        self.optimiser.zero_grad()
        sum(losses).backward()
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * (recipe.decay if number >= recipe.milestone else 1)
        self.optimiser.step()
        self.losses.append([loss.item() for loss in losses])

    def losses_of(self, g: Tensor, values: Tensor, objects: Tensor | None, grid: tuple[int, int]) -> list[Tensor]:
        """The losses of the convolutions there are, on what was `seen`."""
        losses = [correlation_loss(self.convolutions.vectors(g, grid), values, self.recipe.gamma)]
        if objects is not None:
            losses.append(binary_cross_entropy_with_logits(self.convolutions.foreground_logits(g), objects))
        return losses

    @torch.no_grad()
    def seen(
        self, ids: Sequence[str], rngs: Sequence[np.random.Generator | None]
    ) -> tuple[Tensor, Tensor, Tensor | None, tuple[int, int]]:
        """What the tower and the guide see of photos, which patches are of an object, and the grid."""
        size, side = self.recipe.size, self.recipe.size // self.base.patch
        made = [
            example(self.drawn, id, size, (side, side), rng, self.recipe.brightness)
            for id, rng in zip(ids, rngs, strict=True)
        ]
        images = torch.stack([photo for photo, _ in made]).to(self.device)
        objects = [cells.float() for _, cells in made if cells is not None]
        g, _ = tap(self.base, self.base.prefix(images, self.base.depth - FROM_END))
        values = values_of(self.guide, images, (side, side))
        return g, values, torch.stack(objects).to(self.device) if objects else None, (side, side)

    @torch.no_grad()
    def held_out(self) -> dict[str, Figures]:
        """Mean losses on the held-out photos' centres, beside those of the best constant answers."""
        losses, shares = [], []
        for id in tqdm(self.drawn.held_out, desc="held-out photos", unit="photo"):
            g, values, objects, grid = self.seen([id], [None])
            losses.append([float(loss) for loss in self.losses_of(g, values, objects, grid)])
            alike = (correlations(values, self.recipe.gamma) > 0).float().mean()
            shares.append([float(alike)] if objects is None else [float(alike), float(objects.mean())])
        figures = {}
        for name, loss, share in zip(("correlation", "foreground"), np.mean(losses, 0), np.mean(shares, 0)):
            top = 1.0 if name == "correlation" else math.inf  # a clipped cosine is between 0 and 1, a logit anywhere
            figures[name] = {"loss": float(loss), "constant": constant_loss(float(share), top), "share": float(share)}
        return figures

    def write_state(self, path: Path) -> None:
        """Everything that the next step depends on, in one file, whole or not at all."""
        tensors = {f"weights.{name}": tensor for name, tensor in self.convolutions.state_dict().items()}
        for number, kept in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{key}": tensor for key, tensor in kept.items()}
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        with atomic_write(path) as temporary:
            temporary.write_bytes(save(tensors, {"made_of": json.dumps(self.made_of)}))

    def read_state(self, path: Path) -> None:
        """Go on from that file. `InsightError` if it is damaged or another recipe or other photos made it."""
        try:
            with safe_open(path, framework="pt") as file:
                made_of = json.loads((file.metadata() or {})["made_of"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
            raise InsightError(f"{path}: expected the state of a run ({error}); remove it to begin anew") from None
        for key, value in self.made_of.items():
            if made_of.get(key) != value:
                raise InsightError(
                    f"{path}: the run there has {key} {made_of.get(key)}, found {value}; give it another --out folder"
                )
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            kind, _, key = name.rpartition(".") if name.startswith("optimiser") else name.partition(".")
            parts.setdefault(kind, {})[key] = tensor
        self.convolutions.load_state_dict(parts["weights"])
        state = {int(kind.split(".")[1]): kept for kind, kept in parts.items() if kind.startswith("optimiser")}
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        self.losses = tensors["losses"].tolist()


def correlation_loss(vectors: Tensor, values: Tensor, gamma: float = GAMMA) -> Tensor:
    """Mean cross entropy of the cosines of vectors [B, n, e], clipped at 0, as logits of whether those of the guide's
    values [B, n, d] are at least gamma."""
    alike = (correlations(values, gamma) > 0).to(vectors.dtype)
    return binary_cross_entropy_with_logits(correlations(vectors, 0.0), alike)


def constant_loss(share: float, top: float) -> float:
    """Cross entropy of the best constant logit between 0 and `top` (any, where that is infinite) for that share."""
    if top == math.inf:
        return -sum(p * math.log(p) for p in (share, 1 - share) if p > 0)
    logit = min(max(math.log(share / (1 - share)) if 0 < share < 1 else share * top, 0), top)
    return math.log1p(math.exp(logit)) - share * logit


def card_of(training: Training) -> dict[str, Any]:
    """What the convolutions are, what they were made of and what they reach."""
    losses, drawn = np.array(training.losses), training.drawn
    curve = {}
    for column, name in zip(losses.T, ("correlation", "foreground")):
        curve[name] = {"first 50 steps": float(column[:50].mean()), "last 50 steps": float(column[-50:].mean())}
    untrained = training.base.name.endswith("/")
    return {
        "what": "the two convolutions of CLIP-DINOiser (arXiv 2312.12359)"
        + (", on a tower of random weights: for tests only" if untrained else ""),
        "data": {"folder": drawn.folder.name, "photos": len(drawn.training), "held_out": len(drawn.held_out)},
        "bad_photos": drawn.bad,
        "made_of": {**training.made_of, "steps": len(training.losses)},
        "training_loss": curve,
        "held_out_loss": training.held_out(),
    }


def train(training: Training, out: Path, save_every: int) -> None:
    """All steps that are missing, then the weights and the card; the state is written every `save_every` steps."""
    state, steps = out / "state.safetensors", training.recipe.steps
    if state.exists():
        training.read_state(state)
    with tqdm(total=steps, initial=len(training.losses), desc="training", unit="step") as progress:
        while len(training.losses) < steps:
            training.step()
            progress.set_postfix(loss=f"{sum(training.losses[-1]):.4f}", refresh=False)
            progress.update()
            if len(training.losses) % save_every == 0 or len(training.losses) == steps:
                training.write_state(state)
    training.convolutions.write(out / "dinoiser.safetensors")
    write_json(out / "dinoiser.json", card_of(training))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="openclip:MODEL/PRETRAINED")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--saliency", type=Path)
    parser.add_argument("--guide", default=GUIDE)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save-every", type=int, default=100)
    fields = asdict(Recipe())
    for name, value in fields.items():
        flag = "--count" if name == "photos" else f"--{name.replace('_', '-')}"
        parser.add_argument(flag, dest=f"recipe_{name}", type=type(value), default=value)
    options = parser.parse_args(arguments)
    torch.backends.cudnn.deterministic = True
    try:
        recipe = Recipe(**{name: getattr(options, f"recipe_{name}") for name in fields})
        base, guide = (load(name, options.device) for name in (options.base, options.guide))
        drawn = draw(ImageFolder(options.photos), options.saliency, recipe.photos, recipe.held_out, recipe.seed)
        train(Training(base, guide, drawn, recipe), options.out, options.save_every)
    except InsightError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
