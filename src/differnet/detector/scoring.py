"""Scoring with a fitted flow: from images to the scores of their views, one after the other or as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from differnet.config.settled import SettledViews
from differnet.data.images import ImageLike, Pixels, load, stream
from differnet.data.stream import Progress, look_ahead, name_of, naming
from differnet.decision import fusion as fused
from differnet.decision import verdict
from differnet.decision.calibration import ViewScores
from differnet.decision.light import Light, measure
from differnet.decision.verdict import Heat, Prediction
from differnet.detector.model import Model
from differnet.errors import ConfigError, NumericalError, noting
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.select import feature_maps_of
from differnet.features.backbone.torch_runtime import one_torch_thread
from differnet.features.describer import Describer
from differnet.features.look import Shown
from differnet.features.seeds import generator
from differnet.features.tiles import enlarged, to_square
from differnet.features.views import ViewSet, even_views, random_views
from differnet.flow.fusion import Fusion, Reads
from differnet.flow.graph import fastest
from differnet.flow.localize import Localizer

Found = TypeVar("Found")
Images: TypeAlias = ImageLike | Iterable[ImageLike]
Count: TypeAlias = int | Literal["auto"] | None


def scoring_views(settings: SettledViews, seed: int, count: int | None = None) -> ViewSet:
    """Return the views that images are scored in, ``score_views`` or ``count`` of them.

    They come from settings and seed alone; fewer random views are the first of more, and after a plain one all are
    without jitter. Raises :class:`ConfigError` for a count below 1.
    """
    count = settings.score_views if count is None else count
    if not isinstance(count, (int, np.integer)) or count < 1:
        raise ConfigError(f"views = {count!r}: a number from 1, or 'auto', was wanted")
    if settings.score_rotations == "even":
        return even_views(int(count), settings)
    drawn = random_views(int(count), settings, generator(seed, "scoring views"))
    if settings.plain_first:
        return ViewSet(drawn.angles, torch.ones_like(drawn.brightness), torch.ones_like(drawn.contrast))
    return drawn


def view_scores(reads: Reads, features: Tensor, device: str, name: str = "an image") -> ViewScores:
    """Return the score of every view (V,) from features (V, W): eq. 5 before the mean, of several readings of it.

    Raises :class:`NumericalError`, which names the image, when one is not finite.
    """
    return next(scores_of_groups(reads, [features], device, name))


def scores_of_groups(reads: Reads, groups: Iterable[Tensor], device: str, name: str) -> Iterator[ViewScores]:
    """Yield :func:`view_scores` of the views of one image, some of them at a time, each when it is asked for."""
    norms = (_norms(reads, features, device, name) for features in groups)
    return fused.view_scores(norms)


@torch.inference_mode()
def _norms(reads: Reads, features: Tensor, device: str, name: str) -> fused.Norms:
    with one_torch_thread():
        values: fused.Norms = reads(features.to(device)).numpy()
    if not np.isfinite(values).all():
        raise NumericalError(f"{name}: the score of a view is not finite: the flow gave no finite latent")
    return values


def stack_scores(rows: list[ViewScores]) -> ViewScores:
    """Stack the view scores (V,) of images to a table (M, V), also of no images."""
    return np.stack(rows) if rows else np.empty((0, 0))


def localizer_of(model: Model, module: MultiScale, describer: Describer) -> Localizer:
    """Return what makes the heat maps of a model."""
    settings, faster = model.settings, None
    if settings.maps.gradient == "features":
        faster = feature_maps_of(describer.runtime, module, settings.shape)
    return Localizer(module, model.fusion, settings, describer.other_numbers, model.cells, faster)


def heat_map(
    model: Model, module: MultiScale, describer: Describer, pixels: Pixels, square: Tensor | None = None
) -> Heat:
    """Return the heat map (h, w) of a picture (H, W, 3), as fine as what the network sees.

    1 is the peak of a typical good image. ``square``: what was made of the pixels to score them, where there is one.
    """
    raw = localizer_of(model, module, describer).of_picture(pixels, square)
    return np.asarray(raw / np.float32(model.map_scale))


def localize(model: Model, module: MultiScale, describer: Describer, image: ImageLike) -> Heat:
    """Return the heat map (H, W) of an image of that size, in units of :func:`heat_map`."""
    pixels = load(image, describer.views)
    return enlarged(heat_map(model, module, describer, pixels), pixels.shape)


class Mapped(NamedTuple):
    """A judged image: the ``prediction``, the ``pixels`` (H, W, 3), and its heat map (h, w) as :func:`heat_map`."""

    prediction: Prediction
    pixels: Pixels
    heat: Heat


class Lit(NamedTuple):
    """A judged image: the ``prediction``, and the ``light`` of the same decoding."""

    prediction: Prediction
    light: Light


@dataclass(frozen=True)
class Scorer:
    """Scores images with flows, in given views."""

    fusion: Fusion
    describer: Describer
    device: str

    @cached_property
    def reads(self) -> Reads:
        """What gives the readings of the flows."""
        return fastest(self.fusion, self.describer.runtime, self.device)

    def rows(self, images: Iterable[Shown], shown: ViewSet) -> Iterator[ViewScores]:
        """Yield the scores (V,) of each image of a stream in the views ``shown``, in order, reading ahead."""
        self.describer.keep_grids(shown)

        def work(describer: Describer, image: Shown, square: Tensor) -> ViewScores:
            name = name_of(image)
            return self.of_features(describer.features(square, shown, name), name)

        return self.describer.each(images, self.describer.square, work)

    def table(self, images: Sequence[Shown], shown: ViewSet, progress: Progress) -> ViewScores:
        """Return the scores (M, V) of held-out images; raises :class:`ConfigError` for none."""
        if not images:
            raise ConfigError("no images were given; good images are needed to calibrate")
        rows = []
        for row in self.rows(images, shown):
            rows.append(row)
            progress("scoring good images", len(rows), len(images))
        return stack_scores(rows)

    def of_features(self, features: Tensor, name: str = "an image") -> ViewScores:
        """Score features (V, W) of the image of that ``name`` view by view."""
        return view_scores(self.reads, features, self.device, name)

    def predictions(
        self,
        model: Model,
        images: Images,
        shown: ViewSet,
        early: bool,
        heat_map: Callable[[Pixels, Tensor], Heat] | None,
    ) -> Iterator[Prediction]:
        """Yield the verdict on each image of a stream, decoded once for views and heat map.

        ``early`` looks at them two by two until the verdict is certain.
        """
        self.describer.keep_grids(shown)
        if heat_map is not None:
            mapped = self.mapped(model, images, shown, early, heat_map)
            return (replace(one.prediction, heat_map=enlarged(one.heat, one.pixels.shape)) for one in mapped)

        judged = self._judged(model, images, shown, early, lambda pixels: None)
        return (prediction for prediction, _ in judged)

    def lit(self, model: Model, images: Images, shown: ViewSet, early: bool) -> Iterator[Lit]:
        """Yield what :meth:`predictions` yields without heat maps, each with the light of its picture."""
        self.describer.keep_grids(shown)
        return (Lit(*one) for one in self._judged(model, images, shown, early, measure))

    def _judged(
        self, model: Model, images: Images, shown: ViewSet, early: bool, look: Callable[[Pixels], Found]
    ) -> Iterator[tuple[Prediction, Found]]:
        """Yield the verdict on each image of a stream, and what ``look`` makes of its pixels, decoded once."""

        def decode(image: ImageLike) -> tuple[Tensor, str | None, Found]:
            pixels, square, note = _decode(image, self.describer)
            return square, note, look(pixels)

        def work(
            describer: Describer, image: ImageLike, decoded: tuple[Tensor, str | None, Found]
        ) -> tuple[Prediction, Found]:
            square, note, found = decoded
            scorer = replace(self, describer=describer)
            return scorer._noted(model, image, (square, note), shown, early), found

        return self.describer.each(stream(images), decode, work)

    def prediction(self, model: Model, image: ImageLike, shown: ViewSet, early: bool) -> Prediction:
        """Return what :meth:`predictions` yields of a single image without a heat map, sooner: no thread is begun."""
        self.describer.keep_grids(shown)
        _, square, note = _decode(image, self.describer)
        return self._noted(model, image, (square, note), shown, early)

    def _noted(
        self, model: Model, image: ImageLike, decoded: tuple[Tensor, str | None], shown: ViewSet, early: bool
    ) -> Prediction:
        """Return the verdict on the square of an image, with the note of its decoding."""
        square, note = decoded
        return replace(self.judge(model, square, shown, early, name_of(image)), note=note)

    def mapped(
        self,
        model: Model,
        images: Images,
        shown: ViewSet,
        early: bool,
        heat_map: Callable[[Pixels, Tensor], Heat],
    ) -> Iterator[Mapped]:
        """Yield verdict and map of each image of a stream, one after the other: a map has all cores."""
        decode = partial(_decode, describer=self.describer)
        for image, (pixels, square, note) in look_ahead(decode, stream(images)):
            prediction = self._noted(model, image, (square, note), shown, early)
            with naming(image):
                heat = heat_map(pixels, square)
            yield Mapped(prediction, pixels, heat)

    def judge(self, model: Model, square: Tensor, shown: ViewSet, early: bool, name: str) -> Prediction:
        """Return the verdict on one square, in the views ``shown``, or ``early`` in as few as it takes."""
        if early:
            looks = self.describer.features_by_look(square, shown, name)
            return verdict.as_soon_as_certain(model, scores_of_groups(self.reads, looks, self.device, name))
        return verdict.after_all(model, self.of_features(self.describer.features(square, shown, name), name))


def _decode(image: ImageLike, describer: Describer) -> tuple[Pixels, Tensor, str | None]:
    with noting() as notes:
        pixels = load(image, describer.views)
    return pixels, to_square(pixels, describer.canvas, describer.views), notes.text
