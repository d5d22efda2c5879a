"""One fit and its test scores, kept in a file: the cells that the tables of the paper are made of.

A cell is a fit to all training images, or to a random few, and the scores of the test images after the last epoch. No
image is held out, and no threshold is set. The test images choose nothing; what they would have chosen among the
epochs is recorded beside, as what it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from differnet.config import presets, sections
from differnet.data.datasets import Dataset, Sample
from differnet.data.samples import check_masks
from differnet.data.stream import Progress
from differnet.decision.verdict import Heat, Prediction, ViewScores
from differnet.detector import fitting, prepare
from differnet.detector.model import Model, versions
from differnet.detector.scoring import localize, scoring_views, view_scores
from differnet.errors import LayoutError, in_a_line, warn
from differnet.evaluation import plots
from differnet.evaluation.kept import Kept
from differnet.evaluation.measure import Measured, measure
from differnet.evaluation.metrics import PixelFigures, auroc, known, recall_without_false_alarms
from differnet.evaluation.paper.plan import Plan, surroundings
from differnet.evaluation.timing import machine
from differnet.features.backbone import network
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.weights import digest_of_weights
from differnet.features.describer import Describer
from differnet.features.look import Given, look_at
from differnet.features.views import ViewSet
from differnet.flow.fusion import Fusion
from differnet.flow.graph import fastest
from differnet.flow.train import by_epoch

_LOOKS = 24  # at most so many epochs are looked at on the test images, evenly spaced, the last one among them


@dataclass(frozen=True)
class Cell:
    """A finished cell. Scores and defects are in the order of ``Dataset.test``.

    ``by_views``: the scores in fewer views; ``looks``: epoch and AUROC on the test images, which chose nothing;
    ``fit_seconds``: without these looks; ``machine``: where it was computed, device included; ``pixel_failure``: why
    heat maps that were wanted could not be measured; ``picture``: the gallery of them.
    """

    dataset: str
    seed: int
    shots: int | None
    n_train: int
    defects: tuple[str, ...]
    scores: npt.NDArray[np.float64]
    by_views: dict[int, npt.NDArray[np.float64]]
    looks: tuple[tuple[int, float], ...]
    pixel_auroc: float | None
    pixel_aupro: float | None
    fit_seconds: float
    score_seconds_per_image: float
    choice: str | None
    backbone: str
    precision: str
    versions: dict[str, str] = field(default_factory=dict)
    machine: str = ""
    pixel_failure: str = ""
    picture: Path | None = None

    @property
    def is_defective(self) -> npt.NDArray[np.bool_]:
        """The labels (N,) of the test images."""
        return np.array([defect != "good" for defect in self.defects])

    @property
    def auroc(self) -> float:
        """AUROC after the last epoch."""
        return auroc(self.scores, self.is_defective)

    @property
    def best_auroc(self) -> float:
        """The largest AUROC of the epochs looked at: chosen on the test images, so not a result."""
        return max([value for _, value in self.looks] + [self.auroc])

    @property
    def recall(self) -> float:
        """Share of the defective images above every good one."""
        return recall_without_false_alarms(self.scores, self.is_defective)

    @classmethod
    def revived(cls, values: dict[str, Any]) -> Cell:
        """Return the cell that was kept as ``values``."""
        values["scores"] = np.array(values["scores"], dtype=np.float64)
        values["by_views"] = {int(count): np.array(s) for count, s in values["by_views"].items()}
        values["looks"] = tuple((int(epoch), float(value)) for epoch, value in values["looks"])
        values["defects"] = tuple(values["defects"])
        return cls(**values)


OnCell = Callable[[Cell, bool], None]


def check_kinds(dataset: Dataset) -> None:
    """Raise :class:`LayoutError` for a data set whose test images cannot say anything of a fit."""
    if len({sample.is_defective for sample in dataset.test}) < 2 or not dataset.train:
        raise LayoutError(
            f"{dataset!r}: training images, and both good and defective test images, are needed"
        )


class Lab:
    """Computes cells, or takes them from ``folder`` where they are finished.

    ``weights``: see :class:`differnet.detector.detector.DifferNet`; ``on_cell`` sees every cell, and whether it was
    kept.
    """

    def __init__(
        self, folder: Path, weights: str | None, device: str, progress: Progress, on_cell: OnCell
    ) -> None:
        self.folder = folder
        self.weights = weights
        self.device = device
        self.progress = progress
        self.on_cell = on_cell
        self._modules: dict[sections.Backbone, MultiScale] = {}
        self._weights = digest_of_weights(weights)
        self._contents: dict[Dataset, str] = {}
        self._kept = Kept(folder, Cell, Cell.revived)

    def run(self, plan: Plan) -> Cell:
        """Return the cell of ``plan``, which is kept as soon as it is finished.

        Raises :class:`LayoutError` where the test images cannot say anything, or masks do not fit their images, and
        :class:`OSError` where nothing can be written, both before anything is fitted.
        """
        check_kinds(plan.dataset)
        key = self.key(plan)
        picture = self.folder / f"{key}.png" if plan.maps else None
        cell = self._finished(key, picture)
        was_kept = cell is not None
        if cell is None:
            if plan.maps:
                check_masks(plan.dataset.test)
            self._kept.check(key)
            cell = _compute(plan, self._module(plan.settings.backbone), self.device, self.progress, picture)
            self._kept.add(key, key, replace(cell, picture=None))
        self.on_cell(cell, was_kept)
        return cell

    def key(self, plan: Plan) -> str:
        """Return what the cell of ``plan`` is kept under; files are read once for each data set."""
        data = plan.dataset
        if data not in self._contents:
            self._contents[data] = data.digest(lambda done, n: self.progress(f"reading {data.name}", done, n))
        return plan.key(self._contents[data], surroundings(plan.settings, self._weights, self.device))

    def _finished(self, key: str, picture: Path | None) -> Cell | None:
        """Return a finished cell; one without its picture is not finished, unless it says why there is none."""
        cell = self._kept.find(key, key)
        there = picture if picture and picture.is_file() else None
        return replace(cell, picture=there) if cell and (there == picture or cell.pixel_failure) else None

    def _module(self, settings: sections.Backbone) -> MultiScale:
        if settings not in self._modules:
            self._modules[settings] = network.build(settings, self.weights).to(self.device)
        return self._modules[settings]


class _Looks:
    """Watches flows while they are trained: the AUROC on the test images after some epochs, and the time this takes."""

    def __init__(self, features: Sequence[Tensor], labels: npt.NDArray[np.bool_], device: str) -> None:
        self.features = features
        self.labels = labels
        self.device = device
        self.found: list[tuple[int, float]] = []
        self.seconds = 0.0

    def __call__(self, fusion: Fusion, epoch: int, total: int) -> None:
        started = time.perf_counter()
        if epoch % math.ceil(total / _LOOKS) == 0 or epoch == total:
            scores = [view_scores(fusion, part, self.device).mean() for part in self.features]
            self.found.append((epoch, auroc(np.array(scores), self.labels)))
        self.seconds += time.perf_counter() - started


@dataclass(frozen=True)
class _Fitted:
    """A fit, and the features of the test images, described before it; ``rows``: their scores (V,) of each view."""

    model: Model
    module: MultiScale
    describer: Describer
    device: str
    features: Sequence[Tensor]
    looks: _Looks
    fit_seconds: float
    describe_seconds: float
    rows: list[ViewScores] = field(default_factory=list)

    def predict_iter(self, images: Sequence[Path]) -> Iterator[Prediction]:
        reads = fastest(self.model.fusion, self.describer.runtime, self.device)
        for _, part in zip(images, self.features, strict=True):
            self.rows.append(view_scores(reads, part, self.device))
            yield Prediction(float(self.rows[-1].mean()))

    def localize(self, image: Path) -> Heat:
        return localize(self.model, self.module, self.describer, image)


def _compute(plan: Plan, module: MultiScale, device: str, progress: Progress, picture: Path | None) -> Cell:
    drawn = plan.dataset if plan.shots is None else plan.dataset.shots(plan.shots, plan.seed)
    fit = _fit(plan, drawn, module, device, progress)
    gallery = plots.Gallery(lambda sample, prediction: sample.defect)
    found = measure(fit, drawn, plan.maps, progress, gallery.on_map, may_fail=True)
    failure = _draw(gallery, found, picture, drawn.name) if picture else ""
    pixels = PixelFigures(math.nan, math.nan) if failure or not found.pixels else found.pixels
    rows, model = np.stack(fit.rows), fit.model
    return Cell(
        dataset=drawn.name,
        seed=plan.seed,
        shots=plan.shots,
        n_train=len(drawn.train),
        defects=tuple(sample.defect for sample in drawn.test),
        scores=found.scores,
        by_views={count: rows[:, :count].mean(axis=1) for count in plan.view_counts},
        looks=tuple(fit.looks.found),
        pixel_auroc=known(pixels.auroc),
        pixel_aupro=known(pixels.aupro),
        fit_seconds=fit.fit_seconds,
        score_seconds_per_image=(fit.describe_seconds + found.score_seconds) / len(drawn.test),
        choice=str(model.choice) if model.choice else None,
        backbone=f"{plan.settings.backbone.backbone}, weights: {model.backbone_origin}",
        precision=model.precision,
        versions=versions(),
        machine=_where(device),
        pixel_failure=failure,
        picture=None if failure else picture,
    )


def _fit(plan: Plan, drawn: Dataset, module: MultiScale, device: str, progress: Progress) -> _Fitted:
    images = look_at([sample.path for sample in drawn.train], plan.settings)
    given = Given(images, drawn.groups)
    asked = presets.resolve(plan.settings, {"holdout": 0.0, "folds": 0})
    times = [time.perf_counter()]
    ready = prepare.prepare(asked, module, given, plan.seed, device, progress)
    shown = scoring_views(ready.settings.views, plan.seed)
    times.append(time.perf_counter())
    features = _describe(ready.describer, drawn.test, shown, progress)
    times.append(time.perf_counter())
    labels = np.array([sample.is_defective for sample in drawn.test])
    looks = _Looks(features, labels, device)
    here = ready, module, plan.seed, device, progress
    fitter = fitting.Fitter(*here, on_epoch=by_epoch(progress), scale_maps=plan.maps, watch=looks)
    model = fitter.fit(given, Given([]), None)
    times.append(time.perf_counter())
    prepared, described, fitted = np.diff(times).tolist()
    return _Fitted(
        model, module, ready.describer, device, features, looks,
        fit_seconds=prepared + fitted - looks.seconds, describe_seconds=described,
    )  # fmt: skip


def _describe(
    describer: Describer, samples: Sequence[Sample], shown: ViewSet, progress: Progress
) -> list[Tensor]:
    features: list[Tensor] = []
    for described in describer.stream([sample.path for sample in samples], shown):
        features.append(described)
        progress("describing test images", len(features), len(samples))
    return features


def _draw(gallery: plots.Gallery, found: Measured, picture: Path, name: str) -> str:
    """Draw the gallery, or return why there are no heat maps: the scores of a fit are not lost with them."""
    reason = found.map_failure or ("" if found.pixels else "no test image has a mask")
    if not reason:
        try:
            panels = [panel for kind in gallery.panels.values() for panel in kind]
            plots.contact_sheet(picture, panels, f"{name}: image with the true mask, and its heat")
        except Exception as error:
            reason = in_a_line(error)
    if reason:
        warn(f"heat maps could not be measured: {reason}")
    return reason


def _where(device: str) -> str:
    on_cuda = torch.device(device).type == "cuda"
    return f"{machine()}, {torch.cuda.get_device_name(device) if on_cuda else f'on {device}'}"
