"""One number of the images, ranked among those before as they come, and the bets on the ranks."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from differnet.decision.evidence import DriftEvidence
from differnet.decision.martingale import Bet, Change, Runs, densities
from differnet.decision.stretches import Stretches
from differnet.errors import NumericalError

Values = Sequence[float] | npt.NDArray[np.float64]

_OUTSIDE = 8  # images in a row that lie far outside of the calibration images
_PAIRED = 300  # calibration images, evenly by size, of which all pairs are looked at
_VARIANCE, _OF_START = 0.43, 0.21  # of the alikeness, times pairs of neighbours and times calibration images


class Neighbours:
    """How alike neighbours are, by the difference of their values among those of pairs of calibration images.

    Unlike p-values, differences tell lots apart from a change of the mean, from the first lot on: within a lot they
    are smaller. Of normal images that correlate by r they are sqrt(1 - r) times as large, and their
    alikeness, the mean of 1 - 2 (share of pairs of calibration images that differ by less), is
    (4/pi) arctan(1 / sqrt(1 - r)) - 1.
    """

    def __init__(self, start: Values) -> None:
        values, self.size = np.asarray(start, dtype=np.float64), len(start)
        some = values[
            np.unique(np.linspace(0, len(values) - 1, min(len(values), _PAIRED)).round().astype(int))
        ]
        first, second = np.triu_indices(len(some), 1)
        self._pairs = np.sort(np.abs(some[first] - some[second]))
        self.last: float | None = None
        self.count, self.sum = 0, 0.0

    def take(self, value: float) -> None:
        """Compare a value with the last one."""
        if self.last is not None and len(self._pairs):
            found, pairs = abs(value - self.last), self._pairs
            self.count += 1
            self.sum += 1 - float(pairs.searchsorted(found) + pairs.searchsorted(found, "right")) / len(pairs)
        self.last = value

    @property
    def correlation(self) -> float:
        """The correlation of neighbours that is likely exceeded: one standard error below the estimate; at least 0."""
        if not self.count:
            return 0.0
        error = math.sqrt(_VARIANCE / self.count + _OF_START / self.size)
        alikeness = self.sum / self.count - error
        return max(0.0, 1 - math.tan(math.pi / 4 * (1 + alikeness)) ** -2) if alikeness > 0 else 0.0


class RankedStream:
    """What is kept of a number of the images, the bets on its p-values, and how it moves in stretches.

    ``start``: the values of the calibration images, in order of size. ``ratio``: a number of which ratios count, so
    that logarithms are compared.
    """

    def __init__(self, start: list[float], ratio: bool = False) -> None:
        self.start, self._ratio = start, ratio and start[0] > 0
        low, high = self._scaled(start[0]), self._scaled(start[-1])
        self._low, self._high = low - (high - low) / 2, high + (high - low) / 2
        self.reset()

    def reset(self) -> None:
        """Forget all but the calibration images."""
        self.kept, self.bet, self.runs, self.stretches = list(self.start), Bet(), Runs(), Stretches()
        self.neighbours = Neighbours([self._scaled(value) for value in self.start])
        self.outside = 0  # images in a row far outside; below 0: on the lower side
        self.alarm: Change | None = None
        self.since: int | None = None

    def take(self, value: float, limit: int, bound: float, draws: np.random.Generator) -> DriftEvidence:
        """Rank ``value``, keep it, bet; ``bound``: the logarithm of the capital that is an alarm."""
        first, last = bisect.bisect_left(self.kept, value), bisect.bisect_right(self.kept, value)
        equal, above = last - first + 1, len(self.kept) - last
        p = float((above + (1 - draws.random()) * equal) / (len(self.kept) + 1))
        self.kept.insert(last, value)
        if len(self.kept) > limit:
            self.kept.pop(int(draws.integers(len(self.kept))))
        scaled, found = self._scaled(value), densities(p)
        self.stretches.take(p)
        self.neighbours.take(scaled)
        self.bet.take(found)
        self.runs.take(found, self.stretches.images)
        side = int(scaled > self._high) - int(scaled < self._low)
        self.outside = self.outside + side if side * self.outside > 0 else side
        change, since, gain = self.runs.best
        counted = self._counted(change, since, gain)
        if self.alarm is None and counted >= bound:
            self.alarm, self.since = change, since
        maybe = self.alarm is None and self.bet.log >= bound
        return DriftEvidence(
            p,
            counted / math.log(10),
            self.alarm,
            self.since,
            suspected=change if maybe else None,
            suspected_since=since if maybe else None,
            one_by_one=self.bet.log / math.log(10),
            clustering=self.stretches.clustering(since),
        )

    def _counted(self, change: Change, since: int, gain: float) -> float:
        """Return the logarithm of the capital as it counts: no more than one stretch alone speaks for.

        The gain of that counts by as much less as images move more in stretches, and must be the larger the more
        stretches there were. Images in a row that all lie farther outside of the calibration images than half of their
        range are no stretch of those: there the capital counts as it is.
        """
        if self.bet.log <= 0 or abs(self.outside) >= _OUTSIDE:
            return self.bet.log
        spread = change in ("wider", "narrower")
        inflation = self.stretches.inflation(since, self.neighbours.correlation, spread)
        return min(self.bet.log, gain / inflation - math.log(self.stretches.images))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return {
            "start": self.start,
            "kept": self.kept,
            "log": self.bet.log,
            "shares": self.bet.shares.tolist(),
            "gains": self.runs.gains.tolist(),
            "starts": self.runs.starts.tolist(),
            "stretches": self.stretches.to_dict(),
            "neighbours": [self.neighbours.last, self.neighbours.count, self.neighbours.sum],
            "outside": self.outside,
            "alarm": self.alarm,
            "since": self.since,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], ratio: bool) -> RankedStream:
        """Undo :meth:`to_dict`, also of before, when there were bets on a shift alone and nothing of stretches.

        Raises a built-in error for what it did not give.
        """
        stream = cls(in_order("start", values["start"]), ratio)
        stream.kept, stream.alarm = in_order("kept", values["kept"]), values["alarm"]
        stream.bet = Bet.from_state(float(values["log"]), values["shares"])
        if "stretches" in values:
            stream.runs = Runs.from_state(values["gains"], values["starts"])
            stream.stretches = Stretches.from_dict(values["stretches"])
            last, count, total = values["neighbours"]
            last = None if last is None else float(last)
            stream.neighbours.last, stream.neighbours.count, stream.neighbours.sum = (
                last,
                int(count),
                float(total),
            )
            stream.outside, stream.since = int(values["outside"]), values["since"]
        if stream.alarm not in (*get_args(Change), None) or not isinstance(stream.since, int | None):
            raise ValueError(f"alarm {stream.alarm!r} since {stream.since!r}")
        return stream

    def _scaled(self, value: float) -> float:
        return math.log(max(value, 1e-12)) if self._ratio else value


def in_order(name: str, values: Values) -> list[float]:
    """Return values in order of size; raises :class:`NumericalError` for none, or NaN."""
    numbers = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if len(numbers) == 0 or not np.isfinite(numbers).all():
        raise NumericalError(f"{name}: at least one number was wanted, all of them finite")
    return [float(number) for number in numbers]
