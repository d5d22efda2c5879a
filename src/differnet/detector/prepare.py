"""Before a fit: find out from good images what the settings leave open, and make a backbone ready to describe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from differnet.config import presets
from differnet.config.settled import Settled, implied, is_open, provisional, settle
from differnet.config.shape import Shape
from differnet.data.stream import Progress
from differnet.decision.early_stop import GROUP
from differnet.detector.model import Model
from differnet.detector.tuning.choice import Choice, choose, keep_choice, kept_choice, waits_for_rotation
from differnet.detector.tuning.evidence import Evidence
from differnet.detector.tuning.length import with_length
from differnet.detector.tuning.shapes import tell_of_squares, tell_of_whole, with_shapes, with_tiles
from differnet.errors import ConfigError, NotFittedError, warn
from differnet.features.backbone import select
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.openvino_runtime import Graph
from differnet.features.checkpoint import Checkpoint
from differnet.features.describer import Describer, describer_of_graph, describer_of_module
from differnet.features.look import Given, Look
from differnet.features.pooling import settled_reading
from differnet.features.seeds import generator
from differnet.features.tiles import cut
from differnet.features.views import random_views, render
from differnet.features.white import with_white
from differnet.flow import tensor_file
from differnet.runtime.memory import give_back

_GRAPH = "graph.safetensors"


@dataclass(frozen=True)
class Prepared:
    """A backbone made ready for one kind of part: settings that leave nothing open, and what describes by them.

    ``described``: training features (V, W) that are at hand already, by the position of the image; emptied by a fit.
    ``picture_shape``: of the picture by which tiles were found; nothing where they were asked for. ``looked_at``: the
    digests of the images that something was found out from, where it is used for other fits.
    """

    settings: Settled
    describer: Describer
    graph: Graph | None
    choice: Choice | None
    described: dict[int, Tensor] = field(default_factory=dict)
    picture_shape: Shape | None = None
    looked_at: frozenset[str] = frozenset()

    def looked_by(self, images: Sequence[Look]) -> Prepared:
        """Note from which images something was found out, if it was."""
        if self.choice is None and self.graph is None:
            return self
        return replace(self, looked_at=frozenset(image.glance(keep=True).digest for image in images))

    def with_changes(self, asked: Mapping[str, Any]) -> Prepared:
        """Return the same with some settings replaced that describing does not depend on."""
        return replace(self, settings=settle(presets.resolve(self.settings.config, asked)))


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model, what describes for it once that was asked for, and what images had told before it was fitted."""

    model: Model
    describer: Describer | None = None
    prepared: Prepared | None = None

    @property
    def looked_at(self) -> frozenset[str]:
        """The digests of the images that something was found out from."""
        if self.prepared is not None:
            return self.prepared.looked_at
        model = self.model
        is_found = model.choice is not None or model.graph is not None
        return frozenset(model.fitted_on.images if is_found and model.fitted_on else ())


