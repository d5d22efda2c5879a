"""From scores of good images to p-values and a threshold (split-conformal prediction).

With n calibration scores of good images that were *not* used to fit, and a new good image exchangeable
with them, p = (1 + #{calibration scores >= s}) / (n + 1) is at most a with probability at most a
(Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005, section 2).
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from differnet.errors import ConfigError, DifferNetWarning, NumericalError


@dataclass(frozen=True)
class Threshold:
    """theta of eq. 6: an image is defective when its score is at least ``value``.

    ``rate`` was wanted; ``promised`` is what holds for a new good image, on average over calibration
    sets; ``count`` good images were used. ``promised`` exceeds ``rate`` when they were too few.
    """

    value: float
    rate: float
    promised: float
    count: int

    @property
    def is_kept(self) -> bool:
        """Whether the wanted false-alarm rate can be promised."""
        return self.promised <= self.rate * (1 + 1e-9)

    @property
    def missing(self) -> int:
        """How many more good images are needed before the wanted rate can be promised."""
        return max(0, math.ceil(1 / self.rate - 1e-9) - 1 - self.count)


def p_value(score: float, calibration: npt.NDArray[Any]) -> float:
    """p = (1 + #{calibration scores >= score}) / (n + 1), for n scores of held-out good images.

    >>> p_value(5.0, np.array([1.0, 2.0, 3.0]))
    0.25
    """
    return (1 + int(np.count_nonzero(calibration >= score))) / (len(calibration) + 1)


def choose_threshold(calibration: npt.NDArray[Any], rate: float) -> Threshold:
    """Return the lowest theta for which ``score >= theta`` means a p-value of at most ``rate``.

    With fewer than 1 / rate - 1 scores no p-value is that small; theta then lies just above the largest
    score, and ``promised`` says the 1 / (n + 1) that is left. Raises :class:`NumericalError` on NaN.

    >>> choose_threshold(np.arange(99.0), rate=0.01).value > 98.0
    True
    >>> choose_threshold(np.arange(9.0), rate=0.01).promised
    0.1
    """
    scores = np.sort(np.asarray(calibration, dtype=np.float64))
    if len(scores) == 0 or not np.isfinite(scores).all():
        raise NumericalError("a threshold needs at least one score, all of them finite")
    n = len(scores)
    allowed = max(math.floor(rate * (n + 1) + 1e-9) - 1, 0)
    value = float(np.nextafter(scores[n - 1 - min(allowed, n - 1)], np.inf))
    promised = (1 + int(np.count_nonzero(scores >= value))) / (n + 1)
    return Threshold(value, rate, promised, n)


def hold_out(groups: Sequence[Hashable], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Split indices into (to fit, to calibrate), keeping each group (same part, same shoot) on one side.

    Groups are drawn at random by ``seed`` until ``share`` of the images are held out; one that would make it
    more than twice that is passed over, unless no other is left. Raises :class:`ConfigError` when there are
    not two groups.

    >>> fit, held = hold_out(["a", "a", "b", "b", "c", "c"], share=0.3, seed=0)
    >>> len(fit), len(held)
    (4, 2)
    """
    names = list(dict.fromkeys(groups))
    if len(names) < 2:
        raise ConfigError(
            f"{len(groups)} images in {len(names)} group(s): at least two groups are needed to hold one "
            "out; give more images, or holdout=0 for a detector without a threshold"
        )
    wanted = max(1, round(share * len(groups)))
    order = np.random.default_rng(seed).permutation(len(names))
    sizes = Counter(groups)
    held_groups: set[Hashable] = set()
    count = 0
    for index in order:
        size = sizes[names[index]]
        if count < wanted and count + size <= min(2 * wanted, len(groups) - 1):
            held_groups.add(names[index])
            count += size
    if not held_groups:
        held_groups.add(min(names, key=sizes.__getitem__))
    held = [i for i, group in enumerate(groups) if group in held_groups]
    return [i for i, group in enumerate(groups) if group not in held_groups], held


def warn_when_few(threshold: Threshold | None) -> None:
    """Warn the caller's caller when there is no threshold, or when it promises less than was wanted."""
    if threshold is None:
        message = "no good images were held out, so there is no threshold"
    elif not threshold.is_kept:
        message = (
            f"{threshold.count} held-out good images are too few to promise a false-alarm rate of "
            f"{threshold.rate:.2%}: the threshold lies above all of them and promises "
            f"{threshold.promised:.2%}; {threshold.missing} more held-out images would do"
        )
    else:
        return
    warnings.warn(message, DifferNetWarning, stacklevel=3)
