"""Sparse logistic regression on more rows than memory holds: batches are read again and again, none is kept.

In: batches of rows and targets, the same rows in every epoch. Out: a `LinearFit`.

The method is proximal SVRG (Xiao and Zhang 2014): an epoch first reads everything for the exact gradient, then again
for one step a batch, each corrected by what the same batch said where the exact gradient was taken. So the noise
vanishes at the optimum, and every epoch knows its objective and how far from optimal it is. Steps are divided by the
curvature of each weight, features count from their mean, and an epoch that made the objective worse is undone and tried
again with half the step; nothing has to be tuned. Memory: a batch, and some ten numbers for each weight; none a row.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from sklearn.exceptions import ConvergenceWarning
from tqdm import tqdm

from .fit import LinearFit
from .parameters import check_alphas, check_parameters, check_start
from .scaling import Scale
from .stream_data import Batches, read_moments
from .stream_passes import Passes
from .stream_state import StreamCheckpoint

FIRST_STEP = 0.5
"""Of a Newton step for each weight alone."""
FASTER, SLOWER = 1.25, 0.25
"""After an epoch that made the objective better, and after one that did not."""


def fit_streamed(
    batches: Batches,
    n_features: int,
    n_classes: int,
    *,
    alpha: float,
    l1_ratio: float = 0.99,
    epochs: int = 50,
    fit_intercept: bool = True,
    scale: Scale = "std",
    tol: float = 1e-2,
    device: torch.device | str = "cpu",
    checkpoint: Path | str | None = None,
    progress: bool = True,
    start: LinearFit | None = None,
) -> LinearFit:
    """Nearly the optimum of `fit_linear`'s objective, from batches.

    Args:
        batches: see `Batches`; read once for the moments of the features, twice in every epoch.
        epochs: at most; ends earlier when the violation is at most `tol`.
        tol: largest violation of the conditions of optimality, relative to alpha; measured over all rows.
        device: where batches are worked on, in float64.
        checkpoint: a folder that holds the state after every epoch. A run that was stopped goes on from there as if it
            had not been; the folder of another run is refused.
        start: a fit to begin at, of some of the rows, say.

    The result is the best epoch's, with its exact objective and violation; above `tol` it is not `converged` and a
    ConvergenceWarning is given. On one device the same batches give the same bits. `InsightError` for bad batches,
    for batches that differ in number of rows from epoch to epoch, and for parameters out of range.
    """
    check_parameters(l1_ratio, tol, epochs)
    check_alphas([alpha])
    moments = read_moments(batches, n_features, n_classes, scale, fit_intercept)
    check_start(start, n_features, n_classes)
    passes = Passes(batches, moments, alpha, l1_ratio, fit_intercept, torch.device(device))
    settings = {"alpha": alpha, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept, "scale": scale}
    store = None if checkpoint is None else StreamCheckpoint(Path(checkpoint), {**settings, **moments.summary()})
    best = None if store is None else store.load(passes.device)
    if best is None:
        best = passes.snapshot(*passes.start(start), epoch=0, step=FIRST_STEP)
    with tqdm(total=epochs, initial=best.epoch, desc="epochs", disable=not progress) as bar:
        while best.violation > tol and best.epoch < epochs:
            found = passes.snapshot(*passes.steps(best), epoch=best.epoch + 1, step=best.step * FASTER)
            best = found if found.objective <= best.objective else best.retried(SLOWER)
            if store is not None:
                store.save(best)
            bar.update()
            bar.set_postfix(objective=f"{best.objective:.5f}", violation=f"{best.violation:.1e}", refresh=False)
    if best.violation > tol:
        warnings.warn(
            f"after {epochs} epochs the violation is {best.violation:.2g} of alpha, above tol {tol:.2g}; raise epochs",
            ConvergenceWarning,
            stacklevel=2,
        )
    return passes.fit(best, tol)
