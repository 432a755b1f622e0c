"""A fit from batches comes near the optimum, says how near, and goes on where it was stopped."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from insight.heads.linear import Batches, Rows, fit_linear, fit_streamed
from sae.errors import InsightError
from tests.insight.heads.linear.problems import Dense, made_up


def in_batches(x: csr_array, y: np.ndarray, size: int = 50) -> Batches:
    def batches(epoch: int) -> Iterator[tuple[csr_array, np.ndarray]]:
        order = np.random.default_rng(epoch).permutation(len(y))
        for start in range(0, len(y), size):
            rows = order[start : start + size]
            yield x[rows], y[rows]

    return batches


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("scale", ["std", "max", "sqrt", None])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_it_agrees_with_the_exact_optimum(n_classes: int, scale: str | None, fit_intercept: bool) -> None:
    x, y = made_up(n_classes, n=1000, seed=40)
    settings = {"alpha": 0.01, "l1_ratio": 0.8, "scale": scale, "fit_intercept": fit_intercept}
    exact = fit_linear(x, y, n_classes, tol=1e-6, **settings)
    streamed = fit_streamed(in_batches(x, y), x.shape[1], n_classes, tol=1e-3, epochs=100, progress=False, **settings)
    assert streamed.converged
    assert exact.objective - 1e-10 <= streamed.objective <= exact.objective + 1e-5
    np.testing.assert_allclose(streamed.probabilities(x), exact.probabilities(x), atol=5e-3)
    big = np.abs(exact.coef) > 0.02 * np.abs(exact.coef).max()
    assert (streamed.coef[big] != 0).all()


@pytest.mark.parametrize("n_classes", [2, 5])
def test_rows_carry_weights_and_fixed_logits(n_classes: int) -> None:
    x, y = made_up(n_classes, n=1000, seed=46)
    rng = np.random.default_rng(47)
    weight = rng.uniform(0.2, 3, 1000) * (rng.random(1000) < 0.9)
    weight[:n_classes] = 1
    weight[100:150] = 0  # a whole batch without weight
    offset = rng.normal(0, 2, (1000, n_classes))
    settings = {"alpha": 0.01, "l1_ratio": 0.8}
    exact = fit_linear(x, y, n_classes, sample_weight=weight, offset=offset, tol=1e-6, **settings)

    def batches(epoch: int) -> Iterator[Rows]:
        for start in np.random.default_rng(epoch).permutation(20) * 50:
            rows = slice(start, start + 50)
            yield Rows(x[rows], y[rows], weight[rows], offset[rows])

    more = {"tol": 1e-3, "epochs": 100, "progress": False, **settings}
    streamed = fit_streamed(batches, x.shape[1], n_classes, **more)
    assert streamed.converged
    assert exact.objective - 1e-10 <= streamed.objective <= exact.objective + 1e-5
    np.testing.assert_allclose(streamed.probabilities(x, offset), exact.probabilities(x, offset), atol=5e-3)
    again = fit_streamed(batches, x.shape[1], n_classes, start=exact, **more)
    assert again.iterations == 0  # it began where it was to end
    np.testing.assert_allclose(again.coef, exact.coef, atol=1e-12)
    np.testing.assert_allclose(again.intercept, exact.intercept, atol=1e-9)


def test_its_objective_and_violation_are_exact() -> None:
    x, y = made_up(3, n=500, seed=41)
    soft = 0.8 * np.eye(3)[y] + 0.2 / 3
    divisor = x.toarray().std(0)
    with pytest.warns(ConvergenceWarning, match="after 2 epochs"):
        fit = fit_streamed(in_batches(x, soft), x.shape[1], 3, alpha=0.005, tol=1e-9, epochs=2, progress=False)
    dense = Dense(x.toarray(), soft, 3, fit.alpha, fit.l1_ratio, divisor=divisor)
    assert not fit.converged
    assert fit.iterations == 2
    assert fit.objective == pytest.approx(dense.objective(fit.coef, fit.intercept), rel=1e-10)
    assert fit.violation == pytest.approx(dense.violation(fit.coef, fit.intercept), rel=1e-6)


def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path) -> None:
    x, y = made_up(3, n=500, seed=42)
    settings = {"n_features": x.shape[1], "n_classes": 3, "alpha": 0.005, "tol": 1e-12, "progress": False}
    with pytest.warns(ConvergenceWarning):
        whole = fit_streamed(in_batches(x, y), epochs=7, **settings)
    read: list[int] = []

    def counted(epoch: int) -> Iterator[tuple[csr_array, np.ndarray]]:
        read.append(epoch)
        if read.count(3) == 2:  # the second pass that follows three finished epochs
            raise KeyboardInterrupt
        return in_batches(x, y)(epoch)

    with pytest.raises(KeyboardInterrupt):
        fit_streamed(counted, epochs=7, checkpoint=tmp_path, **settings)
    with pytest.warns(ConvergenceWarning):
        resumed = fit_streamed(in_batches(x, y), epochs=7, checkpoint=tmp_path, **settings)
    assert np.array_equal(resumed.coef, whole.coef)
    assert np.array_equal(resumed.intercept, whole.intercept)
    assert resumed.objective == whole.objective
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.json", "state-7.safetensors"]


def test_the_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    x, y = made_up(3, n=500, seed=43)
    settings = {"n_features": x.shape[1], "n_classes": 3, "epochs": 1, "tol": 1e-12, "progress": False}
    with pytest.warns(ConvergenceWarning):
        fit_streamed(in_batches(x, y), alpha=0.01, checkpoint=tmp_path, **settings)
    with pytest.raises(InsightError, match="alpha"):
        fit_streamed(in_batches(x, y), alpha=0.02, checkpoint=tmp_path, **settings)
    with pytest.raises(InsightError, match="rows"):
        fit_streamed(in_batches(x[:400], y[:400]), alpha=0.01, checkpoint=tmp_path, **settings)
    (tmp_path / "state-1.safetensors").write_bytes(b"cut off")
    with pytest.raises(InsightError, match="damaged"):
        fit_streamed(in_batches(x, y), alpha=0.01, checkpoint=tmp_path, **settings)


def test_wrong_batches_are_refused() -> None:
    x, y = made_up(3, n=200, seed=44)
    settings = {"n_classes": 3, "alpha": 0.01, "progress": False}
    with pytest.raises(InsightError, match="found none"):
        fit_streamed(lambda epoch: [], 30, **settings)
    with pytest.raises(InsightError, match="expected 29 features"):
        fit_streamed(in_batches(x, y), 29, **settings)
    with pytest.raises(InsightError, match="found one"):
        fit_streamed(in_batches(x, np.zeros_like(y)), 30, **settings)
    with pytest.raises(InsightError, match="sample_weight: expected 200"):
        fit_streamed(lambda epoch: [Rows(x, y, weight=np.ones(199))], 30, **settings)
    with pytest.raises(InsightError, match="above 0, found none"):
        fit_streamed(lambda epoch: [Rows(x, y, weight=np.zeros(200))], 30, **settings)
    with pytest.raises(InsightError, match="offset"):
        fit_streamed(lambda epoch: [Rows(x, y, offset=np.full((200, 3), np.nan))], 30, **settings)
    with pytest.raises(InsightError, match="start"):
        fit_streamed(in_batches(x, y), 30, start=fit_linear(x[:, :29], y, 3, alpha=0.01), **settings)
    lengths = iter([200, 150])

    def fewer(epoch: int) -> Iterator[tuple[csr_array, np.ndarray]]:
        n = next(lengths)
        yield from in_batches(x[:n], y[:n])(epoch)

    with pytest.raises(InsightError, match="same rows in every epoch"):
        fit_streamed(fewer, 30, **settings)
    with pytest.raises(InsightError, match="epochs"):
        fit_streamed(in_batches(x, y), 30, epochs=0, **settings)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_finds_the_same() -> None:
    x, y = made_up(5, n=1000, seed=45)
    settings = {"n_features": 30, "n_classes": 5, "alpha": 0.01, "tol": 1e-3, "epochs": 100, "progress": False}
    fits = [fit_streamed(in_batches(x, y), device=device, **settings) for device in ("cpu", "cuda")]
    np.testing.assert_allclose(fits[1].coef, fits[0].coef, atol=1e-6)
