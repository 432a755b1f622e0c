"""Is our autoencoder as good as the published one? Ours beside dictionary_learning's MatryoshkaBatchTopK trainer.

Same features, configuration, first weights, batches, steps and step size; no rescaling, auxiliary loss on in both. Both
are then measured by the same code on held-out images, at equal selection: BatchTopK over the same held-out batches, and
each by the inference threshold that it learnt. The claim: final FVU within 2 %, paired over seeds.

`python -m benchmarks.sae_parity --json FILE [--cache FOLDER] [--name TEXT] [--quick]`; without a cache, on structured
noise that is made here. Needs `pip install '.[peers]'`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.record import mean_interval, write_record
from sae import InsightError, SaeConfig, SparseAutoencoder, SparseCodes, TensorSource, TrainConfig, evaluate, train
from sae.initial import initial_weights
from sae.preactivations import Preactivations
from sae.selection import BatchTopK

PEER = "dictionary-learning"
TOLERANCE = 0.02
MOST_IMAGES = 2000
HELD_OUT = 0.1


@dataclass(frozen=True)
class Features:
    """Tokens to train on and tokens to measure on; no image gives to both."""

    data: dict[str, Any]
    training: Tensor
    held_out: Tensor


def features_of_cache(folder: Path, name: str | None) -> Features:
    """A tenth of a cache's images held out; of a large cache, the first 2,000 images."""
    from insight.cache import FeatureCache

    cache = FeatureCache.open(folder)
    images = torch.stack([cache.image(image) for image in range(min(cache.n_images, MOST_IMAGES))])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    held_out = max(1, int(HELD_OUT * len(images)))
    split = f"{len(images) - held_out} images to train on, {held_out} others to measure on"
    data = {"name": f"{name or 'photos'}, patch features of {cache.backbone}", "images": len(images), "split": split}
    return Features(data, images[order[held_out:]].flatten(0, 1), images[order[:held_out]].flatten(0, 1))


