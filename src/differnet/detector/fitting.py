"""One fit: describe, train the flow, score the held-out images, scale the heat maps."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from differnet.config import presets, sections
from differnet.config.settled import Settled
from differnet.data.groups import folds_of, hold_out
from differnet.data.images import ImageLike
from differnet.data.images import load as load_image
from differnet.data.stream import Progress, name_of, naming
from differnet.decision import thresholds
from differnet.detector import model
from differnet.detector.model import Model
from differnet.detector.prepare import Prepared
from differnet.detector.provenance import Sources, Way, record_of, sources_of
from differnet.detector.scoring import stack_scores, view_scores
from differnet.errors import ConfigError
from differnet.features.backbone.network import MultiScale
from differnet.features.cache import describe_all, identity, kept_bank
from differnet.features.describer import Describer
from differnet.features.pooling import Reading, settled_reading
from differnet.features.tiles import shown, to_square
from differnet.features.views import ViewSet
from differnet.flow import gaussian, localize, train
from differnet.flow.flow import Flow
from differnet.flow.sources import Bank, FreshViews, Source
from differnet.flow.train import Epoch
from differnet.runtime.memory import give_back

Watch = Callable[[Flow, int, int], None]
_MAP_SCALE_IMAGES = 16


def unwatched(flow: Flow, epoch: int, total: int) -> None:
    """Look at nothing."""


@dataclass(frozen=True)
class Given:
    """Good images, and which of them belong together (same part, same shoot), if that is known."""

    images: Sequence[ImageLike]
    groups: Sequence[Hashable] | None = None


@dataclass(frozen=True)
class Fitter:
    """All that a fit depends on besides the images, and what ``watch``es the flow after every epoch of so many."""

    settings: Settled
    seed: int
    device: str
    module: MultiScale
    prepared: Prepared
    scoring_views: ViewSet
    progress: Progress
    watch: Watch = unwatched

    @property
    def describer(self) -> Describer:
        """From images to features."""
        return self.prepared.describer

    @cached_property
    def read(self) -> Reading:
        """How a row of features is read."""
        return settled_reading(self.settings, self.module.channels)

    def fit(
        self,
        fitted: Given,
        held: Given,
        folder: Path | None,
        on_epoch: train.OnEpoch,
        bank: Tensor | None,
        scale_maps: bool,
    ) -> Model:
        """Fit a flow to ``fitted`` and take the threshold and the scale of heat maps from ``held``.

        ``folder``: where a broken-off fit goes on. ``bank``: the features (N, V, D) of ``fitted`` if at hand.
        """
        features, sources = self.describe_held_out(held.images), self._sources(fitted)
        record = (
            record_of(held.images, held.groups, self.way, sources, self.progress) if held.images else None
        )
        flow, history = self.train_flow(fitted.images, features, folder, on_epoch, bank)
        scores = [
            view_scores(flow, self.read, part, self.device, name_of(image))
            for image, part in zip(held.images, features, strict=True)
        ]
        return Model(
            config=self.settings.config,
            seed=self.seed,
            backbone_digest=self.module.digest,
            backbone_origin=self.module.origin,
            channels=self.module.channels,
            runtime=self.describer.runtime.name,
            flow=flow,
            view_scores=stack_scores(scores),
            map_scale=map_scale(
                flow,
                self.read,
                self.module,
                self.describer,
                self.settings,
                held.images or fitted.images,
                self.progress,
            )
            if scale_maps
            else 1.0,
            train_count=len(fitted.images),
            precision=self.describer.runtime.precision,
            graph=self.prepared.graph,
            probe=None if self.prepared.graph is None else self.describer.probe(),
            choice=self.prepared.choice,
            calibrated_on=record,
            fitted_on=sources,
            history=history,
            versions=model.versions(),
        )

    def _sources(self, fitted: Given) -> Sources:
        return sources_of(fitted.images, fitted.groups, self.progress)

    @property
    def way(self) -> Way:
        """How images are scored."""
        runtime = self.describer.runtime
        return Way(len(self.scoring_views), runtime.name, runtime.precision)

    @property
    def network(self) -> tuple[str, int]:
        """What features depend on besides views and images."""
        return repr(self.module), self.settings.backbone.tiles

    def train_flow(
        self,
        images: Sequence[ImageLike],
        held: Sequence[Tensor],
        folder: Path | None,
        on_epoch: train.OnEpoch,
        bank: Tensor | None,
    ) -> tuple[Flow, tuple[Epoch, ...]]:
        """Fit a new flow; ``held``: features (V, W) of images whose likelihood is noted on the way."""
        key = self.key_of(images, folder)
        flow = self._new_flow()
        source = self._source(images, folder, key, bank)
        if flow.whitening is not None:
            flow.whitening.set(*gaussian.fit(source.sample(gaussian.MOST_ROWS), self.seed))
            give_back()

        def tell(epoch: Epoch, total: int) -> None:
            self.watch(flow, epoch.epoch + 1, total)
            on_epoch(epoch, total)

        history = train.fit(
            flow,
            source,
            self.settings.training,
            self.read.rows(torch.cat(list(held))) if held else None,
            folder / "flow.safetensors" if folder else None,
            f"{key} {self.settings.reading}",
            tell,
            self.seed,
        )
        flow.eval().requires_grad_(False)
        return flow, tuple(history)

    def describe_held_out(self, held: Sequence[ImageLike]) -> list[Tensor]:
        """Return the features (V, W) of each image in the scoring views."""
        features = []
        for described in self.describer.stream(held, self.scoring_views):
            features.append(described)
            self.progress("describing held-out images", len(features), len(held))
        return features

    def describe_training(self, images: Sequence[ImageLike], folder: Path | None, key: str) -> Tensor:
        """Describe the training views of all images: (N, V, W); kept in ``folder``, if any, under ``key``."""
        at_hand = self.prepared.described
        bank = (
            describe_all(self.describer, images, self.seed, self.progress, at_hand)
            if folder is None
            else kept_bank(self.describer, images, self.seed, folder, key, self.progress, at_hand)
        )
        at_hand.clear()  # the bank has them now
        give_back()
        return bank

    def key_of(self, images: Sequence[ImageLike], folder: Path | None) -> str:
        """Return the digest of all that training features of ``images`` depend on; nothing is kept without a folder."""
        return identity(self.describer, images, (self.network, self.seed)) if folder else ""

    def _new_flow(self) -> Flow:
        return Flow(self.read.features, seed=self.seed, **self.settings.flow.arguments).to(self.device)

    def _source(
        self, images: Sequence[ImageLike], folder: Path | None, key: str, bank: Tensor | None
    ) -> Source:
        training = self.settings.training
        if self.settings.views.fresh_views:
            return FreshViews(self.describer, images, training, self.seed, self.progress, self.read.rows)
        if bank is None:
            bank = self.describe_training(images, folder, key)
        return Bank(bank.flatten(0, 1), training.batch, self.seed, self.read.rows)


def map_scale(
    flow: Flow,
    read: Reading,
    module: MultiScale,
    describer: Describer,
    settings: Settled,
    good: Sequence[ImageLike],
    progress: Progress,
) -> float:
    """Return the median peak of the maps of a few good images, which all maps are divided by."""
    some = good[:_MAP_SCALE_IMAGES]
    peaks = []
    for index, item in enumerate(some, 1):
        pixels = load_image(item)
        square = to_square(pixels, describer.side, settings.views)
        with naming(item):
            heat = localize.heat_map(square, module, flow, read, settings, describer.other_numbers)
        peaks.append(float(shown(heat, pixels.shape, settings.views).max()))
        progress("scaling heat maps", index, len(some))
    return max(float(np.median(peaks)), 1e-30)


def split(
    images: Sequence[ImageLike], groups: Sequence[Hashable] | None, decision: sections.Decision, seed: int
) -> tuple[list[int], list[int]]:
    """Return the positions of images to fit to and of those held out, whole groups together.

    Raises :class:`ConfigError` for no images, too few groups, groups that do not go with the images, fewer held out
    than the wanted confidence needs, and a confidence for cross-fitted scores.
    """
    if groups is not None and len(groups) != len(images):
        raise ConfigError(f"{len(groups)} groups for {len(images)} images; one each is needed")
    if not images:
        raise ConfigError("no images were given; good images are needed to fit")
    names = range(len(images)) if groups is None else groups
    if decision.folds:
        thresholds.check_count(len(images), decision.rate, decision.confidence, decision.folds)
        folds_of(names, decision.folds, seed)
    if not decision.holdout or decision.folds:
        return list(range(len(images))), []
    chosen, held = hold_out(names, decision.holdout, seed)
    thresholds.check_count(len(held), decision.rate, decision.confidence)
    return chosen, held


def part(images: Sequence[ImageLike], groups: Sequence[Hashable] | None, chosen: Sequence[int]) -> Given:
    """Return some of the images, with their groups."""
    return Given([images[i] for i in chosen], None if groups is None else [groups[i] for i in chosen])


def check_bank(bank: Tensor, count: int, settings: presets.Config, is_fixed: bool) -> None:
    """Refuse features that are not of these images and views, or of a backbone that is yet to be quantised."""
    views = settings.views.train_views
    if not isinstance(views, str) and (bank.ndim != 3 or bank.shape[:2] != (count, views)):
        raise ConfigError(
            f"a bank of shape {tuple(bank.shape)}; ({count}, {views}, W) was wanted: images, views"
        )
    if not is_fixed:
        raise ConfigError(
            "a bank, but what to look at or the ranges of 8-bit integers are open: call prepare(images) before "
            "describing and fitting"
        )
