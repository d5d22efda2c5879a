"""Where the defect is: the gradient of the likelihood with respect to the pixels (section 3.3, eq. 7)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from differnet import config, score
from differnet.backbone import MultiScale
from differnet.errors import NumericalError
from differnet.flow import Flow
from differnet.frame import cut, to_picture, to_square
from differnet.images import Pixels
from differnet.reading import Reading
from differnet.runtime import GROUP, Runtime, in_turn
from differnet.views import even_views, render, turn_back


def map_of_image(
    pixels: Pixels,
    module: MultiScale,
    flow: Flow,
    read: Reading,
    settings: config.Config,
    runtime: Runtime | None = None,
) -> npt.NDArray[np.float32]:
    """Return the heat map (H, W) of decoded pixels (H, W, 3), not yet divided by a scale.

    ``runtime``: see :func:`heat_map`.
    """
    side = settings.backbone.tiles * module.sizes[0]
    square = to_square(pixels, side, settings.views)
    with in_turn():
        heat = heat_map(square, module, flow, read, settings, runtime)
    height, width = pixels.shape[:2]
    return to_picture(heat, (height, width), settings.views)


def heat_map(
    image: Tensor,
    module: MultiScale,
    flow: Flow,
    read: Reading,
    settings: config.Config,
    runtime: Runtime | None = None,
) -> Tensor:
    """Average the gradient maps of evenly spaced rotations in the image frame, tile by tile.

    ``image``: (3, n * S, n * S), values 0..255, of n x n tiles. ``runtime``: what computed the features that the flow
    was fitted to, when that is not ``module`` itself but its 8-bit form. Returns (n * S, n * S), not negative, in units
    of the loss per grey level. Raises :class:`NumericalError` when it is not finite.
    """
    tiles = settings.backbone.tiles
    maps = [_map_of_tile(tile, module, flow, read.of_tile, settings, runtime) for tile in cut(image, tiles)]
    heat = torch.cat([torch.cat(maps[i : i + tiles], dim=1) for i in range(0, len(maps), tiles)])
    if not torch.isfinite(heat).all():
        raise NumericalError("a heat map has NaN or infinite values")
    return heat


def _map_of_tile(
    image: Tensor,
    module: MultiScale,
    flow: Flow,
    read: Reading,
    settings: config.Config,
    runtime: Runtime | None,
) -> Tensor:
    turned = even_views(settings.maps.map_views, settings.views)
    device = next(flow.parameters()).device
    rendered = render(image, turned, settings.views.fill)
    features = None if runtime is None else runtime.features(rendered.split(GROUP))
    parts = []
    for i in range(len(turned)):
        exact = None if features is None else features[i : i + 1].to(device)
        parts.append(
            gradient_maps(rendered[i : i + 1].to(device), module, flow, read, settings.maps.blur, exact)
        )
    return turn_back(torch.cat(parts).cpu(), turned.angles)


def gradient_maps(
    views: Tensor,
    module: MultiScale,
    flow: Flow,
    read: Reading,
    blur: float,
    features: Tensor | None = None,
) -> Tensor:
    """g = sum over channels of |G * dL/dx| (eq. 7), with L of eq. 4 and G a Gaussian of ``blur`` pixels.

    Where several places of a view are mapped, L is the sum over all of them.

    ``views``: (V, 3, S, S), values 0..255; returns (V, S, S). ``features`` (V, D), where given, are where dL/dy is
    taken; ``module`` then only carries that gradient on to the pixels.
    """
    pixels = views.detach().contiguous(memory_format=torch.channels_last).requires_grad_(True)
    with torch.enable_grad():
        y = module(pixels)
        if features is not None:
            y = y + (features - y).detach()
        loss = score.negative_log_likelihood(*flow(read.rows(y))).sum()
        (gradient,) = torch.autograd.grad(loss, pixels)
    return gaussian_blur(gradient.contiguous(), blur).abs().sum(dim=1)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur (V, C, H, W) by a Gaussian cut off at 3 sigma, mirrored at the rim; the shape stays."""
    radius = min(max(1, round(3 * sigma)), min(images.shape[-2:]) - 1)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    planes = images.flatten(0, 1).unsqueeze(1)
    planes = F.conv2d(F.pad(planes, (radius, radius, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
    planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), mode="reflect"), kernel.view(1, 1, -1, 1))
    return planes.view(images.shape)
