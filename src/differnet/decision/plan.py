"""How many good pictures are to be taken for a promise, of how many parts and shoots, and what each promise costs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from differnet.decision.thresholds import CONDITION, excess, images_needed, one_in
from differnet.errors import ConfigError, counted

HOLDOUT = 0.2  # of the good images, as a default fit keeps out
FITTED = 100  # good images to learn from, where others set the threshold
SHOOTS = 5
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Cost:
    """What one kind of promise costs in good pictures.

    ``calibration``: how many set the threshold; ``independent`` of them would do if each showed a part of its own.
    ``fit``: how many a fit needs that keeps that many out by itself, of ``parts`` different parts.
    ``more_than_twice``: the chance that a single set of them gives more than twice the rate.
    """

    independent: int
    calibration: int
    fit: int
    parts: int
    more_than_twice: float


@dataclass(frozen=True)
class Plan:
    """How many good pictures to take for a false-alarm rate of ``rate``.

    ``average``: for the promise on average over calibration sets; ``sure``: for that with ``confidence``. ``shoots``:
    days, lamps, fixtures, lots that they should be spread over.
    """

    rate: float
    confidence: float
    holdout: float
    pictures_per_part: int
    correlation: float
    average: Cost
    sure: Cost
    shoots: int = SHOOTS

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return asdict(self) | {"text": str(self)}

    def __str__(self) -> str:
        """Say what to take, in sentences."""
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Return the sentences of the plan."""
        rate = f"{self.rate:.4g}" if self.rate < 1e-4 else f"{100 * self.rate:.4g}%"
        each = (
            "each of a part of its own"
            if self.pictures_per_part == 1
            else f"{self.pictures_per_part} of each part, whose scores correlate by {self.correlation:.2g}"
        )
        return [
            f"To promise at most {rate} false alarms, {each}:",
            f"  on average over calibration sets (the default of fit): {self._taken(self.average)}.",
            f"  with {100 * self.confidence:.4g}% confidence (--confidence {self.confidence:.4g}): "
            f"{self._taken(self.sure)}.",
            f"The first holds on average: {one_in(self.average.more_than_twice)} single sets has more than twice the "
            f"rate; of the second {one_in(self.sure.more_than_twice)}.",
            f"Take them from at least {counted(self.shoots, 'shoot')} (days, lamps, fixtures, lots), as parts will "
            f"come: with {self.shoots} shoots the next one is stranger than all of them "
            f"in one case of {self.shoots + 1}, and to promise {rate} of whole shoots takes "
            f"{counted(images_needed(self.rate), 'shoot')}.",
            f"{CONDITION} A review rate is promised apart: with two promises "
            f"of {100 * self.confidence:.4g}%, both hold in at least {100 * max(2 * self.confidence - 1, 0):.4g}% of "
            "cases.",
        ]

    def _taken(self, cost: Cost) -> str:
        return (
            f"{counted(cost.fit, 'good picture')} of {counted(cost.parts, 'part')} for one fit, which keeps "
            f"{self.holdout:.0%} out, or "
            f"{counted(cost.calibration, 'picture')} for differnet calibrate beside {FITTED} or so to fit to"
        )


def plan(
    rate: float = 0.01,
    confidence: float = 0.95,
    holdout: float = HOLDOUT,
    pictures_per_part: int = 1,
    correlation: float = 0.5,
) -> Plan:
    """Return how many good pictures to take so that false alarms of at most ``rate`` can be promised.

    ``holdout``: the share that a fit keeps out. ``pictures_per_part``: of each part, and ``correlation``: how much
    their scores agree within a part (the intra-class correlation, from 0 to 1; a fit says that of its images); with one
    picture a part it plays no role. Raises :class:`ConfigError` for numbers that are no shares or counts.

    >>> plan(0.01).average.fit, plan(0.01).sure.fit, plan(0.01, pictures_per_part=6).average.calibration
    (495, 1495, 347)
    """
    if not 0 < holdout < 1:
        raise ConfigError(f"holdout = {holdout!r}: a share above 0 and below 1 was wanted")
    if pictures_per_part < 1 or not 0 <= correlation <= 1:
        raise ConfigError(
            f"{pictures_per_part} pictures of a part with a correlation of {correlation}: at least one picture and a "
            "correlation from 0 to 1 were wanted"
        )
    effect = 1 + (pictures_per_part - 1) * correlation
    counts = images_needed(rate), images_needed(rate, confidence)
    average, sure = (_cost(count, effect, rate, holdout, pictures_per_part) for count in counts)
    return Plan(rate, confidence, holdout, pictures_per_part, correlation, average, sure)


def _cost(independent: int, effect: float, rate: float, holdout: float, per_part: int) -> Cost:
    calibration = math.ceil(independent * effect - _ROUNDING)
    fit = _fitted(calibration, holdout)
    return Cost(independent, calibration, fit, math.ceil(fit / per_part), excess(independent, rate))


def _fitted(held: int, holdout: float) -> int:
    """Return how many images a fit needs to keep ``held`` of them out, rounded as a fit rounds."""
    count = math.ceil(held / holdout - _ROUNDING)
    while max(1, round(holdout * count)) < held:
        count += 1
    return count
