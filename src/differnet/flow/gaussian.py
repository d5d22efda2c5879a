"""The Gaussian that a flow can start from: features whitened by a covariance that is shrunk where images are few.

``sklearn.covariance`` has the same covariance and shrinkage, but to import it takes 0.7 seconds and 130 MB, and it
makes copies of the rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import linalg
from torch import Tensor

from differnet.errors import NumericalError

MOST_ROWS = 10_000  # more change nothing that matters and take time
_FLOOR = 1e-6  # of the mean variance, for images that are all the same


class Gaussian(NamedTuple):
    """A mean (D,) and an upper triangular matrix (D, D): u = (y - mean) @ matrix has the identity as covariance."""

    mean: Tensor
    matrix: Tensor


def fit(rows: Tensor, seed: int) -> Gaussian:
    """Estimate the Gaussian of rows (N, D) with the shrinkage of Ledoit and Wolf (2004), in 64 bits.

    Of more than 10,000 rows, a random part chosen by ``seed``. Raises :class:`NumericalError` for no rows or NaN.
    """
    if len(rows) > MOST_ROWS:
        chosen = np.random.default_rng(seed).permutation(len(rows))[:MOST_ROWS]
        rows = rows[torch.from_numpy(np.sort(chosen))]
    table = rows.detach().cpu().to(torch.float64, copy=True).numpy()
    del rows  # often the last reference to many megabytes
    if len(table) == 0 or not np.isfinite(table).all():
        raise NumericalError("a Gaussian needs at least one row of features, all of them finite")
    mean = table.mean(axis=0)
    table -= mean
    covariance = table.T @ table
    covariance /= len(table)
    share, variance = shrinkage(table, covariance), float(np.trace(covariance)) / len(mean)
    covariance *= 1 - share
    covariance[np.diag_indices_from(covariance)] += share * variance
    scale = float(np.trace(covariance)) / len(mean)
    covariance[np.diag_indices_from(covariance)] += _FLOOR * scale if scale > 0 else 1.0
    lower = linalg.cholesky(covariance, lower=True)
    matrix = linalg.solve_triangular(lower, np.eye(len(mean)), lower=True).T
    return Gaussian(torch.from_numpy(mean), torch.from_numpy(np.ascontiguousarray(matrix)))


def shrinkage(table: npt.NDArray[np.float64], covariance: npt.NDArray[np.float64]) -> float:
    """Return the share by which Ledoit and Wolf shrink ``covariance`` (D, D) to its mean variance.

    ``table``: the centred rows (N, D) that it is of. What ``sklearn.covariance.ledoit_wolf_shrinkage`` returns, which
    squares a copy of the table for it, and ``ledoit_wolf`` makes one more: a hundred megabytes at the peak of a fit.
    Source: Ledoit and Wolf, A well-conditioned estimator, Journal of Multivariate Analysis 88, 2004.
    """
    count, features = table.shape
    squared = float(np.square(covariance).sum())
    apart = squared - float(np.trace(covariance)) ** 2 / features
    lengths = np.einsum("ij,ij->i", table, table)
    noise = (float(np.square(lengths).mean()) - squared) / count
    return min(max(noise, 0.0), apart) / apart if apart > 0 else 0.0  # of one row the noise is rounding alone


def norms(rows: Tensor, gaussian: Gaussian) -> Tensor:
    """Return half the squared Mahalanobis distance of rows (N, D): (N,), as eq. 5 would with this Gaussian alone."""
    return 0.5 * ((rows.double() - gaussian.mean) @ gaussian.matrix).square().sum(dim=1)
