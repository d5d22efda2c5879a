"""The threshold keeps its promise, and says when it cannot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from differnet.calibrate import choose_threshold, hold_out, p_value
from differnet.errors import ConfigError, NumericalError

SCORES = st.lists(st.integers(0, 20).map(float), min_size=1, max_size=60)


@given(SCORES, st.floats(0.005, 0.9), st.floats(-1, 21))
def test_rejecting_at_the_threshold_is_a_small_p_value(scores, rate, new):
    threshold = choose_threshold(np.array(scores), rate)
    promised = max(rate, 1 / (len(scores) + 1))
    assert (new >= threshold.value) == (p_value(new, np.array(scores)) <= promised + 1e-9)


def test_the_promise_is_kept_on_average():
    rng = np.random.default_rng(0)
    for count, rate in ((99, 0.01), (40, 0.05), (500, 0.01), (30, 0.1)):
        alarms = []
        for _ in range(4000):
            draws = rng.normal(size=count + 1)
            alarms.append(draws[-1] >= choose_threshold(draws[:-1], rate).value)
        noise = 4 * np.sqrt(rate * (1 - rate) / 4000)
        assert np.mean(alarms) <= rate + noise


def test_too_few_images_are_said():
    few = choose_threshold(np.arange(20.0), 0.01)
    assert not few.is_kept
    assert (few.promised, few.missing) == (1 / 21, 79)
    enough = choose_threshold(np.arange(99.0), 0.01)
    assert enough.is_kept
    assert enough.missing == 0


def test_scores_that_cannot_be_used():
    for scores in ([], [1.0, np.nan]):
        with pytest.raises(NumericalError):
            choose_threshold(np.array(scores), 0.01)


@given(st.lists(st.sampled_from("abcdefg"), min_size=2), st.floats(0.05, 0.9), st.integers(0, 5))
def test_groups_stay_together(groups, share, seed):
    if len(set(groups)) < 2:
        with pytest.raises(ConfigError, match="at least two groups"):
            hold_out(groups, share, seed)
        return
    fit, held = hold_out(groups, share, seed)
    assert sorted(fit + held) == list(range(len(groups)))
    assert fit
    assert held
    assert not {groups[i] for i in fit} & {groups[i] for i in held}
    assert hold_out(groups, share, seed) == (fit, held)
