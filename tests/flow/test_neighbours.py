"""Distances to the nearest good part, beside what they are by hand."""

import math

import numpy as np
import pytest
import torch

from differnet.errors import NumericalError
from differnet.features.pooling import RowReading
from differnet.flow import neighbours
from differnet.flow.flow import Flow
from differnet.flow.fusion import Fusion
from differnet.flow.neighbours import Neighbours

KEPT = torch.tensor([[4.0, 0.0], [-4.0, 0.0], [0.0, 1.0]])


def random_rows(count, width, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def flow_of(width, **settings):
    flow = Flow(width, blocks=2, hidden=8, depth=1, seed=3, **settings)
    return flow.eval().requires_grad_(False)


def test_the_most_anomalous_part_is_compared():
    z = torch.tensor([[30.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.5, 50.0]])  # two parts of each of two views
    norms = z.square().sum(dim=1).view(2, 2) / 2
    found = Neighbours(KEPT)(z, norms)
    assert found.tolist() == pytest.approx([(26**2 + 2) / 2, (0.25 + 49**2 + 2) / 2])


def test_parts_that_are_as_anomalous_count_alike():
    z, near = torch.tensor([[3.0, 0.0], [0.0, 3.0], [0.0, 0.0]]), Neighbours(KEPT)
    both = (1 / 2 + 4 / 2) / 2 + 1
    for bit in (-1e-5, 0.0, 1e-5):  # of two engines, one may find the first the larger, one the second
        found = near(z, torch.tensor([[4.5 + bit, 4.5, -50.0]]))
        assert float(found) == pytest.approx(both, abs=1e-4)
    assert float(near(z, torch.tensor([[4.5 + math.log(3), 4.5, -50.0]]))) == pytest.approx(
        (3 * 1 / 2 + 4 / 2) / 4 + 1
    )


def test_a_part_between_two_kinds_of_good_ones_is_far_though_its_norm_is_small():
    between, of_a_kind = torch.tensor([[0.5, 0.0]]), torch.tensor([[4.0, 0.3]])
    near = Neighbours(KEPT[:2])
    far, close = (near(z, z.square().sum(dim=1, keepdim=True)) for z in (between, of_a_kind))
    assert float(between.norm()) < float(of_a_kind.norm())
    assert float(far) > float(close)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_a_copy_of_a_kept_part_is_as_far_as_noise_is(scale):
    kept = scale * random_rows(40, 384)
    found = Neighbours(kept)(kept, torch.ones(40, 1))
    assert found.tolist() == pytest.approx([384 / 2] * 40, abs=0.2)
    assert float(found.min()) >= 384 / 2


def test_few_points_are_all_kept():
    assert neighbours.spread(random_rows(5, 3), 5, seed=0).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_points_are_chosen_so_that_none_is_far_from_one(seed):
    centres = 20 * torch.nn.functional.one_hot(torch.arange(6), 12).float()
    sizes = [200, 100, 50, 5, 2, 1]  # a part of a rare kind is kept, too
    kinds = torch.repeat_interleave(torch.arange(6), torch.tensor(sizes))
    points = centres[kinds] + random_rows(sum(sizes), 12, seed)
    chosen = neighbours.spread(points, 6, seed)
    assert sorted(kinds[chosen].tolist()) == [0, 1, 2, 3, 4, 5]
    assert chosen.tolist() == sorted(chosen.tolist()) == neighbours.spread(points, 6, seed).tolist()


def test_copies_are_not_chosen_before_others():
    points = torch.cat([torch.zeros(10, 4), random_rows(5, 4)])
    assert set(range(10, 15)) < set(neighbours.spread(points, 6, seed=0).tolist())
    assert len(set(neighbours.spread(points, 12, seed=0).tolist())) == 12


def test_latents_of_the_flow_are_kept():
    flow, rows = flow_of(6), random_rows(30, 6)
    found = neighbours.fit(flow, rows, 100, seed=0)
    torch.testing.assert_close(found.kept, flow(rows)[0].detach(), rtol=1e-3, atol=1e-3)
    assert torch.equal(found.kept, found.kept.half().float())
    few = neighbours.fit(flow, rows, 7, seed=0).kept
    assert len(few) == 7
    assert all(bool((found.kept == one).all(dim=1).any()) for one in few)


@pytest.mark.parametrize("flows", [1, 3])
@pytest.mark.parametrize("tiles", [1, 4])
def test_a_fusion_has_the_distances_of_every_tile_after_its_norms(flows, tiles):
    places, width = 5, 6
    columns = torch.arange(tiles * places * width).view(tiles * places, width)
    read = RowReading(columns, "largest", tiles * places * width, tiles)
    flow = flow_of(width, flows=flows)
    kept = neighbours.fit(flow, random_rows(50, width, 1), 20, seed=0)
    features = random_rows(3, read.width, 2)
    found = Fusion([flow], [read], {0: kept})(features).numpy()
    assert found.shape == (tiles, 3, 2)
    for view in range(3):
        for tile in range(tiles):
            rows = features[view].view(tiles, places, width)[tile]
            z = flow(rows)[0].double().numpy()
            norms = (z**2).sum(axis=1) / 2
            few = np.argsort(norms)[-4:]
            apart = ((z[few, None] - kept.kept.double().numpy()) ** 2).sum(axis=2).min(axis=1)
            weights = np.exp(norms[few] - norms.max())
            wanted = [norms.max(), ((apart * weights).sum() / weights.sum() + width) / 2]
            assert found[tile, view] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    "kept",
    [
        torch.zeros(3, 4),
        torch.zeros(3, 5).half(),
        torch.zeros(3).half(),
        torch.zeros(0, 4).half(),
        torch.zeros(9, 4).half(),
        torch.tensor([[0.0, 0, 0, np.nan]]).half(),
        torch.tensor([[0.0, 0, 0, np.inf]]).half(),
    ],
)
def test_what_a_file_cannot_have_is_refused(kept):
    with pytest.raises(ValueError, match="neighbours"):
        neighbours.from_tensor(kept, flow_of(4), 8)


