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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from differnet.config import presets, sections
from differnet.data.datasets import Dataset, Sample
from differnet.data.samples import check_masks
from differnet.data.stream import Progress, silent
from differnet.decision.calibration import ViewScores
from differnet.decision.verdict import Heat, Prediction
from differnet.detector.detector import DifferNet
from differnet.detector.promise.split import split
from differnet.detector.tuning.choice import Choice
from differnet.errors import DifferNetWarning, LayoutError, PagesWarning
from differnet.evaluation import copies, metrics
from differnet.evaluation.grouped import grouped
from differnet.evaluation.measure import Measured, OnMap, measure
from differnet.evaluation.metrics import auroc
from differnet.features.cache import describe_all
from differnet.features.look import Look, look_at
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


@dataclass(frozen=True)
class EarlyFigures:
    """What ``views="auto"`` does on the test images, by the flow that gives the verdicts.

    ``views``, ``views_good``: how many views it took, on average over all and over the good images. ``changed``: how
    many verdicts differ from those of all views; ``missed``: by how many of these a defect passes that all views flag;
    ``error`` is promised for good images. ``image_auroc``: of the scores it stopped with; ``image_auroc_all_views``: of
    the same flow in all views.
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
    """One seed on one data set. Scores and labels are in the order of ``Dataset.test``.

    ``copies``: the test images that were fitted to as well, under another path or as a copy.
    """

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
    copies: tuple[Path, ...] = ()


_NO_FIGURES = {"seed", "early", "choice", "scores", "is_defective", "copies"}
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
            "n_fitted_to": max(len(run.copies) for run in self.runs),
            "n_with_mask": sum(sample.mask is not None for sample in test),
            "config": self.config.to_dict(),
        }


def _unseen(sample: Sample, heat: Heat, prediction: Prediction) -> None:
    """See no map."""


def evaluate(
    dataset: Dataset,
    settings: presets.Config,
    seeds: Sequence[int] = (0,),
    shots: int | None = None,
    weights: str | None = None,
    device: str = "cpu",
    maps: bool = True,
    progress: Progress = silent,
    on_map: OnMap = _unseen,
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
    runs: list[Run] = []
    digests: list[str] = []
    for seed in seeds:
        chosen = dataset if shots is None else dataset.shots(shots, seed)
        uncalibrated = presets.resolve(settings, {"holdout": 0.0, "folds": 0})
        detector = DifferNet(uncalibrated, seed, weights, device)
        on_first_map = on_map if seed == seeds[0] else _unseen
        run = _run(detector, chosen, settings.decision, maps, progress, on_first_map)
        fitted = detector.model.fitted_on
        digests = digests or copies.digests(dataset, detector.settings.views, progress)
        runs.append(replace(run, copies=copies.fitted_to(chosen, digests, fitted.images if fitted else ())))
        on_run(runs[-1])
    copies.tell(dataset, max((run.copies for run in runs), key=len))
    return Evaluation(dataset, settings, shots, tuple(runs))


def _run(
    detector: DifferNet,
    dataset: Dataset,
    decision: sections.Decision,
    maps: bool,
    progress: Progress,
    on_map: OnMap,
) -> Run:
    """Fit ``detector`` to all training images and a second flow for the verdicts, and measure both."""
    started = time.perf_counter()
    train = look_at([sample.path for sample in dataset.train], detector.config)  # for both flows
    dataset, decision = grouped(detector, dataset, train, decision, progress)
    bank = _fit_whole(detector, dataset, train, decision, maps, progress)
    fit_seconds = time.perf_counter() - started
    described = _Describing(detector)
    whole = measure(described, dataset, progress=progress)
    second = _second(detector, dataset, train, decision, bank, progress)
    judging = _Judging(second or detector, described)
    judged = measure(judging, dataset, maps, progress, on_map)
    count = len(dataset.test)
    return Run(
        seed=detector.seed,
        image_auroc=whole.image_auroc,
        recall_without_false_alarms=whole.recall_without_false_alarms,
        pixel_auroc=judged.pixels and judged.pixels.auroc,
        pixel_aupro=judged.pixels and judged.pixels.aupro,
        false_alarm_rate=judged.false_alarm_rate,
        recall=judged.recall,
        promised_false_alarm_rate=second.promise.promised if second and second.promise else None,
        fit_seconds=fit_seconds,
        score_seconds_per_image=whole.score_seconds / count,
        map_seconds_per_image=None if judged.map_seconds is None else judged.map_seconds / count,
        early=_early(second, judging.rows, judged) if second else None,
        choice=detector.model.choice,
        scores=whole.scores,
        is_defective=whole.is_defective,
    )


class _Describing:
    """A detector that keeps the features of the images it scores, for a second flow on the same backbone."""

    def __init__(self, detector: DifferNet) -> None:
        self.features: list[Tensor] = []
        self._detector = detector
        self.localize = detector.localize

    def predict_iter(self, images: Sequence[Path]) -> Iterator[Prediction]:
        detector = self._detector
        for features in detector.describer.stream(images, detector.scoring_views):
            self.features.append(features)
            yield Prediction(float(detector.view_scores(features).mean()))


class _Judging:
    """The verdicts of a second flow on images that were described before, beside the heat maps of the first."""

    def __init__(self, second: DifferNet, described: _Describing) -> None:
        self.rows: list[ViewScores] = []
        self._second = second
        self._described = described
        self.localize = described.localize

    def predict_iter(self, images: Sequence[Path]) -> Iterator[Prediction]:
        for _, features in zip(images, self._described.features, strict=True):
            self.rows.append(self._second.view_scores(features))
            yield self._second.judge(self.rows[-1])


def _fit_whole(
    detector: DifferNet,
    dataset: Dataset,
    train: Sequence[Look],
    decision: sections.Decision,
    maps: bool,
    progress: Progress,
) -> Tensor | None:
    """Fit on all training images; return the bank of their features when views are cached."""
    if detector.config.views.fresh_views:
        _fit(detector, dataset, train, None, progress, scale_maps=maps)
        return None
    groups = dataset.groups
    if len(set(groups or [str(sample.path) for sample in dataset.train])) < 2:
        decision = replace(decision, holdout=0.0, folds=0)
    # those that are not chosen set the second flow's threshold
    chosen, _ = split(train, groups, decision, detector.seed)
    of_chosen = groups and [groups[index] for index in chosen]
    detector.prepare([train[index] for index in chosen], progress, of_chosen)
    bank = describe_all(detector.describer, train, detector.seed, progress)
    _fit(detector, dataset, train, bank, progress, scale_maps=maps)
    return bank


def _early(second: DifferNet, rows: Sequence[ViewScores], judged: Measured) -> EarlyFigures:
    early = [second.judge(row, early=True) for row in rows]
    labels = judged.is_defective
    views = np.array([prediction.views for prediction in early])
    flagged, by_all = (np.array([one.is_defective for one in some]) for some in (early, judged.predictions))
    return EarlyFigures(
        views=float(views.mean()),
        views_good=float(views[~labels].mean()) if (~labels).any() else math.nan,
        changed=int((flagged != by_all).sum()),
        missed=int((by_all & ~flagged & labels).sum()),
        error=second.model.standard.early_stop.error,
        image_auroc=auroc(np.array([prediction.score for prediction in early]), labels),
        image_auroc_all_views=judged.image_auroc,
    )


def _early_dict(figures: EarlyFigures) -> dict[str, Any]:
    return {name: _plain(value) for name, value in asdict(figures).items()}


def _fit(
    detector: DifferNet,
    dataset: Dataset,
    train: Sequence[Look],
    bank: Tensor | None,
    progress: Progress,
    scale_maps: bool,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)  # how far a threshold can be trusted is reported
        warnings.simplefilter("always", PagesWarning)
        detector.fit(
            train,
            groups=dataset.groups,
            progress=progress,
            on_epoch=by_epoch(progress),
            bank=bank,
            scale_maps=scale_maps,
        )


def _second(
    detector: DifferNet,
    dataset: Dataset,
    train: Sequence[Look],
    decision: sections.Decision,
    bank: Tensor | None,
    progress: Progress,
) -> DifferNet | None:
    """Fit the second flow; nothing without cached views, or when no image can be held out."""
    if bank is None or len(set(dataset.groups or dataset.train)) < 2 or not decision.is_calibrated:
        return None
    second = detector.sibling(holdout=decision.holdout, folds=decision.folds)
    _fit(second, dataset, train, bank, progress, scale_maps=False)
    return second


def _plain(value: Any) -> Any:
    return metrics.known(value) if isinstance(value, float) else value
