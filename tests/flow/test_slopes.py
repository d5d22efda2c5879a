"""The slope of the score by forward operations alone, against autograd and by hand."""

from __future__ import annotations

import pytest
import torch

from differnet.flow import neighbours
from differnet.flow.flow import Flow
from differnet.flow.score import latent_norm
from differnet.flow.slopes import LatentNorm, is_linear


def trained(features=9, start="gaussian", seed=0, **shape):
    """A flow in float64 whose couplings all do something."""
    flow = Flow(features, **({"blocks": 3, "hidden": 7, "depth": 2} | shape), seed=seed, start=start).double()
    draws = torch.Generator().manual_seed(seed)
    for parameter in flow.parameters():
        parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=draws, dtype=torch.float64))
    if flow.whitening is not None:
        matrix = torch.randn(features, features, generator=draws, dtype=torch.float64).triu() / 3
        flow.whitening.set(
            torch.randn(features, generator=draws, dtype=torch.float64), matrix + 2 * torch.eye(features)
        )
    return flow.requires_grad_(False)


def rows(count=6, features=9, seed=1):
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("start", ["gaussian", "random"])
@pytest.mark.parametrize(
    "shape", [{}, {"depth": 0}, {"blocks": 1, "depth": 3}, {"features": 2}, {"flows": 3}]
)
def test_the_slope_is_that_of_autograd(start, shape):
    flow = trained(start=start, **shape)
    y = rows(features=flow.features).requires_grad_(True)
    wanted = latent_norm(flow(y)[0])
    (gradient,) = torch.autograd.grad(wanted.sum(), y)
    found = LatentNorm(flow).rise(y.detach())
    torch.testing.assert_close(found.norms, wanted.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(found.slopes, gradient, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(LatentNorm(flow)(y.detach()), wanted.detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("flows", [1, 3])
def test_with_good_parts_that_are_kept_it_is_that_of_autograd_too(flows):
    flow, y = trained(flows=flows), rows().requires_grad_(True)
    near = neighbours.fit(flow, rows(40, seed=2), 12, seed=0).double()
    z = flow(y)[0]
    wanted = latent_norm(z) + near.soft_distances(z)
    (gradient,) = torch.autograd.grad(wanted.sum(), y)
    found = LatentNorm(flow, whole=True).rise(y.detach(), near)
    torch.testing.assert_close(found.slopes, gradient, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(found.slopes, LatentNorm(flow).rise(y.detach()).slopes, rtol=0.1)


def test_of_a_gaussian_it_is_the_distance_from_the_mean():
    flow = Flow(5, 4, 8, 2, seed=3, start="gaussian").double()
    mean, matrix = rows(1, 5)[0], rows(5, 5, 2).triu() + 3 * torch.eye(5)
    flow.whitening.set(mean, matrix)
    y = rows(4, 5, 4)
    found = LatentNorm(flow)
    assert is_linear(flow)
    assert [len(chain) for chain in found.chains] == [0]
    precision = matrix @ matrix.T
    for row, norm, slope in zip(y, *found.rise(y), strict=True):
        torch.testing.assert_close(slope, precision @ (row - mean))
        torch.testing.assert_close(norm, 0.5 * (row - mean) @ precision @ (row - mean))
    torch.testing.assert_close(found(y), latent_norm(flow(y)[0]))  # the permutations are left out


def test_a_trained_flow_keeps_its_couplings():
    assert not is_linear(trained())
    assert [len(chain) for chain in LatentNorm(trained(flows=2)).chains] == [6, 6]
