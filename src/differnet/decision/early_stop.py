"""Anytime scoring: a part whose verdict is already certain is not looked at in all of its views.

Views are looked at two by two. After k of V views with scores x_1..x_k, mean m_k, the score of all V is known up to the
views not seen yet, and there are three reasons to stop:

- *Defective for certain*: scores are not negative, so x_1 + .. + x_k >= V theta means tau(x) >= theta whatever follows.
- *Good*: log m_k + q e_k < log theta.
- *Defective*: log m_k - r e_k >= log theta.

e_k = s_k sqrt((V - k) / (V k)) is the standard error of a mean of k out of V. The spread s_k of log x mixes the
image's own with the common one of the held-out good images, which counts as much as 8 views: two scores alone say
little of how they vary. q is the split-conformal quantile, over those images, of the largest (log tau - log m_k) / e_k
that any k showed; r of the largest (log m_k - log tau) / e_k.

So for a new good image, exchangeable with the held-out ones, the chance that it is passed early although full scoring
would flag it is at most ``error``, and so is the chance that it is flagged early although full scoring would pass it
(up to the common spread, which is taken from the same images): false alarms are at most the promised rate plus
``error``, which is on average over calibration sets, also where the rate is promised with a confidence. For a
defective part the bound holds as far as its views vary around their mean, in units of e_k, no
more than those of good parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from differnet.errors import NumericalError

GROUP = 4  # views that are described together where all are wanted
LOOK = 2  # views between two questions whether the verdict is certain
ERROR = 0.01
_WEIGHT = 8  # views that the common spread counts for
_TINY = 1e-12

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EarlyStop:
    """The rule above for V = ``views``.

    ``spread``: the common standard deviation of log x within an image. ``above``: q, how many standard errors the
    full score may lie above what was seen; ``below``: r, how many below. ``error``: what is promised for either side.
    """

    views: int
    spread: float
    above: float
    below: float
    error: float

    def verdict(self, scores: Array, threshold: float) -> bool | None:
        """Say "defective" (True), "good" (False) or "go on" (None) after the scores (k,) of the first k views."""
        seen = len(scores)
        if seen >= self.views:
            return bool(scores.mean() >= threshold)
        if scores.sum() >= self.views * threshold:
            return True
        (mean,), (error,) = _estimate(scores[None], seen, self.views, self.spread)
        limit = math.log(max(threshold, _TINY))
        if mean + self.above * error < limit:
            return False
        return True if mean - self.below * error >= limit else None


def early_stop(calibration: Array, look: int, error: float = ERROR) -> EarlyStop:
    """Return the rule from the view scores (M, V) of held-out good images; it is asked after every ``look`` views.

    ``error`` cannot be promised below 1 / (M + 1); the rule then promises that, and 0 where one look sees all.
    Raises :class:`NumericalError` for no images, and for scores that are negative or not finite.
    """
    if len(calibration) == 0 or not np.isfinite(calibration).all() or (calibration < 0).any():
        raise NumericalError("early stopping needs finite scores, not below 0, of at least one good image")
    count, views = calibration.shape
    logs = np.log(calibration + _TINY)
    spread = float(np.sqrt(logs.var(axis=1, ddof=1).mean())) if views > 1 else 0.0
    above = below = np.zeros(count)
    for seen in range(look, views, look):
        mean, deviation = _estimate(calibration[:, :seen], seen, views, spread)
        apart = (np.log(calibration.mean(axis=1) + _TINY) - mean) / np.maximum(deviation, _TINY)
        above, below = np.maximum(above, apart), np.maximum(below, -apart)
    rank = min(math.ceil((1 - error) * (count + 1) - 1e-9), count) - 1
    bounds = float(np.sort(above)[rank]), float(np.sort(below)[rank])
    promised = max(error, 1 / (count + 1)) if views > look else 0.0
    return EarlyStop(views, spread, *bounds, promised)


def _estimate(scores: Array, seen: int, views: int, spread: float) -> tuple[Array, Array]:
    """Return log mean_k and e_k of rows of view scores (N, k)."""
    own = np.log(scores + _TINY).var(axis=1, ddof=1) if seen > 1 else np.zeros(len(scores))
    mixed = (_WEIGHT * spread**2 + (seen - 1) * own) / (_WEIGHT + seen - 1)
    error: Array = np.sqrt(mixed * (views - seen) / (views * seen))
    mean: Array = np.log(scores.mean(axis=1) + _TINY)
    return mean, error
