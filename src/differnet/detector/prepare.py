"""Before a fit: find out from good images what the settings leave open, and make a backbone ready to describe."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from differnet.config import presets
from differnet.data.images import ImageLike
from differnet.data.images import load as load_image
from differnet.data.stream import Progress
from differnet.decision.early_stop import GROUP
from differnet.detector.model import Model
from differnet.detector.tuning.choice import Choice, choose, keep_choice, kept_choice, settle
from differnet.detector.tuning.length import with_length
from differnet.errors import ConfigError, ModelFileError, NotFittedError
from differnet.features.backbone import select
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.openvino_runtime import Graph
from differnet.features.backbone.torch_runtime import Precision
from differnet.features.cache import digest_of
from differnet.features.describer import Describer, describer_of_graph, describer_of_module
from differnet.features.pooling import settled_reading
from differnet.features.seeds import generator
from differnet.features.tiles import cut, to_square
from differnet.features.views import random_views, render
from differnet.flow import tensor_file
from differnet.runtime.memory import give_back


@dataclass(frozen=True)
class Prepared:
    """A backbone made ready for one kind of part: settings that leave nothing open, and what describes by them.

    ``described``: training features (V, W) that are at hand already, by the position of the image; emptied by a fit.
    """

    config: presets.Config
    describer: Describer
    graph: Graph | None
    choice: Choice | None
    described: dict[int, Tensor] = field(default_factory=dict)


def prepare(
    settings: presets.Config,
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
    settings = presets.follow_rotation(settings)
    select.choose_precision(settings.backbone, device)  # refuse at once
    choice = describer = evidence = None
    if not settings.is_settled:
        integers = settings.backbone.precision in ("auto", "int8")
        floats = presets.resolve(settings, {"precision": "f32"}) if integers else settings
        describer = describer_of_module(module, floats, device)
        file = folder / "choice.json" if folder else None
        key = digest_of(images, (settings, repr(module), module.digest, groups, seed)) if file else ""
        choice = kept_choice(file, key) if file else None
        if choice is None:
            choice, evidence = choose(settings, module.channels, describer, images, groups, seed, progress)
            give_back()
            settled = settle(settings, choice)
            if evidence is not None and settings.training.length == "auto":
                read = settled_reading(settled, module.channels)
                choice = with_length(choice, evidence, settled, read, seed, progress)
                give_back()
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
    model: Model | None, settings: presets.Config, module: Callable[[], MultiScale], device: str
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


def is_ready(settings: presets.Config, device: str) -> bool:
    """Whether images can be described without any good image."""
    return settings.is_settled and numbers_for(settings, device) != "int8"


def numbers_for(settings: presets.Config, device: str) -> Precision:
    """Return the numbers that a new detector computes in; raises as
    :func:`differnet.features.backbone.select.choose_precision`.

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
    return select.choose_precision(settings.backbone, device)


def quantized(
    module: MultiScale,
    images: Sequence[ImageLike],
    settings: presets.Config,
    seed: int,
    progress: Progress,
    folder: Path | None = None,
) -> Graph:
    """Return the backbone in 8-bit integers, with ranges from views of some of ``images``, of a tile of each.

    With ``folder`` it is kept there and taken from there, so that a fit that goes on has the very same network.
    """
    from differnet.features.backbone.quantize import IMAGES, quantize

    file = folder / "graph.safetensors" if folder else None
    views, tiles = settings.views, settings.backbone.tiles
    key = digest_of(images, (repr(module), module.digest, views, tiles, seed)) if file else ""
    if file and file.exists():
        header, tensors = tensor_file.read_tensors(file)
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
        tensor_file.write_tensors(file, graph.to_tensors(), {"kind": "graph", "key": key})
    return graph
