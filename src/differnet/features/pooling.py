"""How a row of pooled features is read: which columns stand for which place, and how places become a score.

A row holds, place after place, size after size, the channels of every stage
(:class:`differnet.features.backbone.network.MultiScale`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from differnet.config import presets
from differnet.config.settled import Pooling, Settled
from differnet.config.shape import Shape, count_places, view_shape
from differnet.errors import ConfigError, ShapeError

_MOST_COLUMNS = 2**25  # 256 MB of positions


@dataclass(frozen=True, eq=False)
class RowReading:
    """What the flow maps of a row of features, and how norms become the score of a view.

    ``columns``: (T * P, D), the columns of each place that is mapped, tile after tile. ``pooling``: ``"largest"`` takes
    the largest norm of the P places of a tile, anything else their mean; of T tiles the largest counts. ``width``: W,
    how long a row must be.
    """

    columns: Tensor
    pooling: Pooling
    width: int
    tiles: int = 1

    @property
    def features(self) -> int:
        """D, what the flow maps of one place."""
        return int(self.columns.shape[1])

    @cached_property
    def is_all(self) -> bool:
        """Whether a row is mapped as it is."""
        return torch.equal(self.columns[0], torch.arange(self.width))

    @cached_property
    def of_tile(self) -> RowReading:
        """How the part of a row is read that stands for one tile."""
        places = len(self.columns) // self.tiles
        return RowReading(self.columns[:places], self.pooling, self.width // self.tiles)

    def rows(self, features: Tensor) -> Tensor:
        """Take what is mapped from rows (B, W): (B * T * P, D); raises :class:`ShapeError` for another width."""
        if features.ndim != 2 or features.shape[1] != self.width:
            raise ShapeError(f"expected features (B, {self.width}), found shape {tuple(features.shape)}")
        if self.is_all:
            return features
        columns = self.columns.to(features.device)
        return features.index_select(1, columns.flatten()).view(-1, columns.shape[1])

    def in_row(self, values: Tensor) -> Tensor:
        """Return a row (W,) that has ``values`` (D,) at every place that is mapped, and 0 elsewhere."""
        row = values.new_zeros(self.width)
        row[self.columns.to(values.device)] = values
        return row

    def of_tiles(self, norms: Tensor) -> Tensor:
        """Turn the norms (B * T * P,) of what :meth:`rows` gave into one score a tile of a view (B, T)."""
        places = norms.view(-1, self.tiles, len(self.columns) // self.tiles)
        return places.amax(dim=2) if self.pooling == "largest" else places.mean(dim=2)

    def of_view(self, norms: Tensor) -> Tensor:
        """Turn the norms (B * T * P,) of what :meth:`rows` gave into one score a view (B,)."""
        return self.of_tiles(norms).amax(dim=1)


def reading(
    channels: tuple[int, ...],
    sizes: int,
    grid: int,
    stages: tuple[int, ...],
    pooling: Pooling,
    tiles: int = 1,
    read_sizes: Sequence[int] | None = None,
    shape: Shape = (1, 1),
) -> RowReading:
    """Find the columns of some stages in a row.

    ``channels``: of every stage in the row; ``sizes``: how many there are; ``stages``: positions in ``channels``;
    ``tiles``: how many there are in all; ``read_sizes``: the positions of the sizes that are read, or all; ``shape``:
    of a view, by which its ``grid`` goes. Raises :class:`ConfigError` for more than fit into memory.

    >>> reading((2, 3), sizes=1, grid=1, stages=(1,), pooling="whole").columns.tolist()
    [[2, 3, 4]]
    >>> reading((1,), sizes=2, grid=2, stages=(0,), pooling="largest").columns.tolist()
    [[2, 3], [4, 5], [6, 7], [8, 9]]
    """
    borders = [0, *itertools.accumulate(channels)]
    place = sizes * borders[-1]
    columns = torch.cat(
        [
            torch.arange(borders[stage], borders[stage + 1]) + size * borders[-1]
            for size in (range(sizes) if read_sizes is None else read_sizes)
            for stage in stages
        ]
    )
    count = count_places(grid, shape)
    chosen = torch.arange(1) if pooling in ("whole", "combined") else torch.arange(1, count)
    if tiles * len(chosen) * len(columns) > _MOST_COLUMNS:
        raise ConfigError(
            f"{tiles} pieces with {len(chosen)} parts of {len(columns)} features each are more than the "
            f"{_MOST_COLUMNS:,} that are read of a view; take fewer tiles, stages or a smaller grid"
        )
    starts = (torch.arange(tiles)[:, None] * count + chosen).flatten()
    return RowReading(starts[:, None] * place + columns, pooling, tiles * count * place, tiles)


def reading_of(
    settings: presets.Config | Settled,
    channels: tuple[int, ...],
    stages: tuple[int, ...],
    pooling: Pooling,
    read_sizes: Sequence[int] | None = None,
) -> RowReading:
    """Return how rows of the backbone of ``settings`` are read; raises :class:`ConfigError` for unknown stages.

    ``read_sizes``: the positions of the sizes that are read, or all. Of what is ``"combined"``, the first reading.
    """
    known = settings.backbone.stages
    if len(known) != len(channels):
        raise ConfigError(
            f"stages = {known}: {settings.backbone.backbone} has {len(channels)} feature map(s); give as many stages "
            "(for alexnet stages=[0])"
        )
    positions = tuple(known.index(stage) for stage in stages)
    sizes, grid, tiles = len(settings.backbone.sizes), settings.backbone.grid, settings.backbone.tiles
    aspect = settings.views.aspect
    shape = view_shape(settings.backbone.sizes[0], 1.0 if aspect == "auto" else aspect)
    count = 1 if tiles == "auto" else tiles**2
    return reading(channels, sizes, grid, positions, pooling, count, read_sizes, shape)


def settled_reading(settings: Settled, channels: tuple[int, ...]) -> RowReading:
    """Return the first of :func:`settled_readings`."""
    return settled_readings(settings, channels)[0]


def settled_readings(settings: Settled, channels: tuple[int, ...]) -> tuple[RowReading, ...]:
    """Return the ways in which rows are read by settings that leave nothing open, one for each flow.

    ``"combined"`` reads the whole image at all sizes together, and then the parts at each size by itself.
    """
    stages, pooling = settings.reading.read_stages, settings.reading.pooling
    if pooling != "combined":
        return (reading_of(settings, channels, stages, pooling),)
    whole = reading_of(settings, channels, stages, "whole")
    sizes = range(len(settings.backbone.sizes))
    return (whole, *(reading_of(settings, channels, stages, "largest", [size]) for size in sizes))
