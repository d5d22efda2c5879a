"""From images to features: decode once, show in many views, describe each view."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from differnet import config
from differnet.backbone import MultiScale
from differnet.errors import NumericalError
from differnet.images import ImageLike, load
from differnet.runtime import Runtime
from differnet.seeds import generator
from differnet.train import OnEpoch
from differnet.views import ViewSet, random_views, render, to_square

Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def by_epoch(progress: Progress) -> OnEpoch:
    """Return what tells ``progress`` of every epoch of a flow."""
    return lambda epoch, total: progress("fitting the flow", epoch.epoch + 1, total)


class Describer:
    """Maps an image and views of it to features: views (V,) -> (V, D)."""

    def __init__(self, module: MultiScale, runtime: Runtime, views: config.Views) -> None:
        self.module = module
        self.runtime = runtime
        self.views = views
        self.size = module.sizes[0]

    def features(self, image: ImageLike, views: ViewSet) -> Tensor:
        """Decode ``image`` once and describe it in every view; (V, D)."""
        described = self.runtime.features(render(self.square(image), views, self.views.fill))
        if not torch.isfinite(described).all():
            raise NumericalError(f"the backbone gave NaN or infinite features for {_name(image)}")
        return described

    def square(self, image: ImageLike) -> Tensor:
        """Decode ``image`` and resize it to what views are rendered from: (3, S, S), values 0..255."""
        return to_square(load(image), self.size)

    def bank(self, images: Sequence[ImageLike], seed: int, progress: Progress = silent) -> Tensor:
        """Describe ``train_views`` random views of every image: (N, V, D); image i has draws of its own."""
        count = self.views.train_views
        rows = torch.empty(len(images), count, self.module.width)
        for index, image in enumerate(images):
            views = random_views(count, self.views, generator(seed, "training views", index))
            rows[index] = self.features(image, views)
            progress("describing training images", index + 1, len(images))
        return rows


class FreshViews:
    """A source of batches that draws new views of every image in every epoch, as the paper trains.

    A batch holds ``views_per_step`` views of each of ``batch / views_per_step`` images; an epoch shows each
    image ``train_views`` times.
    """

    def __init__(
        self,
        describer: Describer,
        images: Sequence[ImageLike],
        settings: config.Training,
        seed: int,
        progress: Progress = silent,
    ) -> None:
        self.describer = describer
        self.images = images
        self.seed = seed
        self.progress = progress
        self.together = min(settings.views_per_step, describer.views.train_views)
        self.images_a_batch = max(1, settings.batch // self.together)
        self.rounds = math.ceil(describer.views.train_views / self.together)

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.rounds * math.ceil(len(self.images) / self.images_a_batch)

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Yield the batches (B, D) of one epoch."""
        step = 0
        for turn in range(self.rounds):
            draws = generator(self.seed, "fresh views", epoch, turn)
            order = torch.randperm(len(self.images), generator=draws)
            count = min(self.together, self.describer.views.train_views - turn * self.together)
            for chosen in order.split(self.images_a_batch):
                yield torch.cat([self._describe(int(index), count, draws) for index in chosen])
                step += 1
                self.progress(f"epoch {epoch + 1}", step, self.steps)

    def _describe(self, index: int, count: int, draws: torch.Generator) -> Tensor:
        views = random_views(count, self.describer.views, draws)
        return self.describer.features(self.images[index], views)


def _name(image: ImageLike) -> str:
    return (
        str(image) if not hasattr(image, "shape") and not hasattr(image, "mode") else "an array or PIL image"
    )
