"""What grouped images are worth, and what a promise costs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from differnet.decision.effective import EffectiveCount, effective_count
from differnet.decision.plan import plan
from differnet.decision.thresholds import Threshold, choose_threshold, excess
from differnet.errors import ConfigError


def grouped(rng, groups, size, between):
    names = np.repeat(np.arange(groups), size)
    common, own = rng.normal(size=groups)[names], rng.normal(size=groups * size)
    return np.sqrt(between) * common + np.sqrt(1 - between) * own, names.tolist()


def test_the_correlation_is_that_of_the_analysis_of_variance():
    scores, names = grouped(np.random.default_rng(0), 200, 5, 0.4)
    found = effective_count(scores, names)
    assert found.correlation == pytest.approx(0.4, abs=0.06)
    assert found.value == pytest.approx(1000 / (1 + 4 * found.correlation))
    table = stats.norm.ppf((stats.rankdata(scores) - 0.5) / 1000).reshape(200, 5)
    f = stats.f_oneway(*table).statistic
    assert found.correlation == pytest.approx((f - 1) / (f + 4))


def test_it_does_not_hang_on_the_scale_of_the_scores_or_the_order_of_images():
    scores, names = grouped(np.random.default_rng(1), 20, 5, 0.5)
    order = np.random.default_rng(2).permutation(100)
    wanted = effective_count(scores, names)
    again = effective_count(np.exp(3 * scores[order]), [f"part {names[i]}" for i in order])
    assert again.value == pytest.approx(wanted.value)


@pytest.mark.parametrize(
    ("groups", "size", "between"), [(10, 10, 0.6), (20, 5, 0.6), (50, 2, 0.6), (10, 10, 0.2)]
)
def test_promises_of_what_the_images_are_worth_are_kept(groups, size, between):
    """Ten groups of ten break a plain promise of 95 % in every sixth set, that of what they are worth in none of 20."""
    rng = np.random.default_rng(7)
    plain, worth, realised, weakened = 0, 0, [], []
    for _ in range(300):
        scores, names = grouped(rng, groups, size, between)
        found = effective_count(scores, names)
        rate = float(stats.norm.sf(scores.max()))
        plain += rate > EffectiveCount(100, 100, 0.0, 100.0).rate(0.95)
        worth += rate > found.rate(0.95)
        realised.append(rate)
        weakened.append(found.rate())
    assert worth <= 15
    assert np.mean(realised) <= np.mean(weakened)
    if (groups, between) == (10, 0.6):
        assert plain >= 40
        assert np.mean(realised) > 1.5 / 101


def test_few_groups_count_as_one_image_each_and_single_images_as_themselves():
    assert effective_count(np.arange(40.0), [i // 10 for i in range(40)]) == EffectiveCount(40, 4, None, 4.0)
    assert effective_count(np.arange(40.0), range(40)) == EffectiveCount(40, 40, 0.0, 40.0)
    assert effective_count(np.ones(12), [i // 2 for i in range(12)]).value == pytest.approx(
        6.0
    )  # all the same


def test_it_is_said_in_numbers():
    said = EffectiveCount(100, 10, 0.6, 23.0).in_words(0.01)
    assert "are worth about 23 independent ones: 1% is not provable with them, 4.2% is" in said
    assert "5% is provable with them" in EffectiveCount(100, 10, 0.6, 23.0).in_words(0.05)
    sure = EffectiveCount(100, 10, 0.6, 23.0).in_words(0.01, 0.95)
    assert "1% is not provable with them with 0.95 confidence, 12.3% is" in sure
    assert "(intra-class correlation of the scores unknown of so few)" in EffectiveCount(
        9, 3, None, 3.0
    ).in_words(0.5)


def test_a_plan_says_how_many_pictures_a_default_fit_needs():
    found = plan(0.01, 0.95)
    assert (found.average.calibration, found.average.fit) == (99, 495)
    assert (found.sure.calibration, found.sure.fit) == (299, 1495)
    said = str(found)
    assert "495 good pictures of 495 parts for one fit" in said
    assert "one in 7 single sets has more than twice the rate" in said
    assert "to promise 1% of whole shoots takes 99 shoots" in said
    assert round(0.2 * plan(0.03).average.fit) >= 33


def test_more_pictures_of_a_part_cost_more_pictures_and_fewer_parts():
    found = plan(0.01, pictures_per_part=6, correlation=0.5)
    assert found.average.calibration == 347  # 99 times 1 + 5 * 0.5
    assert found.average.parts == -(-found.average.fit // 6)
    assert plan(0.01, pictures_per_part=6, correlation=0).average.calibration == 99


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 0}, "rate = 0"),
        ({"confidence": 1.0}, "confidence = 1.0"),
        ({"holdout": 1}, "holdout = 1"),
        ({"pictures_per_part": 0}, "0 pictures of a part"),
        ({"correlation": 1.5}, "correlation of 1.5"),
    ],
)
def test_a_plan_refuses_what_is_no_share(settings, message):
    with pytest.raises(ConfigError, match=message):
        plan(**settings)


def test_how_far_off_single_sets_can_be():
    assert excess(99, 0.01) == pytest.approx(stats.beta.sf(0.02, 1, 99))
    assert excess(473, 0.01, above=1) == pytest.approx(stats.beta.sf(0.02, 2, 472))
    assert "one in 7 sets of 99 independent images" in choose_threshold(np.arange(99.0), 0.01).single_sets
    sure = choose_threshold(np.arange(473.0), 0.01, 0.95)
    assert sure.more_than_twice == pytest.approx(stats.beta.sf(2 * sure.promised, 2, 472))
    assert Threshold(1.0, 0.5, 0.5, 1).more_than_twice == 0
