"""One fit: describe, train the flow, score the held-out images, scale the heat maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from differnet.config import presets
from differnet.config.settled import Settled
from differnet.data.stream import Progress, name_of, naming
from differnet.detector import model
from differnet.detector.model import Model
from differnet.detector.prepare import Prepared
from differnet.detector.provenance import Way, record_of, sources_of
from differnet.detector.scoring import localizer_of, scoring_views, stack_scores, view_scores
from differnet.errors import ConfigError
from differnet.features.backbone.network import MultiScale
from differnet.features.cache import describe_all, filled, kept_bank
from differnet.features.checkpoint import Checkpoint
from differnet.features.describer import Describer
from differnet.features.look import Given, Look
from differnet.features.mapped import letting_go
from differnet.features.pooling import RowReading, settled_readings
from differnet.features.tiles import shown
from differnet.features.views import ViewSet
from differnet.flow import cells, train
from differnet.flow.fusion import Fusion
from differnet.flow.graph import fastest
from differnet.flow.learning import Learner, Watch, unwatched
from differnet.flow.sources import Bank, FreshViews, Parts, Source
from differnet.flow.train import Epoch
from differnet.runtime.memory import give_back, trim

_MAP_SCALE_IMAGES = 16
_CELL_IMAGES = 32  # more change nothing (docs/decisions.md)
VIEWS_OF_PARTS = 4  # the picture as it is, and so many less one that are turned: their parts are many


def unheard(epoch: Epoch, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Fitter:
    """All that a fit depends on besides the images.

    ``watch`` looks at the flows after every epoch of so many. ``checkpoint``: where a broken-off fit goes on.
    ``scale_maps``: whether the scale of heat maps is found, and their cells are learned. ``note`` hears of a stage
    that ends and of which ``progress`` does not hear.
    """

    prepared: Prepared
    module: MultiScale
    seed: int
    device: str
    progress: Progress
    on_epoch: train.OnEpoch = unheard
    checkpoint: Checkpoint | None = None
    scale_maps: bool = True
    watch: Watch = unwatched
    note: Callable[[str], None] = lambda stage: None

    @property
    def settings(self) -> Settled:
        """The settings, which leave nothing open."""
        return self.prepared.settings

    @property
    def describer(self) -> Describer:
        """From images to features."""
        return self.prepared.describer

    @cached_property
    def scoring_views(self) -> ViewSet:
        """The views that images are scored in."""
        return scoring_views(self.settings.views, self.seed)

    @cached_property
    def reads(self) -> tuple[RowReading, ...]:
        """How a row of features is read, by each flow."""
        return settled_readings(self.settings, self.module.channels)

    @property
    def way(self) -> Way:
        """How images are scored."""
        runtime = self.describer.runtime
        return Way(len(self.scoring_views), runtime.name, runtime.precision)

    @property
    def depends(self) -> tuple[object, ...]:
        """What training features depend on besides the images."""
        network = repr(self.module), self.settings.backbone.stages, self.settings.backbone.tiles
        return self.describer.views, self.describer.identity, network, self.seed

    def fit(self, fitted: Given, held: Given, bank: Tensor | None) -> Model:
        """Fit flows to ``fitted`` and take the threshold and the scale of heat maps from ``held``.

        ``bank``: the features (N, V, D) of ``fitted`` if at hand. Every image is decoded at most once.
        """
        good = held.images or fitted.images
        self.mark_kept(fitted.images, held.images)
        features = self.describe_held_out(held.images)
        bank = self.describe_training(fitted.images) if bank is None else bank
        sources = sources_of(fitted.images, fitted.groups, self.progress)
        record = (
            record_of(held.images, held.groups, self.way, sources, self.progress) if held.images else None
        )
        fusion, history = self.train(fitted.images, features, bank)
        self.note("fitting the flow")
        reads = fastest(fusion, self.describer.runtime, self.device) if held.images else fusion
        scores = [
            view_scores(reads, part, self.device, name_of(image))
            for image, part in letting_go(zip(held.images, features, strict=True))
        ]
        found = Model(
            config=self.settings.config,
            seed=self.seed,
            backbone_digest=self.module.digest,
            backbone_origin=self.module.origin,
            channels=self.module.channels,
            runtime=self.describer.runtime.name,
            fusion=fusion,
            view_scores=stack_scores(scores),
            map_scale=1.0,
            train_count=len(fitted.images),
            precision=self.describer.runtime.precision,
            graph=self.prepared.graph,
            probe=None if self.prepared.graph is None else self.describer.probe(),
            choice=self.prepared.choice,
            calibrated_on=record,
            fitted_on=sources,
            sisters=fitted.found,
            picture_shape=self.prepared.picture_shape,
            history=history,
            versions=model.versions(),
        )
        return self._with_maps(found, fitted.images, good) if self.scale_maps else found

    def mark_kept(self, fitted: Sequence[Look], held: Sequence[Look]) -> None:
        """Note which squares are asked for more than once from now on: by fresh views, and for maps."""
        if self.settings.views.fresh_views:
            return
        for_maps = [*(held or fitted)[:_MAP_SCALE_IMAGES], *_of_cells(fitted)] if self.scale_maps else []
        for image in (*fitted, *held):
            image.keep = image in for_maps

    def train(
        self, images: Sequence[Look], held: Tensor | None, bank: Tensor | None
    ) -> tuple[Fusion, tuple[Epoch, ...]]:
        """Fit new flows to the ``bank``, or to fresh views of ``images`` where there is none.

        ``held``: features (M, V, W) of images whose likelihood is noted on the way.
        """
        learned_from = replace(self.settings.reading, neighbours=0)  # on which flows do not depend
        identity = repr((self.depends, learned_from))
        here = self.settings, self.reads, self.seed, self.device
        learner = Learner(*here, identity, self.on_epoch, self.watch, self.checkpoint, trim)
        return learner.learn([self._source(images, bank, read) for read in self.reads], held)

    def describe_held_out(self, held: Sequence[Look]) -> Tensor:
        """Return the features (M, V, W) of images in the scoring views."""

        def described() -> Iterator[Tensor]:
            for number, features in enumerate(self.describer.stream(held, self.scoring_views), 1):
                yield features
                self.progress("describing held-out images", number, len(held))

        return filled((len(held), len(self.scoring_views), self.describer.width), described())

    def describe_training(self, images: Sequence[Look]) -> Tensor | None:
        """Describe the training views of all images: (N, V, W), kept in the checkpoint, if any.

        Nothing where views are fresh: those are described while the flow is fitted.
        """
        if self.settings.views.fresh_views:
            return None
        at_hand = self.prepared.described
        here = self.describer, images, self.seed
        if self.checkpoint is None:
            bank = describe_all(*here, self.progress, at_hand)
        else:
            key = self.checkpoint.key(self.depends)
            bank = kept_bank(*here, self.checkpoint, key, progress=self.progress, at_hand=at_hand)
        for index in at_hand:  # the bank has them now, and nobody asked for their squares
            if not images[index].keep:
                images[index].forget()
        at_hand.clear()
        give_back()
        return bank

    def _with_maps(self, found: Model, fitted: Sequence[Look], good: Sequence[Look]) -> Model:
        """Learn the cells of fitted images, where maps want them, and take the scale of maps from good ones."""
        settings, describer = found.settings, self.describer
        if settings.maps.gradient == "features":
            some, localizer = _of_cells(fitted), localizer_of(found, self.module, describer)
            tiles = settings.backbone.tiles**2
            seen = (one for image in self._shown(some) for one in localizer.seen_of(describer.square(image)))
            found = replace(found, cells=cells.fit(seen, len(some), tiles, self.seed))
        return replace(found, map_scale=map_scale(found, self.module, describer, good, self.progress))

    def _shown(self, images: Sequence[Look]) -> Iterator[Look]:
        for index, image in enumerate(images, 1):
            with naming(image):
                yield image
            self.progress("learning the cells of heat maps", index, len(images))

    def _source(self, images: Sequence[Look], bank: Tensor | None, read: RowReading) -> Source:
        training = self.settings.training
        if bank is None or self.settings.views.fresh_views:
            return FreshViews(self.describer, images, training, self.seed, self.progress, read.rows)
        rows, only = bank.flatten(0, 1), None
        of_view = torch.arange(len(rows)).view(bank.shape[:2])
        if self.settings.reading.pooling == "combined":
            if read.pooling != "whole":
                only = of_view[:, :VIEWS_OF_PARTS].flatten()
                return Parts(rows, read.columns, training.batch, self.seed, only)
            if self.settings.views.turns and bank.shape[1] > 1:
                # The picture as it is is sharper than any that was turned, and would be learned apart.
                only = of_view[:, 1:].flatten()
        return Bank(rows, training.batch, self.seed, read.rows, only)


def map_scale(
    found: Model, module: MultiScale, describer: Describer, good: Sequence[Look], progress: Progress
) -> float:
    """Return the median peak of the maps of a few good images, which all maps are divided by."""
    some, settings = good[:_MAP_SCALE_IMAGES], found.settings
    localizer, peaks = localizer_of(found, module, describer), []
    for index, image in enumerate(some, 1):
        square = describer.square(image)
        with naming(image):
            heat = localizer.of_square(square)
        peaks.append(float(shown(heat, image.seen.shape, settings.views).max()))
        progress("scaling heat maps", index, len(some))
    return max(float(np.median(peaks)), 1e-30)


def _of_cells(fitted: Sequence[Look]) -> Sequence[Look]:
    """Return the images whose cells are learned, from all over the series."""
    return fitted[:: -(-len(fitted) // _CELL_IMAGES)]


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
