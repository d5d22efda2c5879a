"""A bet on p-values, which only a change lets win.

Its capital starts at 1 and is multiplied by 1 + e (p - 1/2). It is spread over slopes e from -2 to 2, and at each step
a share of it jumps between slopes, so that a change may come late (the Simple Jumper of Vovk et al., "Retrain or not
retrain: conformal test martingales for change-point detection", COPA 2021, averaged over jump rates; see also
Volkhonskiy et al., "Inductive conformal martingales for change-point detection", COPA 2017). Without a change it ever
reaches 1/a with a probability of at most a (Ville's inequality).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

Direction = Literal["higher", "lower"]

_SLOPES = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # negative ones win where values rise and p falls
_JUMPS = np.array([[1e-2], [1e-3], [1e-4], [1e-5]])


class Bet:
    """The martingale: log of its capital, and how that is spread over jump rates and slopes (J, E)."""

    def __init__(self) -> None:
        self.log = 0.0
        self.shares = np.full((len(_JUMPS), len(_SLOPES)), 1 / (len(_JUMPS) * len(_SLOPES)))

    def take(self, p: float) -> None:
        """Move a share of the capital between slopes, then win or lose by a p-value."""
        jumped = (1 - _JUMPS) * self.shares + _JUMPS * self.shares.mean(axis=1, keepdims=True)
        earned = jumped * (1 + _SLOPES * (p - 0.5))
        total = float(earned.sum())
        self.shares = earned / total
        self.log += math.log(total)

    @classmethod
    def from_state(cls, log: float, shares: Sequence[Sequence[float]]) -> Bet:
        """Return the bet that has come so far; raises :class:`ValueError` for what is no capital."""
        bet, found = cls(), np.array(shares, dtype=np.float64)
        usable = found.shape == bet.shares.shape and bool(np.isfinite(found).all())
        if not usable or (found < 0).any() or not found.sum() > 0 or not math.isfinite(log):
            raise ValueError(f"capital {found.tolist()}")
        bet.log, bet.shares = log, found
        return bet

    @property
    def direction(self) -> Direction:
        """Where the values must have gone for the capital to be where it is."""
        rising, falling = self.shares[:, _SLOPES < 0].sum(), self.shares[:, _SLOPES > 0].sum()
        return "higher" if rising > falling else "lower"
