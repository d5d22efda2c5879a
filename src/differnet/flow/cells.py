"""How far each cell of a feature map lies from what is usual at its place: what makes heat maps sharp.

The flows judge averages over parts, so the share of a cell in a score says little about single cells. Their Gaussian
does: one covariance for all, as in eq. 4 without a flow, and a mean of its own at every place, as in PaDiM (Defard et
al., A patch distribution modeling framework, ICPR 2020), which has a covariance of its own there, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from differnet.errors import ShapeError
from differnet.flow import gaussian

_CALM = 0.5  # of the usual share, which a cell has beside its own, so that none is 0
Seen = tuple[int, list[Tensor], Tensor]


class Cells(NamedTuple):
    """The Gaussian of the cells of good images.

    ``mean`` (T, C, h, w): at every place of every tile; ``matrix`` (C, C): whitens what differs from it; ``level`` ():
    the usual share of a pixel in a score (:func:`differnet.flow.localize.shared_out`).
    """

    mean: Tensor
    matrix: Tensor
    level: Tensor

    def of_tile(self, tile: int) -> Cells:
        """Return the same for one tile."""
        return self._replace(mean=self.mean[tile : tile + 1])

    def sharpened(self, maps: list[Tensor], shares: Tensor) -> Tensor:
        """Multiply ``shares`` (V, 1, S, T) of scores by how far the cells of ``maps`` are from what is usual.

        That is the root of the squared distance over C, whose square is 1 in the mean of good images; of a single tile.
        Raises :class:`ShapeError` for maps of another network or size than those of good images.
        """
        cells = finest(maps)
        if cells.shape[1:] != self.mean.shape[1:]:
            raise ShapeError(
                f"feature maps {tuple(cells.shape[1:])}, where those of good images were "
                f"{tuple(self.mean.shape[1:])}: the model and its backbone do not go together"
            )
        count, _, height, width = cells.shape
        apart = (cells - self.mean.to(cells)).flatten(2).transpose(1, 2) @ self.matrix.to(cells)
        far = apart.square().mean(dim=2).sqrt().view(count, 1, height, width)
        far = F.interpolate(far, size=shares.shape[2:], mode="bilinear", align_corners=False)
        return (shares + _CALM * self.level.to(shares)) * far


def finest(maps: list[Tensor]) -> Tensor:
    """Put the channels of those feature maps together that have the most cells: (V, C, h, w)."""
    return torch.cat([one for one in maps if one.shape[2:] == maps[0].shape[2:]], dim=1)


def fit(seen: Iterable[Seen], images: int, tiles: int, seed: int) -> Cells:
    """Learn what is usual from what was ``seen`` of so many good images: of each tile, in some views.

    ``seen``: the number of the tile, the feature maps (V, C, h, w) of its views, and its shares (V, 1, S, T) in their
    scores. The mean of a place is drawn to that of all places by 1 / ``images``: a single image knows no places.
    """
    draws = torch.Generator().manual_seed(seed)
    each = -(-gaussian.MOST_ROWS // (images * tiles))
    sums: dict[int, Tensor] = {}
    count, levels = 0, []
    filled, rows, homes = 0, torch.empty(0), torch.empty(0, dtype=torch.long)
    for tile, maps, shares in seen:
        cells = finest(maps).cpu()
        views, channels, height, width = cells.shape
        if filled + each > len(rows):  # one by one they would split the heap among the maps
            more = images * tiles * each
            rows = torch.cat((rows, cells.new_empty(more, channels)))
            homes = torch.cat((homes, homes.new_empty(more)))
        total = cells.double().sum(dim=0)
        sums[tile] = sums[tile].add_(total) if tile in sums else total
        count += views
        levels.append(float(shares.double().mean()))
        chosen = torch.randperm(views * height * width, generator=draws)[:each]
        at = slice(filled, filled + len(chosen))
        rows[at] = cells.permute(0, 2, 3, 1).reshape(-1, channels)[chosen]
        homes[at] = tile * height * width + chosen % (height * width)
        filled += len(chosen)
    places = torch.stack([sums[tile] for tile in sorted(sums)]) * (tiles / count)
    weight = 1 / images
    mean = (1 - weight) * places + weight * places.mean(dim=(0, 2, 3), keepdim=True)
    usual = mean.permute(0, 2, 3, 1).flatten(0, 2)[homes[:filled]]
    found = gaussian.fit(rows[:filled].double() - usual, seed)
    return Cells(mean.float(), found.matrix.float(), torch.tensor(levels, dtype=torch.float64).mean().float())


def from_tensors(named: Mapping[str, Tensor], tiles: int, most: int) -> Cells:
    """Make them of what a model file has, by their names: of so many ``tiles``, and at most so many channels.

    Raises :class:`TypeError` for others by name, and :class:`ValueError` by shape and value.
    """
    found = Cells(**named)
    count, width, *places = found.mean.shape
    if len(places) != 2 or count != tiles or not 0 < width <= most:
        raise ValueError(f"cells of shape {tuple(found.mean.shape)}")
    if found.matrix.shape != (width, width) or found.level.shape != ():
        raise ValueError(f"cells of {width} channels do not go with a matrix {tuple(found.matrix.shape)}")
    if not all(value.is_floating_point() and bool(torch.isfinite(value).all()) for value in found):
        raise ValueError("NaN or infinite numbers")
    return found