def prepare(
    asked: presets.Config,
    module: MultiScale,
    good: Given,
    seed: int,
    device: str,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> Prepared:
    """Find out from ``good`` images what ``asked`` leaves open, and take the ranges of 8-bit integers from them.

    ``checkpoint``: where the choice is kept and taken from, and :func:`quantized` networks. An open aspect and open
    tiles come from the headers of the images.
    """
    count, groups = len(good.images), good.groups
    if not count or (groups is not None and len(groups) != count):
        raise ConfigError(
            f"{count} good images and {'no' if groups is None else len(groups)} groups to prepare by"
        )
    select.choose_precision(implied(asked).backbone, device)  # refuse at once
    asked = with_white(asked, good.images)
    asked, aspect, tiling = with_shapes(asked, good.images)
    choice = evidence = described_by = None
    if is_open(asked):
        search = Search(asked, module, device, seed, progress, tiling.tiles)
        choice, evidence, described_by = search.found(good, checkpoint)
        asked = with_tiles(asked, choice.rotation, tiling.tiles)
    settings = settle(asked, choice)
    tell_of_squares(aspect, settings)
    tell_of_whole(tiling, settings)
    picture = tiling.picture if settings.backbone.tiles > 1 else None
    if select.choose_precision(settings.backbone, device) == "int8":
        graph = quantized(module, good.images, settings, seed, progress, checkpoint)
        integers = describer_of_graph(graph, settings, device)
        return Prepared(settings, integers, graph, choice, picture_shape=picture)
    if select.lacks_integers(settings.backbone, device):
        warn(
            "fitted in 32-bit floats: 8-bit integers, about twice as fast for turned views, need NNCF: pip install "
            "'differnet[int8]', and fit anew; precision = 'f32' says that floats are wanted"
        )
    describer = described_by or describer_of_module(module, settings, device)
    at_hand = {} if evidence is None else evidence.for_bank()
    return Prepared(settings, describer.with_views(settings.views), None, choice, at_hand, picture)


class Found(NamedTuple):
    """What was found out, by what evidence, and what described it: in the shape and the pieces that follow from it.

    Neither of these two where nothing was tried out, or where a broken-off fit had found it out.
    """

    choice: Choice
    evidence: Evidence | None = None
    describer: Describer | None = None


@dataclass(frozen=True)
class Search:
    """What is looked for, with what: the settings that leave something open, but not the aspect.

    ``tiles``: into how many rows and columns pictures are cut where that is open and views turn out upright.
    """

    asked: presets.Config
    module: MultiScale
    device: str
    seed: int
    progress: Progress
    tiles: int

    @cached_property
    def describer(self) -> Describer:
        """How images are described meanwhile: in floats where integers are wanted, whose ranges are not known yet."""
        integers = self.asked.backbone.precision in ("auto", "int8")
        floats = presets.resolve(self.asked, {"precision": "f32"}) if integers else self.asked
        return describer_of_module(self.module, provisional(floats), self.device)

    def found(self, good: Given, checkpoint: Checkpoint | None) -> Found:
        """Return what the images say, or what they said to a broken-off fit."""
        depends = self.asked, repr(self.module), self.module.digest, good.groups, self.seed
        key = checkpoint.key(depends) if checkpoint else ""
        kept = kept_choice(checkpoint, key) if checkpoint else None
        if kept is not None:
            return Found(kept)
        found = self._found_out(good)
        if checkpoint:
            keep_choice(checkpoint, key, found.choice)
        return found

    def _found_out(self, good: Given) -> Found:
        found, evidence = choose(
            self.asked,
            self.module,
            lambda: self.describer,
            good.images,
            good.groups,
            seed=self.seed,
            progress=self.progress,
            are_found=good.found is not None,
        )
        give_back()
        if waits_for_rotation(self.asked, found.rotation):
            return self._anew(good, found)
        settled = settle(self.asked, found)
        if evidence is not None and self.asked.training.length == "auto":
            read = settled_reading(settled, self.module.channels)
            found = with_length(found, evidence, settled, read, self.seed, self.progress)
            give_back()
        choice = replace(found, length=settle(self.asked, found).training.length)
        return Found(choice, evidence, None if evidence is None else self.describer)

    def _anew(self, good: Given, found: Choice) -> Found:
        """Begin anew with the rotation that was found, now that it is known in which shape and pieces pictures are."""
        turned = {"aspect": 1.0} if found.rotation == "full" else {}
        known = presets.resolve(self.asked, {"rotation": found.rotation} | turned)
        asked = with_tiles(known, found.rotation, self.tiles)
        if not is_open(asked):
            return Found(replace(found, length=settle(asked, found).training.length))
        rest = replace(self, asked=asked)._found_out(good)
        return rest._replace(choice=replace(rest.choice, turning=found.turning))


def describer_for(model: Model, module: Callable[[], MultiScale], device: str) -> Describer:
    """Describe for a fitted model, checking that the flow will see the numbers it was fitted to."""
    if model.graph is not None:
        describer = describer_of_graph(model.graph, model.settings, device)
    else:
        describer = describer_of_module(module(), model.settings, device)
    describer.check_machine(model.runtime, model.probe)
    return describer


def without_images(asked: presets.Config, module: Callable[[], MultiScale], device: str) -> Prepared:
    """Make ready what needs no good image; raises :class:`NotFittedError` where something is found out from them."""
    if not is_ready(asked, device):
        raise NotFittedError(
            "what to look at, or the ranges of 8-bit integers, come from good images: call prepare(images) or fit"
        )
    settings = settle(asked)
    return Prepared(settings, describer_of_module(module(), settings, device), None, None)


def anew(known: Prepared, module: Callable[[], MultiScale], device: str) -> Prepared:
    """Return the same with another describer, in a process that cannot use the one there is."""
    if known.graph is not None:
        return replace(known, describer=describer_of_graph(known.graph, known.settings, device))
    return replace(known, describer=describer_of_module(module(), known.settings, device))


def is_ready(asked: presets.Config, device: str) -> bool:
    """Whether images can be described without any good image."""
    known = implied(asked)
    return not is_open(known) and select.choose_precision(settle(known).backbone, device) != "int8"


def quantized(
    module: MultiScale,
    images: Sequence[Look],
    settings: Settled,
    seed: int,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> Graph:
    """Return the backbone in 8-bit integers, with ranges from views of some of ``images``, of a tile of each.

    With a ``checkpoint`` it is kept there and taken from there, so that a fit that goes on has the very same network.
    """
    from differnet.features.backbone.quantize import IMAGES, quantize

    views, tiles = settings.views, settings.backbone.tiles
    network = repr(module), module.digest, settings.backbone.stages
    key = checkpoint.key((*network, views, tiles, seed)) if checkpoint else ""
    if checkpoint and checkpoint.has(_GRAPH):
        with checkpoint.reading(_GRAPH) as file:
            header, tensors = tensor_file.read_tensors(file)
            checkpoint.check(header.get("key"), key)
            return Graph.from_tensors(tensors)
    order = torch.randperm(len(images), generator=generator(seed, "quantising"))[:IMAGES]
    squares = [
        cut(torch.from_numpy(images[index].square(settings.canvas, views)), tiles)[
            position % tiles**2
        ].clone()
        for position, index in enumerate(order.tolist())
    ]

    def group(position: int) -> Tensor:
        drawn = random_views(GROUP, views, generator(seed, "quantising", int(order[position])))
        return render(squares[position], drawn, views.fill)

    count = len(squares)
    graph = quantize(module, group, count, lambda done: progress("measuring ranges for int8", done, count))
    if checkpoint:
        tensor_file.write_tensors(
            checkpoint.folder / _GRAPH, graph.to_tensors(), {"kind": "graph", "key": key}
        )
    return graph
