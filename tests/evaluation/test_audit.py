"""Later good images say whether a promise held, and what to do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from differnet.decision.thresholds import choose_threshold
from differnet.evaluation.audit import found, interval

CALIBRATION = np.random.default_rng(0).normal(size=200)


def audit(scores, groups=None, rate=0.05, confidence=None):
    promise = choose_threshold(CALIBRATION, rate, confidence)
    names = range(len(scores)) if groups is None else groups
    return found(promise, CALIBRATION, scores, scores >= promise.value, names)


def test_the_interval_is_that_of_clopper_and_pearson():
    for successes, trials in ((0, 20), (3, 20), (20, 20)):
        low, high = stats.binomtest(successes, trials).proportion_ci()
        assert interval(successes, trials) == pytest.approx((low, high))


def test_the_same_parts_keep_the_promise_or_leave_it_open():
    few = audit(np.random.default_rng(1).normal(size=40))
    assert few.status == "open"
    assert [one.step for one in few.advice] == ["more pictures"]
    assert "it takes 73 good pictures" in few.advice[0].reason
    quiet = audit(np.random.default_rng(1).normal(size=400) - 2)
    assert (quiet.status, quiet.advice[0].step, quiet.alarms) == ("kept", "nothing", 0)


def test_scores_that_moved_as_a_whole_are_to_be_recalibrated():
    one = audit(np.random.default_rng(1).normal(size=100) + 1.2)
    assert (one.status, [advice.step for advice in one.advice]) == ("broken", ["recalibrate"])
    assert one.moved > 0.75
    assert one.chance < 0.01
    assert "19 needed; these are worth 100 independent ones, enough" in one.advice[0].reason


def test_parts_that_no_one_fitted_to_are_to_be_fitted_to():
    scores = np.random.default_rng(1).normal(size=100)
    scores[:25] += 4
    assert [one.step for one in audit(scores).advice] == ["refit"]
    most = audit(np.random.default_rng(1).normal(size=100) + 5)
    assert [one.step for one in most.advice] == ["refit"]
    assert "most good pictures are rejected" in str(most)


def test_false_alarms_of_few_groups_ask_for_groups():
    rng = np.random.default_rng(1)
    groups = [index // 5 for index in range(200)]
    scores = rng.normal(size=200)
    scores[:60] += 4  # 12 of 40 groups
    one = audit(scores, groups)
    assert (one.status, one.advice[0].step) == ("broken", "regroup")
    assert one.effective.value < 80
    assert "are worth about" in str(one)
    alone = audit(scores)
    assert one.low < alone.low < alone.high < one.high


def test_an_unlucky_set_is_no_broken_promise_of_the_average():
    """The chance counts the luck of the calibration: it is that of the beta-binomial law."""
    one = audit(np.random.default_rng(1).normal(size=100), rate=0.005)
    above, count = one.promised * 201, 200
    law = stats.betabinom(100, round(above), count - round(above) + 1)
    assert one.chance == pytest.approx(law.sf(one.alarms - 1))


def test_it_goes_to_json():
    values = audit(np.random.default_rng(1).normal(size=40)).to_dict()
    assert values["advice"][0]["step"] == "more pictures"
    assert values["text"].startswith(f"{values['alarms']} of 40 good images rejected")
    assert values["effective"]["value"] == 40
