"""How good scores are when labels are known: AUROC, recall without false alarms; of pixels AUROC and AUPRO."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from differnet.errors import ConfigError, ShapeError

Array = npt.NDArray[Any]
_SHIFT = 11  # bits of a float32 that are left out of account
_BINS = 1 << (31 - _SHIFT)


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


def known(value: float) -> float | None:
    """Return the value, nothing for NaN: in JSON and in tables what is not known is absent."""
    return None if math.isnan(value) else value


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are known, nothing where none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def spread(values: Iterable[float | None]) -> float | None:
    """Return the sample standard deviation of the values that are known, nothing for fewer than two.

    >>> spread([1.0, None, 3.0])
    1.4142135623730951
    """
    known = [value for value in values if value is not None]
    return float(np.std(known, ddof=1)) if len(known) > 1 else None


class PixelFigures(NamedTuple):
    """How well heat maps find the pixels of defects: the values of PixelAuroc and PixelAupro."""

    auroc: float
    aupro: float


class PixelAuroc:
    """AUROC over pixels in bounded memory: a histogram over the leading bits of float32 values.

    For non-negative floats the order of the bits is the order of the values, so that each of the 2^20 bins
    is a range of about 0.02 % relative width; pixels in one bin count as ties. ``add`` takes one image at a
    time.
    """

    def __init__(self) -> None:
        self._good = np.zeros(_BINS, dtype=np.int64)
        self._defective = np.zeros(_BINS, dtype=np.int64)

    def add(self, heat: Array, mask: Array) -> None:
        """Count one heat map (H, W), values >= 0, with its boolean mask (H, W) of defective pixels."""
        bins = _bins(heat, mask)
        self._defective += np.bincount(bins[mask], minlength=_BINS)
        self._good += np.bincount(bins[~mask], minlength=_BINS)

    def value(self) -> float:
        """Return the AUROC so far; NaN before both kinds of pixels were seen."""
        good, defective = self._good.sum(), self._defective.sum()
        if good == 0 or defective == 0:
            return float("nan")
        below = np.cumsum(self._good) - self._good
        wins = np.dot(self._defective.astype(np.float64), below + 0.5 * self._good)
        return float(wins / (float(good) * float(defective)))


class PixelAupro:
    """Area under the curve of per-region overlap (PRO) up to a false-positive rate, in the bins of PixelAuroc.

    A region C_k is a connected component of a mask, diagonal neighbours included. At a threshold t

        PRO(t) = 1/K sum_k |{p in C_k : heat(p) >= t}| / |C_k|,    FPR(t) = the share of good pixels >= t,

    over the regions and the good pixels of all images, so that small regions weigh as much as large ones. The
    curve is taken as linear between thresholds, and its area from FPR 0 to ``limit`` divided by ``limit``: 1 is
    perfect, and maps of one value get limit / 2. A pixel of C_k adds 1 / |C_k| to its bin, hence the bounded memory.
    Source: Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 129, 2021.
    """

    def __init__(self, limit: float = 0.3) -> None:
        if not 0 < limit <= 1:
            raise ConfigError(f"limit = {limit}: a false-positive rate above 0, at most 1, was wanted")
        self.limit = limit
        self._good = np.zeros(_BINS, dtype=np.int64)
        self._overlap = np.zeros(_BINS)
        self._regions = 0

    def add(self, heat: Array, mask: Array) -> None:
        """Count one heat map (H, W), values >= 0, with its boolean mask (H, W) of defective pixels."""
        bins = _bins(heat, mask)
        region, count = ndimage.label(mask, structure=np.ones((3, 3)))
        share = 1 / np.bincount(region.ravel())[region[mask]]
        self._overlap += np.bincount(bins[mask], weights=share, minlength=_BINS)
        self._good += np.bincount(bins[~mask], minlength=_BINS)
        self._regions += count

    def value(self) -> float:
        """Return the area so far; NaN before a region and a good pixel were seen."""
        good = self._good.sum()
        if good == 0 or self._regions == 0:
            return float("nan")
        rate = np.append(0, np.cumsum(self._good[::-1]) / good)
        overlap = np.append(0, np.cumsum(self._overlap[::-1]) / self._regions)
        until = np.searchsorted(rate, self.limit, side="right")
        x = np.append(rate[:until], self.limit)
        y = np.append(overlap[:until], np.interp(self.limit, rate, overlap))
        return float(np.dot(np.diff(x), y[1:] + y[:-1]) / 2 / self.limit)


def _bins(heat: Array, mask: Array) -> npt.NDArray[np.int64]:
    """Return the bin of each pixel (H, W) by the leading bits of its value."""
    values = np.ascontiguousarray(heat, dtype=np.float32)
    if values.shape != mask.shape:
        raise ShapeError(f"map {values.shape} and mask {mask.shape} differ in shape")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ShapeError("a heat map must be finite and not negative")
    bins: npt.NDArray[np.int64] = (np.abs(values).view(np.uint32) >> _SHIFT).astype(np.int64)
    return bins
