"""The rows of a comparison: what is a mean of what, and what is said where something is missing."""

from __future__ import annotations

import pytest

from differnet.evaluation.comparison.cells import Case, Failure, Result, Times
from differnet.evaluation.comparison.compare import Comparison
from differnet.evaluation.comparison.table import rows, to_dict


def test_several_categories_have_a_mean():
    def result(category, seed, value):
        times = Times(1.0 + seed, 10.0, 0.0, "m")
        return Result(Case("1nn", category, seed, None), value, None, None, 4, times, {"versions": "v"})

    found = Comparison(
        ("a", "b"),
        ("1nn",),
        (result("a", 0, 0.8), result("a", 1, 1.0), result("b", 0, 0.6), result("b", 1, None)),
    )
    table = rows(found)
    assert [(row.data, row.seeds, row.auroc) for row in table] == [
        ("a", 2, pytest.approx(0.9)),
        ("b", 2, pytest.approx(0.6)),
        ("mean", 2, pytest.approx(0.75)),
    ]
    assert table[1].auroc_spread is None
    assert table[2].auroc_spread is None  # of one seed alone there is a figure of every category
    assert table[2].fit_seconds == pytest.approx(1.5)
    assert table[1].cells() == ("b", "1nn", "0.6000", "", "", "1.5", "10.0", "")
    assert table[0].cells()[2] == "0.9000 ± 0.1414"
    broken = Comparison(("a", "b"), ("1nn",), found.results[:2], (Failure(found.results[2].case, "why"),))
    assert [(row.data, row.seeds, row.note) for row in rows(broken)] == [
        ("a", 2, ""),
        ("b", 0, "failed for 1 of 1 seeds: why"),
        ("mean", 0, "no mean: failed on 1 of 2"),
    ]


def test_a_mean_is_over_all_categories_or_not_there():
    def result(category, seed, pixel):
        times = Times(1.0, 10.0, 0.0, "m")
        return Result(Case("padim", category, seed, None), 0.9, pixel, None, 4, times, {"versions": "v"})

    results = (result("a", 0, 0.8), result("a", 1, 0.6), result("b", 0, None))
    failure = Failure(Case("padim", "b", 1, None), "why")
    *_, mean = rows(Comparison(("a", "b"), ("padim",), results, (failure,)))
    assert (mean.auroc, mean.pixel_auroc, mean.pixel_auroc_spread) == (pytest.approx(0.9), None, None)
    assert mean.note == "ms with its map; failed for 1 of 4 fits: why"


def test_the_document_names_each_cell():
    times, case = Times(1.0, 10.0, 0.0, "m"), Case("1nn", "a", 3, None)
    found = Comparison(
        ("a",),
        ("1nn",),
        (Result(case, 0.9, None, None, 4, times, {"versions": "v"}),),
        (Failure(case, "why"),),
    )
    document = to_dict(found)
    named = {"method": "1nn", "category": "a", "seed": 3, "shots": None}
    assert [document[part][0]["cell"] for part in ("cells", "failures")] == [named, named]
    assert document["cells"][0]["image_auroc"] == 0.9
