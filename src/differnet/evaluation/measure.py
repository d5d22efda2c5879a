"""The one loop that measures: what a fitted detector, or any other method, makes of labelled test images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from differnet.data.datasets import Dataset, Sample
from differnet.data.stream import Progress, silent
from differnet.decision.verdict import Heat, Prediction
from differnet.errors import in_a_line
from differnet.evaluation.metrics import (
    PixelAupro,
    PixelAuroc,
    PixelFigures,
    auroc,
    recall_without_false_alarms,
)

OnMap = Callable[[Sample, Heat, Prediction], None]


class Predictor(Protocol):
    """What can be measured: a fitted detector, or anything else that judges images and says where."""

    def predict_iter(self, images: Sequence[Path], /) -> Iterable[Prediction]:
        """Yield a prediction for each image, in order."""
        ...

    def localize(self, image: Path, /) -> Heat:
        """Return the heat map (H, W) of an image, values from 0."""
        ...


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured, in the order of ``Dataset.test``.

    ``predictions``: of each image, without heat maps; ``scores`` (N,): theirs; ``is_defective`` (N,): the labels.
    ``pixels``: nothing without maps or masks, or where a map failed, for the reason in ``map_failure``.
    ``score_seconds`` and ``map_seconds``: of all images together, decoding included.
    """

    predictions: tuple[Prediction, ...]
    scores: npt.NDArray[np.float64]
    is_defective: npt.NDArray[np.bool_]
    score_seconds: float
    pixels: PixelFigures | None = None
    map_seconds: float | None = None
    map_failure: str = ""

    @property
    def image_auroc(self) -> float:
        """AUROC of the scores; NaN where one kind of image is missing."""
        return auroc(self.scores, self.is_defective)

    @property
    def recall_without_false_alarms(self) -> float:
        """Share of the defective images that score above every good one; NaN where one kind is missing."""
        return recall_without_false_alarms(self.scores, self.is_defective)

    @property
    def false_alarm_rate(self) -> float | None:
        """Share of the good images rejected; nothing without verdicts or good images."""
        return self._rejected(~self.is_defective)

    @property
    def recall(self) -> float | None:
        """Share of the defective images rejected; nothing without verdicts or defective images."""
        return self._rejected(self.is_defective)

    def _rejected(self, chosen: npt.NDArray[np.bool_]) -> float | None:
        pairs = zip(self.predictions, chosen, strict=True)
        flags = [said.is_defective for said, here in pairs if here and said.is_defective is not None]
        return float(np.mean(flags)) if flags else None


def measure(
    detector: Predictor,
    dataset: Dataset,
    maps: bool = False,
    progress: Progress = silent,
    on_map: OnMap = lambda sample, heat, prediction: None,
    may_fail: bool = False,
) -> Measured:
    """Judge the test images, then, with ``maps``, draw those that are good or have a mask.

    Where no test image has a mask nothing is drawn. ``on_map`` sees every map. ``may_fail``: an error of a map leaves
    the scores, and is said in ``map_failure``; otherwise it is raised, as are all errors of scoring.
    """
    samples = dataset.test
    started = time.perf_counter()
    predictions: list[Prediction] = []
    for prediction in detector.predict_iter([sample.path for sample in samples]):
        predictions.append(prediction)
        progress("scoring test images", len(predictions), len(samples))
    scored = time.perf_counter()
    pixels, failure = None, ""
    is_drawn = maps and any(sample.mask for sample in samples)
    if is_drawn:
        try:
            pixels = _pixel_figures(detector, samples, predictions, progress, on_map)
        except Exception as error:
            if not may_fail:
                raise
            failure = in_a_line(error)
    return Measured(
        predictions=tuple(predictions),
        scores=np.array([prediction.score for prediction in predictions], dtype=np.float64),
        is_defective=np.array([sample.is_defective for sample in samples], dtype=bool),
        score_seconds=scored - started,
        pixels=pixels,
        map_seconds=time.perf_counter() - scored if is_drawn else None,
        map_failure=failure,
    )


def _pixel_figures(
    detector: Predictor,
    samples: Sequence[Sample],
    predictions: Sequence[Prediction],
    progress: Progress,
    on_map: OnMap,
) -> PixelFigures:
    area, regions = PixelAuroc(), PixelAupro()
    for count, (sample, prediction) in enumerate(zip(samples, predictions, strict=True), 1):
        if sample.is_defective and sample.mask is None:
            continue
        heat = detector.localize(sample.path)
        mask = sample.true_mask(heat.shape)
        area.add(heat, mask)
        regions.add(heat, mask)
        on_map(sample, heat, prediction)
        progress("drawing heat maps", count, len(samples))
    return PixelFigures(area.value(), regions.value())
