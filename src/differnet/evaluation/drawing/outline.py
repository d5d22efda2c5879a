"""The outline of a true mask, to lay over its picture: in a colour that heat has not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

COLOUR = (0, 229, 255)
_RIM = 24  # grey of the rim around the line, seen on bright parts


def outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return a mask (H, W) as a line along its edge with alpha (H, W, 4), clear elsewhere.

    The line lies on the mask, as wide as a 200th of the picture and at least one pixel, and a rim of one pixel around
    it: a defect of a single pixel is seen.
    """
    mask = np.asarray(mask, dtype=bool)
    width = max(1, round(max(mask.shape) / 200))
    line = mask & ~_shrunk(mask, width)
    rim = ~_shrunk(~mask, max(1, width // 2)) & ~mask
    drawn = np.zeros((*mask.shape, 4), dtype=np.uint8)
    drawn[rim] = (_RIM, _RIM, _RIM, 160)
    drawn[line] = (*COLOUR, 255)
    return drawn


def over(pixels: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return a picture (H, W, 3) with the outline of a mask (H, W)."""
    drawn = outline(mask)
    share = drawn[..., 3:].astype(np.float32) / 255
    mixed: npt.NDArray[np.uint8] = np.rint((1 - share) * pixels + share * drawn[..., :3]).astype(np.uint8)
    return mixed


def _shrunk(mask: npt.NDArray[np.bool_], width: int) -> npt.NDArray[Any]:
    """Return what of a mask is further than ``width`` pixels from its edge; the frame is no edge."""
    for _ in range(width):
        padded = np.pad(mask, 1, constant_values=True)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask
