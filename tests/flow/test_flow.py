"""The laws of the flow, in float64, and its agreement with the literal reference."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from differnet.errors import ConfigError
from differnet.flow import score
from differnet.flow.flow import CouplingBlock, Flow, Permutation, Subnet, soft_clamp
from support import reference

SHAPES = st.tuples(st.integers(2, 9), st.integers(1, 3), st.integers(1, 7), st.integers(0, 3))


def make(features=6, blocks=2, hidden=5, depth=2, clamp=3.0, seed=0):
    return Flow(features, blocks, hidden, depth, clamp, seed).double()


def points(count, features, seed=0, scale=1.5):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, features, generator=generator, dtype=torch.float64)


def literal_blocks(flow):
    def weights(subnet):
        layers = [layer for layer in subnet.layers if isinstance(layer, torch.nn.Linear)]
        return [(layer.weight.tolist(), layer.bias.tolist()) for layer in layers]

    pairs = zip(flow.steps[::2], flow.steps[1::2], strict=True)
    return [(p.order.tolist(), weights(c.subnet1), weights(c.subnet2)) for p, c in pairs]


@settings(max_examples=25, deadline=None)
@given(SHAPES, st.integers(0, 100))
def test_inverse_undoes_forward(shape, seed):
    flow = make(*shape, seed=seed)
    x = points(5, shape[0], seed)
    z, log_det = flow(x)
    back, negative = flow.inverse(z)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(negative, -log_det, rtol=1e-9, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(SHAPES, st.integers(0, 100))
def test_log_det_is_that_of_autograds_jacobian(shape, seed):
    flow = make(*shape, seed=seed)
    x = points(2, shape[0], seed)
    _, log_det = flow(x)
    for row, value in zip(x, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], row)
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], value, rtol=1e-9, atol=1e-9)


def test_several_flows_in_one_give_the_means_of_their_scores_and_likelihoods():
    several = Flow(6, 2, 5, 2, seed=3, start="gaussian", flows=3).double()
    several.whitening.set(points(1, 6)[0], points(6, 6, 1).triu() + 3 * torch.eye(6))
    for parameter in several.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    x = points(7, 6, 2)
    z, log_det = several(x)
    assert z.shape == (7, 18)
    norms, log_dets = [], []
    for chain in several.chains:
        one = Flow(6, 2, 5, 2, start="gaussian").double()
        one.steps, one.whitening = chain, several.whitening
        alone, part = one(x)
        norms.append(score.latent_norm(alone))
        log_dets.append(part)
    assert not torch.allclose(norms[0], norms[1])
    torch.testing.assert_close(score.latent_norm(z), torch.stack(norms).mean(dim=0))
    torch.testing.assert_close(log_det, torch.stack(log_dets).mean(dim=0))
    with pytest.raises(ConfigError, match="3 flows in one have no inverse"):
        several.inverse(z)


def test_the_first_of_several_is_the_one_that_stands_alone():
    one, several = (Flow(6, 2, 5, 2, seed=3, flows=flows).state_dict() for flows in (1, 2))
    assert all(torch.equal(value, several[name]) for name, value in one.items())
    assert len(several) == 2 * len(one)
    assert not torch.equal(several["steps.0.order"], several["others.0.0.order"])


def test_forward_is_the_literal_flow():
    flow = make(features=7, blocks=3, hidden=4, depth=3, clamp=1.7, seed=5)
    x = points(3, 7, scale=3)
    z, log_det = flow(x)
    for row, latent, value in zip(x.tolist(), z.tolist(), log_det.tolist(), strict=True):
        wanted_z, wanted_log_det = reference.flow(row, literal_blocks(flow), 1.7)
        np.testing.assert_allclose(latent, wanted_z, rtol=1e-10)
        np.testing.assert_allclose(value, wanted_log_det, rtol=1e-10)


def test_every_parameter_gets_a_gradient():
    flow = make()
    z, log_det = flow(points(8, 6))
    (z.square().sum() - log_det.sum()).backward()
    silent = [name for name, p in flow.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_the_class_defaults_are_the_papers():
    defaults = {k: v.default for k, v in inspect.signature(Flow).parameters.items()}
    assert (defaults["blocks"], defaults["hidden"], defaults["depth"], defaults["clamp"]) == (8, 2048, 3, 3.0)
    net = Subnet(inputs=384, outputs=384, hidden=2048, depth=3, clamp=3.0)
    widths = [(m.in_features, m.out_features) for m in net.layers if isinstance(m, torch.nn.Linear)]
    assert widths == [(384, 2048), (2048, 2048), (2048, 2048), (2048, 768)]


def test_soft_clamp_by_hand():
    h = torch.tensor([-1e9, -3.0, 0.0, 3.0, 1e9], dtype=torch.float64)
    torch.testing.assert_close(
        soft_clamp(h, 3.0), torch.tensor([-3.0, -1.5, 0.0, 1.5, 3.0], dtype=torch.float64)
    )


def test_permutations_are_fixed_by_the_seed_and_stored():
    first, same, other = make(40, seed=3), make(40, seed=3), make(40, seed=4)
    assert torch.equal(first.steps[0].order, same.steps[0].order)
    assert not torch.equal(first.steps[0].order, other.steps[0].order)
    assert not torch.equal(first.steps[0].order, first.steps[2].order)
    assert "steps.0.order" in first.state_dict()
    other.load_state_dict(first.state_dict())
    x = points(3, 40)
    assert torch.equal(other(x)[0], first(x)[0])


def test_the_global_generator_is_left_alone():
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    make()
    assert torch.equal(torch.rand(3), wanted)


def test_nothing_is_remembered_between_calls():
    flow = make()
    a, b = points(4, 6, 1), points(2, 6, 2)
    before = flow(a)
    flow(b)
    after = flow(a)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


@pytest.mark.parametrize("part", [Permutation(5, torch.Generator()), CouplingBlock(5, 4, 1, 3.0)])
def test_parts_invert_on_their_own(part):
    x = points(3, 5)
    z, log_det = part.double()(x)
    back, negative = part.inverse(z)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(negative, -log_det)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(B, 6\), found shape \(4, 5\)"):
        make()(points(4, 5))
    with pytest.raises(ValueError, match="features >= 2"):
        Flow(features=1)
