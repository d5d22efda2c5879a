"""Three answers: OK, review and NG never contradict each other, the score, or ``is_defective``."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from differnet import DifferNetWarning
from differnet.config import presets
from differnet.decision.verdict import Prediction, judge, review_promise, review_threshold, threshold_for
from differnet.errors import ConfigError
from support.tiny import defective_image, good_image

FRESH = [good_image(700 + i) for i in range(20)]
POSITIVE = st.floats(1e-6, 1e6)


@given(POSITIVE, POSITIVE, st.floats(0.01, 1))
def test_the_answer_follows_from_the_score(score, threshold, share):
    prediction = Prediction(score, threshold, score >= threshold, 0.5, 1, share * threshold)
    assert (prediction.verdict == "NG") == prediction.is_defective == (prediction.percent >= 100)
    assert (prediction.verdict == "OK") == (score < share * threshold)
    two = Prediction(score, threshold, score >= threshold)
    assert two.verdict == ("NG" if score >= threshold else "OK")


def test_without_a_threshold_there_is_no_answer():
    nothing = Prediction(3.0)
    assert (nothing.verdict, nothing.percent) == (None, None)
    assert Prediction(3.0, 5e-324, True).percent is None  # infinitely many percent


@pytest.mark.parametrize(("rate", "review"), [(0.05, 0.05), (0.2, 0.1)])
def test_the_review_rate_is_the_higher_one(rate, review):
    with pytest.raises(ConfigError, match=f"review_rate = {review} must be above rate = {rate}"):
        presets.resolve("default", {"rate": rate, "review_rate": review})


@pytest.fixture(scope="module")
def banded(detector):
    """The tiny detector with a review band."""
    again = copy.copy(detector)
    again.calibrate(FRESH, rate=0.05, review_rate=0.4, confidence=None)
    return again


def test_three_answers(banded):
    answers = {banded.predict(image).verdict for image in FRESH}
    assert answers == {"OK", "review"}
    assert banded.predict(defective_image(0)[0]).verdict == "NG"
    judged = [banded.predict(image) for image in FRESH]
    assert sum(one.verdict != "OK" for one in judged) == 7  # 0.4 * 21 - 1, the threshold being among them
    assert all(one.review_threshold == review_threshold(banded.model) < one.threshold for one in judged)
    few = banded.predict(FRESH[0], views=3)
    assert few.review_threshold == threshold_for(banded.model, 3, rate=0.4).value < few.threshold


def test_stopping_early_never_contradicts(banded):
    for image in FRESH + [defective_image(i)[0] for i in range(8)]:
        scores = banded.view_scores(banded.describe(image))
        early = judge(banded.model, scores, early=True)
        assert (early.verdict == "NG") == early.is_defective
        if not early.is_defective:
            assert (early.verdict == "review") == (early.score >= review_threshold(banded.model))
            rule = banded.model.standard.early_stop
            assert rule.verdict(scores[: early.views], review_threshold(banded.model)) == (
                early.verdict == "review"
            )
        if early.views == 8:
            assert early == banded.judge(scores)


def test_nobody_is_sent_past_a_review_before_that_is_certain(banded):
    """A mean just below the review threshold after one group, certain to be no NG: it is looked at again."""
    limit = review_threshold(banded.model)
    start = np.full(4, limit * 0.999)
    assert banded.model.standard.early_stop.verdict(start, banded.threshold) is False
    high = judge(banded.model, np.concatenate((start, np.full(4, limit * 1.01))), early=True)
    assert (high.views, high.verdict) == (8, "review")


def test_a_review_rate_beyond_the_images_is_no_promise(detector):
    """Both thresholds lie above all scores then, and the band is empty: that is said."""
    again = copy.copy(detector)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DifferNetWarning)
        again.calibrate(FRESH[:5], rate=0.01, review_rate=0.02, confidence=None)
    assert review_threshold(again.model) == again.threshold
    promise = review_promise(again.model)
    assert (promise.is_kept, promise.promised) == (False, pytest.approx(1 / 6))
    assert any("too few for a review rate of 2.00%" in str(one.message) for one in said)
