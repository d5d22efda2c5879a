"""The Gaussian a flow starts from: against scikit-learn and NumPy, and as a bijection."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf

from differnet.errors import NumericalError
from differnet.flow import gaussian
from differnet.flow.flow import Flow


def rows(count=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, generator=generator) @ torch.randn(5, 5, generator=generator) + 3


def test_norms_are_mahalanobis_distances_with_a_shrunk_covariance():
    x = rows()
    wanted = LedoitWolf().fit(x.numpy().astype(np.float64)).mahalanobis(x.numpy()) / 2
    np.testing.assert_allclose(gaussian.norms(x, gaussian.fit(x, 0)), wanted, rtol=1e-4)


def test_a_flow_starts_as_this_gaussian():
    x = rows().double()
    good = gaussian.fit(x, 0)
    flow = Flow(5, 2, 8, 1, seed=1, start="gaussian").double()
    flow.whitening.set(*good)
    z, log_det = flow(x)
    torch.testing.assert_close(0.5 * z.square().sum(1), gaussian.norms(x, good))
    torch.testing.assert_close(log_det, torch.linalg.slogdet(good.matrix).logabsdet.expand(50))
    back, negative = flow.inverse(z)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(negative, -log_det)


def test_equal_images_and_few_of_them_give_finite_norms():
    same = torch.ones(6, 4)
    assert torch.isfinite(gaussian.norms(same, gaussian.fit(same, 0))).all()
    two = rows(2)
    assert torch.isfinite(gaussian.norms(rows(9, seed=1), gaussian.fit(two, 0))).all()


@pytest.mark.parametrize("bad", [torch.empty(0, 3), torch.full((4, 3), float("nan"))])
def test_no_rows_and_nan_are_refused(bad):
    with pytest.raises(NumericalError, match="at least one row"):
        gaussian.fit(bad, 0)


@pytest.mark.parametrize("shape", [(5, 40), (200, 12), (30, 1), (1, 3)])
def test_shrinkage_is_scikit_learns(shape):
    from sklearn.covariance import empirical_covariance, ledoit_wolf_shrinkage

    table = np.random.default_rng(3).normal(0, np.arange(1, shape[1] + 1), shape)
    table -= table.mean(axis=0)
    found = gaussian.shrinkage(table, empirical_covariance(table, assume_centered=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one row
        assert found == pytest.approx(ledoit_wolf_shrinkage(table, assume_centered=True), rel=1e-9)
