"""Where the defect is: by the gradient of the likelihood to the pixels, or of the score to the feature maps.

The first is eq. 7 of the paper (section 3.3). The second shares the score out among the cells of the feature maps.
With y the pooled features, mu their mean over good images, and a_i the weight of cell i in pooling, dL/dy . (y - mu)
= sum over i of a_i dL/dy . (F_i - mu), where L = |z|^2 / 2 is what a view adds to the score (eq. 5), and the distance
to the nearest good parts, where some are kept (:mod:`differnet.flow.neighbours`). A cell's heat is its part of the sum
where that raises the score. This is "gradient times input" (Shrikumar et al., Learning important
features through propagating activation differences, ICML 2017), with the good mean as the reference, taken at the
maps that are pooled, as class activation maps are (Zhou et al., CVPR 2016). No gradient passes through the network.
Such a map is multiplied by how far the cells themselves are from good ones (:mod:`differnet.flow.cells`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from differnet.config.settled import Settled
from differnet.config.shape import Shape
from differnet.data.images import Pixels
from differnet.errors import NumericalError
from differnet.features.backbone.network import MultiScale, averages
from differnet.features.backbone.torch_runtime import GROUP, MapsOf, Runtime, in_turn, one_torch_thread
from differnet.features.pooling import RowReading
from differnet.features.tiles import cut, shown, to_square
from differnet.features.views import ViewSet, even_views, render, turn_back
from differnet.flow import score
from differnet.flow.cells import Cells, Seen
from differnet.flow.flow import Flow
from differnet.flow.fusion import Fusion
from differnet.flow.neighbours import Neighbours


@dataclass(frozen=True)
class Localizer:
    """Heat maps of one model.

    ``runtime``: what computed the features that the flows were fitted to, when that is not ``module`` itself but its
    8-bit form. ``cells``: what makes maps of shares sharp; nothing for gradients to the pixels and in models of before.
    ``feature_maps``: what gives those of ``module``, where something is faster than that.
    """

    module: MultiScale
    fusion: Fusion
    settings: Settled
    runtime: Runtime | None = None
    cells: Cells | None = None
    feature_maps: MapsOf | None = None

    def of_picture(self, pixels: Pixels, square: Tensor | None = None) -> npt.NDArray[np.float32]:
        """Return the heat map (h, w) of decoded pixels (H, W, 3), not yet divided by a scale.

        It is as fine as what the network sees: the part of the ``square`` in which the picture lies. That is made of
        the pixels where it is not at hand.
        """
        views = self.settings.views
        with in_turn():
            heat = self.of_square(
                to_square(pixels, self.settings.canvas, views) if square is None else square
            )
        return shown(heat, pixels.shape, views).numpy()

    def of_square(self, image: Tensor) -> Tensor:
        """Average the maps of evenly spaced rotations in the image frame, tile by tile.

        ``image``: (3, n * S, n * T), values 0..255, of n x n tiles. Returns (n * S, n * T), not negative, in units of
        the loss per grey level (eq. 7) or of the score (shared out among features). Raises :class:`NumericalError` when
        it is not finite.
        """
        tiles, angles = self.settings.backbone.tiles, self._turned.angles
        maps = []
        with self._own_threads():
            for number, tile in enumerate(cut(image, tiles)):
                cells = None if self.cells is None else self.cells.of_tile(number)
                parts = [self._map_of_view(*view, cells).cpu() for view in self._views_of(tile)]
                maps.append(turn_back(torch.cat(parts), angles))
        heat = torch.cat([torch.cat(maps[i : i + tiles], dim=1) for i in range(0, len(maps), tiles)])
        if not torch.isfinite(heat).all():
            raise NumericalError("a heat map has NaN or infinite values")
        return heat

    def seen_of(self, image: Tensor) -> Iterator[Seen]:
        """Yield what :func:`differnet.flow.cells.fit` learns from, of every tile and view of an image as above."""
        known = self.module, self.fusion.of_tile
        for number, tile in enumerate(cut(image, self.settings.backbone.tiles)):
            with self._own_threads():
                found = [shares_of(view, *known, y, self.feature_maps) for view, y in self._views_of(tile)]
            yield from ((number, *one) for one in found)

    def _own_threads(self) -> AbstractContextManager[None]:
        """Leave the cores to what gives the feature maps, if that is not torch: the rest is small."""
        return nullcontext() if self.feature_maps is None else one_torch_thread()

    @property
    def _turned(self) -> ViewSet:
        return even_views(self.settings.maps.map_views, self.settings.views)

    def _views_of(self, tile: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield the views (1, 3, S, T) of a tile, and the features that the flows know of each, if they are others."""
        turned, device = self._turned, self.module.mean.device
        for start in range(0, len(turned), GROUP):  # no more views are in memory at a time
            rendered = render(tile, turned.part(start, start + GROUP), self.settings.views.fill)
            features = None if self.runtime is None else self.runtime.features([rendered])
            for i in range(len(rendered)):
                exact = None if features is None else features[i : i + 1].to(device)
                yield rendered[i : i + 1].to(device), exact

    def _map_of_view(self, view: Tensor, features: Tensor | None, cells: Cells | None) -> Tensor:
        known = self.module, self.fusion.of_tile, self.settings.maps.blur, features
        if self.settings.maps.gradient == "pixels":
            return gradient_maps(view, *known)
        return contribution_maps(view, *known, cells, self.feature_maps)


