"""The detector of this package as one method among others."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from differnet.config import presets
from differnet.data.stream import Progress, silent
from differnet.decision.verdict import Heat
from differnet.detector.detector import DifferNet
from differnet.errors import DifferNetWarning
from differnet.evaluation.baselines.method import fitted
from differnet.flow.train import by_epoch


@dataclass(repr=False)
class Ours:
    """The detector, fitted to all training images: none is held out, for no threshold is asked of it."""

    preset: str | presets.Config = "default"
    weights: str | None = None
    _detector: DifferNet | None = field(default=None, init=False)

    def __repr__(self) -> str:
        return f"Ours({presets.resolve(self.preset)}, weights={self.weights!r})"

    def fit(
        self,
        paths: Sequence[Path],
        seed: int,
        progress: Progress = silent,
        groups: Sequence[Hashable] | None = None,
    ) -> None:
        """Find out what to look at, describe the images, and fit the flow."""
        detector = DifferNet(self.preset, seed, self.weights, holdout=0.0, folds=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DifferNetWarning)  # all are about the threshold
            detector.fit(paths, groups, progress=progress, on_epoch=by_epoch(progress), scale_maps=False)
        self._detector = detector

    def score(self, path: Path) -> float:
        """Return tau(x) of eq. 5."""
        return float(fitted(self._detector, self).score(path)[0])

    def localize(self, path: Path) -> Heat:
        """Return the heat map of eq. 7, in no particular unit."""
        return fitted(self._detector, self).localize(path)
