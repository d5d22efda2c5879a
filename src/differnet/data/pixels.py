"""What everything else works on, uint8 RGB of shape (H, W, 3), and how much of it there may be."""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from differnet.errors import ImageError

Pixels: TypeAlias = npt.NDArray[np.uint8]

MAX_PIXELS = 178_000_000  # just below where Pillow refuses by itself
MAX_ASPECT = 10_000  # of one side to the other: what resizes them needs memory by the longer side
MAX_BYTES = 8 * MAX_PIXELS  # when decoded: as many pixels with 16 bits of each of four channels
_SHORT = 16  # hexadecimal digits: enough that two images of one factory never share them
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
    """Raise :class:`ImageError` for no pixels, more than ``MAX_PIXELS``, or a thin picture."""
    if width < 1 or height < 1:
        raise ImageError(f"{name}: has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width} x {height} is more than the {MAX_PIXELS:,} pixels that are decoded; "
            "cut it into pieces first"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            f"{name}: {width} x {height}: one side is more than {MAX_ASPECT:,} times the other; cut it into pieces, or "
            "join its lines to a picture"
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
