"""Configs: the published model and run are reachable exactly, and nonsense is refused in one line."""

import json
from pathlib import Path

import pytest

from sae.checkpoint import refuse_other_settings
from sae.config import SaeConfig, TrainConfig
from sae.errors import InsightError


def test_the_published_dictionary_has_the_published_levels():
    assert SaeConfig(dim=512, n_concepts=8192, k=12).levels == (65, 310, 801, 1784, 3750, 8192)


def test_a_single_share_is_a_plain_dictionary():
    assert SaeConfig(dim=4, n_concepts=7, k=2, fractions=(1.0,)).levels == (7,)


def test_the_published_run_resolves_to_the_published_settings():
    run = TrainConfig(steps=357_000, batch_size=16_268, lr=1e-4, rescale=False)
    assert run.resolved_dead_after_tokens == 10_000_000
    assert run.resolved_threshold_start_step == 1_000
    assert run.resolved_threshold_beta == 0.999
    assert run.aux_coefficient == 1 / 32
    assert {run.step_size(step) for step in (0, 1, 999, 356_999)} == {1e-4}


def test_short_runs_resolve_to_their_own_length():
    run = TrainConfig(steps=1000, batch_size=4096)
    assert run.resolved_dead_after_tokens == 409_600
    assert run.resolved_threshold_start_step == 500
    assert run.resolved_threshold_beta == pytest.approx(0.98)
    assert TrainConfig(steps=1, batch_size=1).resolved_threshold_start_step == 0


def test_the_step_size_rises_and_falls_linearly():
    run = TrainConfig(steps=10, lr=1.0, warmup_steps=4, decay_steps=5)
    sizes = [run.step_size(step) for step in range(10)]
    assert sizes == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


CONFIGS = [
    SaeConfig(3, 200, 2),
    SaeConfig(3, 9, 2, (0.5, 0.5)),
    SaeConfig(3, 9, 3, (0.5, 0.5), level_k=(1, 2)),
    TrainConfig(7, lr=0.1),
    TrainConfig(7, betas=(0.5, 0.9), nested_k=(1, 2)),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_configs_survive_json(config):
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"k": 201}, "k: expected 1 to n_concepts = 200, found 201"),
        ({"k": 0}, "k: "),
        ({"dim": 0}, "dim: "),
        ({"n_concepts": 0}, "n_concepts: "),
        ({"n_concepts": 100}, "take at least 126 concepts"),
        ({"fractions": (0.5, 0.4)}, "fractions: "),
        ({"fractions": (1.5, -0.5)}, "fractions: "),
        ({"fractions": ()}, "fractions: "),
    ],
)
def test_impossible_dictionaries_are_refused(values, reason):
    with pytest.raises(InsightError, match=reason):
        SaeConfig(**{"dim": 3, "n_concepts": 200, "k": 2, **values})


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"warmup_steps": 11},
        {"decay_steps": -1},
        {"aux_coefficient": -1.0},
        {"dead_after_tokens": 0},
        {"threshold_start_step": 10},
        {"threshold_beta": 1.0},
        {"checkpoint_seconds": -1.0},
        {"betas": (0.9, 1.0)},
        {"betas": (0.9,)},
        {"max_gradient_norm": 0.0},
        {"accumulate": 0},
        {"accumulate": 4097},
        {"bias_start": "median"},
        {"dictionary": "frozen"},
        {"n_archetypes": 0},
        {"archetype_slack": -0.1},
        {"level_weights": "equal"},
        {"random_prefixes": -1},
        {"nested_k": (4, 2)},
        {"nested_k": (0, 2)},
        {"nested_k": (2, 4), "random_prefixes": 3},
        {"k_start": 0},
        {"k_anneal_steps": 11},
        {"sparsity_coefficient": -1.0},
        {"sparsity_coefficient": float("nan")},
        {"bandwidth": 0.0},
        {"revival": "prayer"},
        {"revival": "resample", "dictionary": "archetypal"},
        {"resample_steps": 0},
    ],
)
def test_impossible_runs_are_refused_by_name(values):
    with pytest.raises(InsightError, match=next(iter(values))):
        TrainConfig(**{"steps": 10, **values})


def test_a_run_from_before_a_setting_existed_has_its_default():
    asked = {"sae": SaeConfig(3, 200, 2).to_dict(), "train": TrainConfig(7).to_dict()}
    old = {"sae": {"dim": 3, "n_concepts": 200, "k": 2}, "train": {"steps": 7}}
    refuse_other_settings(Path("here"), old, asked)
    other = {**asked, "train": TrainConfig(7, revival="none").to_dict()}
    with pytest.raises(InsightError, match=r"train\.revival = None, now none"):
        refuse_other_settings(Path("here"), old, other)


def test_settings_of_another_version_are_refused():
    with pytest.raises(InsightError, match=r"unknown settings \['colour'\]"):
        TrainConfig.from_dict({"steps": 3, "colour": 1})
    with pytest.raises(InsightError, match=r"settings \['k'\] are missing"):
        SaeConfig.from_dict({"dim": 3, "n_concepts": 200})
    with pytest.raises(InsightError, match="NoneType"):
        SaeConfig.from_dict(None)


@pytest.mark.parametrize(
    ("name", "value"),
    [("dim", "x"), ("dim", 2.5), ("dim", True), ("k", None), ("fractions", 3), ("fractions", ["a"]), ("selection", 7)],
)
def test_values_of_another_type_are_refused_by_name(name, value):
    values = {**SaeConfig(8, 200, 2).to_dict(), name: value}
    with pytest.raises(InsightError, match=f"SaeConfig.{name}: expected .*, found"):
        SaeConfig.from_dict(values)


@pytest.mark.parametrize(("name", "value"), [("steps", 1.5), ("lr", "fast"), ("betas", 0.9), ("rescale", 1)])
def test_run_settings_of_another_type_are_refused_by_name(name, value):
    with pytest.raises(InsightError, match=f"TrainConfig.{name}: expected .*, found"):
        TrainConfig.from_dict({**TrainConfig(10).to_dict(), name: value})
