"""A bet on p-values, which only a change lets win.

Its capital starts at 1 and is spread over densities on (0, 1], each of which expects a change of one kind
(:data:`Change`); at each step each part is multiplied by its density at the p-value. Half of the capital is kept out,
and at each step a share of all of it is dealt out anew, so that a change may come late and may be short (the Simple
Jumper of Vovk et al., "Retrain or not retrain: conformal test martingales for change-point detection", COPA 2021,
averaged over jump rates; see also Volkhonskiy et al., "Inductive conformal martingales for change-point detection",
COPA 2017). A mixture of bets is a bet: all kinds together, without a change, let the capital ever reach 1/a with a
probability of at most a (Ville's inequality). This is the chance of *any* alarm *ever*, not one an image, as the mean
time to an alarm is that e-detectors bound (Shin, Ramdas, Rinaldo, "E-detectors", 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Change = Literal["higher", "lower", "wider", "narrower", "high tail", "low tail"]
Table = Sequence[Sequence[float]]
Array = npt.NDArray[np.float64]

_LEAST = 1e-9  # a p-value below counts as this one
_FORMER = (1, 2, 0, 5, 4)  # where the five slopes from -2 to 2 of before stand among the densities


_COLUMNS: tuple[Change | None, ...] = (
    None,
    *("higher", "higher", "higher"),
    *("lower", "lower", "lower"),
    *("wider", "wider", "wider"),
    *("narrower", "narrower"),
    *("high tail", "high tail"),
    *("low tail", "low tail"),
)


def densities(p: float) -> Array:
    """Return all densities at a p-value (E,): of no change, then of the kinds of change, in their order.

    k p^(k - 1) expects small p-values; in 2 min(p, 1 - p), small and large ones alike; mixed with 1, a few small ones.
    """
    small, large = 0.25 * max(p, _LEAST) ** -0.75, 0.25 * max(1 - p, _LEAST) ** -0.75
    end = max(2 * min(p, 1 - p), _LEAST)
    square = 6 * (p - 0.5) ** 2 - 0.5  # Legendre's second polynomial: 1 at the ends, -1/2 in the middle
    return np.array(
        [
            1.0,
            *(2 - 2 * p, 1.5 - p, small),
            *(2 * p, 0.5 + p, large),
            *(1 + square, 0.6 * end**-0.4, 0.3 * end**-0.7),
            *(1 - square, 630 * (p * (1 - p)) ** 4),
            *(0.7 + 0.3 * small, 0.9 + 0.1 * small),
            *(0.7 + 0.3 * large, 0.9 + 0.1 * large),
        ]
    )


_DEALT = np.array([0.5 / len(get_args(Change)) / _COLUMNS.count(kind) if kind else 0.5 for kind in _COLUMNS])
_JUMPS = np.array([[1e-2], [1e-3], [1e-4], [1e-5]])
_STAYED, _JUMPED = 1 - _JUMPS, _JUMPS * _DEALT


class Bet:
    """The martingale: log of its capital, and how that is spread over jump rates and densities (J, E)."""

    def __init__(self) -> None:
        self.log = 0.0
        self.shares = np.repeat(_DEALT[None] / len(_JUMPS), len(_JUMPS), axis=0)

    def take(self, found: Array) -> None:
        """Deal a share of the capital out anew, then win or lose by the densities at a p-value (E,)."""
        dealt = self.shares.sum(axis=1, keepdims=True) * _JUMPED
        earned = (self.shares * _STAYED + dealt) * found
        total = float(earned.sum())
        self.shares = earned / total
        self.log += math.log(total)

    @classmethod
    def from_state(cls, log: float, shares: Table) -> Bet:
        """Return the bet that has come so far, also one of before, which bet on a shift alone.

        Raises :class:`ValueError` for what is no capital.
        """
        bet, found = cls(), np.array(shares, dtype=np.float64)
        if found.shape == (len(_JUMPS), len(_FORMER)):
            former, found = found, np.zeros_like(bet.shares)
            found[:, _FORMER] = former
        usable = found.shape == bet.shares.shape and bool(np.isfinite(found).all())
        if not usable or (found < 0).any() or not found.sum() > 0 or not math.isfinite(log):
            raise ValueError(f"capital {found.tolist()}")
        bet.log, bet.shares = log, found
        return bet


class Runs:
    """For each density the log of what it won since it was last without a gain: Page's cumulative sum, 1954.

    ``gains`` (E,); ``starts`` (E,): the images from which on they were won.
    """

    def __init__(self) -> None:
        self.gains, self.starts = np.zeros(len(_COLUMNS)), np.ones(len(_COLUMNS), dtype=int)

    def take(self, found: Array, image: int) -> None:
        """Win or lose by the densities at the p-value (E,) of an image."""
        self.starts = np.where(self.gains > 0, self.starts, image)
        self.gains = np.maximum(self.gains + np.log(np.maximum(found, _LEAST)), 0)

    @property
    def best(self) -> tuple[Change, int, float]:
        """What the density expects that won most, from which image on, and the log of what it won."""
        best = 1 + int(self.gains[1:].argmax())
        return _COLUMNS[best] or "higher", int(self.starts[best]), float(self.gains[best])

    @classmethod
    def from_state(cls, gains: Sequence[float], starts: Sequence[int]) -> Runs:
        """Return the runs that have come so far; raises :class:`ValueError` for what are none."""
        runs, found = cls(), np.array(gains, dtype=np.float64)
        begun = np.array(starts, dtype=int)
        if (
            not found.shape == begun.shape == runs.gains.shape
            or not np.isfinite(found).all()
            or (found < 0).any()
        ):
            raise ValueError(f"gains {found.tolist()}")
        runs.gains, runs.starts = found, begun
        return runs
