"""The threshold keeps its promise, and says when it cannot."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from differnet.decision.effective import EffectiveCount
from differnet.decision.thresholds import Threshold, at_most, choose_threshold, images_needed, p_value
from differnet.detector.recalibrate import warn_when_few
from differnet.errors import ConfigError, DifferNetWarning, NumericalError

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
    for scores in ([], [1.0, np.nan], [np.inf]):
        for confidence in (None, 0.5):
            with pytest.raises(NumericalError, match="all of them finite"):
                choose_threshold(np.array(scores), 0.01, confidence)


def binomial_tail(r, n, rate):
    """P(Binomial(n, rate) <= r), term by term."""
    return sum(math.comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(r + 1))


@pytest.mark.parametrize(("rate", "count"), [(0.05, 59), (0.01, 299), (0.005, 598)])
def test_wilks_numbers(rate, count):
    assert images_needed(rate, 0.95) == count
    threshold = choose_threshold(np.arange(float(count)), rate, 0.95)
    assert (threshold.guarantee, threshold.missing, threshold.is_kept) == ("conditional", 0, True)
    assert count - 1 < threshold.value < count - 1 + 1e-9  # just above the largest
    with pytest.raises(ConfigError, match=rf"{count - 1} good images .*: {count} are needed .*, 1 more"):
        choose_threshold(np.arange(count - 1.0), rate, 0.95)


@given(st.integers(1, 300), st.floats(0.01, 0.7), st.floats(0.05, 0.99))
def test_the_order_statistic_is_the_lowest_that_keeps_the_promise(count, rate, confidence):
    if count < images_needed(rate, confidence):
        with pytest.raises(ConfigError, match="are needed to promise"):
            choose_threshold(np.arange(float(count)), rate, confidence)
        return
    threshold = choose_threshold(np.arange(float(count)), rate, confidence)
    above = int(np.sum(np.arange(count) >= threshold.value))
    assert binomial_tail(above, count, rate) <= 1 - confidence + 1e-9
    assert binomial_tail(above + 1, count, rate) > 1 - confidence - 1e-9
    assert threshold.promised <= rate
    assert binomial_tail(above, count, threshold.promised) == pytest.approx(1 - confidence, abs=1e-6)


def test_the_confidence_is_kept_over_calibration_sets():
    rng = np.random.default_rng(1)
    for count, rate, confidence in ((59, 0.05, 0.95), (93, 0.05, 0.95), (299, 0.01, 0.95), (100, 0.1, 0.8)):
        above = int(np.sum(np.arange(count) >= choose_threshold(np.arange(count), rate, confidence).value))
        wanted = binomial_tail(above, count, rate)  # how often it is broken, exactly
        rates = [1 - choose_threshold(rng.uniform(size=count), rate, confidence).value for _ in range(3000)]
        noise = 4 * math.sqrt(wanted * (1 - wanted) / 3000)
        assert np.mean(np.array(rates) > rate) == pytest.approx(wanted, abs=noise)
        assert wanted <= 1 - confidence


def test_the_confidence_is_kept_with_ties():
    rng = np.random.default_rng(2)
    values, chances = np.arange(6.0), np.array([0.5, 0.3, 0.1, 0.05, 0.03, 0.02])
    broken = []
    for _ in range(2000):
        theta = choose_threshold(rng.choice(values, 93, p=chances), 0.05, 0.95).value
        broken.append(chances[values >= theta].sum() > 0.05 + 1e-12)
    assert np.mean(broken) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 2000)


@given(SCORES, st.floats(0.05, 0.5), st.floats(0.5, 0.95), st.sampled_from([None, 0.3, 0.6, 0.9]))
def test_more_false_alarms_never_raise_theta_and_more_confidence_never_lowers_it(scores, low, high, sure):
    def theta(rate, confidence):
        try:
            return choose_threshold(np.array(scores), rate, confidence).value
        except ConfigError:
            return np.inf

    assert theta(high, sure) <= theta(low, sure)
    if sure is not None:
        assert theta(low, sure) <= theta(low, 0.95)
        assert theta(low, 0.2) <= theta(low, sure)


@given(st.integers(1, 40), st.floats(0.01, 0.9), st.floats(0, 5))
def test_all_scores_equal(count, rate, score):
    threshold = choose_threshold(np.full(count, score), rate)
    assert score < threshold.value  # what ties with the good images is good
    assert threshold.promised == choose_threshold(np.arange(float(count)), rate).promised


def test_the_promise_is_named():
    marginal = choose_threshold(np.arange(99.0), 0.01)
    assert marginal.guarantee == "marginal"
    assert str(marginal) == (
        "a good part is rejected with a probability of at most 1.00%, on average over calibration sets"
    )
    conditional = choose_threshold(np.arange(400.0), 0.01, 0.95)
    assert re.fullmatch(
        r".* of at most 0\.7\d%, with 95% confidence over the draw of the 400 images", str(conditional)
    )


def test_what_is_no_chance_is_refused():
    for rate, confidence in ((0.0, None), (1.0, None), (0.01, 1.0), (0.01, -0.1), (float("nan"), None)):
        with pytest.raises(ConfigError, match="a number above 0 and below 1 was wanted"):
            choose_threshold(np.arange(9.0), rate, confidence)


def test_groups_make_both_promises_weak():
    threshold = choose_threshold(np.arange(59.0), 0.05, 0.95)
    with pytest.warns(
        DifferNetWarning, match="the 59 images to calibrate on are of 12 groups, and a confidence of"
    ):
        warn_when_few(threshold, EffectiveCount(59, 12, 0.5, 21.0))
    with pytest.warns(DifferNetWarning, match="are of 12 groups, and the promise on average"):
        warn_when_few(choose_threshold(np.arange(59.0), 0.05), EffectiveCount(59, 12, 0.5, 21.0))
    with pytest.warns(DifferNetWarning) as said:
        warn_when_few(choose_threshold(np.arange(59.0), 0.01), EffectiveCount(59, 12, 0.5, 21.0))
    assert len(said) == 2  # too few, and in groups besides
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_when_few(threshold, EffectiveCount(59, 59, 0.0, 59.0))
        warn_when_few(choose_threshold(np.arange(59.0), 0.05), EffectiveCount(59, 59, 0.0, 59.0))


@pytest.mark.parametrize(("promised", "said"), [(0.003344, "0.34%"), (0.05, "5.00%"), (1 / 21, "4.77%")])
def test_a_promise_is_never_rounded_down(promised, said):
    assert f"at most {said}" in str(Threshold(1.0, 0.05, promised, 20))


@pytest.mark.parametrize(("n", "rate", "confidence"), [(59, 0.05, 0.95), (473, 0.01, 0.9), (5000, 0.2, 0.99)])
def test_the_binomial_law_is_that_of_scipy(n, rate, confidence):
    special = pytest.importorskip("scipy.special")
    for successes in (0, 1, n // 100, int(n * rate), n - 1):
        assert at_most(successes, n, rate) == pytest.approx(
            special.bdtr(successes, n, rate), rel=1e-9, abs=1e-300
        )
    promise = choose_threshold(np.arange(float(n)), rate, confidence)
    above = n - 1 - int(promise.value)
    assert promise.promised == pytest.approx(
        min(special.betaincinv(above + 1, n - above, confidence), rate), rel=1e-9
    )
