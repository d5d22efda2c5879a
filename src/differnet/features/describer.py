"""From images to features: decode once, show in many views, describe each view."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from differnet.config.settled import Settled, SettledViews
from differnet.config.shape import Shape, times
from differnet.data.images import load
from differnet.data.stream import LookAhead, Progress, in_lanes, name_of, silent
from differnet.decision.early_stop import GROUP, LOOK
from differnet.errors import ConfigError, NumericalError, warn
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.openvino_runtime import Graph, run_graph
from differnet.features.backbone.select import choose
from differnet.features.backbone.torch_runtime import (
    Runtime,
    count_lanes,
    difference,
    in_turn,
    lanes,
    one_torch_thread,
    probe,
)
from differnet.features.look import Look, Shown
from differnet.features.seeds import generator
from differnet.features.tiles import cut, to_square
from differnet.features.views import ViewSet, random_views, render, sampling_grid

_SAME_MACHINE = 0.02  # of the largest feature
_AHEAD_BYTES = 64 * 2**20  # of squares that are waiting, where there are more of them than cores
_GRID_BYTES = 64 * 2**20  # for one set of views
_GRID_SETS = 4
_UNDER_WAY = 2  # images a core: while one goes to a runtime's thread or comes back, the other is computed
_TURN, _TURN_SECONDS = 64, 1.0  # images a core, and time, until results are handed out
In = TypeVar("In")
Out = TypeVar("Out")
Result = TypeVar("Result")


class Describer:
    """Maps images and views of them to features: views (V,) -> (V, W).

    ``shape``: height and width in pixels at which views are rendered; ``tiles``: n where pictures are cut into n x n
    pieces, whose features follow one another in a row; ``canvas``: n times ``shape``; ``width``: W; ``digest``: of the
    network that runs.
    """

    def __init__(
        self, runtime: Runtime, views: SettledViews, shape: Shape, tiles: int, width: int, digest: str
    ) -> None:
        self.runtime = runtime
        self.views = views
        self.shape = shape
        self.tiles = tiles
        self.canvas = times(shape, tiles)
        self.width = width
        self.digest = digest
        self._grids: dict[bytes, Tensor] = {}  # of all views (V, *shape, 2), by their angles

    @property
    def identity(self) -> tuple[object, ...]:
        """What the features of a view depend on."""
        return self.shape, self.width, self.digest, self.runtime.name, self.runtime.precision

    @property
    def other_numbers(self) -> Runtime | None:
        """The runtime if its features are not those of the torch module up to rounding."""
        return self.runtime if self.runtime.precision in ("int8", "bf16") else None

    def square(self, image: Shown) -> Tensor:
        """Return what views are rendered from: (3, *canvas), values 0..255; a :class:`Look` is decoded once."""
        if isinstance(image, Look):
            return torch.from_numpy(image.square(self.canvas, self.views))
        return to_square(load(image, self.views), self.canvas, self.views)

    def features(self, square: Tensor, views: ViewSet, name: str = "an image") -> Tensor:
        """Describe what :meth:`square` gave in every view: (V, W); the next group is rendered meanwhile.

        Raises :class:`NumericalError`, which names the image, for features that are not finite.
        """
        return self._described(square, views, range(0, len(views), GROUP), GROUP, name)

    def plain_features(self, squares: Tensor) -> Tensor:
        """Describe squares (B, 3, *canvas) as they are, in one view each: (B, W)."""
        tiles = torch.stack([tile for square in squares for tile in cut(square, self.tiles)])
        return self.runtime.features(tiles.split(GROUP)).view(len(squares), -1)

    def features_by_look(self, square: Tensor, views: ViewSet, name: str = "an image") -> Iterator[Tensor]:
        """Yield what :meth:`features` gives, ``LOOK`` views at a time, each time when it is asked for."""
        for start in range(0, len(views), LOOK):
            yield self._described(square, views, [start], LOOK, name)

    def _described(
        self, square: Tensor, views: ViewSet, starts: Sequence[int], count: int, name: str
    ) -> Tensor:
        """Describe the ``count`` views from each start on; each is rendered when the runtime asks, in its turn."""
        tiles = [
            self.runtime.features(self._render(tile, views, start, count) for start in starts)
            for tile in cut(square, self.tiles)
        ]
        return _row(tiles, name)

    def probe(self) -> Tensor:
        """Return the features (B, W) of one group of fixed noise, to compare machines with."""
        return self.runtime.features([probe(self.shape)])

    def check_machine(self, runtime: str, wanted: Tensor | None) -> None:
        """Compare with where the flow was fitted: features from ``runtime``, in integers the :meth:`probe`.

        Raises :class:`NumericalError` when integers differ; warns of another runtime.
        """
        if wanted is None and runtime != self.runtime.name:
            warn(
                f"the model was fitted on features from {runtime} and scores with {self.runtime.name}: scores "
                "differ in their last digits"
            )
        apart = 0.0 if wanted is None else difference(self.probe(), wanted)
        if not apart <= _SAME_MACHINE:
            raise NumericalError(
                f"the model's 8-bit network gives features here that differ by {apart:.1%} from those where it "
                "was fitted; fit on this kind of machine, or with precision = 'f32'"
            )

    def with_views(self, views: SettledViews) -> Describer:
        """Return what describes other views in the same runtime."""
        return Describer(self.runtime, views, self.shape, self.tiles, self.width, self.digest)

    def keep_grids(self, views: ViewSet) -> None:
        """Compute the sampling grids of ``views`` once for all images that they will be used for."""
        size = 8 * self.shape[0] * self.shape[1] * len(views)
        key = _key(views)
        if key in self._grids or size > _GRID_BYTES:
            return
        others = self._grids if len(self._grids) < _GRID_SETS else {}
        self._grids = {**others, key: sampling_grid(views.angles, self.shape)}

    def stream(self, images: Iterable[Shown], views: ViewSet) -> Iterator[Tensor]:
        """Yield the features (V, W) of each image in the same views, in order, reading ahead."""
        self.keep_grids(views)

        def work(describer: Describer, image: Shown, square: Tensor) -> Tensor:
            return describer.features(square, views, name_of(image))

        return self.each(images, self.square, work)

    def each(
        self, images: Iterable[In], decode: Callable[[In], Out], work: Callable[[Describer, In, Out], Result]
    ) -> Iterator[Result]:
        """Yield ``work`` of every image, in order: of several at a time, each on a core, as far as they are decoded.

        ``work`` is given a describer, the image, and what ``decode`` made of it. What comes of an image is the same to
        the bit whether it is alone, on all cores, or not.
        """
        count = count_lanes()
        square = 12 * self.canvas[0] * self.canvas[1]
        most = max(count, min(_UNDER_WAY * count, _AHEAD_BYTES // square))
        readers = count if count * square <= _AHEAD_BYTES else max(1, count // 2)
        with (
            closing(LookAhead(decode, images, most, readers)) as ahead,
            lanes(most) as pool,
        ):
            while found := ahead.take(most):
                alone = self._on_one_core() if len(found) > 1 and count > 1 else None
                if alone is None:
                    yield from (work(self, *one) for one in found)
                    continue
                with one_torch_thread():
                    ended = list(
                        in_lanes(ahead, found, pool, partial(work, alone), most, _TURN_SECONDS, _TURN * count)
                    )
                yield from (one.result() for one in ended)

    def _on_one_core(self) -> Describer | None:
        """Return the same on one core for each thread, where that can be."""
        with in_turn():
            alone = self.runtime.on_one_core
        if alone is None:
            return None
        other = copy.copy(self)
        other.runtime = alone
        return other

    def training_views(
        self,
        images: Sequence[Shown],
        seed: int,
        start: int,
        progress: Progress = silent,
        at_hand: Mapping[int, Tensor] = MappingProxyType({}),
    ) -> Iterator[Tensor]:
        """Yield the features (V, W) of ``train_views`` random views of each image from ``start`` on.

        Image i has draws of its own, so its features depend on no other image. Those ``at_hand`` by their position
        are not described again.
        """
        positions = range(start, len(images))

        def work(describer: Describer, index: int, square: Tensor) -> Tensor:
            return describer.training_features(
                square, seed, index, self.views.train_views, name_of(images[index])
            )

        missing = [index for index in positions if index not in at_hand]
        described = self.each(missing, lambda index: self.square(images[index]), work)
        for index in positions:
            yield at_hand[index] if index in at_hand else next(described)
            progress("describing training images", index + 1, len(images))

    def training_features(self, square: Tensor, seed: int, index: int, count: int, name: str) -> Tensor:
        """Return the features (V, W) of the first ``count`` training views of the image at ``index``."""
        views = random_views(count, self.views, generator(seed, "training views", index))
        return self.features(square, views, name)

    def _render(self, square: Tensor, views: ViewSet, start: int, count: int) -> Tensor:
        grid = self._grids.get(_key(views))
        part = None if grid is None else grid[start : start + count]
        return render(square, views.part(start, start + count), self.views.fill, part)


def describer_of_graph(graph: Graph, settings: Settled, device: str = "cpu") -> Describer:
    """Describe in 8-bit integers, by a network that came with a model or was just made; only on the CPU."""
    if device != "cpu":
        raise ConfigError(f"device = {device!r}: the model computes in 8-bit integers, which run on the CPU")
    integers = run_graph(graph)
    return _describer(integers, settings, integers.width, graph.digest)


def describer_of_module(module: MultiScale, settings: Settled, device: str) -> Describer:
    """Describe in floats, where ``settings`` choose."""
    floats = choose(module, settings.backbone, device, settings.shape)
    return _describer(floats, settings, module.width_at(settings.shape), module.digest)


def _describer(runtime: Runtime, settings: Settled, width: int, digest: str) -> Describer:
    tiles = settings.backbone.tiles
    return Describer(runtime, settings.views, settings.shape, tiles, tiles**2 * width, digest)


def _key(views: ViewSet) -> bytes:
    """Return what the sampling grids of views depend on."""
    return views.angles.numpy().tobytes()


def _row(tiles: Sequence[Tensor], name: str) -> Tensor:
    """Put the features (V, W) of tiles side by side; raises :class:`NumericalError` for what is not finite.

    In NumPy: torch would wake a second thread, which then waits in a loop on a core that OpenVINO needs.
    """
    row = tiles[0].numpy() if len(tiles) == 1 else np.concatenate([tile.numpy() for tile in tiles], axis=1)
    if not np.isfinite(row).all():
        raise NumericalError(f"the backbone gave NaN or infinite features for {name}")
    return torch.from_numpy(row)
