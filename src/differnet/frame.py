"""How a picture becomes the square that views are shown of, and how a map of the square gets back to the picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from differnet import squares
from differnet.config.sections import Views
from differnet.errors import ConfigError
from differnet.images import ImageLike, Pixels, load
from differnet.squares import COVER, LONGEST, PREFIX, Box, ignored_part

_SQUASHED = Views()


def encode(mask: ImageLike) -> str:
    """Return a mask as text for the setting ``ignore``: what is at least half as bright as white does not matter.

    Raises :class:`ImageError` for what is no image, and :class:`ConfigError` for a mask that ignores all or nothing.
    """
    picture = Image.fromarray(load(mask)[..., 0])
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
    ignored = np.asarray(picture) >= 128
    if ignored.all() or not ignored.any():
        raise ConfigError(
            f"a mask that ignores {'all' if ignored.all() else 'nothing'} of the picture; white is what to ignore"
        )
    buffer = io.BytesIO()
    Image.fromarray(ignored).save(buffer, "PNG", optimize=True)
    return PREFIX + base64.b64encode(buffer.getvalue()).decode()


def with_mask_as_text(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by name in which ``ignore`` may be an image, with its text in its place."""
    mask = settings.get("ignore")
    if mask is None or (isinstance(mask, str) and mask.startswith(PREFIX)):
        return dict(settings)
    return {**settings, "ignore": encode(mask)}


def to_square(pixels: Pixels, side: int, views: Views = _SQUASHED) -> Tensor:
    """Bring uint8 pixels (H, W, 3) to a float32 tensor (3, side, side), values 0..255; ``views`` say in which frame.

    What is ignored becomes grey.
    """
    return torch.from_numpy(squares.to_square(pixels, side, views))


def cover(those: Tensor, box: Box, views: Views) -> Tensor:
    """Make grey what is ignored of squares (..., side, side) whose picture lies in ``box``; the same if nothing is."""
    if views.ignore is None:
        return those
    mask = torch.tensor(ignored_part(views.ignore, those.shape[-1], box))
    return those.masked_fill(mask, COVER)


def shown(heat: Tensor, shape: tuple[int, ...], views: Views) -> Tensor:
    """Return the part (h, w) of a map (side, side) in which a picture (H, W) lies; zero where it is ignored."""
    return torch.from_numpy(squares.shown(heat.numpy(), shape, views))


def to_picture(heat: Tensor, shape: tuple[int, int], views: Views = _SQUASHED) -> npt.NDArray[np.float32]:
    """Bring a map (side, side) of a square back to a picture of ``shape`` (H, W); zero where it is ignored."""
    part = shown(heat, shape, views)
    resized = F.interpolate(part[None, None], size=shape, mode="bilinear", align_corners=False)
    array: npt.NDArray[np.float32] = resized[0, 0].numpy()
    return array


def cut(square: Tensor, tiles: int) -> list[Tensor]:
    """Cut a square (C, n * S, n * S) into n x n pieces (C, S, S), row by row."""
    if tiles == 1:
        return [square]
    size = square.shape[-1] // tiles
    return [piece for row in square.split(size, dim=1) for piece in row.split(size, dim=2)]
