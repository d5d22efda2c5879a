"""Measure a detector on a labelled data set: fit on the training images, judge the test images, by seed.

The flow is fitted on the whole training split, as in the paper, and the last epoch counts. Verdicts need a
threshold, and a threshold needs good images that no flow was fitted to: a second flow is fitted on
the same features less the held-out images (whole groups, where the data have them), gets its threshold from
those, and gives the verdicts. The test images choose nothing.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from differnet.config import presets
from differnet.data.datasets import Dataset, Sample
from differnet.data.samples import check_masks
from differnet.data.stream import Progress, silent
from differnet.decision.calibration import ViewScores
from differnet.decision.verdict import Heat, Prediction
from differnet.detector import fitting
from differnet.detector.detector import DifferNet
from differnet.detector.tuning.choice import Choice
from differnet.errors import DifferNetWarning, LayoutError
from differnet.evaluation import metrics
from differnet.evaluation.metrics import PixelFigures, auroc, pixel_figures, recall_without_false_alarms
from differnet.features.cache import describe_all
from differnet.flow.train import by_epoch

NO_THRESHOLD_NOTE = (
    "no verdicts: with fresh views, or with no image held out, no second flow is fitted for them"
)
THRESHOLD_NOTE = (
    "verdicts come from a second flow, fitted without the held-out training images that set its threshold; "
    "the test images had no part in it"
)
FOLDS_NOTE = (
    "verdicts come from a second flow with a cross-fitted threshold: an estimate over folds, no proof"
)
T = TypeVar("T")
OnMap = Callable[[Sample, Heat, Prediction], None]


@dataclass(frozen=True)
class EarlyFigures:
    """What ``views="auto"`` does on the test images, by the flow that gives the verdicts.

    ``views``, ``views_good``: how many views it took, on average over all and over the good images. ``changed``:
    how many verdicts differ from those of all views; ``missed`` of them are defects let pass; ``error`` is
    promised for good images. ``image_auroc``: of the scores it stopped with; ``image_auroc_all_views``: of the
    same flow in all views.
    """

    views: float
    views_good: float
    changed: int
    missed: int
    error: float
    image_auroc: float
    image_auroc_all_views: float


@dataclass(frozen=True)
class Run:
    """One seed on one data set. Scores and labels are in the order of ``Dataset.test``."""

    seed: int
    image_auroc: float
    recall_without_false_alarms: float
    pixel_auroc: float | None
    pixel_aupro: float | None
    false_alarm_rate: float | None
    recall: float | None
    promised_false_alarm_rate: float | None
    fit_seconds: float
    score_seconds_per_image: float
    map_seconds_per_image: float | None
    early: EarlyFigures | None
    choice: Choice | None
    scores: npt.NDArray[np.float64]
    is_defective: npt.NDArray[np.bool_]


_NO_FIGURES = {"seed", "early", "choice", "scores", "is_defective"}
_FIGURES = [field.name for field in fields(Run) if field.name not in _NO_FIGURES]


@dataclass(frozen=True)
class Evaluation:
    """All seeds of one data set and the configuration they share."""

    dataset: Dataset
    config: presets.Config
    shots: int | None
    runs: tuple[Run, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types; NaN (a metric without both labels) becomes null."""
        test = self.dataset.test
        defective = sum(sample.is_defective for sample in test)
        note = FOLDS_NOTE if self.config.decision.folds else THRESHOLD_NOTE
        lists = {name: [_plain(getattr(run, name)) for run in self.runs] for name in _FIGURES}
        return {
            "dataset": self.dataset.name,
            "seeds": [run.seed for run in self.runs],
            "shots": self.shots,
            "n_train": len(self.dataset.train) if self.shots is None else self.shots,
            "n_good": len(test) - defective,
            "n_defective": defective,
            **lists,
            **{f"{name}_mean": metrics.mean(values) for name, values in lists.items()},
            "image_auroc_spread": metrics.spread(lists["image_auroc"]),
            "fit_seconds": metrics.mean(lists["fit_seconds"]),
            "score_seconds_per_image": metrics.mean(lists["score_seconds_per_image"]),
            "early": [None if run.early is None else _early_dict(run.early) for run in self.runs],
            "choice": [run.choice and run.choice.to_dict() | {"text": str(run.choice)} for run in self.runs],
            "threshold": NO_THRESHOLD_NOTE if lists["recall"][0] is None else note,
            "n_with_mask": sum(sample.mask is not None for sample in test),
            "config": self.config.to_dict(),
        }


