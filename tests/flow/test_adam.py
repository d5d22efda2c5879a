"""Adam by its function beside PyTorch's optimizer."""

import pytest
import torch

from differnet.config.settled import SettledTraining
from differnet.flow.train import Adam


def numbers(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parameters():
    return [torch.nn.Parameter(numbers(*shape, seed=at)) for at, shape in enumerate([(5, 3), (7,), (40, 40)])]


def slopes(at):
    """Gradients of a step; the second parameter has one in every other step."""
    of_second = numbers(7, seed=200 + at) if at % 2 else None
    return [numbers(5, 3, seed=100 + at), of_second, numbers(40, 40, seed=300 + at)]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("decay", [0.0, 1e-2])
def test_steps_are_those_of_pytorchs_optimizer_to_the_bit(fused, decay):
    settings = SettledTraining(weight_decay=decay, betas=(0.8, 0.9), eps=1e-4)
    ours, theirs = parameters(), parameters()
    found = Adam(ours, settings, fused)
    wanted = torch.optim.Adam(theirs, betas=(0.8, 0.9), eps=1e-4, weight_decay=decay, fused=fused)
    for at in range(6):
        found.forget_gradients()
        wanted.zero_grad()
        for own, their, slope in zip(ours, theirs, slopes(at), strict=True):
            own.grad = their.grad = slope
        rate = 0.1 / (1 + at)
        wanted.param_groups[0]["lr"] = rate
        found.step(rate)
        wanted.step()
        assert all(torch.equal(own, their) for own, their in zip(ours, theirs, strict=True))


def test_it_goes_on_from_a_state():
    settings = SettledTraining()
    whole, broken = parameters(), parameters()
    one, first = Adam(whole, settings, True), Adam(broken, settings, True)
    for at in range(5):
        for own, slope in zip(whole, slopes(at), strict=True):
            own.grad = slope
        one.step(0.1)
    for at in range(5):
        if at == 3:
            kept = {name: value.clone() for name, value in first.state().items()}
            first = Adam(broken, settings, True)
            first.load(kept)
        for own, slope in zip(broken, slopes(at), strict=True):
            own.grad = slope
        first.step(0.1)
    assert all(torch.equal(own, their) for own, their in zip(whole, broken, strict=True))
    with pytest.raises(KeyError, match=r"0\.step"):
        first.load({})
    with pytest.raises(ValueError, match=r"1\.exp_avg of \(1,\), \(7,\) wanted"):
        first.load(first.state() | {"1.exp_avg": torch.zeros(1)})


def test_it_goes_on_from_what_pytorchs_optimizer_left():
    ours, theirs = parameters(), parameters()
    whole = torch.optim.Adam(theirs, lr=0.1, betas=(0.8, 0.9), eps=1e-4, weight_decay=0, fused=True)
    found = Adam(ours, SettledTraining(betas=(0.8, 0.9), eps=1e-4, weight_decay=0), True)
    for at in range(4):
        if at == 2:
            for own, their in zip(ours, theirs, strict=True):
                own.data.copy_(their.data)
            left = whole.state_dict()["state"]
            found.load({f"{n}.{kind}": value.clone() for n, of in left.items() for kind, value in of.items()})
        for own, their, slope in zip(ours, theirs, slopes(at), strict=True):
            their.grad = own.grad = slope
        whole.step()
        if at >= 2:
            found.step(0.1)
    assert all(torch.equal(own, their) for own, their in zip(ours, theirs, strict=True))
