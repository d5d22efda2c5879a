"""How long a job will take yet: by how long its stages take as a rule, and how fast those went that are over."""

from __future__ import annotations

from collections.abc import Mapping

# Seconds of a fit to 100 pictures with the preset "default", on two cores; the stages in their order.
USUAL: Mapping[str, float] = {
    "starting": 4.0,
    "looking for images that belong together": 1.0,
    "describing held-out images": 3.0,
    "describing training images": 8.0,
    "fitting the flow": 30.0,
    "learning the cells of heat maps": 4.0,
    "scaling heat maps": 3.0,
    "judging good pictures": 6.0,
    "drawing heat maps": 6.0,
}
_FIXED = (
    "starting",
    "fitting the flow",
    "scaling heat maps",
    "learning the cells of heat maps",
    "drawing heat maps",
)
_SURE = 0.1  # of a stage that must be over before its own pace counts


def expected(images: int, before: Mapping[str, float] | None = None, of: int = 0) -> dict[str, float]:
    """Return the seconds of each stage for so many ``images``; ``before``: what they took for ``of`` others."""
    known, count = (before, of) if before and of else (USUAL, 100)
    return {name: one if name in _FIXED else one * images / count for name, one in known.items()}


class Clock:
    """Hears of a job's progress, and says how many seconds are left; times are given, so that it can be tested."""

    def __init__(self, plan: Mapping[str, float], now: float) -> None:
        self._plan = dict(plan)
        self._start = self._begun = now
        self._stage, self._share = next(iter(plan), ""), 0.0
        self.seconds: dict[str, float] = {}

    def hear(self, stage: str, done: int, total: int, now: float) -> None:
        """Note how far a stage is."""
        if stage != self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._begun
            self._stage, self._begun = stage, now
        self._share = done / total if total else 0.0

    def taken(self, now: float) -> dict[str, float]:
        """Return the seconds of each stage, when the last is over."""
        return {**self.seconds, self._stage: self.seconds.get(self._stage, 0.0) + now - self._begun}

    def left(self, now: float) -> float:
        """Return the seconds that are left, at least none."""
        spent = sum(self._plan.get(name, 0.0) for name in self.seconds)
        taken = sum(taken for name, taken in self.seconds.items() if name in self._plan)
        pace = min(max(taken / spent, 0.2), 10.0) if spent > 0 else 1.0
        rest = sum(
            one for name, one in self._plan.items() if name not in self.seconds and name != self._stage
        )
        here, gone = pace * self._plan.get(self._stage, 0.0), now - self._begun
        if self._share >= _SURE:
            here = gone / self._share
        return max(here - gone, 0.0) + pace * rest
