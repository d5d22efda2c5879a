"""Recall of known defects and the exact interval around it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from differnet.decision.thresholds import share_interval
from differnet.errors import ConfigError
from differnet.evaluation.recall import recalls


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.99))
def test_the_interval_is_that_of_clopper_and_pearson(counts, confidence):
    found, count = counts
    low, high = share_interval(found, count, confidence)
    wanted = stats.binomtest(found, count).proportion_ci(confidence, method="exact")
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)
    assert low <= found / count <= high


def test_recalls_are_by_type_and_of_all():
    rows = [
        ("dent", "NG", "1"),
        ("dent", "OK", "2"),
        ("crack", "review", "3"),
        ("dent", "NG", "4"),
        ("crack", "OK", "5"),
    ]
    crack, dent, total = recalls(*zip(*rows, strict=True))
    assert (crack.defect, crack.count, crack.found, crack.review, crack.missed) == ("crack", 2, 0, 1, ("5",))
    assert (dent.defect, dent.count, dent.found, dent.review, dent.missed) == ("dent", 3, 2, 0, ("2",))
    assert (total.defect, total.count, total.found, total.review) == ("all defects", 5, 2, 1)
    assert total.missed == ("2", "5")
    assert (total.low, total.high) == share_interval(2, 5)
    assert str(dent) == "dent: 2 of 3 found (67%; 95% interval 9% to 100%), 1 missed"
    assert total.to_dict()["recall"] == 0.4


@pytest.mark.parametrize(
    ("found", "count", "said"),
    [
        (200, 200, "(100%;"),
        (199, 200, "(99.5%;"),
        (0, 200, "(0%;"),
        (1, 300, "(0.3%;"),
        (2999, 3000, "(99.97%;"),
    ],
)
def test_all_and_none_are_said_of_all_and_none_alone(found, count, said):
    (one,) = recalls(["dent"] * count, ["NG"] * found + ["OK"] * (count - found), ["x"] * count)
    assert said in str(one)


def test_one_type_is_not_said_twice():
    (only,) = recalls(["dent"], ["NG"], ["1"])
    assert only.defect == "dent"
    assert recalls([], [], []) == []


def test_shares_of_nothing_are_refused():
    for found, count in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ConfigError, match="no share"):
            share_interval(found, count)
