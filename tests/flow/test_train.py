"""Training: it fits, it repeats, it resumes to the same numbers, and it never hides a NaN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from differnet.config.settled import SettledTraining
from differnet.errors import ModelFileError, NumericalError
from differnet.features.checkpoint import Checkpoint
from differnet.flow import sources, train
from differnet.flow.flow import Flow

SETTINGS = SettledTraining(epochs=6, batch=64, learning_rate=5e-3, schedule="one-cycle")


def toy(count=256, seed=0):
    """Two correlated coordinates on a curve, and two of noise."""
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(count, 1, generator=g)
    return torch.cat(
        [a, a**2 / 2 + 0.1 * torch.randn(count, 1, generator=g), torch.randn(count, 2, generator=g)], 1
    )


def fit(settings=SETTINGS, **options):
    flow = Flow(4, blocks=3, hidden=16, depth=1, seed=2)
    history = train.fit(flow, sources.Bank(toy(), settings.batch, seed=0), settings, **options)
    return flow, history


def test_it_learns_the_density():
    flow, history = fit(
        SettledTraining(epochs=40, batch=64, learning_rate=5e-3, schedule="one-cycle"), held_out=toy(64, 9)
    )
    assert history[-1].loss < history[0].loss - 0.3
    assert history[-1].held_out_loss < history[0].held_out_loss
    z, _ = flow(toy(500, seed=5))
    assert abs(float(z.detach().mean())) < 0.3
    assert 0.7 < float(z.detach().std()) < 1.4


def test_same_seed_same_numbers():
    first, second = fit()[0], fit()[0]
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_each_of_several_flows_learns_as_it_would_alone():
    several = Flow(4, blocks=3, hidden=16, depth=1, seed=2, flows=2).double()
    alone = Flow(4, blocks=3, hidden=16, depth=1, seed=2).double()
    other = Flow(4, blocks=3, hidden=16, depth=1, seed=2).double()
    other.steps.load_state_dict(several.others[0].state_dict())
    losses = [
        train.fit(flow, sources.Bank(toy().double(), SETTINGS.batch, seed=0), SETTINGS)[-1].loss
        for flow in (several, alone, other)
    ]
    for found, wanted in zip(several.chains, (alone.steps, other.steps), strict=True):
        for mine, its in zip(found.parameters(), wanted.parameters(), strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-6, atol=1e-8)
    assert losses[0] == pytest.approx((losses[1] + losses[2]) / 2)


@pytest.mark.parametrize("settings", [SETTINGS, replace(SETTINGS, epochs=1, min_steps=14)])
def test_a_resumed_run_ends_with_the_same_numbers(tmp_path, settings):
    whole, history = fit(settings)
    checkpoint = Checkpoint(tmp_path / "run", "")

    class Stop(Exception):
        pass

    def stop(epoch, total):
        if epoch.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        fit(settings, checkpoint=checkpoint, on_epoch=stop)
    resumed, again = fit(settings, checkpoint=checkpoint)
    assert [e.loss for e in again] == [e.loss for e in history]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    checkpoint = Checkpoint(tmp_path, "")
    fit(checkpoint=checkpoint)
    with pytest.raises(ModelFileError, match="other images or settings"):
        fit(SettledTraining(epochs=7, batch=64), checkpoint=checkpoint)


def test_a_loss_that_explodes_stops_with_advice():
    flow = Flow(4, blocks=2, hidden=8, depth=1)
    rows = toy()
    rows[7, 1] = float("nan")
    with pytest.raises(NumericalError, match="in epoch 1; lower learning_rate"):
        train.fit(flow, sources.Bank(rows, 64, 0), SETTINGS)


def test_a_bank_shows_every_row_once_an_epoch():
    rows = torch.arange(10.0)[:, None]
    bank = sources.Bank(rows, batch=4, seed=1)
    batches = list(bank.batches(0))
    assert [len(b) for b in batches] == [4, 4, 2]
    assert bank.steps == 3
    assert sorted(torch.cat(batches).flatten().tolist()) == list(range(10))
    assert not torch.equal(torch.cat(batches), torch.cat(list(bank.batches(1))))
    assert torch.equal(torch.cat(batches), torch.cat(list(bank.batches(0))))


def test_learning_rate_schedules():
    constant = SettledTraining()
    assert {train.learning_rate(constant, s, 50) for s in range(50)} == {2e-4}
    rates = [train.learning_rate(SETTINGS, s, 100) for s in range(100)]
    assert rates[0] == pytest.approx(5e-3 / 25)
    assert int(np.argmax(rates)) == 30
    assert max(rates) == pytest.approx(5e-3)
    assert rates[-1] == pytest.approx(5e-3 / 1e4)


def test_few_images_get_more_epochs():
    assert train.epochs_to_run(SettledTraining(epochs=2, min_steps=10), steps=3) == 4
    assert train.epochs_to_run(SettledTraining(epochs=8, min_steps=10), steps=3) == 8


@pytest.mark.parametrize(
    ("epochs", "min_steps", "length", "whole", "wanted"),
    [
        (1, 9, 1.0, 9, [4, 4, 1]),
        (3, 9, 1.0, 12, [4, 4, 4]),
        (1, 4, 1.0, 4, [4]),
        (0, 6, 1.0, 6, [4, 2]),
        (1, 10, 0.5, 10, [4, 1]),
        (2, 0, 0.25, 8, [2]),
        (2, 0, 0.01, 8, [1]),
        (2, 9, 0.0, 9, []),
    ],
)
def test_the_last_epoch_ends_with_the_schedule(monkeypatch, epochs, min_steps, length, whole, wanted):
    settings = SettledTraining(
        epochs, min_steps, batch=64, learning_rate=5e-3, schedule="one-cycle", length=length
    )
    rates, taken, step = [], [], train._step

    def counted(*given):
        rates.append(given[3])
        return step(*given)

    monkeypatch.setattr(train, "_step", counted)
    _, history = fit(settings, on_epoch=lambda epoch, total: taken.append((len(rates), total)))
    assert taken == [(done, len(wanted)) for done in np.cumsum(wanted)]
    assert len(history) == len(wanted)
    assert rates == [train.learning_rate(settings, at, whole) for at in range(sum(wanted))]


def test_the_loss_of_a_part_of_an_epoch_is_the_mean_of_its_steps():
    cut = fit(SettledTraining(1, 5, batch=64, learning_rate=1e-9))[1]  # a flow that hardly changes
    first = next(iter(sources.Bank(toy(), 64, seed=0).batches(1)))
    flow = Flow(4, blocks=3, hidden=16, depth=1, seed=2)
    z, log_det = flow(first)
    wanted = float(train.score.training_loss(z, log_det, 4).detach())
    assert cut[1].loss == pytest.approx(wanted, rel=1e-4)
