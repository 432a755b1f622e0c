"""The published settings of other people's autoencoders, by name: a `SaeConfig` and a `TrainConfig` to start from."""

from __future__ import annotations

from typing import Literal, get_args

from .config import PUBLISHED_FRACTIONS, SaeConfig, TrainConfig
from .errors import InsightError

Preset = Literal["cfm", "msae", "patchsae", "topk", "dncbm"]


def preset(name: Preset, dim: int, *, steps: int, n_concepts: int | None = None) -> tuple[SaeConfig, TrainConfig]:
    """Configs of `name` for features of width `dim`, trained for `steps` steps.

    n_concepts: None: the published expansion. Everything else is for runs as long as the published ones: in a short run
    with "cfm" or "topk" no concept is dead before 10 million tokens (`dead_after_tokens=None` adapts to the run).

    - "cfm" (arXiv 2601.13798): Matryoshka BatchTopK. Published: about 357,000 steps of 83 images of 196 tokens.
    - "msae" (Zaigrajew et al., uniform weights; `level_weights="reversed"` is their RW): one dictionary, nested k.
      Published: 30 epochs. Ours differs in that decoder rows stay unit, and errors are divided by the variance of the
      batch, not of each token by its own squared norm.
    - "patchsae": ReLU and L1. Published: 2,621,440 samples; the batch size is not recorded in our sources and is left
      at the default. Ours differs in that errors are divided by one norm for all tokens, gradients are clipped by
      nothing, as there, and ghost gradients, optional there, are not built.
    - "topk" (arXiv 2406.04093): flat TopK with AuxK. Settings of the released training script, train.py of
      openai/sparse_autoencoder: 32,768 concepts for width 768, here in proportion to the width. Ours differs in that
      the auxiliary loss takes the d/2 strongest dead concepts of a token (there 256 of 768), that Adam's epsilon is the
      default (there 6.25e-10), and that errors are divided by each batch's variance (there once by a sample's).
    - "dncbm" (Discover-then-Name, arXiv 2407.14499): ReLU and L1 on image vectors. Published: 200 epochs of CC3M, which
      `steps` stands for. The penalty means what it means there for CLIP's image vectors as the encoder gives them; for
      vectors of another scale (of norm 1, say) it is another penalty. Ours differs in that new directions are drawn
      from one batch (there from 819,200 vectors), and in that the last twentieth is without resampling (there the last
      tenth).
    """
    if name not in get_args(Preset):
        raise InsightError(f"preset: expected one of {get_args(Preset)}, found {name}")
    if n_concepts is not None and n_concepts < 1:
        raise InsightError(f"n_concepts: expected at least 1, found {n_concepts}")
    make = {"cfm": _cfm, "msae": _msae, "patchsae": _patchsae, "topk": _topk, "dncbm": _dncbm}[name]
    return make(dim, steps, n_concepts)


def _cfm(dim: int, steps: int, n_concepts: int | None) -> tuple[SaeConfig, TrainConfig]:
    config = SaeConfig(
        dim,
        n_concepts or 16 * dim,  # §1.3: expansion 16
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


def _msae(dim: int, steps: int, n_concepts: int | None) -> tuple[SaeConfig, TrainConfig]:
    n_concepts = n_concepts or 8 * dim  # the expansion of their released checkpoints (4096 of 512); §2 gives none
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
        revival="none",  # as published: dead latents are counted only
    )
    return config, train


def _patchsae(dim: int, steps: int, n_concepts: int | None) -> tuple[SaeConfig, TrainConfig]:
    n_concepts = n_concepts or 64 * dim  # §2: 768×64
    config = SaeConfig(
        dim,
        n_concepts,
        k=min(64, n_concepts),  # not theirs: with a given sparsity_coefficient it is not aimed at
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


def _topk(dim: int, steps: int, n_concepts: int | None) -> tuple[SaeConfig, TrainConfig]:
    config = SaeConfig(
        dim,
        n_concepts or 32_768 * dim // 768,  # train.py: n_dirs 32,768, d_model 768
        k=32,  # train.py
        fractions=(1.0,),
        selection="topk",
        inputs="layer_norm",  # model.py: TopK autoencoders come with normalised inputs
    )
    train = TrainConfig(
        steps,
        batch_size=131_072,  # train.py: bs
        lr=1e-4,  # train.py
        max_gradient_norm=None,  # train.py: clip_grad
        bias_start="geometric_median",  # train.py: of 32,768 tokens
        level_weights="mean",
        normalised_loss=True,  # train.py: mse_scale
        revival="auxk",
        aux_coefficient=1 / 32,  # train.py: auxk_coef, of an error normalised as ours
        dead_after_tokens=10_000_000,  # train.py: dead_toks_threshold
    )
    return config, train


def _dncbm(dim: int, steps: int, n_concepts: int | None) -> tuple[SaeConfig, TrainConfig]:
    n_concepts = n_concepts or 8 * dim  # §2: expansion 8
    batch_size = 4096  # §2: bs 4096
    resample_steps = steps // 20 + 1  # §2: every 10 of 200 epochs; a step more, so that none is resampled at the end
    config = SaeConfig(
        dim,
        n_concepts,
        k=min(64, n_concepts),  # not theirs: with a given sparsity_coefficient it is not aimed at
        fractions=(1.0,),
        selection="relu",  # §2: ReLU
    )
    train = TrainConfig(
        steps,
        batch_size=batch_size,
        lr=5e-4,  # §2: lr 5e-4
        max_gradient_norm=None,  # custom_pipeline.py clips nothing
        rescale=False,  # save_cc3m_features.py: as the encoder gives them
        bias_start="zero",  # train_sae.py gives no median
        level_weights="mean",
        # §2: L1 3e-5, beside an error that is a mean over d (their library's); ours is a sum.
        sparsity_coefficient=3e-5 * dim,
        revival="resample",  # §2
        resample_steps=resample_steps,
        dead_after_tokens=resample_steps * batch_size,  # activation_resampler.py: silent since the last resampling
    )
    return config, train