def evaluate(
    dataset: Dataset,
    settings: presets.Config,
    seeds: Sequence[int] = (0,),
    shots: int | None = None,
    weights: str | None = None,
    device: str = "cpu",
    maps: bool = True,
    progress: Progress = silent,
    on_map: OnMap = lambda sample, heat, prediction: None,
    on_run: Callable[[Run], None] = lambda run: None,
) -> Evaluation:
    """Fit and judge once a seed; ``shots`` draws that many training images by each seed.

    ``on_map`` sees, for the first seed, each test image that is good or has a mask with its heat map;
    ``on_run`` sees every finished seed.
    Raises :class:`LayoutError` when there is nothing to fit on or to judge, or a mask does not fit its image.
    """
    if not dataset.train or not dataset.test:
        raise LayoutError(f"{dataset!r}: training and test images are both needed")
    check_masks(dataset.test if maps else ())
    runs = []
    for seed in seeds:
        chosen = dataset if shots is None else dataset.shots(shots, seed)
        on_first_map = on_map if seed == seeds[0] else None
        runs.append(_run(chosen, settings, seed, weights, device, maps, progress, on_first_map))
        on_run(runs[-1])
    return Evaluation(dataset, settings, shots, tuple(runs))


def _run(
    dataset: Dataset,
    settings: presets.Config,
    seed: int,
    weights: str | None,
    device: str,
    maps: bool,
    progress: Progress,
    on_map: OnMap | None,
) -> Run:
    detector = DifferNet(presets.resolve(settings, {"holdout": 0.0, "folds": 0}), seed, weights, device)
    test = dataset.test
    bank, fit_seconds = _timed(lambda: _fit_whole(settings, detector, dataset, maps, progress))
    (features, scores), score_seconds = _timed(lambda: _score(detector, test, progress))
    judge = _calibrated(settings, detector, dataset, bank, progress)
    view_scores = [(judge or detector).view_scores(part) for part in features]
    verdicts = [(judge or detector).judge(row) for row in view_scores]
    wanted = maps and any(sample.mask for sample in test)
    seen = (lambda i, heat: on_map(test[i], heat, verdicts[i])) if on_map else None
    pixel, map_seconds = _timed(
        lambda: pixel_figures(detector.localize, test, progress, seen) if wanted else None
    )
    return run_of(
        detector,
        judge,
        scores,
        view_scores,
        verdicts,
        np.array([sample.is_defective for sample in test]),
        fit_seconds,
        score_seconds / len(test),
        pixel,
        map_seconds / len(test) if wanted else None,
    )


