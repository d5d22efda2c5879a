"""Whether a flow that was fitted in floats may judge in 8-bit integers: held-out good images decide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from differnet.errors import QuantizationError

FEWEST = 20
MOST_SHIFT = 0.05
LEAST_CORRELATION = 0.95


@dataclass(frozen=True)
class Gate:
    """How the scores of the same good images differ between floats and integers.

    ``shift``: the median of |tau_int8 / tau_f32 - 1|. ``correlation``: Spearman's, over images. ``flagged``: how many
    of ``count`` images the threshold of the floats rejects in integers, where ``rate`` of them were promised.
    """

    count: int
    shift: float
    correlation: float
    flagged: int
    rate: float

    @property
    def allowed(self) -> int:
        """The most rejections that a false-alarm rate of ``rate`` explains with 99 % confidence."""
        from scipy import stats  # half a second, which only this needs

        return int(stats.binom.ppf(0.99, self.count, self.rate))

    @property
    def is_passed(self) -> bool:
        """Whether integers may take the place of floats."""
        return (
            self.shift <= MOST_SHIFT
            and self.correlation >= LEAST_CORRELATION
            and self.flagged <= self.allowed
        )

    def __str__(self) -> str:
        return (
            f"on {self.count} good images the scores move by {self.shift:.1%} (at most {MOST_SHIFT:.0%} is let "
            f"pass), their order agrees to {self.correlation:.3f} (at least {LEAST_CORRELATION}), and the threshold "
            f"rejects {self.flagged} (at most {self.allowed})"
        )


def check_count(count: int, others: int = 0) -> None:
    """Refuse to decide by fewer than ``FEWEST`` images, beside the ``others`` that give the ranges."""
    if count < FEWEST:
        raise QuantizationError(
            f"{count + others} good images, of which {others} give the ranges; at least {FEWEST} more, none of them "
            "fitted to, are wanted for the decision"
        )


def compare(
    floats: npt.NDArray[np.float64], integers: npt.NDArray[np.float64], threshold: float, rate: float
) -> Gate:
    """Compare scores (M,) of the same good images; raises :class:`QuantizationError` for fewer than ``FEWEST``."""
    from scipy import stats

    check_count(len(floats))
    shift = float(np.median(np.abs(integers / floats - 1)))
    correlation = float(stats.spearmanr(floats, integers).statistic)
    flagged = int(np.count_nonzero(integers >= threshold))
    return Gate(len(floats), shift, -1.0 if math.isnan(correlation) else correlation, flagged, rate)
