"""How far to train is found out by drawn defects; small gains are not believed."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from differnet import DifferNet
from differnet.config import presets
from differnet.config.settled import SettledTraining, provisional
from differnet.data.stream import silent
from differnet.detector.tuning import length
from differnet.detector.tuning.choice import Choice
from differnet.detector.tuning.evidence import Evidence, judge, wins
from differnet.errors import DifferNetWarning
from differnet.evaluation.metrics import auroc
from differnet.features.cache import describe_all
from differnet.features.pooling import reading
from differnet.flow import sources, train
from differnet.flow.flow import Flow
from support.tiny import TINY, good_image

SETTINGS = presets.resolve(
    "default",
    {"blocks": 3, "hidden": 16, "depth": 1, "epochs": 30, "batch": 64, "learning_rate": 5e-3}
    | {"rotation": "none", "pooling": "whole", "read_stages": "all", "noise": 0.0},
)
READ = reading((4,), 1, 1, (0,), "whole")
FOUND = Choice("none", (0,), "whole", {}, (), 100, 20)


def curved(count, seed):
    """Features on a curve, which no Gaussian describes."""
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(count, 1, generator=g)
    rest = 0.1 * torch.randn(count, 3, generator=g)
    return torch.cat([a, a**2 + rest[:, :1], rest[:, 1:]], dim=1)


def off_the_curve(rows):
    """The same rows, shifted to where the curve is not but its Gaussian is."""
    return rows + torch.tensor([0.0, 0.8, 0.0, 0.0])


def evidence(count, good, drawn):
    return Evidence(
        list(range(count)), curved(count, 0)[:, None], torch.stack((good, drawn), 1)[:, :, None], True
    )


def judged(tests):
    return length.with_length(FOUND, tests, provisional(SETTINGS), READ, 0, silent)


def test_training_goes_on_where_it_tells_more():
    good = curved(40, 1)
    found = judged(evidence(400, good, off_the_curve(good)))
    assert found.length > 0.3
    scores = dict(found.trained)
    assert scores[found.length] == max(scores.values()) > scores[0.0] + 0.1


def test_training_is_left_out_where_it_gains_nothing():
    good = curved(40, 1)
    found = judged(evidence(12, good, good + 50))  # told at once, and too few to learn from
    assert found.length == 0
    assert found.trained[0] == (0.0, 1.0)


@pytest.mark.parametrize("start", ["gaussian", "random"])
def test_a_trial_that_is_decided_is_cut_short(start, monkeypatch):
    """Once all drawn defects are told, what is left of the schedule is not run, and the answer is that of all of it."""
    good = curved(40, 1)
    tests = evidence(400, good, off_the_curve(good) + torch.tensor([0.0, 0.0, 9.0, 0.0]))
    asked = provisional(presets.resolve(SETTINGS, {"start": start, "epochs": 40}))

    def trial():
        passes, told = [], []
        right = train._pass
        with monkeypatch.context() as patch:
            patch.setattr(train, "_pass", lambda *all_, **named: passes.append(1) or right(*all_, **named))
            found = length.with_length(
                FOUND, tests, asked, READ, 0, lambda stage, done, total: told.append((done, total))
            )
        return found, len(passes), told

    found, passes, told = trial()
    monkeypatch.setattr(length, "_tells_all", lambda looks: False)
    whole, all_passes, _ = trial()
    assert found.length == whole.length
    assert passes < all_passes == train.epochs_to_run(asked.training, -(-400 // 64))
    assert found.trained == whole.trained[: len(found.trained)]
    assert (found.length == 0) == (start == "gaussian") == (passes == 0)
    assert not told or told[-1][0] == told[-1][1]


def test_a_gain_that_may_be_chance_is_not_taken(monkeypatch):
    good = curved(40, 1)
    tests = evidence(400, good, off_the_curve(good))
    monkeypatch.setattr(length, "standard_error", lambda pairs: 10.0)
    found = judged(tests)
    assert found.length == 0
    assert max(score for _, score in found.trained) > found.trained[0][1]
    assert "gained too little" in str(found)


def test_it_looks_at_most_eleven_times():
    good = curved(20, 1)
    shares = [share for share, _ in judged(evidence(100, good, off_the_curve(good))).trained]
    assert (shares[0], shares[-1]) == (0, 1)
    assert shares == sorted(set(shares))
    assert len(shares) <= 11


def test_wins_average_to_the_auroc():
    scores = torch.tensor([[1.0, 2, 1], [2, 2, 5], [0, -1, 4]])
    by_kind = [
        auroc(np.concatenate((scores[:, 0], scores[:, k])), np.repeat([False, True], 3)) for k in (1, 2)
    ]
    assert judge(scores) == pytest.approx(np.mean(by_kind))


def test_the_standard_error_is_the_jackknifes():
    pairs = wins(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)))
    means = []
    for left_out in range(12):
        rest = [i for i in range(12) if i != left_out]
        means.append(float(pairs[rest][:, rest].mean()))
    expected = np.sqrt(11 / 12 * np.sum((np.array(means) - np.mean(means)) ** 2))
    assert length.standard_error(pairs) == pytest.approx(expected)


def test_a_length_is_a_share_of_the_same_schedule():
    settings = SettledTraining(epochs=6, batch=64, learning_rate=5e-3, schedule="one-cycle")
    seen = []

    def fit(training):
        flow = Flow(4, blocks=3, hidden=16, depth=1, seed=2)
        keep = lambda epoch, total: seen.append(  # noqa: E731
            {k: v.clone() for k, v in flow.state_dict().items()}
        )
        train.fit(flow, sources.Bank(curved(256, 0), 64, seed=0), training, on_epoch=keep)
        return flow.state_dict()

    fit(settings)
    half = fit(replace(settings, length=0.5))
    assert len(seen) == 6 + 3
    for name, value in half.items():
        assert torch.equal(value, seen[2][name])
    with pytest.raises(ValueError, match="a valid number"):  # no words in what is settled
        replace(settings, length="auto")
    seen.clear()
    fit(replace(settings, length=0.01))
    assert len(seen) == 1  # a little is not nothing


def test_images_described_for_the_choice_are_not_described_again(monkeypatch):
    images = [good_image(i) for i in range(40)]
    open_settings = TINY | {
        "rotation": "none",
        "score_rotations": "even",
        "train_views": 4,
        "start": "gaussian",
        "sizes": [32],
        "epochs": 4,
    }
    detector = DifferNet("default", weights="random", **open_settings | {"length": "auto", "holdout": 0.0})
    known = detector.prepare(images)
    whole = describe_all(known.describer, images, 0, silent)
    calls = []
    right = type(known.describer).training_features
    monkeypatch.setattr(
        type(known.describer),
        "training_features",
        lambda self, square, seed, index, *rest: (
            calls.append(index) or right(self, square, seed, index, *rest)
        ),
    )
    other = DifferNet("default", weights="random", **open_settings | {"length": "auto", "holdout": 0.0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        other.fit(images)
        expected = detector.fit(images, bank=whole)
    assert sorted(calls) == list(range(40))  # each once: those of the choice, then the others
    for name, value in other.model.flow.state_dict().items():
        assert torch.equal(value, expected.model.flow.state_dict()[name])


def test_a_trial_of_random_weights_does_not_stop_before_training():
    asked = presets.resolve(
        "default",
        {"rotation": "none", "read_stages": "all", "pooling": "whole", "grid": 1, "stages": [5]}
        | {
            "start": "random",
            "noise": 0.0,
            "blocks": 1,
            "hidden": 4,
            "depth": 1,
            "epochs": 2,
            "min_steps": 0,
        },
    )
    rows = torch.randn(20, 2, 4, generator=torch.Generator().manual_seed(0))
    tests = torch.cat([rows[:8, :1], 100 + rows[:8, :1]], dim=1)[:, :, None]  # told by any weights
    shown = Evidence(list(range(20)), rows, tests, False)
    found = Choice("none", (5,), "whole", {}, (), 20, 8)
    read = reading((4,), sizes=1, grid=1, stages=(0,), pooling="whole")
    assert length.with_length(found, shown, provisional(asked), read, 0, silent).length > 0