def run_of(
    detector: DifferNet,
    judge: DifferNet | None,
    scores: npt.NDArray[np.float64],
    view_scores: Sequence[ViewScores],
    verdicts: Sequence[Prediction],
    labels: npt.NDArray[np.bool_],
    fit_seconds: float,
    score_seconds_per_image: float,
    pixel: PixelFigures | None = None,
    map_seconds_per_image: float | None = None,
) -> Run:
    """Return the figures of one seed.

    ``scores`` (N,) are those of ``detector``; ``judge``, the second flow, gave the ``verdicts``, from
    ``view_scores`` of its own, if there is one.
    """
    return Run(
        seed=detector.seed,
        image_auroc=auroc(scores, labels),
        recall_without_false_alarms=recall_without_false_alarms(scores, labels),
        pixel_auroc=pixel and pixel.auroc,
        pixel_aupro=pixel and pixel.aupro,
        false_alarm_rate=_flagged(verdicts, ~labels),
        recall=_flagged(verdicts, labels),
        promised_false_alarm_rate=judge.promise.promised if judge and judge.promise else None,
        fit_seconds=fit_seconds,
        score_seconds_per_image=score_seconds_per_image,
        map_seconds_per_image=map_seconds_per_image,
        early=None if judge is None else _early(judge, view_scores, verdicts, labels),
        choice=detector.model.choice,
        scores=scores,
        is_defective=labels,
    )


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def _fit_whole(
    settings: presets.Config, detector: DifferNet, dataset: Dataset, maps: bool, progress: Progress
) -> Tensor | None:
    """Fit on all training images; return the bank of their features when views are cached."""
    if detector.config.views.fresh_views:
        _fit(detector, dataset, None, progress, scale_maps=maps)
        return None
    paths, groups = [sample.path for sample in dataset.train], dataset.groups
    decision = settings.decision
    if len(set(groups or paths)) < 2:
        decision = replace(decision, holdout=0.0, folds=0)
    # those that are not chosen set the second flow's threshold
    chosen, _ = fitting.split(paths, groups, decision, detector.seed)
    of_chosen = groups and [groups[index] for index in chosen]
    detector.prepare([paths[index] for index in chosen], progress, of_chosen)
    bank = describe_all(detector.describer, paths, detector.seed, progress)
    _fit(detector, dataset, bank, progress, scale_maps=maps)
    return bank


def _score(
    detector: DifferNet, samples: Sequence[Sample], progress: Progress
) -> tuple[list[Tensor], npt.NDArray[np.float64]]:
    """Return the features of every test image, kept for the second flow, and its score."""
    features: list[Tensor] = []
    scores = []
    paths = [sample.path for sample in samples]
    for described in detector.describer.stream(paths, detector.scoring_views):
        features.append(described)
        scores.append(detector.view_scores(described).mean())
        progress("scoring test images", len(scores), len(samples))
    return features, np.array(scores)


def _early(
    judge: DifferNet,
    view_scores: Sequence[ViewScores],
    verdicts: Sequence[Prediction],
    labels: npt.NDArray[np.bool_],
) -> EarlyFigures:
    early = [judge.judge(row, early=True) for row in view_scores]
    views = np.array([prediction.views for prediction in early])
    changed = np.array([a.is_defective != b.is_defective for a, b in zip(early, verdicts, strict=True)])
    return EarlyFigures(
        views=float(views.mean()),
        views_good=float(views[~labels].mean()) if (~labels).any() else math.nan,
        changed=int(changed.sum()),
        missed=int((changed & labels).sum()),
        error=judge.model.standard.early_stop.error,
        image_auroc=auroc(np.array([prediction.score for prediction in early]), labels),
        image_auroc_all_views=auroc(np.array([prediction.score for prediction in verdicts]), labels),
    )


def _early_dict(figures: EarlyFigures) -> dict[str, Any]:
    return {name: _plain(value) for name, value in asdict(figures).items()}


def _fit(
    detector: DifferNet, dataset: Dataset, bank: Tensor | None, progress: Progress, scale_maps: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)  # how far a threshold can be trusted is reported
        detector.fit(
            [sample.path for sample in dataset.train],
            groups=dataset.groups,
            progress=progress,
            on_epoch=by_epoch(progress),
            bank=bank,
            scale_maps=scale_maps,
        )


def _calibrated(
    settings: presets.Config,
    detector: DifferNet,
    dataset: Dataset,
    bank: Tensor | None,
    progress: Progress,
) -> DifferNet | None:
    """Fit the second flow; nothing without cached views, or when no image can be held out."""
    if bank is None or len(set(dataset.groups or dataset.train)) < 2 or not settings.decision.is_calibrated:
        return None
    judge = detector.sibling(holdout=settings.decision.holdout, folds=settings.decision.folds)
    _fit(judge, dataset, bank, progress, scale_maps=False)
    return judge


def _flagged(verdicts: Sequence[Prediction], chosen: npt.NDArray[np.bool_]) -> float | None:
    flags = [
        v.is_defective for v, c in zip(verdicts, chosen, strict=True) if c and v.is_defective is not None
    ]
    return float(np.mean(flags)) if flags else None


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
