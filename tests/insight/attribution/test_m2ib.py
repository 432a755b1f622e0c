"""M2IB: maps equal a loop over single pairs that re-runs the whole model, in float64; and what surrounds that."""

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from insight.attribution import Scorer, m2ib, scorer_of
from insight.attribution.m2ib import M2IB
from insight.backbones import Backbone
from insight.backbones.openclip import load_openclip
from insight.backbones.openclip.vit import OpenClip
from sae.errors import InsightError

from ..tiny_clip import tiny_clip

TEXTS = ["a dog", "two red cats on a very long wall", "sky"]
SETTINGS = {"plain": M2IB(), "other": M2IB(layer=0, beta=0.01, sigma=1.7, steps=5, samples=3, lr=0.3, seed=4)}
CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # Adam divides by the size of a gradient, and so magnifies rounding of small ones


@pytest.fixture(scope="module")
def tiny() -> OpenClip:
    """For tests that change nothing."""
    return tiny_clip()


@pytest.fixture
def clip(tiny: OpenClip) -> OpenClip:
    """A copy that a test may change."""
    return deepcopy(tiny)


@pytest.fixture(scope="module")
def exact(tiny: OpenClip) -> OpenClip:
    """In float64, for tests that change nothing too."""
    return deepcopy(tiny).double()


def photos(n: int, height: int = 64, width: int = 64, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(7)).to(dtype)


def written_out(z: Tensor, score: Callable[[Tensor], Tensor], settings: M2IB, places: int, counted: int) -> Tensor:
    """The published loop on one pair, z [N, D] of which `counted` tokens are real; Adam and KL by their definitions."""
    random = torch.Generator().manual_seed(settings.seed)
    alpha = torch.full((counted, z.shape[1]), 5.0, dtype=torch.float64)
    mean, square = torch.zeros_like(alpha), torch.zeros_like(alpha)
    sigma = settings.sigma
    for step in range(1, settings.steps + 1):
        draw = torch.randn(settings.samples, places, z.shape[1], generator=random).double()[:, :counted]
        alpha.requires_grad_(True)
        open_part = 1 / (1 + torch.exp(-alpha))
        copies = []
        for eps in draw * sigma:
            copies.append(torch.cat([open_part * z[:counted] + (1 - open_part) * eps, z[counted:]]))
        ours = torch.distributions.Normal(open_part * z[:counted], (1 - open_part) * sigma)
        nats = torch.distributions.kl_divergence(ours, torch.distributions.Normal(torch.zeros_like(z[:counted]), sigma))
        loss = settings.beta * nats.mean() - score(torch.stack(copies)).mean()
        (gradient,) = torch.autograd.grad(loss, alpha)
        alpha = alpha.detach()
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        corrected = (square / (1 - 0.999**step)).sqrt() + 1e-8
        alpha = alpha - settings.lr * mean / (1 - 0.9**step) / corrected
    return nats.detach().sum(1)


def in_place_of_output(block: nn.Module, run: Callable[[], Tensor], z: Tensor) -> Tensor:
    handle = block.register_forward_hook(lambda *_: z)
    try:
        return run()
    finally:
        handle.remove()


def output_of(block: nn.Module, run: Callable[[], Tensor]) -> Tensor:
    seen = []
    handle = block.register_forward_hook(lambda _module, _inputs, out: seen.append(out.detach()))
    run()
    handle.remove()
    return seen[0]


