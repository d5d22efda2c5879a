"""How many independent images a set of grouped ones is worth, estimated from their scores.

Images of one part or one shoot score alike. With the intra-class correlation rho of their scores, a set of n images
tells as much of a mean as n / (1 + (m - 1) rho) independent ones, m being the mean group size as an image sees it,
sum n_g^2 / n (Kish, "Survey Sampling", 1965; his design effect is the denominator). A threshold high in the tail is
told of by somewhat more, since extremes agree less than scores do, so the figure is a careful one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from differnet.errors import counted

FEWEST_GROUPS = 5  # of fewer the correlation is anybody's guess, and each group counts as one image


@dataclass(frozen=True)
class EffectiveCount:
    """``count`` images of ``groups`` groups are worth ``value`` independent ones.

    ``correlation``: the intra-class correlation of their scores, nothing where there are too few groups to tell; then
    each group counts as one image.
    """

    count: int
    groups: int
    correlation: float | None
    value: float

    @property
    def is_less(self) -> bool:
        """Whether the images are worth fewer independent ones, by a whole image or more."""
        return self.value < self.count - 0.5

    def rate(self, confidence: float | None = None) -> float:
        """Return the lowest false-alarm rate that so many independent images can promise."""
        if confidence is None:
            return 1 / (self.value + 1)
        return float(-math.expm1(math.log1p(-confidence) / self.value))

    def in_words(self, rate: float, confidence: float | None = None) -> str:
        """Say what the images are worth, and whether they can promise ``rate``.

        >>> EffectiveCount(100, 10, 0.6, 23.0).in_words(0.01)
        '100 images of 10 groups (intra-class correlation of the scores 0.60) are worth about 23 independent ones: \
1% is not provable with them, 4.2% is'
        """
        alike = "unknown of so few" if self.correlation is None else f"{self.correlation:.2f}"
        worth = counted(max(round(self.value), 1), "independent one")
        lowest = self.rate(confidence)
        sure = "" if confidence is None else f" with {confidence:.4g} confidence"
        if lowest <= rate * (1 + 1e-9):
            end = f"{_percent(rate)} is provable with them{sure}"
        else:
            end = f"{_percent(rate)} is not provable with them{sure}, {_percent(lowest)} is"
        return (
            f"{counted(self.count, 'image')} of {counted(self.groups, 'group')} (intra-class correlation of the scores "
            f"{alike}) are worth about {worth}: {end}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return asdict(self)


def _percent(share: float) -> str:
    """Write a share, never below what it is.

    >>> _percent(0.0417), _percent(0.01)
    ('4.2%', '1%')
    """
    return f"{math.ceil(share * 1000 - 1e-6) / 10:.3g}%"


def effective_count(scores: npt.NDArray[Any], groups: Sequence[Hashable]) -> EffectiveCount:
    """Return what the images of these ``scores`` (M,) and ``groups`` are worth.

    >>> effective_count(np.arange(6.0), list("abcdef")).value
    6.0
    """
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    members = np.array([numbers[group] for group in groups], dtype=np.intp)
    sizes = np.bincount(members, minlength=len(numbers))
    count, several = len(members), len(numbers)
    if several == count:
        return EffectiveCount(count, several, 0.0, float(count))
    if several < FEWEST_GROUPS:
        return EffectiveCount(count, several, None, float(several))
    correlation = intraclass_correlation(scores, members, sizes)
    size = float((sizes**2).sum()) / count
    return EffectiveCount(count, several, correlation, count / (1 + (size - 1) * correlation))


def intraclass_correlation(
    scores: npt.NDArray[Any], members: npt.NDArray[np.intp], sizes: npt.NDArray[np.intp]
) -> float:
    """Return the share of the variance of normal scores (M,) that lies between groups, from 0 to 1.

    The estimate of the analysis of variance (Fisher 1925), of the ranks brought to a normal law, so that one extreme
    score does not hide how alike the others are. ``members`` (M,): the number of the group of each; ``sizes`` (G,).
    """
    count, groups = len(scores), len(sizes)
    values = _normal_scores(np.asarray(scores, dtype=np.float64))
    means = np.bincount(members, weights=values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (groups - 1)
    within = float(((values - means[members]) ** 2).sum()) / (count - groups)
    size = (count - float((sizes**2).sum()) / count) / (groups - 1)
    total = between + (size - 1) * within
    return min(max((between - within) / total, 0.0), 1.0) if total > 0 else 1.0


def _normal_scores(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return for each score the normal quantile of its rank; ties share the mean of their ranks."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    law = NormalDist()
    quantiles = np.array([law.inv_cdf((rank - 0.5) / len(scores)) for rank in ranks])
    return np.asarray(quantiles[place.ravel()])
