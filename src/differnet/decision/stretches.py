"""How much a stream of images moves in stretches without any change: lots, waves, neighbours that are alike.

Good images that come in lots, or under the light of an hour, are alike with their neighbours. A stretch of them then
looks like a change, and nothing has changed. What tells the two apart is how the stream moves at other times. For a
few lengths n, successive stretches are compared by the sums S of a number of theirs:

    inflation_n = mean of (S_next - S)^2 / (2 n variance of the number)

This is 1 for independent images and up to 1 + (n - 1) r for those of lots that correlate by r; a change that comes once
and lasts moves only the differences across it. It is the two-sample variance of stretches that overlap (Allan,
"Statistics of atomic frequency standards", Proceedings of the IEEE 54, 1966; its degrees of freedom as in Riley,
"Handbook of frequency stability analysis", NIST SP 1065, 2008). The numbers are of p-values, whose variance is known:
their distance to 1/2 for changes of height, the square of it for changes of spread.

These are estimates with their errors, and no proof.
"""

from __future__ import annotations

import math
from typing import Any

LENGTHS = (4, 8, 16, 32, 64, 128)

_RECENT = 160  # differences of each length that are kept one by one
_LEAST = 32  # the length of which something must be known
_FREEDOM, _ENOUGH = 3.0, 8.0  # degrees of freedom from which on something is known, and enough
_LONGER = 1.5  # stretches are looked at that are so many times as long as the change
_CAREFUL, _SURE = 1.5, 4.0  # standard errors: of what is reckoned with, of what is said


class Stretches:
    """Takes the p-values of a stream, and tells how much more it moves than independent images would."""

    def __init__(self) -> None:
        self.images = 0
        self.totals = [[0.0, 0.0]]  # of heights and spreads, after each of the last images
        self.counts = [0 for _ in LENGTHS]
        self.squares = [[0.0, 0.0] for _ in LENGTHS]
        self.recent: list[list[list[float]]] = [[] for _ in LENGTHS]  # the last of the squares

    def take(self, p: float) -> None:
        """Add the p-value of an image."""
        self.images += 1
        height, spread = self.totals[-1]
        height += math.sqrt(12) * (0.5 - p)
        spread += math.sqrt(5) * (6 * (p - 0.5) ** 2 - 0.5)
        totals = self.totals
        totals.append([height, spread])
        for index, length in enumerate(LENGTHS):
            if self.images % (length // 4) or self.images < 2 * length:
                break
            middle, before = totals[-1 - length], totals[-1 - 2 * length]
            first = (height - 2 * middle[0] + before[0]) ** 2 / (2 * length)
            second = (spread - 2 * middle[1] + before[1]) ** 2 / (2 * length)
            self.counts[index] += 1
            self.squares[index][0] += first
            self.squares[index][1] += second
            self.recent[index].append([first, second])
            del self.recent[index][:-_RECENT]
        del totals[: -2 * LENGTHS[-1] - 1]

    def inflation(self, since: int, correlation: float, spread: bool = False) -> float:
        """Return how many times more stretches may move than those of independent images, at least 1.

        It is of stretches as long as that since image ``since``, and of no difference across that. A length of which
        little is known may move twice as much beyond independence as that of half of it, and as a lot whose
        neighbours have the ``correlation``. Infinite where nothing is known.
        """
        wanted = min(max((self.images - since + 1) * _LONGER, _LEAST), LENGTHS[-1])
        found, freedom = math.inf, 0.0
        for index, length in enumerate(LENGTHS):
            count, squares = self._beside(index, since)
            freedom, most = _freedom(count), 1 + 2 * (found - 1)
            if freedom < _FREEDOM:
                if length <= _LEAST:
                    return math.inf
                found = most
            else:
                mean = squares[spread] / count
                found = max(1.0, mean, min(mean / _quantile(count, -_CAREFUL), most))
            if length >= wanted:
                break
        return found if freedom >= _ENOUGH else max(found, 1 + (wanted - 1) * correlation)

    def clustering(self, since: int) -> float:
        """Return how many images tell as much as one independent image would, where that is surely more than 1; else 1.

        By no difference across image ``since``.
        """
        found = 1.0
        for index in range(len(LENGTHS)):
            count, squares = self._beside(index, since)
            means = [one / count for one in squares] if _freedom(count) >= _FREEDOM else []
            found = max([found, *(mean for mean in means if mean > _quantile(count, _SURE))])
        return found

    def _beside(self, index: int, since: int) -> tuple[int, list[float]]:
        """Return how many differences of a length there are, and their squares, without those across an image."""
        length, recent = LENGTHS[index], self.recent[index]
        step = length // 4
        first = len(recent) - (self.images // step - -(-since // step) + 1)
        last = len(recent) - max(self.images // step - (since + 2 * length - 2) // step, 0)
        across = recent[max(first, 0) : max(last, 0)]
        sums = [self.squares[index][of] - sum(one[of] for one in across) for of in (0, 1)]
        return self.counts[index] - len(across), sums

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Stretches:
        """Undo :meth:`to_dict`; raises a built-in error for what it did not give."""
        stretches = cls()
        stretches.images, stretches.counts = int(values["images"]), [int(count) for count in values["counts"]]
        stretches.totals, stretches.squares = _rows(values["totals"], 2), _rows(values["squares"], 2)
        stretches.recent = [_rows(rows, 2) for rows in values["recent"]]
        sizes = {len(stretches.counts), len(stretches.squares), len(stretches.recent)}
        if sizes != {len(LENGTHS)} or len(stretches.totals) != min(stretches.images, 2 * LENGTHS[-1]) + 1:
            raise ValueError(f"stretches of {sizes} lengths after {stretches.images} images")
        return stretches


def _rows(values: Any, width: int) -> list[list[float]]:
    rows = [[float(value) for value in row] for row in values]
    if not all(len(row) == width and all(map(math.isfinite, row)) for row in rows):
        raise ValueError(f"rows of {width} finite numbers were wanted")
    return rows


def _freedom(count: int) -> float:
    """Return the degrees of freedom of the mean of so many squared differences, four to a length."""
    return 0.375 * count + 0.6


def _quantile(count: int, deviations: float) -> float:
    """Return the mean of so many squared differences of independent images, so many standard deviations off.

    By the cube root of a chi-squared variable (Wilson, Hilferty, "The distribution of chi-square", 1931).
    """
    error = 2 / (9 * _freedom(count))
    return float(max(1 - error + deviations * math.sqrt(error), 0.1) ** 3)