def map_of_one_pair(scorer: Scorer, photo: Tensor, text: int, settings: M2IB, layer: int) -> Tensor:
    backbone = scorer.backbone
    assert isinstance(backbone, OpenClip)
    block = backbone.blocks[layer]
    z = output_of(block, lambda: scorer(photo[None]))[0]

    def score(mixed: Tensor) -> Tensor:
        return in_place_of_output(block, lambda: scorer(photo.expand(len(mixed), -1, -1, -1))[:, text], mixed)

    nats = written_out(z, score, settings, len(z), len(z))
    return nats[1:].reshape(photo.shape[1] // 16, photo.shape[2] // 16)


class Logits(nn.Module):
    """A model that is no backbone: logits from the patches, whose weights ask for gradients."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        random = torch.Generator().manual_seed(3)
        self.head = nn.Parameter(torch.randn(24, 3, generator=random).to(backbone.colour_mean))

    def scorer(self, texts: Sequence[str]) -> Scorer:
        chosen = torch.tensor([TEXTS.index(text) for text in texts])
        return Scorer(
            self.backbone, tuple(texts), lambda features: (features.patches.tanh().amax(1) @ self.head)[:, chosen]
        )


@pytest.mark.parametrize("which", SETTINGS)
def test_maps_of_a_backbone_equal_the_whole_model_rerun_for_each_pair(exact: OpenClip, which: str) -> None:
    settings, images = SETTINGS[which], photos(2, 48, 64, torch.float64)
    layer = 2 if settings.layer is None else settings.layer
    scorer = scorer_of(exact, TEXTS)
    maps = settings.maps(scorer, images)
    assert maps.shape == (2, 3, 3, 4)
    for b in range(2):
        for t in range(3):
            torch.testing.assert_close(maps[b, t], map_of_one_pair(scorer, images[b], t, settings, layer), **CLOSE)


def test_maps_of_another_model_follow_its_own_scores(exact: OpenClip) -> None:
    images, model = photos(1, dtype=torch.float64), Logits(exact)
    maps = M2IB(layer=1).maps(scorer_of(model, TEXTS[:2]), images)
    for t in range(2):
        expected = map_of_one_pair(model.scorer(TEXTS), images[0], t, M2IB(), layer=1)
        torch.testing.assert_close(maps[0, t], expected, **CLOSE)
    assert model.head.grad is None
    assert model.head.requires_grad


@pytest.mark.parametrize("which", SETTINGS)
def test_text_maps_equal_the_whole_text_tower_rerun_for_each_pair(exact: OpenClip, which: str) -> None:
    settings, images = SETTINGS[which], photos(3, dtype=torch.float64)
    settings = replace(settings, text_layer=settings.layer)
    block = exact.model.transformer.resblocks[1 if settings.layer is None else settings.layer]
    found = settings.text_maps(exact, images, TEXTS)
    for photo, text, one in zip(images, TEXTS, found, strict=True):
        ids = exact.tokenizer([text])
        end = int(ids[0].argmax())
        vector = F.normalize(exact.encode_image(photo[None]).pooled[0], dim=0)

        def score(mixed: Tensor, block: nn.Module = block, ids: Tensor = ids, vector: Tensor = vector) -> Tensor:
            def run() -> Tensor:
                return exact.model.encode_text(ids.expand(len(mixed), -1), normalize=True) @ vector

            return in_place_of_output(block, run, mixed)

        z = output_of(block, lambda ids=ids: exact.model.encode_text(ids))[0]
        expected = written_out(z, score, settings, 32, end + 1)[1:end]
        torch.testing.assert_close(one.scores, expected, **CLOSE)
        assert one.text == text
        assert list(one.pieces) == text.split()


def test_a_text_alone_has_the_scores_it_has_beside_longer_ones(exact: OpenClip) -> None:
    images = photos(3, dtype=torch.float64)
    together = M2IB().text_maps(exact, images, TEXTS)
    for photo, text, beside in zip(images, TEXTS, together, strict=True):
        (alone,) = M2IB().text_maps(exact, photo[None], [text])
        torch.testing.assert_close(alone.scores, beside.scores, **CLOSE)


@pytest.mark.parametrize("values", [1, 20_000, 100_000])
def test_how_many_pairs_run_together_changes_nothing(
    exact: OpenClip, monkeypatch: pytest.MonkeyPatch, values: int
) -> None:
    images, settings = photos(3, dtype=torch.float64), M2IB(layer=1, samples=3, steps=4)
    scorer = scorer_of(exact, TEXTS)
    maps, text_maps = settings.maps(scorer, images), settings.text_maps(exact, images, TEXTS)
    monkeypatch.setattr(m2ib, "VALUES_AT_ONCE", values)
    torch.testing.assert_close(settings.maps(scorer, images), maps, **CLOSE)
    for one, other in zip(settings.text_maps(exact, images, TEXTS), text_maps, strict=True):
        torch.testing.assert_close(one.scores, other.scores, **CLOSE)


@pytest.mark.parametrize(("texts", "most"), [(2, 4), (3, 2)], ids=["of-several-photos", "of-one-photo"])
def test_no_more_noisy_tokens_run_together_than_allowed(
    clip: OpenClip, monkeypatch: pytest.MonkeyPatch, texts: int, most: int
) -> None:
    rows: list[int] = []
    clip.blocks[2].register_forward_hook(lambda _module, inputs, _out: rows.append(len(inputs[0])))
    one_pair = 2 * 3 * 17 * 48  # blocks behind, samples, tokens, width
    monkeypatch.setattr(m2ib, "VALUES_AT_ONCE", most * one_pair)
    M2IB(layer=1, samples=3, steps=2)(clip, photos(5), TEXTS[:texts])
    assert max(rows) == most * 3


def test_the_same_seed_gives_the_same_map_and_another_another(tiny: OpenClip) -> None:
    images = photos(1)
    first = M2IB()(tiny, images, TEXTS)
    torch.randn(3)
    assert torch.equal(M2IB()(tiny, images, TEXTS), first)
    assert not torch.allclose(M2IB(seed=1)(tiny, images, TEXTS), first)


def test_the_callers_random_numbers_are_not_used_up(tiny: OpenClip) -> None:
    state = torch.get_rng_state()
    M2IB()(tiny, photos(1), TEXTS)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_map_does_not_depend_on_the_pairs_beside_it(exact: OpenClip) -> None:
    images = photos(3, dtype=torch.float64)
    together = M2IB()(exact, images, TEXTS)
    torch.testing.assert_close(M2IB()(exact, images[2:], [TEXTS[1]])[0, 0], together[2, 1], **CLOSE)


def test_without_a_step_every_value_has_the_information_of_the_start(exact: OpenClip) -> None:
    images = photos(1, dtype=torch.float64)
    z = exact.prefix(images, 3)[0, 1:]
    opened = torch.tensor(5.0, dtype=torch.float64).sigmoid()
    published = -0.5 * (1 + ((1 - opened) ** 2).log() - (opened * z) ** 2 - (1 - opened) ** 2)
    found = M2IB(steps=1).maps(scorer_of(exact, TEXTS[:1]), images)
    torch.testing.assert_close(found.flatten(), published.sum(1))


def test_information_that_costs_too_much_is_let_through_nowhere(exact: OpenClip) -> None:
    """Every derivative of the KL by alpha is positive, so all masks close, whatever the text."""
    images, scorer = photos(1, dtype=torch.float64), scorer_of(exact, TEXTS)
    closed = M2IB(beta=1e8, steps=20).maps(scorer, images)
    assert closed.max() < 1e-6 * M2IB(steps=1).maps(scorer, images).min()
    torch.testing.assert_close(closed, closed[:, :1].expand_as(closed), rtol=1e-4, atol=0)


def test_information_that_costs_nothing_is_let_through_where_the_score_gains(exact: OpenClip) -> None:
    scorer, images = scorer_of(exact, TEXTS), photos(1, dtype=torch.float64)
    cheap, dear = (M2IB(beta=beta).maps(scorer, images) for beta in (0.0, 10.0))
    assert (cheap > dear).all()


def test_louder_noise_makes_another_map(tiny: OpenClip) -> None:
    images = photos(1)
    quiet, loud = (M2IB(sigma=sigma)(tiny, images, TEXTS) for sigma in (1.0, 5.0))
    assert not torch.allclose(quiet, loud, rtol=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_masks_that_open_or_close_wholly_give_finite_maps(clip: OpenClip, dtype: torch.dtype) -> None:
    backbone = clip.to(dtype)
    maps = M2IB(beta=1e-3, lr=100.0)(backbone, photos(1, dtype=dtype), TEXTS)
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()
    assert maps.max() > 100  # a mask that sigmoid alone rounds to one in any of the three
    for one in M2IB(beta=1e-3, lr=100.0).text_maps(backbone, photos(3, dtype=dtype), TEXTS):
        assert one.scores.isfinite().all()


def test_a_mask_that_opened_wholly_can_close_again(exact: OpenClip) -> None:
    """The first step opens masks to alpha = 105 where the score gains; dear information brings them back."""
    scorer, images = scorer_of(exact, TEXTS), photos(1, dtype=torch.float64)
    opened = M2IB(beta=0.001, lr=100.0, steps=2).maps(scorer, images)
    back = M2IB(beta=0.001, lr=100.0, steps=20).maps(scorer, images)
    assert back.mean() < opened.mean()


def everything(model: nn.Module) -> list[Any]:
    weights = [(name, p.detach().clone(), p.requires_grad, p.grad) for name, p in model.named_parameters()]
    hooks = [
        len(found)
        for module in model.modules()
        for found in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    ]
    return [repr(weights), hooks, [module.training for module in model.modules()]]


@pytest.mark.parametrize("fails", [False, True], ids=["after-a-map", "after-an-error"])
def test_the_model_is_left_as_it_was(clip: OpenClip, fails: bool) -> None:
    clip.train()
    clip.blocks[1].eval()
    clip.blocks.requires_grad_(True)
    clip.blocks[0].ln_1.requires_grad_(False)
    clip.blocks[3].mlp[0].weight.grad = torch.ones_like(clip.blocks[3].mlp[0].weight)
    before = everything(clip)

    def score(features: Any) -> Tensor:
        assert not any(module.training for module in clip.modules())
        assert not any(parameter.requires_grad for parameter in clip.parameters())
        if fails:
            raise ValueError("broken head")
        return features.pooled[:, :2]

    scorer = Scorer(clip, ("a", "b"), score)
    if fails:
        with pytest.raises(ValueError, match="broken head"):
            M2IB().maps(scorer, photos(1))
    else:
        M2IB().maps(scorer, photos(1))
        M2IB().text_maps(clip, photos(1), ["a dog"])
    assert everything(clip) == before


def test_nothing_before_the_bottleneck_runs_more_than_once(clip: OpenClip) -> None:
    counts = [0] * 3
    for number, block in enumerate(clip.blocks[:3]):

        def count(*_: Any, number: int = number) -> None:
            counts[number] += 1

        block.register_forward_hook(count)
    M2IB(layer=1, steps=7)(clip, photos(2), TEXTS)
    assert counts == [1, 1, 6]


def test_maps_are_made_without_gradients_around_and_have_none(tiny: OpenClip) -> None:
    images = photos(1)
    expected = M2IB()(tiny, images.clone().requires_grad_(), TEXTS)
    assert not expected.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(M2IB()(tiny, images, TEXTS), expected)
        assert len(M2IB().text_maps(tiny, images, TEXTS[:1])) == 1
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize(("layers", "default"), [(2, 0), (4, 2), (12, 9)])
def test_the_bottleneck_stands_behind_three_quarters_of_the_blocks(layers: int, default: int) -> None:
    backbone = tiny_clip(layers=layers)
    images = photos(1)
    assert torch.equal(M2IB()(backbone, images, TEXTS), M2IB(layer=default)(backbone, images, TEXTS))


@pytest.mark.parametrize("layer", [-1, 3, 9])
def test_a_layer_without_a_block_behind_it_is_refused(tiny: OpenClip, layer: int) -> None:
    with pytest.raises(InsightError, match=f"behind layers 0 to 2, found layer {layer};"):
        M2IB(layer=layer)(tiny, photos(1), TEXTS)


@pytest.mark.parametrize("layer", [-1, 2, 9])
def test_a_text_layer_without_a_block_behind_it_is_refused(tiny: OpenClip, layer: int) -> None:
    with pytest.raises(InsightError, match=rf"text tower .* behind layers 0 to 1, found layer {layer};"):
        M2IB(text_layer=layer).text_maps(tiny, photos(1), TEXTS[:1])


def test_towers_that_cannot_be_cut_are_refused(tmp_path: Any) -> None:
    with pytest.raises(InsightError, match="one block alone"):
        M2IB()(tiny_clip(layers=1), photos(1), TEXTS)
    text = {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1}
    vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "insight-m2ib-resnet.json").write_text(json.dumps(config))
    import open_clip

    open_clip.add_model_config(tmp_path)
    resnet = load_openclip("insight-m2ib-resnet/")
    with pytest.raises(InsightError, match="no transformer blocks"):
        M2IB()(resnet, photos(1), TEXTS)


@pytest.mark.parametrize("texts", [TEXTS, "a dog"], ids=["more-texts-than-photos", "a-string"])
def test_text_maps_want_a_text_for_each_photo(tiny: OpenClip, texts: Any) -> None:
    with pytest.raises(InsightError, match="one text for each of 2 photos"):
        M2IB().text_maps(tiny, photos(2), texts)


@pytest.mark.parametrize(
    "wrong",
    [{"beta": -0.1}, {"sigma": 0.0}, {"steps": 0}, {"samples": 0}, {"lr": 0.0}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_make_no_map_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InsightError, match=f"m2ib: {next(iter(wrong))} must be"):
        M2IB(**wrong)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_maps_on_a_gpu_are_those_of_the_cpu(exact: OpenClip) -> None:
    images, there = photos(2, dtype=torch.float64), deepcopy(exact).cuda()
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(M2IB()(there, images.cuda(), TEXTS).cpu(), M2IB()(exact, images, TEXTS), **close)
    pairs = (M2IB().text_maps(model, images.to(model.colour_mean), TEXTS[:2]) for model in (there, exact))
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one.scores.cpu(), other.scores, **close)