def gradient_maps(
    views: Tensor,
    module: MultiScale,
    fusion: Fusion,
    blur: float,
    features: Tensor | None = None,
) -> Tensor:
    """g = sum over channels of |G * dL/dx| (eq. 7), with L of eq. 4 and G a Gaussian of ``blur`` pixels.

    Where several places of a view are mapped, L is the sum over all of them.

    ``views``: (V, 3, S, T), values 0..255; returns (V, S, T). ``features`` (V, D), where given, are where dL/dy is
    taken; ``module`` then only carries that gradient on to the pixels.
    """
    pixels = views.detach().contiguous(memory_format=torch.channels_last).requires_grad_(True)
    with torch.enable_grad():
        y = module(pixels)
        if features is not None:
            y = y + (features - y).detach()
        losses = [
            share * score.negative_log_likelihood(*flow(read.rows(y))).sum()
            for flow, read, _, share in _weighed(fusion, module)
        ]
        loss = torch.stack(losses).sum()
        (gradient,) = torch.autograd.grad(loss, pixels)
    return gaussian_blur(gradient.contiguous(), blur).abs().sum(dim=1)


def contribution_maps(
    views: Tensor,
    module: MultiScale,
    fusion: Fusion,
    blur: float,
    features: Tensor | None = None,
    cells: Cells | None = None,
    feature_maps: MapsOf | None = None,
) -> Tensor:
    """Share the score of each view out among the cells of the feature maps, and enlarge the maps to the view.

    ``views``: (V, 3, S, T), values 0..255; returns (V, S, T), not negative. ``cells``, of one tile, make the
    maps sharp; for ``features`` and ``feature_maps`` see :func:`shares_of`.
    """
    maps, shares = shares_of(views, module, fusion, features, feature_maps)
    heat = shares if cells is None else cells.sharpened(maps, shares)
    return gaussian_blur(heat, blur)[:, 0]


def shares_of(
    views: Tensor,
    module: MultiScale,
    fusion: Fusion,
    features: Tensor | None = None,
    feature_maps: MapsOf | None = None,
) -> tuple[list[Tensor], Tensor]:
    """Return the feature maps (V, C, h, w) of views (V, 3, S, T) and the shares of pixels in the scores (V, 1, S, T).

    Where several places of a view are mapped, their scores are added up. ``features`` (V, W), where given, are what the
    flow was fitted to: the cells of ``module`` are shifted so that they average to them. ``feature_maps``, where given,
    computes those of ``module`` in its place. Raises :class:`ConfigError` for a flow that knows no mean.
    """
    means = fusion.means()
    with torch.no_grad():
        maps = (feature_maps or module.feature_maps)(views)
        parts = module.parts_of(views)
        y = module.pool(maps, parts)
    at = (y if features is None else features.to(y)).clone().requires_grad_(True)
    with torch.enable_grad():
        risen = [
            share * _risen(flow(read.rows(at))[0], near).sum()
            for flow, read, near, share in _weighed(fusion, module)
        ]
        (gradient,) = torch.autograd.grad(torch.stack(risen).sum(), at)
    shape = views.shape[-2], views.shape[-1]
    return maps, shared_out(maps, gradient, means + y - at.detach(), parts, shape)


def _weighed(
    fusion: Fusion, module: MultiScale
) -> Iterator[tuple[Flow, RowReading, Neighbours | None, float]]:
    """Yield each flow, what it reads, the good parts that are kept of it, and its share in a map."""
    for part, near, share in zip(fusion.parts, fusion.near, fusion.shares(module.sizes), strict=True):
        yield *part, near, share


def _risen(z: Tensor, near: Neighbours | None) -> Tensor:
    """Return what of each latent (B, D) is shared out: the norm, and the distance to good parts, if any are kept."""
    norms = score.latent_norm(z)
    return norms if near is None else norms + near.soft_distances(z)


def shared_out(maps: list[Tensor], slopes: Tensor, reference: Tensor, parts: Shape, shape: Shape) -> Tensor:
    """Share scores out among the cells of feature ``maps`` (V, C, h, w), pooled over so many ``parts``: (V, 1, S, T).

    ``slopes`` (V, W): of the scores with the pooled features; ``reference`` (V, W): what cells count against.
    ``parts``: rows and columns of them; ``shape``: S and T. Forward operations alone.
    """
    count, places = slopes.shape[0], 1 if parts == (1, 1) else 1 + parts[0] * parts[1]
    by_place, against = (row.reshape(count, places, -1) for row in (slopes, reference))
    heat = slopes.new_zeros(count, 1, *shape)
    start = 0
    for one in maps:
        part = slice(start, start := start + one.shape[1])
        rises, cells = by_place[..., part], one.flatten(2)
        excess = rises @ cells - (rises * against[..., part]).sum(dim=2, keepdim=True)  # (V, P, h * w)
        shares = (excess * averages(one, parts).T).sum(dim=1) * cells.shape[2]
        plane = shares.view(count, 1, *one.shape[2:])
        heat = heat + F.interpolate(plane, size=shape, mode="bilinear", align_corners=False)
    return heat.clamp_min(0)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur (V, C, H, W) by a Gaussian cut off at 3 sigma, mirrored at the rim; the shape stays."""
    return blurred(images, gaussian_kernel(sigma, min(images.shape[-2:])).to(images))


def gaussian_kernel(sigma: float, side: int) -> Tensor:
    """Return the weights (K,), float64, of a Gaussian cut off at 3 sigma, for images of at least ``side`` pixels."""
    radius = min(max(1, round(3 * sigma)), side - 1)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    return kernel / kernel.sum()


def blurred(images: Tensor, kernel: Tensor) -> Tensor:
    """Blur (V, C, H, W) by weights (K,), mirrored at the rim; the shape stays."""
    radius = int(kernel.shape[0]) // 2
    planes = images.flatten(0, 1).unsqueeze(1)
    planes = F.conv2d(F.pad(planes, (radius, radius, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
    planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), mode="reflect"), kernel.view(1, 1, -1, 1))
    return planes.view(images.shape)
