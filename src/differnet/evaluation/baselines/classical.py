"""Classical one-class methods on the very features and views that the detector reads.

What to look at is found out from the good images as the detector does (:meth:`DifferNet.prepare`). Then each place of
each scoring view is a row; the places of a view are pooled as the detector pools them, and the score of an image is
the mean over its views.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from torch import Tensor

from differnet.config import presets
from differnet.data.stream import Progress, silent
from differnet.detector.detector import DifferNet
from differnet.evaluation.baselines.method import check_count, fitted
from differnet.features.pooling import RowReading, settled_reading
from differnet.flow import gaussian

Table = npt.NDArray[np.float64]
Distance = Callable[[Table], npt.NDArray[Any]]
_REDUCED_WIDTH = 64
_REDUCTION = f", {_REDUCED_WIDTH} principal components, standardised"


class _Fitted(NamedTuple):
    detector: DifferNet
    read: RowReading
    distance: Distance


@dataclass(repr=False)
class OnFeatures(ABC):
    """Learns rows (N, D) of features, of more than ``most_rows`` a random part, and tells how far others are."""

    preset: str | presets.Config = "default"
    weights: str | None = None
    most_rows: int = gaussian.MOST_ROWS
    _fitted: _Fitted | None = field(default=None, init=False)

    _steps: ClassVar[str] = ""  # before distances are taken

    def __repr__(self) -> str:
        name = type(self).__name__
        rest = f"weights={self.weights!r}, most_rows={self.most_rows}{self._steps}"
        return f"{name}({presets.resolve(self.preset)}, {rest})"

    def fit(
        self,
        paths: Sequence[Path],
        seed: int,
        progress: Progress = silent,
        groups: Sequence[Hashable] | None = None,
    ) -> None:
        """Find out what to look at, describe the images, and learn their features."""
        check_count(paths, 2, self)
        # No flow: how long it trains is moot, and no threshold, so all images may say what to look at.
        detector = DifferNet(self.preset, seed, self.weights, length=1.0, holdout=0.0, folds=0)
        detector.prepare(paths, progress, groups)
        read = settled_reading(detector.settings, detector.module.channels)
        rows = []
        for described in detector.describer.stream(paths, detector.scoring_views):
            rows.append(read.rows(described))
            progress("describing images", len(rows), len(paths))
        progress("learning features", 0, 1)
        distance = self._learn(_some(torch.cat(rows), self.most_rows, seed), seed)
        progress("learning features", 1, 1)
        self._fitted = _Fitted(detector, read, distance)

    def score(self, path: Path) -> float:
        """Return the mean distance over the views of an image."""
        detector, read, distance = fitted(self._fitted, self)
        places = distance(read.rows(detector.describe(path)).double().numpy())
        return float(read.of_view(torch.from_numpy(np.asarray(places, dtype=np.float64))).mean())

    @abstractmethod
    def _learn(self, rows: Table, seed: int) -> Distance:
        """Return what maps rows (B, D) to distances (B,) from those learned."""


class OneClassSvm(OnFeatures):
    """The one-class support vector machine (Schölkopf et al., Neural Computation 2001), radial kernel, nu = 0.1.

    Features are projected to 64 principal components, and these standardised, first; the kernel's width is
    scikit-learn's ``"scale"``.
    """

    _steps = _REDUCTION

    def _learn(self, rows: Table, seed: int) -> Distance:
        reduce, reduced = _reduce(rows, seed)
        machine = OneClassSVM(kernel="rbf", gamma="scale", nu=0.1).fit(reduced)
        return lambda others: -machine.decision_function(reduce(others))


class NearestNeighbour(OnFeatures):
    """Distance to the nearest training row, after a projection to 64 principal components and standardising these."""

    _steps = _REDUCTION

    def _learn(self, rows: Table, seed: int) -> Distance:
        reduce, reduced = _reduce(rows, seed)
        index = NearestNeighbors(n_neighbors=1).fit(reduced)
        return lambda others: index.kneighbors(reduce(others))[0][:, 0]


class Mahalanobis(OnFeatures):
    """Half the squared Mahalanobis distance, the covariance shrunk as by Ledoit and Wolf (2004)."""

    def _learn(self, rows: Table, seed: int) -> Distance:
        found = gaussian.fit(torch.from_numpy(rows), seed)
        return lambda others: gaussian.norms(torch.from_numpy(others), found).numpy()


def _reduce(rows: Table, seed: int) -> tuple[Callable[[Table], Table], Table]:
    """Return what projects rows (B, D) to (B, 64) or less and standardises these, and what it makes of ``rows``."""
    width = min(_REDUCED_WIDTH, len(rows) - 1, rows.shape[1])
    steps = make_pipeline(PCA(width, random_state=seed), StandardScaler())
    reduced: Table = steps.fit_transform(rows)
    return steps.transform, reduced


def _some(rows: Tensor, most: int, seed: int) -> Table:
    if len(rows) > most:
        chosen = np.random.default_rng(seed).permutation(len(rows))[:most]
        rows = rows[torch.from_numpy(np.sort(chosen))]
    table: Table = rows.double().numpy()
    return table
