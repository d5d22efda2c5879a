"""Heat maps drawn over pictures, on one scale for all: the one drawer of heat."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

from differnet.data.images import Pixels

Array = npt.NDArray[Any]
# Heat is drawn from the peak of a typical good image on, and fully at three times that.
_CALM, _GLOWING = 1.0, 3.0
_COLOURS = np.array([(122, 27, 109), (203, 65, 73), (245, 125, 21), (250, 220, 90)], dtype=np.float32)


def overlay(pixels: Pixels, heat: Array) -> Pixels:
    """Lay a heat map (H, W) in units of the fixed scale over an image (H, W, 3).

    Nothing is drawn below 1, the peak of a typical good image; the colour is full at 3.
    """
    strength = strength_of(heat)
    colour = colormaps["inferno"](0.25 + 0.7 * strength)[..., :3] * 255
    alpha = (0.75 * np.sqrt(strength))[..., None]
    mixed: Pixels = np.rint((1 - alpha) * pixels + alpha * colour).astype(np.uint8)
    return mixed


def strength_of(heat: Array) -> Array:
    """Return how strongly a heat map is drawn, from 0 below the peak of a typical good image to 1."""
    return np.clip((heat - _CALM) / (_GLOWING - _CALM), 0, 1)


def heat_png(heat: npt.NDArray[np.float32]) -> bytes:
    """Draw a heat map (H, W) as PNG with alpha, to lay over its image: nothing below 1, full at 3."""
    strength = np.clip((heat - _CALM) / (_GLOWING - _CALM), 0, 1)
    at = np.linspace(0, 1, len(_COLOURS))
    drawn = np.empty((*heat.shape, 4), dtype=np.uint8)
    for channel in range(3):
        drawn[..., channel] = np.rint(np.interp(strength, at, _COLOURS[:, channel]))
    drawn[..., 3] = np.rint(255 * 0.75 * np.sqrt(strength))
    buffer = io.BytesIO()
    Image.fromarray(drawn, "RGBA").save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()
