"""What the monitor bets on beside a shift, and how it tells lots of images that are alike from a change."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from scipy import integrate, ndimage

import differnet
from differnet.decision.drift import DriftMonitor
from differnet.decision.martingale import densities
from differnet.decision.ranked import Neighbours
from differnet.decision.stretches import LENGTHS, Stretches


def lots(rng, count, size=25, between=0.8):
    lot = np.repeat(rng.normal(size=count // size + 2), size)[rng.integers(size) :][:count]
    return math.sqrt(between) * lot + math.sqrt(1 - between) * rng.normal(size=count)


def monitor_after(values, rng, seed=0):
    """Return a monitor of independent calibration images that has seen some values, and its last state."""
    monitor = DriftMonitor(rng.normal(size=150), seed=seed)
    for value in values:
        state = monitor.update(value)
    return monitor, state


def alarm(monitor, values):
    """Return after how many values there is an alarm, and the state then; infinity and the last state for none."""
    for count, value in enumerate(values, 1):
        state = monitor.update(value)
        if state.is_alarm:
            return count, state
    return math.inf, state


def test_no_bet_wins_without_a_change():
    """Each density has a mean of 1 at most over uniform p-values."""
    ends = [1e-7, 1e-5, 1e-3]
    for index in range(len(densities(0.5))):
        mean, _ = integrate.quad(
            lambda p, i=index: densities(p)[i], 0, 1, points=[*ends, 0.5, *(1 - np.array(ends))], limit=500
        )
        assert 0.99 < mean < 1 + 1e-6


@pytest.mark.parametrize(
    ("scale", "within", "kind", "said"),
    [
        (1.5, 400, "wider", "scores spread wider"),
        (2, 120, "wider", "scores spread wider"),
        (4, 30, "wider", "scores spread wider"),
        (0.5, 300, "narrower", "scores spread less"),
    ],
)
def test_another_spread_is_found_and_named(scale, within, kind, said):
    waits, kinds = [], []
    for seed in range(5):
        rng = np.random.default_rng((1, seed))
        monitor, _ = monitor_after(rng.normal(size=1200), rng, seed)
        wait, state = alarm(monitor, rng.normal(size=1000) * scale)
        waits.append(wait)
        kinds.append(state.score.alarm)
        assert said in str(state) or state.score.alarm != kind
        assert abs(state.score.since - 1200) < 200
    assert np.median(waits) < within
    assert kinds.count(kind) >= 4


@pytest.mark.parametrize("count", [5, 10, 20])
def test_a_burst_after_thousands_of_good_images_is_found(count):
    found = []
    for seed in range(4):
        rng = np.random.default_rng((2, seed))
        monitor, state = monitor_after(rng.normal(size=3000), rng, seed)
        assert not state.is_alarm
        wait, state = alarm(monitor, rng.normal(4, size=count))
        found.append(wait <= count)
        if found[-1]:
            assert state.score.alarm == "higher"
            assert re.search(r"scores are higher since about image (299|300|301)\d", str(state))
    assert sum(found) >= 3


def test_many_high_scores_among_good_ones_are_called_so():
    rng = np.random.default_rng(3)
    monitor, _ = monitor_after(rng.normal(size=3000), rng)
    _, state = alarm(monitor, rng.normal(size=800) + 4 * (rng.random(800) < 0.1))
    assert state.score.alarm == "high tail"
    assert "more scores are among the highest" in str(state)


def test_calm_lots_are_said_to_be_alike_and_are_no_change():
    """One by one all of them look like a change."""
    alarms, alike, one_by_one = 0, 0, 0
    for seed in range(20):
        rng = np.random.default_rng((4, seed))
        monitor = DriftMonitor(rng.normal(size=150), seed=seed)
        states = [monitor.update(value) for value in lots(rng, 700)]
        alarms += states[-1].is_alarm
        alike += "score of neighbouring images are alike (lots, waves), which alone is no change" in str(
            states[-1]
        )
        one_by_one += max(state.score.one_by_one for state in states) > 2
    assert alarms <= 1
    assert (alike, one_by_one) == (20, 20)


def test_a_change_of_lots_is_found_later():
    rng = np.random.default_rng(5)
    monitor, state = monitor_after(lots(rng, 3000, between=0.3), rng)
    assert state.score.clustering > 3
    wait, state = alarm(monitor, lots(rng, 1500, between=0.3) + 2)
    assert 20 < wait < 500
    assert state.score.alarm == "higher"


def test_what_may_be_a_lot_is_said_to_be_uncertain():
    rng = np.random.default_rng(6)
    _, state = monitor_after(rng.normal(1.5, size=60), rng)
    assert not state.is_alarm
    assert state.score.suspected == "higher"
    assert str(state) == (
        "after 60 images: no change that is sure; perhaps scores are higher since about image 1, which a lot of images "
        "that are alike can be, too"
    )


def test_far_outside_of_the_calibration_no_lot_is_thought_of():
    rng = np.random.default_rng(7)
    monitor = DriftMonitor(rng.normal(size=150))
    wait, state = alarm(monitor, rng.normal(9, size=40))
    assert 8 <= wait <= 12
    assert state.score.alarm == "higher"


def test_stretches_of_independent_images_move_as_expected_and_those_of_lots_more():
    rng = np.random.default_rng(8)
    calm, clustered = Stretches(), Stretches()
    order = np.argsort(np.argsort(lots(rng, 4000)))
    for p, q in zip(rng.random(4000), (order + 0.5) / 4000, strict=True):
        calm.take(p)
        clustered.take(q)
    means = [square / count for (square, _), count in zip(calm.squares, calm.counts, strict=True)]
    assert means == pytest.approx([1] * len(LENGTHS), abs=0.5)
    assert calm.inflation(3990, 0) < 1.5
    assert calm.clustering(3990) == 1
    assert clustered.inflation(3990, 0) > 5
    assert clustered.clustering(3990) > 10


def test_differences_are_those_of_the_sums_of_successive_stretches():
    """Beside a literal derivation, without the differences across an image."""
    p_values, since = np.random.default_rng(13).random(700), 640
    stretches = Stretches()
    for p in p_values:
        stretches.take(p)
    heights = math.sqrt(12) * (0.5 - p_values)
    for index, length in enumerate(LENGTHS):
        ends = [end for end in range(2 * length, 701) if end % (length // 4) == 0]
        ends = [end for end in ends if not end - 2 * length + 1 < since <= end]
        sums = [
            heights[end - length : end].sum() - heights[end - 2 * length : end - length].sum() for end in ends
        ]
        count, (square, _) = stretches._beside(index, since)
        assert count == len(ends)
        assert square == pytest.approx(np.square(sums).sum() / (2 * length))


def test_differences_across_the_change_do_not_hide_it():
    rng = np.random.default_rng(9)
    stretches = Stretches()
    for p in [*rng.random(600), *(0.05 * rng.random(60))]:
        stretches.take(p)
    assert stretches.inflation(601, 0) < 0.5 * stretches.inflation(560, 0)


def test_the_correlation_of_neighbours_is_told_from_their_differences():
    rng = np.random.default_rng(10)
    for between, least, most in ((0.0, 0.0, 0.1), (0.8, 0.6, 0.85)):
        neighbours = Neighbours(np.sort(rng.normal(size=300)))
        for value in lots(rng, 2000, 50, between) + 5:  # a shift of all is none
            neighbours.take(value)
        assert least <= neighbours.correlation <= most


def test_a_state_of_before_goes_on_with_its_evidence_and_its_alarm():
    """As it was written when there were bets on a shift alone: four jump rates, five slopes."""
    start = np.sort(np.random.default_rng(11).normal(size=60)).tolist()
    stream = {"start": start, "kept": [*start, 9.0], "log": 3.0, "shares": [[0.25, 0, 0, 0, 0]] * 4}
    former = {
        "kind": "drift", "format": 1, "step": 5, "alpha": 0.01, "seed": 3, "limit": 5000, "images": 1,
        "streams": {"score": {**stream, "alarm": None}},
    }  # fmt: skip
    monitor = DriftMonitor.from_json(json.dumps(former))
    state = monitor.update(10.0)
    draw = 1 - np.random.default_rng((3, 5)).random()
    assert state.score.p_value == pytest.approx(draw / 62)
    assert state.images == 2
    assert state.score.one_by_one == pytest.approx(
        (3 + math.log(2 - 2 * state.score.p_value)) / math.log(10), abs=0.02
    )
    assert DriftMonitor.from_json(monitor.to_json()).to_json() == monitor.to_json()
    former["streams"]["score"]["alarm"] = "lower"
    state = DriftMonitor.from_json(json.dumps(former)).update(0.0)
    assert str(state) == "after 2 images: scores are lower"


def picture(rng, light):
    texture = ndimage.gaussian_filter(rng.normal(size=(40, 50)), 1.0)
    return np.clip(light * (120 + 200 * texture), 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def test_a_lamp_that_fades_is_found_and_one_that_flickers_in_waves_is_not():
    """By pictures, and what the package gives at the top."""
    rng = np.random.default_rng(12)
    wave = 1 + 0.02 * np.sin(2 * np.pi * np.arange(900) / 60)
    lights = {"fades": np.linspace(1, 0.7, 400), "waves": wave}
    calibration = [differnet.light.measure(picture(rng, rng.choice(wave))) for _ in range(150)]
    for name, falling in lights.items():
        monitor = differnet.DriftMonitor(rng.normal(size=150), *zip(*calibration, strict=True))
        stream = [*wave[:420], *falling] if name == "fades" else falling
        states = [
            monitor.update(rng.normal(), *differnet.light.measure(picture(rng, light))) for light in stream
        ]
        if name == "fades":
            first = next(state for state in states if state.is_alarm)
            assert 420 < first.images < 720
            assert first.causes == ("light",)
            assert "pictures are darker" in str(first)
        else:
            assert not states[-1].is_alarm
