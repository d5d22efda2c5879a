"""One fit: quantise if wanted, describe, train the flow, score the held-out images, scale the heat maps."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from differnet import artifact, calibrate, config, gaussian, localize, placement, storage, train
from differnet.artifact import Model
from differnet.backbone import MultiScale
from differnet.bank import describe_all, digest_of, identity, kept_bank
from differnet.choice import Choice, choose, keep_choice, kept_choice, settle
from differnet.errors import ConfigError, ModelFileError, NotFittedError
from differnet.features import Describer, FreshViews, Progress, describer_of_graph, describer_of_module
from differnet.flow import Flow
from differnet.frame import cut, shown, to_square
from differnet.images import ImageLike
from differnet.images import load as load_image
from differnet.openvino_runtime import Graph
from differnet.reading import Reading, settled_reading
from differnet.record import record_of
from differnet.runtime import GROUP, Precision
from differnet.scorer import stack_scores, view_scores
from differnet.seeds import generator
from differnet.trial import with_length
from differnet.views import ViewSet, random_views, render

_MAP_SCALE_IMAGES = 16


@dataclass(frozen=True)
class Fitter:
    """All that a fit depends on besides the images."""

    config: config.Config
    seed: int
    device: str
    module: MultiScale
    prepared: Prepared
    scoring_views: ViewSet
    progress: Progress

    @property
    def describer(self) -> Describer:
        """From images to features."""
        return self.prepared.describer

    @cached_property
    def read(self) -> Reading:
        """How a row of features is read."""
        return settled_reading(self.config, self.module.channels)

    def fit(
        self,
        fitted: Sequence[ImageLike],
        held: Sequence[ImageLike],
        held_groups: Sequence[Hashable] | None,
        folder: Path | None,
        on_epoch: train.OnEpoch,
        bank: Tensor | None,
        scale_maps: bool,
    ) -> Model:
        """Fit a flow to ``fitted`` and take the threshold and the scale of heat maps from ``held``.

        ``held_groups``: which of ``held`` belong together. ``folder``: where a broken-off fit goes on. ``bank``: the
        features (N, V, D) of ``fitted`` if at hand.
        """
        network = repr(self.module), self.config.backbone.tiles
        key = identity(self.describer, fitted, (network, self.seed)) if folder else ""
        features = self._describe_held_out(held)
        record = record_of(held, held_groups, self.progress) if held else None
        flow = self._new_flow()
        source = self._source(fitted, folder, key, bank)
        if flow.whitening is not None:
            flow.whitening.set(*gaussian.fit(source.sample(gaussian.MOST_ROWS), self.seed))
        history = train.fit(
            flow,
            source,
            self.config.training,
            self.read.rows(torch.cat(features)) if features else None,
            folder / "flow.safetensors" if folder else None,
            f"{key} {self.config.reading}",
            on_epoch,
            self.config.noise,
            self.seed,
        )
        flow.eval().requires_grad_(False)
        return Model(
            config=self.config,
            seed=self.seed,
            backbone_digest=self.module.digest,
            backbone_origin=self.module.origin,
            channels=self.module.channels,
            runtime=self.describer.runtime.name,
            flow=flow,
            view_scores=stack_scores([view_scores(flow, self.read, part, self.device) for part in features]),
            map_scale=map_scale(
                flow, self.read, self.module, self.describer, self.config, held or fitted, self.progress
            )
            if scale_maps
            else 1.0,
            train_count=len(fitted),
            precision=self.describer.runtime.precision,
            graph=self.prepared.graph,
            probe=None if self.prepared.graph is None else self.describer.probe(),
            choice=self.prepared.choice,
            calibrated_on=record,
            history=tuple(history),
            versions=artifact.versions(),
        )

    def _describe_held_out(self, held: Sequence[ImageLike]) -> list[Tensor]:
        features = []
        for described in self.describer.stream(held, self.scoring_views):
            features.append(described)
            self.progress("describing held-out images", len(features), len(held))
        return features

    def _new_flow(self) -> Flow:
        shape = self.config.flow
        flow = Flow(self.read.features, *shape.size, shape.depth, shape.clamp, self.seed, shape.start)
        return flow.to(self.device)

    def _source(
        self, images: Sequence[ImageLike], folder: Path | None, key: str, bank: Tensor | None
    ) -> train.Source:
        training, at_hand = self.config.training, self.prepared.described
        if self.config.views.fresh_views:
            return FreshViews(self.describer, images, training, self.seed, self.progress, self.read.rows)
        if bank is None:
            bank = (
                describe_all(self.describer, images, self.seed, self.progress, at_hand)
                if folder is None
                else kept_bank(self.describer, images, self.seed, folder, key, self.progress, at_hand)
            )
        return train.Bank(bank.flatten(0, 1), training.batch, self.seed, self.read.rows)


def map_scale(
    flow: Flow,
    read: Reading,
    module: MultiScale,
    describer: Describer,
    settings: config.Config,
    good: Sequence[ImageLike],
    progress: Progress,
) -> float:
    """Return the median peak of the maps of a few good images, which all maps are divided by."""
    some = good[:_MAP_SCALE_IMAGES]
    peaks = []
    for index, item in enumerate(some, 1):
        pixels = load_image(item)
        square = to_square(pixels, describer.side, settings.views)
        heat = localize.heat_map(square, module, flow, read, settings, describer.other_numbers)
        peaks.append(float(shown(heat, pixels.shape, settings.views).max()))
        progress("scaling heat maps", index, len(some))
    return max(float(np.median(peaks)), 1e-30)


def split(
    images: Sequence[ImageLike], groups: Sequence[Hashable] | None, decision: config.Decision, seed: int
) -> tuple[list[int], list[int]]:
    """Return the positions of images to fit to and of those held out, whole groups together.

    Raises :class:`ConfigError` for no images, too few groups, groups that do not go with the images, or fewer held
    out than the wanted confidence needs.
    """
    if groups is not None and len(groups) != len(images):
        raise ConfigError(f"{len(groups)} groups for {len(images)} images; one each is needed")
    if not images:
        raise ConfigError("no images were given; good images are needed to fit")
    if decision.holdout == 0:
        return list(range(len(images))), []
    names = range(len(images)) if groups is None else groups
    chosen, held = calibrate.hold_out(names, decision.holdout, seed)
    calibrate.check_count(len(held), decision.rate, decision.confidence)
    return chosen, held


def check_bank(bank: Tensor, count: int, settings: config.Config, is_fixed: bool) -> None:
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


@dataclass(frozen=True)
class Prepared:
    """A backbone made ready for one kind of part: settings that leave nothing open, and what describes by them.

    ``described``: training features (V, W) that are at hand already, by the position of the image.
    """

    config: config.Config
    describer: Describer
    graph: Graph | None
    choice: Choice | None
    described: Mapping[int, Tensor] = field(default_factory=dict)


def prepare(
    settings: config.Config,
    module: MultiScale,
    images: Sequence[ImageLike],
    groups: Sequence[Hashable] | None,
    seed: int,
    device: str,
    progress: Progress,
    folder: Path | None = None,
) -> Prepared:
    """Find out from good images what ``settings`` leave open, and take the ranges of 8-bit integers from them.

    ``folder``: where the choice is kept and taken from, and :func:`quantized` networks.
    """
    if not images or (groups is not None and len(groups) != len(images)):
        raise ConfigError(
            f"{len(images)} good images and {'no' if groups is None else len(groups)} groups to prepare by"
        )
    settings = config.follow_rotation(settings)
    placement.choose_precision(settings.backbone, device)  # refuse at once
    choice = describer = evidence = None
    if not settings.is_settled:
        integers = settings.backbone.precision in ("auto", "int8")
        floats = config.resolve(settings, {"precision": "f32"}) if integers else settings
        describer = describer_of_module(module, floats, device)
        file = folder / "choice.json" if folder else None
        key = digest_of(images, (settings, repr(module), module.digest, groups, seed)) if file else ""
        choice = kept_choice(file, key) if file else None
        if choice is None:
            choice, evidence = choose(settings, module.channels, describer, images, groups, seed, progress)
            settled = settle(settings, choice)
            if evidence is not None and settings.training.length == "auto":
                read = settled_reading(settled, module.channels)
                choice = with_length(choice, evidence, settled, read, seed, progress)
            choice = replace(choice, length=float(settle(settings, choice).training.length))
            if file:
                keep_choice(file, key, choice)
        settings = settle(settings, choice)
        describer = describer.with_views(settings.views)
    if numbers_for(settings, device) != "int8":
        describer = describer or describer_of_module(module, settings, device)
        at_hand = {} if evidence is None else evidence.for_bank()
        return Prepared(settings, describer, None, choice, at_hand)
    graph = quantized(module, images, settings, seed, progress, folder)
    return Prepared(settings, describer_of_graph(graph, settings, device), graph, choice)


def describer_for(
    model: Model | None, settings: config.Config, module: Callable[[], MultiScale], device: str
) -> Describer:
    """Describe for a fitted model, checking that the flow will see the numbers it was fitted to, or for none.

    Raises :class:`NotFittedError` for none while good images are needed to describe.
    """
    if model is None and not is_ready(settings, device):
        raise NotFittedError(
            "what to look at, or the ranges of 8-bit integers, come from good images: call prepare(images) or fit"
        )
    if model is None:
        return describer_of_module(module(), settings, device)
    if model.graph is not None:
        describer = describer_of_graph(model.graph, settings, device)
    else:
        describer = describer_of_module(module(), settings, device)
    describer.check_machine(model.runtime, model.probe)
    return describer


def is_ready(settings: config.Config, device: str) -> bool:
    """Whether images can be described without any good image."""
    return settings.is_settled and numbers_for(settings, device) != "int8"


def numbers_for(settings: config.Config, device: str) -> Precision:
    """Return the numbers that a new detector computes in; raises as :func:`differnet.placement.choose_precision`.

    ``"auto"`` is 32-bit floats for parts that are not turned: one view is scored, and integers would gain it 2 ms,
    but take a fit 20 seconds.
    """
    views = settings.views
    if (
        settings.backbone.precision == "auto"
        and views.rotation != "full"
        and views.score_rotations != "random"
    ):
        return "f32"
    return placement.choose_precision(settings.backbone, device)


def quantized(
    module: MultiScale,
    images: Sequence[ImageLike],
    settings: config.Config,
    seed: int,
    progress: Progress,
    folder: Path | None = None,
) -> Graph:
    """Return the backbone in 8-bit integers, with ranges from views of some of ``images``, of a tile of each.

    With ``folder`` it is kept there and taken from there, so that a fit that goes on has the very same network.
    """
    from differnet.quantize import IMAGES, quantize

    file = folder / "graph.safetensors" if folder else None
    views, tiles = settings.views, settings.backbone.tiles
    key = digest_of(images, (repr(module), module.digest, views, tiles, seed)) if file else ""
    if file and file.exists():
        header, tensors = storage.read_tensors(file)
        if header.get("key") != key:
            raise ModelFileError(
                f"{folder}: a checkpoint of other images or settings; remove it to start anew"
            )
        return Graph.from_tensors(tensors)
    order = torch.randperm(len(images), generator=generator(seed, "quantising"))[:IMAGES]
    side = tiles * module.sizes[0]
    squares = [
        cut(to_square(load_image(images[index]), side, views), tiles)[position % tiles**2].clone()
        for position, index in enumerate(order.tolist())
    ]

    def group(position: int) -> Tensor:
        drawn = random_views(GROUP, views, generator(seed, "quantising", int(order[position])))
        return render(squares[position], drawn, views.fill)

    count = len(squares)
    graph = quantize(module, group, count, lambda done: progress("measuring ranges for int8", done, count))
    if file:
        storage.write_tensors(file, graph.to_tensors(), {"kind": "graph", "key": key})
    return graph
