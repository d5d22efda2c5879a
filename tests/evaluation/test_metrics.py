"""Metrics against scikit-learn, against a second implementation, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from differnet.errors import NumericalError, ShapeError
from differnet.evaluation.metrics import (
    PixelAupro,
    PixelAuroc,
    auroc,
    in_percent,
    recall_without_false_alarms,
)


def test_recall_without_false_alarms_counts_ties_as_misses():
    scores, labels = np.array([1.0, 3.0, 3.0, 4.0]), np.array([False, False, True, True])
    assert recall_without_false_alarms(scores, labels) == 0.5


def test_one_kind_alone_has_no_metric():
    scores = np.array([1.0, 2.0])
    for labels in (np.array([True, True]), np.array([False, False])):
        assert np.isnan(auroc(scores, labels))
        assert np.isnan(recall_without_false_alarms(scores, labels))
    assert np.isnan(PixelAuroc().value())


@settings(deadline=None)  # no matter how busy the machine
@given(st.integers(0, 10_000))
def test_pixel_auroc_is_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    counter, heats, masks = PixelAuroc(), [], []
    for _ in range(3):
        mask = rng.random((13, 17)) < 0.3
        heat = (rng.gamma(1, 10 ** rng.uniform(-6, 6), (13, 17)) * (1 + mask)).astype(np.float32)
        heat[rng.random(heat.shape) < 0.1] = 0
        counter.add(heat, mask)
        heats.append(heat.ravel())
        masks.append(mask.ravel())
    wanted = roc_auc_score(np.concatenate(masks), np.concatenate(heats))
    assert counter.value() == pytest.approx(wanted, abs=1e-3)


def test_pixel_auroc_refuses_what_it_cannot_count():
    with pytest.raises(ValueError, match="finite and not negative"):
        PixelAuroc().add(np.array([[np.nan]]), np.array([[True]]))
    with pytest.raises(ValueError, match="differ in shape"):
        PixelAuroc().add(np.zeros((2, 2)), np.zeros((2, 3), dtype=bool))


def components(mask):
    """Connected components by flood fill, diagonal neighbours included: a list of lists of pixels."""
    left, found = {tuple(p) for p in np.argwhere(mask)}, []
    while left:
        region, edge = [], [left.pop()]
        while edge:
            row, column = edge.pop()
            region.append((row, column))
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            edge += near
        found.append(region)
    return found


def exact_aupro(heats, masks, limit=0.3):
    """The curve threshold by threshold, over every value that occurs, and trapezoids up to the limit."""
    good = np.concatenate([heat[~mask] for heat, mask in zip(heats, masks, strict=True)])
    regions = [
        [heat[pixel] for pixel in region]
        for heat, mask in zip(heats, masks, strict=True)
        for region in components(mask)
    ]
    area, x0, y0 = 0.0, 0.0, 0.0
    for threshold in sorted({float(v) for heat in heats for v in heat.flat}, reverse=True):
        x1 = np.mean(good >= threshold)
        y1 = np.mean([np.mean(np.array(region) >= threshold) for region in regions])
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            return (area + (limit - x0) * (y0 + y1) / 2) / limit
        area += (x1 - x0) * (y0 + y1) / 2
        x0, y0 = x1, y1
    raise AssertionError("the last threshold takes in every pixel")


def aupro(heats, masks, **options):
    counter = PixelAupro(**options)
    for heat, mask in zip(heats, masks, strict=True):
        counter.add(heat, mask)
    return counter.value()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.9))
def test_pixel_aupro_is_that_of_every_threshold(seed, limit):
    rng = np.random.default_rng(seed)
    masks = [rng.random((9, 11)) < share for share in (0.1, 0.3, 0.0)]
    masks[0][4, 4] = True
    fine = [(rng.gamma(1, 10 ** rng.uniform(-6, 6), m.shape) * (1 + m)).astype(np.float32) for m in masks]
    assert aupro(fine, masks, limit=limit) == pytest.approx(exact_aupro(fine, masks, limit), abs=0.02)
    coarse = [rng.integers(0, 6, m.shape).astype(np.float32) + m for m in masks]  # a bin each
    assert aupro(coarse, masks, limit=limit) == pytest.approx(exact_aupro(coarse, masks, limit), abs=1e-12)


def test_pixel_aupro_by_hand():
    mask = np.zeros((10, 10), dtype=bool)
    mask[0, 0] = mask[5:8, 5:8] = True  # two regions, of 1 and of 9 pixels
    perfect = mask.astype(np.float32)
    assert aupro([perfect], [mask]) == pytest.approx(1)
    assert aupro([7 * perfect + 3], [mask]) == pytest.approx(1)
    assert aupro([1 - perfect], [mask]) == 0
    assert aupro([np.ones_like(perfect)], [mask]) == pytest.approx(0.15)  # the diagonal, up to 0.3
    small_missed = perfect.copy()
    small_missed[0, 0] = 0
    # half of the regions at once, the rest along a straight line: 0.5 + 0.5 * 0.3 / 2
    assert aupro([small_missed], [mask]) == pytest.approx(0.575)
    assert aupro([small_missed], [mask], limit=1) == pytest.approx(0.75)


def test_a_region_reaches_over_the_diagonal():
    mask = np.zeros((20, 20), dtype=bool)
    mask[3, 3] = mask[4, 4] = mask[5, 3] = mask[10, 10] = True  # a zigzag, and a pixel
    heat = np.zeros(mask.shape)
    heat[10, 10] = 1
    assert aupro([heat], [mask]) == pytest.approx(0.575)  # one of two regions, not one of four


def test_pixel_aupro_counts_over_images_and_needs_both_kinds():
    defective, good = np.ones((2, 2), dtype=bool), np.zeros((2, 2), dtype=bool)
    counter = PixelAupro()
    assert np.isnan(counter.value())
    counter.add(np.full((2, 2), 2.0), defective)
    assert np.isnan(counter.value())
    counter.add(np.full((2, 2), 1.0), good)
    assert counter.value() == pytest.approx(1)
    with pytest.raises(ValueError, match="finite and not negative"):
        counter.add(np.array([[-1.0]]), np.array([[True]]))
    with pytest.raises(ValueError, match="above 0, at most 1"):
        PixelAupro(limit=30)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", [auroc, recall_without_false_alarms])
def test_scores_that_are_none_are_refused(metric, odd):
    with pytest.raises(NumericalError, match="1 of 3 scores are NaN or infinite"):
        metric(np.array([1.0, odd, 2.0]), np.array([False, False, True]))


@pytest.mark.parametrize("labels", [[-1, 1, 1], [0, 2, 1], ["good", "bad", "bad"], [0.5, 1, 0]])
def test_labels_that_are_not_yes_or_no_are_refused(labels):
    with pytest.raises(ShapeError, match="labels of .* hold more than 0 and 1"):
        auroc(np.array([1.0, 2.0, 3.0]), np.array(labels))


def test_labels_for_other_scores_are_refused():
    with pytest.raises(ShapeError, match=r"scores \(3,\) and labels \(2,\)"):
        recall_without_false_alarms(np.array([1.0, 2.0, 3.0]), np.array([True, False]))


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32])
def test_masks_of_zeros_and_ones_count_as_booleans(kind):
    mask = np.zeros((6, 6), dtype=bool)
    mask[2, 3] = True
    for counter in (PixelAuroc(), PixelAupro()):
        counter.add(mask.astype(np.float32), mask.astype(kind))
        assert counter.value() == pytest.approx(1)


@pytest.mark.parametrize(
    "mask", [np.full((2, 2), 255), np.array([[0, 2], [0, 1]]), np.array([["a", "b"]] * 2)]
)
def test_masks_of_other_numbers_are_refused(mask):
    for counter in (PixelAuroc(), PixelAupro()):
        with pytest.raises(
            ShapeError, match="mask of .* more than 0 and 1; booleans were wanted, such as mask > 0"
        ):
            counter.add(np.zeros((2, 2)), mask)


def test_areas_stay_at_one_at_most_however_many_regions():
    """Regions of 3, 6, 7 ... pixels add up to thirds and sevenths, whose sum was above one."""
    mask = np.zeros((300, 300), dtype=bool)
    for number, size in enumerate((3, 6, 7, 9, 11, 13) * 40):
        row, column = divmod(number, 15)
        mask[18 * row % 290, 20 * column : 20 * column + size] = True
    for seed in range(20):
        noise = np.random.default_rng(seed).random(mask.shape).astype(np.float32)
        assert aupro([np.where(mask, 1 + noise, 0)], [mask]) <= 1.0
        counter = PixelAuroc()
        counter.add(np.where(mask, 1 + noise, 0), mask)
        assert counter.value() == 1.0


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (1.0, 0, "100%"),
        (0.0, 0, "0%"),
        (0.995, 0, "99.5%"),
        (0.5, 0, "50%"),
        (1 / 3000, 0, "0.03%"),
        (19999 / 20000, 2, "99.995%"),
        (0.9, 2, "90.00%"),
    ],
)
def test_percent_is_rounded_to_none_and_all_for_none_and_all_alone(share, digits, text):
    assert in_percent(share, digits) == text
