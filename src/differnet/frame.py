"""How a picture becomes the square that views are shown of, and how a map of the square gets back to the picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from differnet.errors import ConfigError
from differnet.images import ImageLike, Pixels, load, resize_square
from differnet.settings import Views

Box = tuple[int, int, int, int]  # top, left, height and width
_COVER = 127.0  # what stands where a picture is ignored
_PREFIX = "png:"
_LONGEST = 1024  # pixels that a mask keeps on its longer side
_SQUASHED = Views()


def encode(mask: ImageLike) -> str:
    """Return a mask as text for the setting ``ignore``: what is at least half as bright as white does not matter.

    Raises :class:`ImageError` for what is no image, and :class:`ConfigError` for a mask that ignores all or nothing.
    """
    picture = Image.fromarray(load(mask)[..., 0])
    picture.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BOX)
    ignored = np.asarray(picture) >= 128
    if ignored.all() or not ignored.any():
        raise ConfigError(
            f"a mask that ignores {'all' if ignored.all() else 'nothing'} of the picture; white is what to ignore"
        )
    buffer = io.BytesIO()
    Image.fromarray(ignored).save(buffer, "PNG", optimize=True)
    return _PREFIX + base64.b64encode(buffer.getvalue()).decode()


def with_mask_as_text(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by name in which ``ignore`` may be an image, with its text in its place."""
    mask = settings.get("ignore")
    if mask is None or (isinstance(mask, str) and mask.startswith(_PREFIX)):
        return dict(settings)
    return {**settings, "ignore": encode(mask)}


@lru_cache(maxsize=16)
def ignored_part(text: str, side: int, box: Box) -> Tensor:
    """Return where a square is ignored whose picture lies in ``box``: booleans (side, side).

    Raises :class:`ConfigError` for what is no mask.
    """
    try:
        content = io.BytesIO(base64.b64decode(text.removeprefix(_PREFIX), validate=True))
        with Image.open(content, formats=("PNG",)) as opened:
            if opened.mode != "1" or max(opened.size) > _LONGEST:
                raise ValueError(f"mode {opened.mode}, {opened.size}")
            white = np.asarray(opened.convert("L"))
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ConfigError(f"ignore: not a mask that differnet.frame.encode made ({error})") from error
    top, left, height, width = box
    mask = np.zeros((side, side), dtype=bool)
    inner = Image.fromarray(white).resize((width, height), Image.Resampling.BILINEAR)
    mask[top : top + height, left : left + width] = np.asarray(inner) >= 128
    return torch.from_numpy(mask)


def to_square(pixels: Pixels, side: int, views: Views = _SQUASHED) -> Tensor:
    """Bring uint8 pixels (H, W, 3) to a float32 tensor (3, side, side), values 0..255; ``views`` say in which frame.

    What is ignored becomes grey.
    """
    box = place(pixels.shape, side, views)
    square = torch.from_numpy(_resize(pixels, side, box).transpose(2, 0, 1).astype(np.float32))
    return cover(square, box, views)


def cover(squares: Tensor, box: Box, views: Views) -> Tensor:
    """Make grey what is ignored of squares (..., side, side) whose picture lies in ``box``; the same if nothing is."""
    if views.ignore is None:
        return squares
    return squares.masked_fill(ignored_part(views.ignore, squares.shape[-1], box), _COVER)


def place(shape: tuple[int, ...], side: int, views: Views) -> Box:
    """Return where a picture (H, W) lies in its square."""
    if views.frame == "squash":
        return 0, 0, side, side
    scale = side / max(shape[:2])
    height, width = (max(1, round(scale * length)) for length in shape[:2])
    return (side - height) // 2, (side - width) // 2, height, width


def shown(heat: Tensor, shape: tuple[int, ...], views: Views) -> Tensor:
    """Return the part (h, w) of a map (side, side) in which a picture (H, W) lies; zero where it is ignored."""
    side = heat.shape[-1]
    box = place(shape, side, views)
    if views.ignore is not None:
        heat = heat.masked_fill(ignored_part(views.ignore, side, box), 0.0)
    top, left, height, width = box
    return heat[top : top + height, left : left + width]


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


def _resize(pixels: Pixels, side: int, box: Box) -> Pixels:
    top, left, height, width = box
    if (height, width) == (side, side):
        return resize_square(pixels, side)
    square = np.zeros((side, side, 3), dtype=np.uint8)
    inner = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    square[top : top + height, left : left + width] = np.asarray(inner)
    return square
