"""The published settings of other people's autoencoders, by name: a `SaeConfig` and a `TrainConfig` to start from."""

from __future__ import annotations

from typing import Literal, get_args

from .config import PUBLISHED_FRACTIONS, SaeConfig, TrainConfig
from .errors import InsightError

Preset = Literal["cfm", "msae", "patchsae"]


def preset(name: Preset, dim: int, *, steps: int) -> tuple[SaeConfig, TrainConfig]:
    """Configs of `name` for features of width `dim`, trained for `steps` steps. Sources: specs/insight.md §1.3, §2.

    - "cfm" (arXiv 2601.13798): Matryoshka BatchTopK. Published: about 357,000 steps of 83 images of 196 tokens.
    - "msae" (Zaigrajew et al., uniform weights; `level_weights="reversed"` is their RW): one dictionary, nested k.
      Published: 30 epochs. Ours differs in that decoder rows stay unit, and errors are divided by the variance of the
      batch, not of each token by its own squared norm.
    - "patchsae": ReLU and L1. Published: 2,621,440 samples; the batch size is not recorded in our sources and is left
      at the default. Ours differs in that errors are divided by one norm for all tokens, gradients are clipped by
      nothing, as there, and ghost gradients, optional there, are not built.
    """
    if name not in get_args(Preset):
        raise InsightError(f"preset: expected one of {get_args(Preset)}, found {name}")
    return {"cfm": _cfm, "msae": _msae, "patchsae": _patchsae}[name](dim, steps)


def _cfm(dim: int, steps: int) -> tuple[SaeConfig, TrainConfig]:
    config = SaeConfig(
        dim,
        16 * dim,  # §1.3: expansion 16
        k=12,  # §1.3: k=12
        fractions=PUBLISHED_FRACTIONS,  # §1.3: [0.008, 0.03, 0.06, 0.12, 0.24, 0.542]
        selection="batch_topk",  # §1.3: the k·B largest of the batch
        inputs="raw",  # §1.1: not normalised; the SAE sees it raw
    )
    train = TrainConfig(
        steps,
        batch_size=83 * 196,  # §1.3: 83 whole images = 16,268 tokens
        lr=1e-4,  # §1.3: Adam, lr 1e-4 constant, no warm-up or decay
        betas=(0.9, 0.999),  # §1.3
        max_gradient_norm=1.0,  # §1.3: clip 1.0
        seed=42,  # §1.3: trainer seed 42
        rescale=False,  # §1.3: normalize_activations is False
        bias_start="geometric_median",  # §1.3: of the first batch
        level_weights="published",  # §1.3: double averaging, 1/G² per level
        revival="auxk",
        aux_coefficient=1 / 32,  # §1.3: (1/32)·L_aux
        dead_after_tokens=10_000_000,  # §1.3: 10M tokens
        threshold_start_step=1000 if steps > 1000 else None,  # §1.3: updated only after step 1000
        threshold_beta=0.999,  # §1.3: EMA(0.999)
    )
    return config, train


def _msae(dim: int, steps: int) -> tuple[SaeConfig, TrainConfig]:
    n_concepts = 8 * dim  # the expansion of their released checkpoints (4096 of 512); §2 gives none
    ks, k = [], 64  # §2: k = 64, 128, … up to m
    while k < n_concepts:
        ks.append(k)
        k *= 2
    config = SaeConfig(
        dim,
        n_concepts,
        k=n_concepts,  # §2: the last of them, so that inference is without TopK
        fractions=(1.0,),  # §2: the same dictionary at every level
        selection="topk",
    )
    train = TrainConfig(
        steps,
        batch_size=4096,  # §2: bs 4096
        lr=1e-4,  # §2: lr 1e-4
        max_gradient_norm=1.0,  # §2: clip 1
        bias_start="mean",  # §2: mean-centred input
        nested_k=(*ks, n_concepts),
        level_weights="mean",  # §2: Σ α NMSE / Σ α with α uniform (UW)
        normalised_loss=True,  # §2: NMSE
        revival="none",  # specs/peers.md §1: dead latents are counted only
    )
    return config, train


def _patchsae(dim: int, steps: int) -> tuple[SaeConfig, TrainConfig]:
    config = SaeConfig(
        dim,
        64 * dim,  # §2: 768×64
        k=64,  # not theirs: with a given sparsity_coefficient it is not aimed at
        fractions=(1.0,),
        selection="relu",  # §2: ReLU+L1
    )
    train = TrainConfig(
        steps,
        lr=4e-4,  # §2: lr 4e-4
        warmup_steps=min(500, steps),  # §2: 500 warm-up
        max_gradient_norm=None,
        # §2: L1 8e-5 beside MSE/‖x‖, a mean over d. In features rescaled to ‖x‖ = √d that is ‖x - x̂‖² / d^1.5, so the
        # loss ‖x - x̂‖² goes with d^1.5 times the coefficient (exactly where all tokens have one norm).
        sparsity_coefficient=8e-5 * dim**1.5,
        level_weights="mean",
        bias_start="geometric_median",  # §2
        revival="none",  # §2: ghost grads optional
    )
    return config, train
