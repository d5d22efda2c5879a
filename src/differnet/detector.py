"""The detector: fit on good images, score, predict, localize, save and load."""

from __future__ import annotations

import os
import warnings
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from differnet import artifact, backbone, calibrate, config, localize, runtime, score, train
from differnet.artifact import Model
from differnet.bank import identity, kept_bank
from differnet.errors import ConfigError, DifferNetWarning, NotFittedError, NumericalError, WeightsError
from differnet.features import Describer, FreshViews, Progress, silent
from differnet.flow import Flow
from differnet.images import ImageLike, gather
from differnet.images import load as load_image
from differnet.seeds import generator
from differnet.views import ViewSet, even_views, random_views

Scores = npt.NDArray[np.float64]
Heat = npt.NDArray[np.float32]
_MAP_SCALE_IMAGES = 16


@dataclass(frozen=True)
class Prediction:
    """What the detector says of one image.

    ``score``: tau(x), eq. 5. ``threshold``: theta, eq. 6; ``is_defective``: score >= threshold; both absent
    when no good images were held out. ``p_value``: the chance that a good image scores as high or higher.
    ``heat_map``: (H, W) of the image, 1 is the peak of a typical good image; on request only.
    """

    score: float
    threshold: float | None = None
    is_defective: bool | None = None
    p_value: float | None = None
    heat_map: Heat | None = field(default=None, repr=False, compare=False)


