"""How good scores are when labels are known: AUROC, recall without false alarms; of pixels AUROC and AUPRO."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from differnet.errors import ConfigError, NumericalError, ShapeError

Array = npt.NDArray[Any]
_SHIFT = 11  # bits of a float32 that are left out of account
_BINS = 1 << (31 - _SHIFT)


def auroc(scores: Array, is_defective: Array) -> float:
    """Area under the ROC curve: the chance that a defective image scores above a good one, ties half.

    NaN where one of the two kinds is missing. Raises :class:`NumericalError` for scores that are not finite, and
    :class:`ShapeError` for labels that do not go with them or are not yes or no.

    >>> auroc(np.array([1.0, 2.0, 3.0, 2.5]), np.array([False, False, True, True]))
    1.0
    """
    values, labels = _scored(scores, is_defective)
    if labels.all() or not labels.any():
        return float("nan")
    return float(roc_auc_score(labels, values))


def recall_without_false_alarms(scores: Array, is_defective: Array) -> float:
    """Share of defective images that score above every good one; NaN where one kind is missing.

    Refuses what :func:`auroc` does.

    >>> recall_without_false_alarms(np.array([1.0, 2.0, 3.0, 1.5]), np.array([False, False, True, True]))
    0.5
    """
    values, labels = _scored(scores, is_defective)
    if labels.all() or not labels.any():
        return float("nan")
    return float(np.mean(values[labels] > np.max(values[~labels])))


def in_percent(share: float, digits: int = 0) -> str:
    """Write a share in percent with so many decimals, or more where it would else read as none or all.

    >>> in_percent(1.0), in_percent(199 / 200), in_percent(0.0), in_percent(1 / 3000), in_percent(19999 / 20000, 2)
    ('100%', '99.5%', '0%', '0.03%', '99.995%')
    """
    while 0 < share < 1 and digits < 12 and float(f"{100 * share:.{digits}f}") in (0.0, 100.0):
        digits += 1
    return f"{share:.{digits}%}"


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
        bins, mask = _bins(heat, mask)
        self._defective += np.bincount(bins[mask], minlength=_BINS)
        self._good += np.bincount(bins[~mask], minlength=_BINS)

    def value(self) -> float:
        """Return the AUROC so far; NaN before both kinds of pixels were seen."""
        good, defective = self._good.sum(), self._defective.sum()
        if good == 0 or defective == 0:
            return float("nan")
        below = np.cumsum(self._good) - self._good
        wins = np.dot(self._defective.astype(np.float64), below + 0.5 * self._good)
        return min(float(wins / (float(good) * float(defective))), 1.0)


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
        bins, mask = _bins(heat, mask)
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
        # what is added up in fractions may come out above one by its rounding
        overlap = np.append(0, np.minimum(np.cumsum(self._overlap[::-1]) / self._regions, 1))
        until = np.searchsorted(rate, self.limit, side="right")
        x = np.append(rate[:until], self.limit)
        y = np.append(overlap[:until], np.interp(self.limit, rate, overlap))
        return min(float(np.dot(np.diff(x), y[1:] + y[:-1]) / 2 / self.limit), 1.0)


def _scored(scores: Array, is_defective: Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return scores and labels (N,) that can be compared."""
    values, labels = np.asarray(scores, dtype=np.float64), np.asarray(is_defective)
    if values.ndim != 1 or labels.shape != values.shape:
        raise ShapeError(
            f"scores {values.shape} and labels {labels.shape}: a label for each score was wanted"
        )
    odd = int(np.count_nonzero(~np.isfinite(values)))
    if odd:
        raise NumericalError(
            f"{odd} of {len(values)} scores are NaN or infinite: such images are neither found nor missed; leave "
            "them out, or find out why they have no score"
        )
    return values, _yes_or_no(labels, "labels")


def _yes_or_no(array: Array, what: str) -> npt.NDArray[np.bool_]:
    """Return booleans, or 0 and 1, as booleans; raises :class:`ShapeError` for anything else."""
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
        raise ShapeError(
            f"{what} of {array.dtype} that hold more than 0 and 1; booleans were wanted, such as {what} > 0"
        )
    return array.astype(np.bool_)


def _bins(heat: Array, given: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the bin of each pixel (H, W) by the leading bits of its value, and the mask as booleans."""
    values, mask = np.ascontiguousarray(heat, dtype=np.float32), _yes_or_no(np.asarray(given), "mask")
    if values.shape != mask.shape:
        raise ShapeError(f"map {values.shape} and mask {mask.shape} differ in shape")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ShapeError("a heat map must be finite and not negative")
    bins: npt.NDArray[np.int64] = (np.abs(values).view(np.uint32) >> _SHIFT).astype(np.int64)
    return bins, mask
