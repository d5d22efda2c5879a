"""A fitted detector without its frozen backbone, and what can be said of it."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from differnet.config import presets
from differnet.config.settled import Settled, settle
from differnet.config.shape import Shape
from differnet.data.sisters.find import Summary
from differnet.decision.calibration import Standard
from differnet.decision.effective import EffectiveCount, effective_count
from differnet.decision.thresholds import CONDITION, Threshold
from differnet.detector.provenance import CalibrationRecord, Sources
from differnet.detector.tuning.choice import Choice
from differnet.errors import WeightsError
from differnet.features.backbone import network
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.openvino_runtime import Graph
from differnet.features.backbone.torch_runtime import Precision
from differnet.features.pooling import RowReading
from differnet.features.views import count_views
from differnet.flow.cells import Cells
from differnet.flow.flow import Flow, parameter_count
from differnet.flow.fusion import Fusion
from differnet.flow.train import Epoch

_PACKAGES = (
    "differnet",
    "torch",
    "torchvision",
    "timm",
    "openvino",
    "nncf",
    "onnxruntime",
    "numpy",
    "pillow",
)


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted detector without its frozen backbone.

    ``fusion``: the flows, what each of them reads, and the good parts that are kept.
    ``view_scores``: scores (M, V) of held-out good images in every scoring view, empty when none were held out.
    ``channels``: of every stage in a row of features. ``choice``: what was found out from the good images, and by what
    evidence; nothing when the settings left nothing open. ``map_scale``: the heat-map value that is drawn as 1;
    ``cells``: what makes heat maps sharp, nothing for gradients to the pixels and in files of before.
    ``runtime``, ``precision``: what computed the features that the flow was fitted to. ``graph``: the 8-bit network
    they came from, ``probe`` (B, W) its features of :func:`differnet.features.backbone.torch_runtime.probe` where it
    was made; nothing in floats. ``calibrated_on``: which images those held out were; nothing where there were none,
    and in files of before. ``fitted_on``: which were fitted to; nothing in files of before.
    ``picture_shape``: of the picture by which tiles were found; nothing where they were asked for, or are 1.
    ``sisters``: which of all images were found to belong together; nothing where groups were given or not looked for,
    and in files of before.
    ``stage_seconds``: how long each stage of the fit took. ``file_digest``: of the file that was read.
    """

    config: presets.Config
    seed: int
    backbone_digest: str
    backbone_origin: str
    channels: tuple[int, ...]
    runtime: str
    fusion: Fusion
    view_scores: npt.NDArray[np.float64]
    map_scale: float
    train_count: int
    precision: Precision = "f32"
    graph: Graph | None = None
    probe: Tensor | None = None
    choice: Choice | None = None
    cells: Cells | None = None
    calibrated_on: CalibrationRecord | None = None
    fitted_on: Sources | None = None
    picture_shape: Shape | None = None
    sisters: Summary | None = None
    history: tuple[Epoch, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    file_digest: str = field(default="", repr=False)

    def calibration(self, views: int | None = None) -> npt.NDArray[np.float64]:
        """Return the scores (M,) of the held-out images in their first ``views`` views, or in all."""
        return self.standard.calibration(views)

    @cached_property
    def settings(self) -> Settled:
        """The settings that were fitted by, in which nothing is open."""
        return settle(self.config)

    @property
    def flow(self) -> Flow:
        """The only flow, or that of the first reading."""
        return self.fusion.parts[0][0]

    @property
    def reading(self) -> RowReading:
        """How :attr:`flow` reads a row of features."""
        return self.fusion.parts[0][1]

    @property
    def usual_views(self) -> int:
        """How many views an image is scored in."""
        return count_views(self.config.views.score_views, self.settings.views)

    @cached_property
    def effective(self) -> EffectiveCount | None:
        """How many independent images those held out are worth; nothing where there are none, or groups are unknown."""
        record = self.calibrated_on
        if record is None or not len(self.view_scores):
            return None
        members = record.sources.members or range(record.count)
        if not record.sources.members and record.groups < record.count:
            return EffectiveCount(record.count, record.groups, None, float(record.groups))  # a file of before
        return effective_count(self.calibration(), members)

    @cached_property
    def standard(self) -> Standard:
        """What scores are judged by."""
        decision = self.config.decision
        return Standard(
            view_scores=self.view_scores,
            usual_views=self.usual_views,
            order=self.settings.views.order,
            rate=decision.rate,
            confidence=decision.confidence,
            review_rate=decision.review_rate,
            folds=self.calibrated_on.folds if self.calibrated_on else 0,
        )


def backbone_of(model: Model, source: str | None) -> MultiScale:
    """Build the frozen network that the model was fitted with; ``source``: a file of its weights, if it was one.

    Raises :class:`WeightsError` when the weights are not those, or when the file was not given.
    """
    digest, name = model.backbone_digest[:16], model.config.backbone.backbone
    if model.backbone_origin == "file" and source is None:
        raise WeightsError(
            f"the model was fitted with a file of backbone weights (sha256 {digest}...); give that file with "
            "weights=FILE (--weights FILE)"
        )
    module = network.build(model.config.backbone, source)
    if module.digest != model.backbone_digest:
        raise WeightsError(
            f"the model was fitted with weights of {name} with sha256 {digest}..., found "
            f"{module.digest[:16]}...; give the right file with weights=FILE (--weights FILE)"
        )
    return module


def threshold(model: Model, views: int | None = None, rate: float | None = None) -> Threshold | None:
    """Return theta with its promise for the mean of the first ``views`` views, or of all.

    ``rate``: another than that of the settings. Nothing when no good images were held out.
    """
    return model.standard.threshold(views, rate)


def summarise(model: Model) -> dict[str, Any]:
    """Return what the model is and was made from, as JSON types."""
    promise = threshold(model)
    review = model.config.decision.review_rate and threshold(model, rate=model.config.decision.review_rate)
    record = model.calibrated_on
    return {
        "threshold": None if promise is None else promise.value,
        "promised_false_alarm_rate": None if promise is None else promise.promised,
        "guarantee": None if promise is None else promise.guarantee,
        "confidence": model.config.decision.confidence,
        "condition": None if promise is None else CONDITION,
        "chance_of_more_than_twice": None if promise is None or promise.folds else promise.more_than_twice,
        "review_threshold": review.value if review else None,
        "promised_review_rate": review.promised if review else None,
        "train_count": model.train_count,
        "calibration_count": len(model.view_scores),
        "calibrated_on": None if record is None else record.summary(),
        "effective_count": None if model.effective is None else model.effective.to_dict(),
        "sisters": None if model.sisters is None else model.sisters.to_dict(),
        "seed": model.seed,
        "view_shape": list(model.settings.shape),
        "picture_shape": None if model.picture_shape is None else list(model.picture_shape),
        "features": [flow.features for flow, _ in model.fusion.parts],
        "flow_parameters": sum(
            parameter_count(flow.features, shape)
            for (flow, _), shape in zip(model.fusion.parts, model.settings.flows, strict=True)
        ),
        "backbone_digest": model.backbone_digest,
        "backbone_origin": model.backbone_origin,
        "runtime": model.runtime,
        "precision": model.precision,
        "map_scale": model.map_scale,
        "choice": None if model.choice is None else model.choice.to_dict() | {"text": str(model.choice)},
        "loss": [epoch.loss for epoch in model.history],
        "held_out_loss": [epoch.held_out_loss for epoch in model.history],
        "stage_seconds": {stage: round(seconds, 3) for stage, seconds in model.stage_seconds.items()},
        "versions": dict(model.versions),
        "config": model.config.to_dict(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and the packages that a score depends on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
