"""From scores of good images to p-values and a threshold, with the promise it keeps.

With n calibration scores of good images that were *not* used to fit, and a new good image exchangeable
with them, p = (1 + #{calibration scores >= s}) / (n + 1) is at most a with probability at most a
(Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005, section 2).

That promise is *marginal*: it holds on average over calibration sets, and the set at hand may be an unlucky one.
The *conditional* promise holds for the set at hand, up to a stated chance of having drawn a bad one: with theta
just above the (r + 1)-th largest score, the false-alarm rate of theta has the law Beta(r + 1, n - r) over calibration
sets of independent images, or lies below it where scores tie. So it exceeds a with the probability of at most r
successes in n trials of chance a (Wilks, "Determination of sample sizes for setting tolerance limits", Annals of
Mathematical Statistics 12, 1941; Vovk, "Conditional validity of inductive conformal predictors", ACML 2012).

Neither holds as stated where images depend on each other, as those of one part or one shoot and copies do: a new part
is then less like them than they are like each other. How many groups they are of is noted and said.

*Cross-fitted* scores, each image's from a flow fitted to the other folds, use scarce images twice, and cost the promise
its proof: new parts are scored by a flow fitted to all of them. The rate is then what would hold if that flow scored
new parts as the flows of the folds scored theirs (Vovk, "Cross-conformal predictors", Annals of Mathematics and
Artificial Intelligence 74, 2015, for what p-values from folds can be proven to keep).
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from differnet.errors import ConfigError, NumericalError, agreeing, counted

_ROUNDING = 1e-9
CONDITION = (
    "This holds for good parts like those, photographed as those were; of parts of another lot, lamp or day more may "
    "be rejected, which no test on the same pictures can tell: check it on good pictures of then (differnet audit)."
)


@dataclass(frozen=True)
class Threshold:
    """theta of eq. 6: an image is defective when its score is at least ``value``.

    ``rate`` was wanted, and ``count`` good images were used. ``promised`` is the false-alarm rate that holds for a
    new good image: where ``confidence`` is nothing, on average over calibration sets, and more than ``rate`` when
    they were too few; else for the calibration set at hand, with that confidence, and never more than ``rate``.
    ``folds``: how many the scores were cross-fitted over, 0 for images that no flow was fitted to.
    """

    value: float
    rate: float
    promised: float
    count: int
    confidence: float | None = None
    folds: int = 0

    def __str__(self) -> str:
        """Say the promise in words."""
        most = math.ceil(1e4 * self.promised - 1e-6) / 1e4
        chance = f"a good part is rejected with a probability of at most {most:.2%}"
        if self.folds:
            return f"{chance}, as estimated over {self.folds} folds (no proof: the flow that judges saw all images)"
        if self.confidence is None:
            return f"{chance}, on average over calibration sets"
        images = counted(self.count, "image")
        return f"{chance}, with {100 * self.confidence:.4g}% confidence over the draw of the {images}"

    @property
    def more_than_twice(self) -> float:
        """The chance that a single set of so many independent images gives more than twice what is promised."""
        above = round(self.promised * (self.count + 1)) - 1
        if self.confidence is not None:
            above = _most_above(self.count, self.rate, self.confidence)
        return excess(self.count, self.promised, above=max(above, 0))

    @property
    def single_sets(self) -> str:
        """Say how far off a single set of images can be.

        >>> Threshold(1.0, 0.01, 0.01, 99).single_sets
        'Single sets differ: one in 7 sets of 99 independent images gives more than twice that rate.'
        """
        return (
            f"Single sets differ: {one_in(self.more_than_twice)} sets of {counted(self.count, 'independent image')} "
            "gives more than twice that rate."
        )

    @property
    def guarantee(self) -> Literal["marginal", "conditional", "cross-fitted"]:
        """Which promise it is: on average over calibration sets, for the one at hand, or an estimate over folds."""
        if self.folds:
            return "cross-fitted"
        return "marginal" if self.confidence is None else "conditional"

    @property
    def is_kept(self) -> bool:
        """Whether the wanted false-alarm rate can be promised."""
        return self.promised <= self.rate * (1 + _ROUNDING)

    @property
    def missing(self) -> int:
        """How many more good images are needed before the wanted rate can be promised."""
        return max(0, images_needed(self.rate, self.confidence) - self.count)


def excess(count: int, rate: float, times: float = 2.0, above: int = 0) -> float:
    """Return the chance that a single set of ``count`` images gives more than ``times`` the ``rate``.

    Its threshold has ``above`` of them at it or above; the rate that it gives has the law Beta(above + 1,
    count - above) over sets of independent images.

    >>> round(excess(99, 0.01), 3)  # one in seven
    0.135
    """
    return 0.0 if times * rate >= 1 else at_most(above, count, times * rate)


def one_in(chance: float) -> str:
    """Say a chance as one in so many.

    >>> one_in(0.135), one_in(1e-5)
    ('one in 7', 'one in more than 1000')
    """
    return "one in more than 1000" if chance < 1e-3 else f"one in {max(round(1 / chance), 1)}"


def p_value(score: float, calibration: npt.NDArray[Any]) -> float:
    """p = (1 + #{calibration scores >= score}) / (n + 1), for n scores of held-out good images.

    A conformal p-value: the share of good images like those held out, and of the new one, that score as high. It is
    not the chance that the part is good.

    >>> p_value(5.0, np.array([1.0, 2.0, 3.0]))
    0.25
    """
    return (1 + int(np.count_nonzero(calibration >= score))) / (len(calibration) + 1)


def images_needed(rate: float, confidence: float | None = None) -> int:
    """Return how few good images can promise ``rate``: on average, or with ``confidence``.

    Raises :class:`ConfigError` for a rate or confidence that is not between 0 and 1.

    >>> images_needed(0.01), images_needed(0.01, confidence=0.95)
    (99, 299)
    """
    _check_chance("rate", rate)
    if confidence is None:
        return math.ceil(1 / rate - _ROUNDING) - 1
    _check_chance("confidence", confidence)
    return math.ceil(math.log1p(-confidence) / math.log1p(-rate) - _ROUNDING)


def check_count(count: int, rate: float, confidence: float | None, folds: int = 0) -> None:
    """Refuse ``count`` good images where ``confidence`` is asked for and they are too few: :class:`ConfigError`.

    So too where they are cross-fitted over ``folds``, for which no confidence is known.
    """
    if folds and confidence is not None:
        raise ConfigError(
            f"confidence = {confidence:.4g} with {folds} folds: cross-fitted scores depend on each other, and no such "
            "promise is known for them; hold images out instead (folds=0), or calibrate on others"
        )
    needed = images_needed(rate, confidence)
    if confidence is not None and count < needed:
        raise ConfigError(
            f"{counted(count, 'good image')} to calibrate on: {needed} {agreeing(needed, 'is', 'are')} needed to "
            f"promise a false-alarm rate of {rate:.4g} with a confidence of {confidence:.4g}, {needed - count} more; "
            "give more images, a higher rate, a lower confidence, or none (confidence=None, "
            "--marginal) for a promise on average over calibration sets"
        )


def choose_threshold(
    calibration: npt.NDArray[Any], rate: float, confidence: float | None = None, folds: int = 0
) -> Threshold:
    """Return the lowest theta whose false-alarm rate, of ``score >= theta``, is promised to be at most ``rate``.

    Without ``confidence`` the promise is marginal, and ``score >= theta`` means a p-value of at most ``rate``. With
    fewer than 1 / rate - 1 scores no p-value is that small; theta then lies just above the largest score, and
    ``promised`` says the 1 / (n + 1) that is left. With ``confidence`` the promise is conditional, for independent
    images; too few of them are refused with a :class:`ConfigError`. How many scores may lie at theta or above is
    settled before they are seen, so ties only make false alarms rarer. ``folds``: the scores are cross-fitted over that
    many, for which no confidence is known: :class:`ConfigError`. Raises :class:`NumericalError` on NaN.

    >>> choose_threshold(np.arange(99.0), rate=0.01).value > 98.0
    True
    >>> choose_threshold(np.arange(9.0), rate=0.01).promised
    0.1
    >>> choose_threshold(np.arange(473.0), rate=0.01, confidence=0.95).value < 472.0  # one may lie above
    True
    """
    scores = np.sort(np.asarray(calibration, dtype=np.float64))
    if len(scores) == 0 or not np.isfinite(scores).all():
        raise NumericalError("a threshold needs at least one score, all of them finite")
    n = len(scores)
    check_count(n, rate, confidence, folds)
    if confidence is None:
        above = min(max(math.floor(rate * (n + 1) + _ROUNDING) - 1, 0), n - 1)
        promised = (above + 1) / (n + 1)
    else:
        above = _most_above(n, rate, confidence)
        promised = min(_rate_exceeded(n, above, 1 - confidence), rate)
    value = float(np.nextafter(scores[n - 1 - above], np.inf))
    return Threshold(value, rate, promised, n, confidence, folds)


def at_most(successes: int, trials: int, chance: float) -> float:
    """P(Binomial(``trials``, ``chance``) <= ``successes``), summed term by term, for a chance above 0 and below 1.

    >>> at_most(1, 2, 0.5)
    0.75
    """
    k = np.arange(1, successes + 1)
    steps = np.log((trials - k + 1) / k) + math.log(chance) - math.log1p(-chance)
    logs = trials * math.log1p(-chance) + np.concatenate(([0.0], np.cumsum(steps)))
    return min(float(np.exp(logs).sum()), 1.0)


def share_interval(found: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a share of which ``found`` of ``count`` were seen.

    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26, 1934: it holds the true share with at least that confidence. Raises :class:`ConfigError` for counts
    that cannot be.

    >>> [round(bound, 3) for bound in share_interval(9, 10)]
    [0.555, 0.997]
    """
    if not 0 <= found <= count or count < 1:
        raise ConfigError(f"{found} of {count}: no share of at least one")
    _check_chance("confidence", confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if found == 0 else 1 - _rate_exceeded(count, count - found, tail)
    return low, 1.0 if found == count else _rate_exceeded(count, found, tail)


@lru_cache(maxsize=256)
def _most_above(n: int, rate: float, confidence: float) -> int:
    """Return the largest r with P(Binomial(n, rate) <= r) <= 1 - confidence, 0 where that holds for none."""
    limit = 1 - confidence + 1e-12
    return max(bisect.bisect_right(range(n), limit, key=lambda r: at_most(r, n, rate)) - 1, 0)


@lru_cache(maxsize=256)
def _rate_exceeded(n: int, above: int, chance: float) -> float:
    """Return the false-alarm rate that is exceeded with ``chance`` alone: of the law Beta(above + 1, n - above)."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if at_most(above, n, middle) > chance else (low, middle)
    return high


def _check_chance(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ConfigError(f"{name} = {value!r}: a number above 0 and below 1 was wanted")
