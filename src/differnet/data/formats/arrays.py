"""From decoded arrays and PIL images to pixels: uint8 RGB of shape (H, W, 3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from differnet.data.formats.levels import OWN, PLAIN, Extent, Facts, Scale, check_beyond, is_float, white_of
from differnet.data.pixels import Pixels, check_size
from differnet.errors import ImageError

_STRIP = 2**20  # numbers that are scaled at a time


def from_pil(image: Image.Image, name: str, scale: Scale = OWN, facts: Facts = PLAIN) -> Pixels:
    """Convert a PIL image that stands upright; whatever has alpha is laid on black."""
    if image.mode.startswith("I") or image.mode == "F":
        return from_array(np.asarray(image), name, scale, facts)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, rgba)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.uint8)


def from_array(array: npt.NDArray[Any], name: str, scale: Scale = OWN, facts: Facts = PLAIN) -> Pixels:
    """Convert an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of integers, booleans or floats.

    ``scale``: which level is white where there are more than 8 bits; the fourth channel is alpha. Raises
    :class:`ImageError` for other shapes, types and ranges, and for NaN or infinite pixels.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] not in {3, 4}):
        raise ImageError(f"{name}: shape {array.shape}; (H, W), (H, W, 3) or (H, W, 4) was wanted")
    check_size(array.shape[1], array.shape[0], name)
    has_alpha = array.ndim == 3 and array.shape[2] == 4
    levels = array[..., :3] if has_alpha else array
    pixels, white = _to_bytes(levels, array, name, scale, facts)
    if facts.inverted:
        pixels = np.subtract(255, pixels, dtype=np.uint8)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    if not has_alpha or facts.premultiplied:
        return np.ascontiguousarray(pixels)
    return on_black(pixels, _alpha(array[..., 3], white))


def on_black(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Lay pixels (H, W, 3) with alpha (H, W) on black, strip by strip."""
    laid: Pixels = np.empty((*pixels.shape[:2], 3), np.uint8)
    for rows in _strips(pixels):
        share = alpha[rows, :, None].astype(np.float32) / 255
        laid[rows] = np.rint(pixels[rows] * share)
    return laid


def _strips(array: npt.NDArray[Any]) -> Iterator[slice]:
    """Yield the rows of an image a few at a time, so that what is computed of them takes little memory."""
    height = max(1, _STRIP // max(1, array[0].size))
    return (slice(start, start + height) for start in range(0, len(array), height))


def _alpha(alpha: npt.NDArray[Any], white: float) -> Pixels:
    """Bring alpha to 0..255: opaque is what is white, or the end of its type where it reaches beyond that."""
    if alpha.dtype == np.uint8:
        return np.asarray(alpha, dtype=np.uint8)
    if alpha.dtype == np.bool_:
        return np.asarray(alpha * np.uint8(255), dtype=np.uint8)
    high = float(alpha.max())
    if is_float(alpha.dtype):
        return _scaled(alpha, 1.0 if high <= 1 else white)
    return _scaled(alpha, white if high <= white else float(np.iinfo(alpha.dtype).max))


def _to_bytes(
    levels: npt.NDArray[Any], array: npt.NDArray[Any], name: str, scale: Scale, facts: Facts
) -> tuple[Pixels, float]:
    """Bring levels of any type to 0..255, and return what was white; ``array``: the levels with alpha, if any."""
    if levels.dtype == np.uint8:
        return np.asarray(levels, dtype=np.uint8), 255.0
    if levels.dtype == np.bool_:
        return levels.astype(np.uint8) * np.uint8(255), 1.0
    if not (np.issubdtype(levels.dtype, np.integer) or is_float(levels.dtype)):
        raise ImageError(f"{name}: pixels of type {levels.dtype}; integers or floats were wanted")
    if not all(np.isfinite(array[rows]).all() for rows in _strips(array)):
        raise ImageError(f"{name}: has NaN or infinite pixels")
    low = float(array.min())
    found = Extent.of(levels, facts)
    if low < 0:
        raise ImageError(
            f"{name}: {levels.dtype} pixels from {low:g} to {found.high:g}; wanted are 0..255, 16 bits 0..65535, "
            "or floats 0..1"
        )
    white = white_of(found, scale, name)
    if found.high > white:
        check_beyond(levels, white, scale, name)
    return _scaled(levels, white), white


def _scaled(levels: npt.NDArray[Any], white: float) -> Pixels:
    """Scale levels from 0 to white to 0..255; what is beyond becomes 255."""
    scaled: Pixels = np.empty(levels.shape, np.uint8)
    table = np.rint(np.arange(2**16) * (255 / white)).clip(0, 255).astype(np.uint8)  # of integers
    is_short = np.issubdtype(levels.dtype, np.integer) and levels.max() < 2**16
    for rows in _strips(levels):
        scaled[rows] = (
            table[levels[rows]]
            if is_short
            else np.rint(levels[rows].astype(np.float64) * (255 / white)).clip(0, 255)
        )
    return scaled
