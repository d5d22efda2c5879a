"""Views T_i(x): rotated and jittered copies of an image, and the way back to the image frame.

Section 3.2 of the paper averages the score over random rotations and, for magnetic tiles, random brightness
and contrast. Every random number comes from a generator that is passed in.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from differnet.config.settled import SettledViews
from differnet.config.shape import Shape


class ViewSet(NamedTuple):
    """What makes each of V views: three tensors of shape (V,).

    ``angles`` in radians, counter-clockwise as seen; ``brightness`` multiplies the pixels; ``contrast``
    multiplies their distance from the mean of the view.
    """

    angles: Tensor
    brightness: Tensor
    contrast: Tensor

    def __len__(self) -> int:
        return len(self.angles)

    def part(self, start: int, stop: int) -> ViewSet:
        """Return the views from ``start`` up to ``stop``."""
        return ViewSet(*(values[start:stop] for values in self))


def random_views(count: int, settings: SettledViews, generator: torch.Generator) -> ViewSet:
    """Draw ``count`` views: angles uniform in [0, 2 pi), factors uniform in their ranges.

    Fewer views from an equal generator are the first of more.
    """
    uniform = torch.rand(count, 3, generator=generator).T
    full_turn = 2 * math.pi if settings.turns else 0.0
    drawn = ViewSet(
        uniform[0] * full_turn,
        _between(settings.brightness, uniform[1]),
        _between(settings.contrast, uniform[2]),
    )
    if settings.plain_first:
        for values, plain in zip(drawn, (0.0, 1.0, 1.0), strict=True):
            values[:1] = plain
    return drawn


def count_views(count: int, settings: SettledViews) -> int:
    """Return how many different views ``count`` comes to: one where nothing turns and nothing is random."""
    return 1 if settings.order == "upright" else count


def even_views(count: int, settings: SettledViews) -> ViewSet:
    """Return ``count`` evenly spaced rotations, beginning upright, without jitter; one where nothing turns."""
    count = count if settings.turns else 1
    angles = torch.arange(count) * (2 * math.pi / count)
    return ViewSet(angles, torch.ones(count), torch.ones(count))


def render(image: Tensor, views: ViewSet, fill: str, grid: Tensor | None = None) -> Tensor:
    """Show ``image`` (C, S, T), values 0..255, in every view: (V, C, S, T), clipped to 0..255.

    ``fill`` is what stands where the turned image has no pixels; see :class:`differnet.config.sections.Views`.
    ``grid`` is :func:`sampling_grid` of the views, where it is at hand. A view that changes nothing is the image as it
    is.
    """
    plain = (views.angles == 0) & (views.brightness == 1) & (views.contrast == 1)
    if plain.all():
        return image.expand(len(views), -1, -1, -1)  # the same pixels, which nobody writes to
    is_grey = bool((image == image[:1]).all())
    channels = image[:1] if is_grey else image  # grey: one channel does the work of all
    grid = sampling_grid(views.angles, (image.shape[-2], image.shape[-1])) if grid is None else grid
    turned = sample(channels.expand(len(views), -1, -1, -1), grid, fill)
    shown = shade(turned, views.brightness, views.contrast).expand(-1, len(image), -1, -1).contiguous()
    shown[plain] = image
    return shown


def shade(turned: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Give each of turned images (V, C, S, T), in place, its brightness and contrast (V,); clipped to 0..255."""
    bright = turned.mul_(_per_view(brightness)).clamp_(0, 255)
    mean = bright.mean(dim=(1, 2, 3), keepdim=True)
    factors = _per_view(contrast)
    return bright.mul_(factors).add_(mean * (1 - factors)).clamp_(0, 255)


def turn_back(maps: Tensor, angles: Tensor, grid: Tensor | None = None) -> Tensor:
    """Turn maps (V, S, T) of views back to the image frame and average them: (S, T).

    A pixel is averaged over the views that show it; one that no view shows is zero. A single map that was not turned is
    returned as it is. ``grid`` is :func:`sampling_grid` of the angles turned back, where it is at hand.
    """
    if len(maps) == 1 and not angles.any():
        return maps[0]
    stacked = torch.stack((maps, torch.ones_like(maps)), dim=1)
    grid = sampling_grid(-angles, (maps.shape[-2], maps.shape[-1])) if grid is None else grid
    total, weight = sample(stacked, grid, "zeros").sum(dim=0)
    return torch.where(weight > 0.5, total / weight.clamp(min=0.5), torch.zeros_like(total))


def sampling_grid(angles: Tensor, shape: Shape) -> Tensor:
    """Return where each pixel of views turned by ``angles`` (V,) comes from: (V, *shape, 2).

    Other angles than 0 are for squares: elsewhere they would shear.
    """
    cos, sin = torch.cos(angles), torch.sin(angles)
    zero = torch.zeros_like(cos)
    matrices = torch.stack((cos, -sin, zero, sin, cos, zero), dim=1).view(-1, 2, 3)
    return F.affine_grid(matrices, [len(angles), 1, *shape], align_corners=False)


def sample(images: Tensor, grid: Tensor, fill: str) -> Tensor:
    """Take images (V, C, S, T) at the places of a ``grid`` (V, S, T, 2); ``fill``: see :func:`render`."""
    return F.grid_sample(images, grid.to(images), mode="bilinear", padding_mode=fill, align_corners=False)


def _between(limits: tuple[float, float], uniform: Tensor) -> Tensor:
    low, high = limits
    return low + (high - low) * uniform


def _per_view(factors: Tensor) -> Tensor:
    return factors.view(-1, 1, 1, 1)
