"""Metrics against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from differnet.metrics import PixelAuroc, auroc, recall_without_false_alarms


def test_recall_without_false_alarms_counts_ties_as_misses():
    scores, labels = np.array([1.0, 3.0, 3.0, 4.0]), np.array([False, False, True, True])
    assert recall_without_false_alarms(scores, labels) == 0.5


def test_one_kind_alone_has_no_metric():
    scores = np.array([1.0, 2.0])
    for labels in (np.array([True, True]), np.array([False, False])):
        assert np.isnan(auroc(scores, labels))
        assert np.isnan(recall_without_false_alarms(scores, labels))
    assert np.isnan(PixelAuroc().value())


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