class DifferNet:
    """A defect detector that learns from good images alone.

    ``preset``: ``"default"``, ``"paper"`` or a :class:`~differnet.config.Config`; any setting can be replaced
    by name: ``DifferNet("default", epochs=5)``. ``seed`` fixes permutations, weights, batches and all views.
    ``weights``: a file of backbone weights for a machine without a network, or ``"random"``.
    """

    def __init__(
        self,
        preset: str | config.Config = "default",
        seed: int = 0,
        weights: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        **settings: Any,
    ) -> None:
        self.config = config.resolve(preset, settings)
        if seed < 0:
            raise ConfigError(f"seed = {seed}: a whole number from 0 was wanted")
        self.seed = seed
        self.device = runtime.check_device(device)
        self._weights = None if weights is None else os.fspath(weights)
        self._model: Model | None = None

    def __repr__(self) -> str:
        c = self.config
        state = (
            f"fitted on {self._model.train_count} good images, threshold {_number(self.threshold)}"
            if self._model
            else "not fitted"
        )
        return (
            f"DifferNet({c.backbone.backbone} at {'/'.join(map(str, c.backbone.sizes))}, "
            f"{c.flow.blocks} blocks of {c.flow.depth} x {c.flow.hidden}, "
            f"{c.views.score_views} views; {state})"
        )

    @property
    def model(self) -> Model:
        """The fitted part; raises :class:`NotFittedError` before ``fit`` or ``load``."""
        if self._model is None:
            raise NotFittedError(
                "this detector has learned nothing yet: call fit(images) or differnet.load(path)"
            )
        return self._model

    @cached_property
    def module(self) -> backbone.MultiScale:
        """The frozen backbone as a torch module, where heat maps come from."""
        return backbone.build(self.config.backbone, self._weights).to(self.device)

    @cached_property
    def describer(self) -> Describer:
        """From images to features, in the runtime of the configuration."""
        chosen = runtime.choose(self.module, self.config.backbone.runtime, self.device)
        if self._model is not None and self._model.runtime != chosen.name:
            warnings.warn(
                f"the model was fitted on features from {self._model.runtime} and scores with {chosen.name}: "
                "scores differ in their last digits",
                DifferNetWarning,
                stacklevel=2,
            )
        return Describer(self.module, chosen, self.config.views)

    @cached_property
    def scoring_views(self) -> ViewSet:
        """The views every image is scored in; they come from the configuration and the seed alone."""
        views = self.config.views
        if views.score_rotations == "even":
            return even_views(views.score_views, views)
        return random_views(views.score_views, views, generator(self.seed, "scoring views"))

    @property
    def threshold(self) -> float | None:
        """theta of eq. 6, or nothing when no good images were held out."""
        promise = self.promise
        return None if promise is None else promise.value

    @property
    def promise(self) -> calibrate.Threshold | None:
        """The threshold with the false-alarm rate it promises."""
        return artifact.threshold(self.model)

    def fit(
        self,
        images: ImageLike | Iterable[ImageLike],
        groups: Sequence[Hashable] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Progress = silent,
        on_epoch: train.OnEpoch = lambda epoch, total: None,
        bank: Tensor | None = None,
        scale_maps: bool = True,
    ) -> DifferNet:
        """Learn from good images and return the detector itself.

        ``images``: a folder, paths, arrays (H, W, 3) or PIL images. A share of them (``holdout``), whole
        ``groups`` together, is kept out and sets the threshold at the false-alarm rate ``rate``; a warning
        says when they are too few to promise it. ``checkpoint``: a folder from which a broken-off fit goes
        on. ``bank``: features (N, V, D) of these images, when they were described before.
        ``scale_maps=False`` saves the time of finding the scale of heat maps. Nothing of an earlier fit
        changes when this one fails. Raises :class:`ImageError` for what cannot be read and
        :class:`ConfigError` when there are too few images or groups.
        """
        items = gather(images)
        chosen, held = self._split(items, groups)
        images = [items[index] for index in chosen]
        folder = None if checkpoint is None else Path(checkpoint)
        key = identity(self.describer, images, self.seed) if folder else ""
        calibration_features = [
            self._describe(items[index], progress, "describing held-out images", step, len(held))
            for step, index in enumerate(held, 1)
        ]
        rows = None if bank is None else bank[chosen]
        flow = self._new_flow()
        history = train.fit(
            flow,
            self._source(images, folder, key, progress, rows),
            self.config.training,
            torch.cat(calibration_features) if held else None,
            folder / "flow.safetensors" if folder else None,
            key,
            on_epoch,
        )
        flow.eval().requires_grad_(False)
        model = Model(
            config=self.config,
            seed=self.seed,
            backbone_digest=self.module.digest,
            backbone_origin=self.module.origin,
            runtime=self.describer.runtime.name,
            flow=flow,
            calibration=np.array([_score(flow, part, self.device) for part in calibration_features]),
            map_scale=1.0,
            train_count=len(chosen),
            history=tuple(history),
            versions=artifact.versions(),
        )
        if scale_maps:
            scale = self._map_scale(model, [items[index] for index in held or chosen], progress)
            model = replace(model, map_scale=scale)
        self._model = model
        calibrate.warn_when_few(self.promise)
        return self

    def score(self, images: ImageLike | Iterable[ImageLike], progress: Progress = silent) -> Scores:
        """Return tau(x) of eq. 5 for every image, shape (N,); a function of model and image alone."""
        items = gather(images)
        scores = []
        for index, item in enumerate(items, 1):
            scores.append(self.score_features(self.describe(item)))
            progress("scoring", index, len(items))
        return np.array(scores, dtype=np.float64)

    def predict(self, image: ImageLike, heat_map: bool = False) -> Prediction:
        """Judge one image, with its heat map on request."""
        prediction = self.judge(self.score_features(self.describe(image)))
        return replace(prediction, heat_map=self.localize(image)) if heat_map else prediction

    def localize(self, image: ImageLike) -> Heat:
        """Return the heat map (H, W) of eq. 7; 1 is the peak of a typical good image, the same for all."""
        heat: Heat = self._raw_map(self.model, image) / np.float32(self.model.map_scale)
        return heat

    def describe(self, image: ImageLike) -> Tensor:
        """Return the features (V, D) of the scoring views."""
        return self.describer.features(image, self.scoring_views)

    def score_features(self, features: Tensor) -> float:
        """Score what :meth:`describe` returned."""
        return _score(self.model.flow, features, self.device)

    def judge(self, value: float) -> Prediction:
        """Turn a score into a prediction."""
        threshold = self.threshold
        if threshold is None:
            return Prediction(value)
        p = calibrate.p_value(value, self.model.calibration)
        return Prediction(value, threshold, value >= threshold, p)

    def calibrate(
        self, good: ImageLike | Iterable[ImageLike], rate: float | None = None, progress: Progress = silent
    ) -> calibrate.Threshold:
        """Set the threshold anew from good images that were not used to fit; returns it with its promise."""
        settings = self.config if rate is None else config.resolve(self.config, {"rate": rate})
        scores = self.score(good, progress)
        promise = calibrate.choose_threshold(scores, settings.decision.rate)
        self._model = replace(self.model, calibration=scores, config=settings)
        self.config = settings
        calibrate.warn_when_few(self.promise)
        return promise

    def sibling(self, **settings: Any) -> DifferNet:
        """Return a detector that has learned nothing, with single settings replaced.

        It shares the frozen backbone, already loaded, where the replaced settings allow it.
        """
        other = DifferNet(config.resolve(self.config, settings), self.seed, self._weights, self.device)
        if (other.config.backbone, other.config.views) == (self.config.backbone, self.config.views):
            other.module, other.describer = self.module, self.describer
        return other

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file, whole or not at all."""
        artifact.save(Path(path), self.model)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        weights: str | os.PathLike[str] | None = None,
        device: str = "cpu",
    ) -> DifferNet:
        """Read a model file and check that the backbone weights at hand are those it was fitted with.

        ``weights``: the file of backbone weights, when the model was made with one.
        """
        model = artifact.load(Path(path))
        source = weights or (model.backbone_origin if model.backbone_origin == "random" else None)
        if source is None and model.backbone_origin == "file":
            raise WeightsError(
                f"{path}: was fitted with a file of backbone weights (sha256 {model.backbone_digest[:16]}...); "
                "give that file with weights=FILE (--weights FILE)"
            )
        detector = cls(model.config, model.seed, source, device)
        if detector.module.digest != model.backbone_digest:
            raise WeightsError(
                f"{path}: was fitted with weights of {model.config.backbone.backbone} with sha256 "
                f"{model.backbone_digest[:16]}..., found {detector.module.digest[:16]}...; give the right "
                "file with weights=FILE (--weights FILE)"
            )
        model.flow.to(device)
        detector._model = model
        return detector

    def _split(
        self, items: Sequence[ImageLike], groups: Sequence[Hashable] | None
    ) -> tuple[list[int], list[int]]:
        share = self.config.decision.holdout
        if groups is not None and len(groups) != len(items):
            raise ConfigError(f"{len(groups)} groups for {len(items)} images; one each is needed")
        if not items:
            raise ConfigError("no images were given; good images are needed to fit")
        if share == 0:
            return list(range(len(items))), []
        return calibrate.hold_out(range(len(items)) if groups is None else groups, share, self.seed)

    def _new_flow(self) -> Flow:
        shape = self.config.flow
        flow = Flow(self.module.width, shape.blocks, shape.hidden, shape.depth, shape.clamp, self.seed)
        return flow.to(self.device)

    def _describe(self, item: ImageLike, progress: Progress, stage: str, step: int, total: int) -> Tensor:
        features = self.describe(item)
        progress(stage, step, total)
        return features

    def _source(
        self,
        images: Sequence[ImageLike],
        folder: Path | None,
        key: str,
        progress: Progress,
        rows: Tensor | None,
    ) -> train.Source:
        training = self.config.training
        if self.config.views.fresh_views:
            return FreshViews(self.describer, images, training, self.seed, progress)
        if rows is None:
            rows = (
                self.describer.bank(images, self.seed, progress)
                if folder is None
                else kept_bank(self.describer, images, self.seed, folder, key, progress)
            )
        return train.Bank(rows.flatten(0, 1), training.batch, self.seed)

    def _raw_map(self, model: Model, image: ImageLike) -> Heat:
        return localize.map_of_image(load_image(image), self.module, model.flow, self.config)

    def _map_scale(self, model: Model, good: Sequence[ImageLike], progress: Progress) -> float:
        """Return the median peak of the maps of a few good images, which all maps are divided by."""
        some = good[:_MAP_SCALE_IMAGES]
        peaks = []
        for index, item in enumerate(some, 1):
            peaks.append(float(self._raw_map(model, item).max()))
            progress("scaling heat maps", index, len(some))
        return max(float(np.median(peaks)), 1e-30)


@torch.inference_mode()
def _score(flow: Flow, features: Tensor, device: str) -> float:
    z, _ = flow(features.to(device))
    value = float(score.image_score(z.cpu().double()))
    if not np.isfinite(value):
        raise NumericalError(f"the score of an image is {value}: the flow gave no finite latent")
    return value


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
