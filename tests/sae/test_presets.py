"""Presets are the published settings, and run."""

from typing import get_args

import pytest
import torch

from sae import InsightError
from sae.learner import Learner
from sae.presets import Preset, preset


def test_cfm_is_the_published_model_and_run():
    config, run = preset("cfm", 512, steps=357_000)
    assert config.n_concepts == 8192
    assert config.k == 12
    assert config.levels == (65, 310, 801, 1784, 3750, 8192)
    assert (config.selection, config.inputs) == ("batch_topk", "raw")
    assert run.batch_size == 16_268
    assert {run.step_size(step) for step in (0, 999, 356_999)} == {1e-4}
    assert (run.betas, run.max_gradient_norm, run.rescale, run.seed) == ((0.9, 0.999), 1.0, False, 42)
    assert (run.aux_coefficient, run.dead_after_tokens) == (1 / 32, 10_000_000)
    assert (run.threshold_start_step, run.threshold_beta) == (1000, 0.999)
    assert (run.level_weights, run.bias_start, run.revival) == ("published", "geometric_median", "auxk")


def test_msae_is_one_dictionary_with_doubling_k():
    config, run = preset("msae", 512, steps=1000)
    assert config.n_concepts == 4096
    assert config.levels == (4096,)
    assert run.nested_k == (64, 128, 256, 512, 1024, 2048, 4096)
    assert (run.lr, run.batch_size, run.max_gradient_norm, run.bias_start) == (1e-4, 4096, 1.0, "mean")
    assert run.normalised_loss


def test_patchsae_is_a_wide_relu_with_a_fixed_penalty():
    config, run = preset("patchsae", 768, steps=10_000)
    assert (config.n_concepts, config.selection, config.levels) == (49_152, "relu", (49_152,))
    assert (run.lr, run.warmup_steps, run.max_gradient_norm) == (4e-4, 500, None)


def test_patchsaes_loss_is_theirs_up_to_a_factor_where_tokens_have_one_norm(generator):
    dim, norm = 12, 7.0
    x = norm * torch.nn.functional.normalize(torch.randn(300, dim, generator=generator), dim=1)
    config, run = preset("patchsae", dim, steps=5)
    learner = Learner.start(config, run, x)
    sae = learner.autoencoder()
    codes = sae.encode(x)
    errors = (x - sae.decode(codes)).square() / norm
    theirs = errors.mean() + 8e-5 * codes.dense().sum(1).mean()
    ours = learner.step(x).loss
    in_our_scale = dim**1.5 / learner.progress.scale  # a = s a', and so is what the penalty is of
    torch.testing.assert_close(ours, (theirs * in_our_scale).detach(), rtol=1e-4, atol=0)


def test_topk_is_the_released_script_at_its_own_width():
    config, run = preset("topk", 768, steps=10_000)
    assert (config.n_concepts, config.k, config.selection, config.levels) == (32_768, 32, "topk", (32_768,))
    assert config.inputs == "layer_norm"
    assert (run.batch_size, run.lr, run.max_gradient_norm, run.normalised_loss) == (131_072, 1e-4, None, True)
    assert (run.revival, run.aux_coefficient, run.dead_after_tokens) == ("auxk", 1 / 32, 10_000_000)
    assert run.bias_start == "geometric_median"


def test_dncbm_is_a_relu_that_resamples_every_twentieth_of_the_run_but_not_at_its_end():
    config, run = preset("dncbm", 512, steps=2000)
    assert (config.n_concepts, config.selection, config.levels) == (4096, "relu", (4096,))
    assert (run.lr, run.batch_size, run.max_gradient_norm, run.rescale) == (5e-4, 4096, None, False)
    assert run.revival == "resample"
    resamplings = [step for step in range(1, 2001) if step % run.resample_steps == 0]
    assert len(resamplings) == 19
    assert 1900 <= resamplings[-1] < 2000
    assert run.dead_after_tokens == run.resample_steps * run.batch_size


def test_dncbms_loss_is_theirs_up_to_a_factor(generator):
    dim = 12
    x = 5 * torch.randn(300, dim, generator=generator) + 3
    config, run = preset("dncbm", dim, steps=5)
    learner = Learner.start(config, run, x)
    sae = learner.autoencoder()
    codes = sae.encode(x)
    theirs = (x - sae.decode(codes)).square().mean() + 3e-5 * codes.dense().sum(1).mean()
    torch.testing.assert_close(learner.step(x).loss, (theirs * dim).detach(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", get_args(Preset))
@pytest.mark.parametrize("n_concepts", [None, 130])
def test_presets_train(generator, name, n_concepts):
    config, run = preset(name, 16, steps=4, n_concepts=n_concepts)
    assert n_concepts in (None, config.n_concepts)
    x = torch.randn(400, 16, generator=generator)
    learner = Learner.start(config, run, x)
    losses = [float(learner.step(x).loss) for _ in range(4)]
    assert losses[-1] < losses[0]


def test_msae_of_another_size_ends_without_topk():
    config, run = preset("msae", 512, steps=1000, n_concepts=2048)
    assert (config.n_concepts, config.k) == (2048, 2048)
    assert run.nested_k == (64, 128, 256, 512, 1024, 2048)


def test_a_dictionary_of_nothing_is_refused():
    with pytest.raises(InsightError, match="n_concepts: expected at least 1, found 0"):
        preset("topk", 16, steps=4, n_concepts=0)


def test_an_unknown_name_is_refused():
    with pytest.raises(InsightError, match=r"expected one of .*cfm.*, found gpt"):
        preset("gpt", 16, steps=4)