def test_what_a_file_has_is_read():
    kept = random_rows(8, 4).half()
    assert torch.equal(neighbours.from_tensor(kept, flow_of(4), 8).kept, kept.float())


def test_a_latent_beyond_16_bits_is_kept_as_the_largest_one():
    far = Neighbours(torch.tensor([[1e6, 0.0]]))
    assert torch.isfinite(far.halves).all()
    assert neighbours.from_tensor(far.kept.half(), flow_of(2), 1).kept.tolist() == [[65504, 0]]


def test_a_latent_that_is_not_finite_is_refused():
    rows = random_rows(30, 4)
    rows[7, 2] = np.nan
    with pytest.raises(NumericalError, match="no finite latent of a good part"):
        neighbours.fit(flow_of(4), rows, 8, seed=0)


def test_the_soft_distance_is_the_nearest_one_far_from_all_and_smooth_between_two():
    near = Neighbours(KEPT)
    z = torch.tensor([[40.0, 0.0], [0.0, -30.0]], requires_grad=True)
    soft = near.soft_distances(z)
    assert soft.detach().tolist() == pytest.approx([36**2 / 2, (4**2 + 30**2) / 2 - math.log(2)], rel=1e-5)
    (slopes,) = torch.autograd.grad(soft.sum(), z)
    assert torch.allclose(near.slopes(z.detach()), slopes, atol=1e-5)
    assert torch.allclose(
        slopes, torch.tensor([[36.0, 0.0], [0.0, -30.0]]), atol=1e-5
    )  # between two: their mean


def test_shares_of_far_parts_are_no_denormal_numbers():
    """Products with these are slow; without them slopes are the same."""
    near, z = Neighbours(4 * random_rows(400, 8)), 4 * random_rows(50, 8, seed=1)
    least = torch.finfo(torch.float32).tiny
    all_of_them = torch.softmax(near._closeness(z), dim=1)
    assert ((all_of_them > 0) & (all_of_them < least)).any()
    assert torch.softmax(near._closeness_within_reach(z), dim=1).min() > least
    exact = z.double() - torch.softmax(near.double()._closeness(z.double()), dim=1) @ near.kept
    near.float()
    asked = z.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(near.soft_distances(asked).sum(), asked)
    for found in (slopes, near.slopes(z)):
        assert torch.allclose(found.double(), exact, atol=1e-4)
