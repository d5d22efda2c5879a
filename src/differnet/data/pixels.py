"""From decoded arrays and PIL images to what everything else works on: uint8 RGB of shape (H, W, 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from differnet.errors import ImageError

Pixels: TypeAlias = npt.NDArray[np.uint8]

MAX_PIXELS = 178_000_000  # just below where Pillow refuses by itself
MAX_BYTES = 8 * MAX_PIXELS  # when decoded: as many pixels with 16 bits of each of four channels
_SHORT = 16  # hexadecimal digits: enough that two images of one factory never share them
_STRIP = 2**20  # numbers that are scaled at a time
_BIT_DEPTHS = (8, 10, 12, 14, 16)
_TURNED = {
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: array.swapaxes(0, 1),
    6: lambda array: np.rot90(array, -1),
    7: lambda array: array[::-1, ::-1].swapaxes(0, 1),
    8: lambda array: np.rot90(array),
}


def pixel_digest(pixels: Pixels) -> str:
    """Return the short digest of decoded pixels (H, W, 3)."""
    found = hashlib.sha256(repr(pixels.shape).encode())
    found.update(pixels.tobytes())
    return found.hexdigest()[:_SHORT]


def check_size(width: int, height: int, name: str) -> None:
    """Raise :class:`ImageError` for no pixels, or for more than ``MAX_PIXELS``."""
    if width < 1 or height < 1:
        raise ImageError(f"{name}: has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width} x {height} is more than the {MAX_PIXELS:,} pixels that are decoded; "
            "cut it into pieces first"
        )


def check_bytes(count: int, name: str) -> None:
    """Raise :class:`ImageError` for pixels that come to more than ``MAX_BYTES`` when decoded."""
    if count > MAX_BYTES:
        raise ImageError(
            f"{name}: its pixels come to {count:,} bytes, more than the {MAX_BYTES:,} that are decoded; store it in "
            "smaller numbers, or cut it into pieces first"
        )


def upright(array: npt.NDArray[Any], orientation: object) -> npt.NDArray[Any]:
    """Turn an array (H, W, ...) as EXIF's ``orientation`` (1 to 8) says; as it is for anything else."""
    turn = _TURNED.get(orientation) if isinstance(orientation, int) else None
    return array if turn is None else np.ascontiguousarray(turn(array))


def from_pil(image: Image.Image, name: str) -> Pixels:
    """Convert a PIL image that stands upright; whatever has alpha is laid on black."""
    if image.mode.startswith("I") or image.mode == "F":
        return from_array(np.asarray(image), name)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, rgba)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.uint8)


def from_array(array: npt.NDArray[Any], name: str) -> Pixels:
    """Convert an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of integers, booleans or floats.

    Raises :class:`ImageError` for other shapes, types and ranges, and for NaN or infinite pixels.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] not in {3, 4}):
        raise ImageError(f"{name}: shape {array.shape}; (H, W), (H, W, 3) or (H, W, 4) was wanted")
    check_size(array.shape[1], array.shape[0], name)
    pixels = _to_bytes(array, name)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return _on_black(pixels) if pixels.shape[2] == 4 else pixels


def _on_black(pixels: Pixels) -> Pixels:
    """Lay pixels (H, W, 4) with alpha on black, strip by strip."""
    laid: Pixels = np.empty((*pixels.shape[:2], 3), np.uint8)
    for rows in _strips(pixels):
        alpha = pixels[rows, :, 3:].astype(np.float32) / 255
        laid[rows] = np.rint(pixels[rows, :, :3] * alpha)
    return laid


def _strips(array: npt.NDArray[Any]) -> Iterator[slice]:
    """Yield the rows of an image a few at a time, so that what is computed of them takes little memory."""
    height = max(1, _STRIP // max(1, array[0].size))
    return (slice(start, start + height) for start in range(0, len(array), height))


def _to_bytes(array: npt.NDArray[Any], name: str) -> Pixels:
    """Scale any pixel type to 0..255 without saturating."""
    if array.dtype == np.uint8:
        return np.asarray(array, dtype=np.uint8)
    if array.dtype == np.bool_:
        binary: Pixels = array.astype(np.uint8) * np.uint8(255)
        return binary
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise ImageError(f"{name}: pixels of type {array.dtype}; integers or floats were wanted")
    if not all(np.isfinite(array[rows]).all() for rows in _strips(array)):
        raise ImageError(f"{name}: has NaN or infinite pixels")
    low, high = float(array.min()), float(array.max())
    top = _top_of_range(array.dtype, high)
    if low < 0 or top is None:
        raise ImageError(
            f"{name}: {array.dtype} pixels from {low:g} to {high:g}; wanted are 0..255, 16 bits 0..65535, "
            "or floats 0..1"
        )
    scaled: Pixels = np.empty(array.shape, np.uint8)
    levels = np.rint(np.arange(2**16) * (255 / top)).astype(np.uint8)  # of integers
    is_whole = np.issubdtype(array.dtype, np.integer)
    for rows in _strips(array):
        scaled[rows] = (
            levels[array[rows]] if is_whole else np.rint(array[rows].astype(np.float64) * (255 / top))
        )
    return scaled


def _top_of_range(dtype: np.dtype[Any], high: float) -> float | None:
    if np.issubdtype(dtype, np.floating) and high <= 1:
        return 1.0
    fitting = [2.0**bits - 1 for bits in _BIT_DEPTHS if high <= 2.0**bits - 1]
    return fitting[0] if fitting else None
