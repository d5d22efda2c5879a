"""The self-test: a small detector is fitted to drawn stripes by the embedded backbone, and judges others."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from differnet.detector.detector import DifferNet
from differnet.errors import DifferNetWarning
from differnet.evaluation.metrics import auroc

Pixels = npt.NDArray[np.uint8]

LEAST = 0.95  # stripes with a square in them are told from stripes without by any backbone that works
_GOOD, _TESTED, _SIDE = 40, 10, 112
# The flow stays the Gaussian that it starts as, at one small size: a few seconds.
_SETTINGS = {
    "rotation": "none",
    "sizes": [_SIDE],
    "train_views": 1,
    "length": 0.0,
    "rate": 0.2,
    "sisters": "ignore",
}


@dataclass(frozen=True)
class Trial:
    """What came of it: AUROC on 10 good and 10 defective pictures, milliseconds a picture, seconds in all."""

    auroc: float
    milliseconds: float
    seconds: float
    runtime: str
    precision: str

    @property
    def passed(self) -> bool:
        """Whether defective pictures are told from good ones."""
        return self.auroc >= LEAST


def run(device: str = "cpu", weights: str | None = None) -> Trial:
    """Fit and judge; raises what fitting raises, such as :class:`differnet.errors.WeightsError`."""
    started = time.perf_counter()
    good = [stripes(index) for index in range(_GOOD + _TESTED)]
    bad = [with_square(stripes(1000 + index), index) for index in range(_TESTED)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        detector = DifferNet("fast", 0, weights, device, **_SETTINGS).fit(good[:_GOOD])
        fitted = time.perf_counter()
        scores = detector.score([*good[_GOOD:], *bad])
    done = time.perf_counter()
    found = auroc(np.asarray(scores, np.float64), np.arange(2 * _TESTED) >= _TESTED)
    milliseconds = 1000 * (done - fitted) / (2 * _TESTED)
    return Trial(found, milliseconds, done - started, detector.model.runtime, detector.model.precision)


def stripes(seed: int) -> Pixels:
    """Return grey stripes (S, S, 3) of a random phase, with a little noise."""
    rng = np.random.default_rng(seed)
    wave = 128 + 60 * np.sin(np.arange(_SIDE) / 4 + rng.uniform(0, 2 * np.pi))
    noisy = wave[None, :] + rng.normal(0, 4, (_SIDE, _SIDE))
    grey: Pixels = np.clip(noisy, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def with_square(picture: Pixels, seed: int) -> Pixels:
    """Return a picture (S, S, 3) with a dark square somewhere."""
    top, left = np.random.default_rng(seed).integers(8, _SIDE - 40, 2)
    marked: Pixels = picture.copy()
    marked[top : top + 32, left : left + 32] //= 4
    return marked
