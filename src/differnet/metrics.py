"""How good scores are when labels are known: AUROC, recall without false alarms, pixel AUROC."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from differnet.errors import ShapeError

Array = npt.NDArray[Any]


def auroc(scores: Array, is_defective: Array) -> float:
    """Area under the ROC curve: the chance that a defective image scores above a good one, ties half.

    NaN where one of the two kinds is missing.

    >>> auroc(np.array([1.0, 2.0, 3.0, 2.5]), np.array([False, False, True, True]))
    1.0
    """
    labels = np.asarray(is_defective, dtype=bool)
    if labels.all() or not labels.any():
        return float("nan")
    return float(roc_auc_score(labels, scores))


def recall_without_false_alarms(scores: Array, is_defective: Array) -> float:
    """Share of defective images that score above every good one; NaN where one kind is missing.

    >>> recall_without_false_alarms(np.array([1.0, 2.0, 3.0, 1.5]), np.array([False, False, True, True]))
    0.5
    """
    labels = np.asarray(is_defective, dtype=bool)
    if labels.all() or not labels.any():
        return float("nan")
    return float(np.mean(scores[labels] > np.max(scores[~labels])))


class PixelAuroc:
    """AUROC over pixels in bounded memory: a histogram over the leading bits of float32 values.

    For non-negative floats the order of the bits is the order of the values, so that each of the 2^20 bins
    is a range of about 0.02 % relative width; pixels in one bin count as ties. ``add`` takes one image at a
    time.
    """

    _SHIFT = 11

    def __init__(self) -> None:
        bins = 1 << (31 - self._SHIFT)
        self._good = np.zeros(bins, dtype=np.int64)
        self._defective = np.zeros(bins, dtype=np.int64)

    def add(self, heat: Array, mask: Array) -> None:
        """Count one heat map (H, W), values >= 0, with its boolean mask (H, W) of defective pixels."""
        values = np.ascontiguousarray(heat, dtype=np.float32)
        if values.shape != mask.shape:
            raise ShapeError(f"map {values.shape} and mask {mask.shape} differ in shape")
        if not np.isfinite(values).all() or (values < 0).any():
            raise ShapeError("a heat map must be finite and not negative")
        bins = (np.abs(values).view(np.uint32) >> self._SHIFT).astype(np.int64)
        size = len(self._good)
        self._defective += np.bincount(bins[mask], minlength=size)
        self._good += np.bincount(bins[~mask], minlength=size)

    def value(self) -> float:
        """Return the AUROC so far; NaN before both kinds of pixels were seen."""
        good, defective = self._good.sum(), self._defective.sum()
        if good == 0 or defective == 0:
            return float("nan")
        below = np.cumsum(self._good) - self._good
        wins = np.dot(self._defective.astype(np.float64), below + 0.5 * self._good)
        return float(wins / (float(good) * float(defective)))
