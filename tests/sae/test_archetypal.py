"""Atoms of an archetypal dictionary are mixtures of data points, and stay so."""

import pytest
import torch
from scipy.optimize import nnls

from sae import SaeConfig, TrainConfig
from sae.archetypal import Archetypal
from sae.learner import Learner


def distance_to_hull(point, points):
    """Least squares over mixtures: weights >= 0, their sum held at 1 by a heavy row."""
    heavy = 1e4
    rows = torch.cat([points.T, heavy * torch.ones(1, len(points), dtype=points.dtype)])
    shares, _ = nnls(rows.numpy(), torch.cat([point, torch.tensor([heavy], dtype=point.dtype)]).numpy())
    return float((torch.from_numpy(shares / shares.sum()) @ points - point).norm())


def random_atoms(generator, radius=0.3):
    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Archetypal(randn(7, 5), radius, randn(11, 7), 0.05 * randn(11, 5), 0.4 * randn(1))


def test_the_chain_rule_is_autograds(generator):
    atoms = random_atoms(generator)
    logits, slack, log_scale = (value.clone().requires_grad_() for value in atoms.parameters.values())
    decoder = (torch.softmax(logits, 1) @ atoms.points + slack) * log_scale.exp()
    torch.testing.assert_close(atoms.decoder(), decoder.detach())
    gradient = torch.randn(11, 5, generator=generator, dtype=torch.float64)
    decoder.backward(gradient)
    found = atoms.gradients(atoms.decoder(), gradient)
    assert found.keys() == atoms.parameters.keys()
    for name, parameter in zip(found, (logits, slack, log_scale)):
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-10, atol=1e-13)


def test_what_leaves_its_ball_is_brought_back_and_nothing_else(generator):
    atoms = random_atoms(generator, radius=0.1)
    slack = atoms.parameters["slack"]
    inside = torch.arange(11) % 2 == 0
    slack *= torch.where(inside, 0.07, 0.2)[:, None] / slack.norm(dim=1, keepdim=True)
    before = slack.clone()
    atoms.hold()
    after = atoms.parameters["slack"]
    assert torch.equal(after[inside], before[inside])
    torch.testing.assert_close(after[~inside].norm(dim=1), torch.full_like(before[~inside, 0], 0.1))


@pytest.mark.parametrize("n_points", [20, 1000], ids=["centroids", "all tokens"])
def test_it_starts_near_points_each_as_often_as_any_other(generator, n_points):
    tokens = torch.randn(50, 6, generator=generator)
    atoms = Archetypal.start(tokens, 120, n_points, 0.1, seed=3)
    c = min(n_points, 50)
    assert atoms.points.shape == (c, 6)
    own = atoms.parameters["logits"].softmax(1).max(1)
    assert float(own.values.min()) > 0.3
    uses = torch.bincount(own.indices, minlength=c)
    assert int(uses.max() - uses.min()) <= 1
    again = Archetypal.start(tokens, 120, n_points, 0.1, seed=3)
    assert torch.equal(atoms.decoder(), again.decoder())
    own_atoms = atoms.first_encoder() @ atoms.decoder().T
    torch.testing.assert_close(own_atoms.diagonal(), torch.ones(120))


@pytest.mark.parametrize("slack", [0.0, 0.2])
def test_after_training_atoms_are_in_the_hull_up_to_the_slack(generator, slack):
    x = torch.randn(3000, 4, generator=generator).abs() @ torch.randn(4, 12, generator=generator)
    config = SaeConfig(12, 30, 3, fractions=(1.0,))
    train = TrainConfig(80, 200, dictionary="archetypal", n_archetypes=25, archetype_slack=slack)
    learner = Learner.start(config, train, x[:200])
    first = float(learner.step(x[:200]).fvu[-1])
    for _step in range(1, 80):
        last = learner.step(x[torch.randint(3000, (200,), generator=generator)])
    assert float(last.fvu[-1]) < 0.7 * first
    atoms = learner.atoms
    scale = float(atoms.parameters["log_scale"].exp())
    assert scale != 1
    decoder = learner.autoencoder().decoder.detach().double() / scale
    points = atoms.points.double()
    away = [distance_to_hull(atom, points) for atom in decoder]
    assert max(away) < atoms.radius + 1e-3
    assert atoms.radius == slack
    assert float(points.norm(dim=1).mean()) == pytest.approx(1)
    if slack:
        assert max(away) > 0.1 * atoms.radius


def test_data_that_does_not_vary_gives_finite_atoms():
    config = SaeConfig(12, 30, 3, fractions=(1.0,))
    learner = Learner.start(config, TrainConfig(5, 20, dictionary="archetypal"), torch.ones(20, 12))
    for _ in range(5):
        report = learner.step(torch.ones(20, 12))
    assert bool(report.loss.isfinite())
    assert all(bool(value.isfinite().all()) for value in learner.tensors().values())
