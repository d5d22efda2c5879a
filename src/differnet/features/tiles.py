"""How a picture becomes the square that views are shown of, and how a map of the square gets back to the picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from differnet.config.sections import Views
from differnet.data import square as squares
from differnet.data.images import Pixels
from differnet.data.square import COVER, Box, Shape, ignored_part

_SQUASHED = Views()


def to_square(pixels: Pixels, canvas: Shape, views: Views = _SQUASHED) -> Tensor:
    """Bring uint8 pixels (H, W, 3) to a float32 tensor (3, *canvas), values 0..255; ``views`` say in which frame.

    What is ignored becomes grey.
    """
    return torch.from_numpy(squares.to_square(pixels, canvas, views))


def cover(those: Tensor, box: Box, views: Views) -> Tensor:
    """Make grey what is ignored of squares (..., S, T) whose picture lies in ``box``; the same if nothing is."""
    if views.ignore is None:
        return those
    mask = torch.tensor(ignored_part(views.ignore, (those.shape[-2], those.shape[-1]), box))
    return those.masked_fill(mask, COVER)


def shown(heat: Tensor, shape: tuple[int, ...], views: Views) -> Tensor:
    """Return the part (h, w) of a map (S, T) in which a picture (H, W) lies; zero where it is ignored."""
    return torch.from_numpy(squares.shown(heat.numpy(), shape, views))


def enlarged(part: npt.NDArray[np.float32], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Bring the part (h, w) of a map in which a picture lies to the ``shape`` (H, W) of the picture."""
    whole = torch.from_numpy(part)[None, None]
    resized = F.interpolate(whole, size=shape[:2], mode="bilinear", align_corners=False)
    array: npt.NDArray[np.float32] = resized[0, 0].numpy()
    return array


def cut(square: Tensor, tiles: int) -> list[Tensor]:
    """Cut a square (C, n * S, n * T) into n x n pieces (C, S, T), row by row."""
    if tiles == 1:
        return [square]
    height, width = square.shape[-2] // tiles, square.shape[-1] // tiles
    return [piece for row in square.split(height, dim=1) for piece in row.split(width, dim=2)]