def structured_noise(dim: int, n: int) -> Features:
    """Sparse mixes of random directions, of uneven use and size, round a mean; as scaled as language-image features."""
    generator = torch.Generator().manual_seed(0)
    n_atoms = 3 * dim
    atoms = torch.nn.functional.normalize(torch.randn(n_atoms, dim, generator=generator), dim=1)
    frequency = (torch.arange(n_atoms) + 10.0).pow(-0.8)
    frequency *= 12 / frequency.sum()
    mean = 0.5 * torch.nn.functional.normalize(torch.randn(dim, generator=generator), dim=0)

    def tokens(count: int) -> Tensor:
        sizes = 0.5 - torch.rand(count, n_atoms, generator=generator).clamp_min(1e-6).log()
        on = torch.rand(count, n_atoms, generator=generator) < frequency
        return mean + 0.15 * (on * sizes) @ atoms + 0.01 * torch.randn(count, dim, generator=generator)

    parts = [torch.cat([tokens(min(4096, size - at)) for at in range(0, size, 4096)]) for size in (n, n // 10)]
    return Features({"name": "structured noise", "images": 0, "split": f"{n} tokens, {n // 10} held out"}, *parts)


def train_ours(source: TensorSource, config: SaeConfig, run: TrainConfig) -> tuple[SparseAutoencoder, float]:
    """The autoencoder and the seconds its training took, batches and checkpoints included."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        sae = train(source, config, run, folder)
        return sae, time.perf_counter() - begin


def peer_trainer(config: SaeConfig, run: TrainConfig, first_batch: Tensor) -> Any:
    """The peer's trainer with our configuration and our first weights; `InsightError` when it is not installed."""
    try:
        from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
    except ImportError:
        raise InsightError(f"{PEER} is not installed; pip install '.[peers]'") from None
    trainer = MatryoshkaBatchTopKTrainer(
        steps=run.steps,
        activation_dim=config.dim,
        dict_size=config.n_concepts,
        k=config.k,
        layer=0,
        lm_name="none",
        group_fractions=list(config.fractions),
        lr=run.lr,
        auxk_alpha=run.aux_coefficient,
        warmup_steps=0,
        threshold_beta=run.resolved_threshold_beta,
        threshold_start_step=run.resolved_threshold_start_step,
        device="cpu",
    )
    trainer.dead_feature_threshold = run.resolved_dead_after_tokens
    weights = initial_weights(config, first_batch, run.seed)
    trainer.ae.W_dec.data, trainer.ae.W_enc.data = weights.decoder.clone(), weights.encoder.T.contiguous()
    return trainer


def train_theirs(source: TensorSource, config: SaeConfig, run: TrainConfig) -> tuple[SparseAutoencoder, float]:
    """The peer's, in our form, and the seconds its training took, batches included."""
    begin = time.perf_counter()
    trainer = peer_trainer(config, run, next(source.batches(run.batch_size, seed=run.seed)))
    for step, batch in enumerate(islice(source.batches(run.batch_size, seed=run.seed), run.steps)):
        trainer.update(step, batch)
    seconds = time.perf_counter() - begin
    sae = SparseAutoencoder(config)
    for own, weight in zip(sae.weights, (trainer.ae.W_enc.T, trainer.ae.W_dec, trainer.ae.b_enc, trainer.ae.b_dec)):
        own.copy_(weight.detach())
    sae.threshold.fill_(float(trainer.ae.threshold))
    return sae, seconds


def measure(sae: SparseAutoencoder, held_out: Tensor, batch_size: int) -> dict[str, dict[str, Any]]:
    """Our measures on held-out tokens, by either selection."""
    select = BatchTopK(sae.config.k)

    def by_batch(x: Tensor) -> SparseCodes:
        return select(Preactivations(sae.weights, x - sae.weights.decoder_bias))

    batches = held_out.split(batch_size)
    return {"batch-top-k": {**evaluate(sae, batches, by_batch)}, "threshold": {**evaluate(sae, batches)}}


def claims_of(rows: list[dict[str, Any]], levels: tuple[int, ...]) -> list[dict[str, Any]]:
    """Final FVU within 2 % by either selection (paired over seeds), and the same for the level that differs most."""

    def fvu(peer: str, selection: str, level: int) -> list[float]:
        return [row["fvu"][level] for row in rows if (row["peer"], row["selection"]) == (peer, selection)]

    def difference(selection: str, level: int) -> tuple[float, tuple[float, float]]:
        pairs = zip(fvu("insight", selection, level), fvu(PEER, selection, level))
        shares = [100 * (ours / theirs - 1) for ours, theirs in pairs]
        return sum(shares) / len(shares), mean_interval(shares)

    claims = []
    for selection in ("batch-top-k", "threshold"):
        whole = len(levels) - 1
        widest = max(range(len(levels)), key=lambda level: abs(difference(selection, level)[0]))
        for level, what in ((whole, "the whole dictionary"), (widest, f"level {widest}, which differs most")):
            value, interval = difference(selection, level)
            claims.append(
                {
                    "claim": f"FVU of {what}, by {selection}, against {PEER} after the same training",
                    "value": value,
                    "unit": "% more than the peer's",
                    "target": f"within {100 * TOLERANCE:g} %",
                    "holds": max(abs(bound) for bound in interval) <= 100 * TOLERANCE,
                    "interval": interval,
                }
            )
    return claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="an Insight feature cache")
    parser.add_argument("--name", help="what photos the cache is of, for the record")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a small dictionary and few steps, for a smoke test")
    arguments = parser.parse_args()

    steps, batch_size, n_concepts, k = (40, 512, 256, 8) if arguments.quick else (arguments.steps, 4096, 2048, 16)
    if arguments.cache:
        features = features_of_cache(arguments.cache, arguments.name)
    else:
        features = structured_noise(*((64, 20_000) if arguments.quick else (384, 100_000)))
    source = TensorSource(features.training)
    config = SaeConfig(source.dim, n_concepts, k)
    rows = []
    for seed in range(arguments.seeds):
        run = TrainConfig(steps, batch_size, lr=arguments.lr, seed=seed, rescale=False)
        for peer, trained in (("insight", train_ours), (PEER, train_theirs)):
            sae, seconds = trained(source, config, run)
            speed = {"seconds": seconds, "tokens_per_s": steps * batch_size / seconds}
            for selection, measured in measure(sae, features.held_out, batch_size).items():
                rows.append({"peer": peer, "seed": seed, "selection": selection, **measured, **speed})
                print(f"{peer:20} seed {seed} {selection:12} FVU {measured['fvu'][-1]:.4f} L0 {measured['l0']:.2f}")
    claims = claims_of(rows, config.levels)
    for claim in claims:
        low, high = claim["interval"]
        print(f"{claim['claim']}: {claim['value']:+.3f} % [{low:+.3f}, {high:+.3f}]; holds: {claim['holds']}")
    precision = {"float32_matmul_precision": torch.get_float32_matmul_precision(), "levels": config.levels}
    settings = {"sae": config.to_dict(), "train": {**run.to_dict(), "seed": "0 .. " + str(run.seed)}, **precision}
    names = {"benchmark": "sae_parity", "data": features.data, "settings": settings}
    write_record(arguments.json, **names, rows=rows, claims=claims, packages=[PEER])


if __name__ == "__main__":
    main()
