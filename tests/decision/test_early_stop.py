"""Anytime scoring: what stopping early promises, on scores drawn by hand and on a fitted detector."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from differnet.decision.early_stop import LOOK, early_stop
from differnet.decision.thresholds import choose_threshold
from differnet.errors import ConfigError, DifferNetWarning, NotFittedError, NumericalError
from differnet.features import describer
from differnet.runtime import threads
from support.tiny import defective_image, good_image


def parts(rng, count, views=16, spread=0.15, between=0.1, level=100.0):
    """View scores (count, views): log-normal around a level of each part."""
    means = rng.normal(np.log(level), between, (count, 1))
    return np.exp(means + rng.normal(0, spread, (count, views)))


def judge(rule, row, threshold):
    """Return the verdict and how many views it took."""
    for seen in range(LOOK, len(row) + 1, LOOK):
        verdict = rule.verdict(row[:seen], threshold)
        if verdict is not None:
            return verdict, seen
    raise AssertionError("no verdict after all views")


def test_good_parts_far_below_the_threshold_take_one_look():
    rng = np.random.default_rng(0)
    held = parts(rng, 200)
    rule = early_stop(held, LOOK)
    threshold = choose_threshold(held.mean(axis=1), 0.01).value
    used = [judge(rule, row, 2 * threshold) for row in parts(rng, 300)]
    assert {verdict for verdict, _ in used} == {False}
    assert np.mean([seen for _, seen in used]) < 2.5


def test_what_the_sum_makes_certain_needs_no_statistics():
    rule = early_stop(parts(np.random.default_rng(1), 99), LOOK)
    assert rule.verdict(np.array([1.0, 1.0, 1.0, 16 * 120.0]), threshold=120.0) is True


@pytest.mark.parametrize("spread", [0.05, 0.15, 0.4])
def test_the_error_of_stopping_early_is_what_is_promised(spread):
    """At its hardest: each part has its threshold right at (or right above) its own score in all views."""
    rng = np.random.default_rng(2)
    passed = flagged = total = 0
    for _ in range(60):
        rule = early_stop(parts(rng, 99, spread=spread), LOOK, error=0.05)
        for row in parts(rng, 100, spread=spread):
            passed += judge(rule, row, row.mean())[0] is False
            flagged += judge(rule, row, np.nextafter(row.mean(), np.inf))[0] is True
            total += 1
    assert rule.error == 0.05
    # 6,000 parts and 60 calibrations: a standard deviation of 0.004 around the 0.05 that conformal ranks give
    assert 0.035 < passed / total < 0.065
    assert 0.035 < flagged / total < 0.065


def test_few_images_promise_less():
    rng = np.random.default_rng(3)
    assert early_stop(parts(rng, 19), LOOK).error == 1 / 20
    assert early_stop(parts(rng, 150), LOOK).error == 0.01


def test_parts_that_vary_more_are_looked_at_longer():
    rng = np.random.default_rng(4)
    rule = early_stop(parts(rng, 150), LOOK)
    calm, restless = parts(rng, 200, level=85), parts(rng, 200, level=85, spread=0.45)
    views = [np.mean([judge(rule, row, 120.0)[1] for row in rows]) for rows in (calm, restless)]
    assert views[1] > views[0] + 2


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_any_table_gives_a_rule_that_ends(count, views, seed):
    rng = np.random.default_rng(seed)
    rule = early_stop(parts(rng, count, views), LOOK)
    row = parts(rng, 1, views)[0]
    seen = range(LOOK, views + LOOK, LOOK)
    assert any(rule.verdict(row[:k], 100.0) is not None for k in seen)
    assert rule.verdict(row, 100.0) == (row.mean() >= 100.0)


def test_identical_scores_and_zeros_are_sane():
    rule = early_stop(np.full((30, 8), 5.0), LOOK)
    assert rule.verdict(np.full(4, 5.0), 6.0) is False
    assert early_stop(np.zeros((30, 8)), LOOK).verdict(np.zeros(4), 1.0) is False


@pytest.mark.parametrize("table", [np.empty((0, 8)), np.full((3, 8), np.nan), np.full((3, 8), -1.0)])
def test_scores_that_cannot_be_are_refused(table):
    with pytest.raises(NumericalError, match="early stopping needs"):
        early_stop(table, LOOK)


def test_the_detector_stops_where_the_rule_says(detector):
    for image in [good_image(500 + i) for i in range(6)] + [defective_image(i)[0] for i in range(6)]:
        full = detector.predict(image)
        with pytest.warns(UserWarning, match=r"probability of at most 16.7% to either side"):
            auto = detector.predict(image, views="auto")
        scores = detector.view_scores(detector.describe(image))
        simulated = detector.judge(scores, early=True)
        assert (simulated.views, simulated.is_defective) == (auto.views, auto.is_defective)
        assert auto.score == pytest.approx(scores[: auto.views].mean(), rel=1e-6)
        assert auto.threshold == full.threshold
        assert (full.views, full.score) == (8, pytest.approx(scores.mean(), rel=1e-6))
        if auto.views == 8:
            assert (auto.is_defective, auto.p_value) == (full.is_defective, full.p_value)


def test_a_number_of_views_has_a_threshold_of_its_own(detector):
    image = good_image(77)
    three = detector.predict(image, views=3)
    assert three.views == 3
    assert three.threshold == choose_threshold(detector.model.view_scores[:, :3].mean(axis=1), 0.01).value
    assert three.score == pytest.approx(detector.view_scores(detector.describe(image))[:3].mean(), rel=1e-6)
    assert detector.score([image], views=3) == pytest.approx(three.score, rel=1e-9)


def test_a_number_of_views_without_a_threshold_is_refused_until_calibrated(detector):
    with pytest.raises(ConfigError, match=r"calibrate\(good_images, views=12\)"):
        detector.predict(good_image(0), views=12)
    assert np.isfinite(detector.score([good_image(0)], views=12)).all()
    again = copy.copy(detector)
    again.calibrate([good_image(800 + i) for i in range(20)], rate=0.1, views=12, confidence=None)
    assert again.config.views.score_views == 12
    assert again.predict(good_image(0)).views == 12
    assert detector.config.views.score_views == 8


@pytest.mark.parametrize("views", [0, -1, 2.5, "all"])
def test_odd_numbers_of_views_are_explained(detector, views):
    with pytest.raises(ConfigError, match="a number from 1, or 'auto'"):
        detector.predict(good_image(0), views=views)


def test_without_held_out_images_nothing_is_certain(good_images):
    from support.tiny import fit

    alone = fit(good_images[:4], settings={"holdout": 0})
    with pytest.raises(NotFittedError, match="held-out good images"):
        alone.predict_iter(good_images, views="auto")  # before any image is taken


def test_an_upright_view_is_enough_where_nothing_turns(good_images):
    from support.tiny import fit

    upright = fit(good_images, settings={"rotation": "none", "score_rotations": "even"})
    assert upright.predict(good_images[0]).views == 1
    assert upright.predict(good_images[0], views="auto") == upright.predict(good_images[0], views=4)
    assert upright.model.standard.early_stop.error == 0


def test_streams_are_judged_one_by_one(detector):
    taken = []
    # a turn, what was under way at its end, and two that lie ready
    most = 2 + (describer._TURN + 2) * threads.cores()

    def camera():
        for i in range(3 * most):
            taken.append(i)
            yield good_image(i)

    scores = detector.score_iter(camera())
    first = [next(scores) for _ in range(3)]
    assert len(taken) <= most
    assert first == detector.score([good_image(i) for i in range(3)]).tolist()
    with pytest.warns(UserWarning, match="5 held-out good images"):
        verdicts = detector.predict_iter(camera(), views="auto")
    with pytest.warns(UserWarning, match="5 held-out good images"):
        assert next(verdicts) == detector.predict(good_image(0), views="auto")


@pytest.mark.parametrize("count", [5, 8])
def test_views_that_nobody_needs_are_not_described(detector, count, monkeypatch):
    one = copy.copy(detector)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        one.calibrate([good_image(800 + i) for i in range(20)], rate=0.1, views=count, confidence=None)
        shown, render, taken = [], describer.render, set()
        monkeypatch.setattr(
            describer,
            "render",
            lambda image, views, *more: shown.append(len(views)) or render(image, views, *more),
        )
        for image in [good_image(500 + i) for i in range(12)] + [defective_image(i)[0] for i in range(4)]:
            shown.clear()
            views = one.predict(image, views="auto").views
            assert shown == ([2, 2, 2, 2] if count == 8 else [2, 2, 1])[: (views + 1) // 2]
            assert sum(shown) == views
            taken.add(views)
    assert 2 in taken
    assert len(taken) > 1
