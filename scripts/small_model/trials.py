"""How long the shipped dictionary is trained, and how fast: trials on nine tenths of its own training photographs.

In: the cache that `scripts/train_small_model.py` writes. Out: `trials.json`, of each trial the FVU by level and the
share of dead concepts on the tenth that was left out. No test photograph is in that cache.

    python -m scripts.small_model.trials --cache WORK/cache --work WORK/trials
"""

from __future__ import annotations

import argparse
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor

from insight.cache import FeatureCache
from insight.defaults import SHARE_OF_DECAY, K
from insight.pipeline import fitting_size
from sae import SaeConfig, TensorSource, TrainConfig, evaluate, train
from sae.files import write_json

RESULTS = Path(__file__).with_name("trials.json")
BATCH = 4096
TRIALS = ((1500, 2e-3, 0), (3000, 2e-3, 0), (3000, 2e-3, 1))
"""Steps, learning rate, seed."""


def split(cache: FeatureCache) -> tuple[Tensor, Tensor]:
    """Patches [n, d] of nine tenths of the photographs, and of the tenth that a checksum of their ids draws."""
    left_out = torch.tensor([crc32(id.encode()) % 10 == 0 for id in cache.index["id"].to_pylist()])
    tokens = torch.cat([features.half() for _, features in cache.scan()]).view(cache.n_images, -1, cache.dim)
    return tokens[~left_out].flatten(0, 1), tokens[left_out].flatten(0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for the trials' dictionaries")
    arguments = parser.parse_args()
    cache = FeatureCache.open(arguments.cache)
    seen, unseen = split(cache)
    config = SaeConfig(dim=cache.dim, n_concepts=fitting_size(cache.n_tokens), k=K)
    found = []
    for steps, lr, seed in TRIALS:
        settings = TrainConfig(steps=steps, batch_size=BATCH, lr=lr, seed=seed, decay_steps=int(SHARE_OF_DECAY * steps))
        sae = train(TensorSource(seen), config, settings, arguments.work / f"{steps}-{lr}-{seed}", device="cpu")
        measured = evaluate(sae, (part.float() for part in unseen.split(16384)))
        found.append(
            {
                "steps": steps,
                "passes": round(steps * BATCH / len(seen), 1),
                "lr": lr,
                "seed": seed,
                "k": K,
                "fvu": [round(share, 4) for share in measured["fvu"]],
                "l0": round(measured["l0"], 2),
                "dead": round(measured["dead"], 4),
            }
        )
        write_json(RESULTS, found)
        print(found[-1], flush=True)


if __name__ == "__main__":
    main()
