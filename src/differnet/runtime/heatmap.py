"""Heat maps drawn over pictures, on one scale for all: the one drawer of heat."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from differnet.data.images import Pixels

Array = npt.NDArray[Any]
# Heat is drawn from the peak of a typical good image on, and fully at three times that.
_CALM, _GLOWING = 1.0, 3.0
# Every sixteenth colour of the upper part of Matplotlib's map "inferno" (CC0): a station has no Matplotlib.
_ANCHORS = (
    (87, 16, 110),
    (105, 22, 110),
    (122, 29, 109),
    (140, 35, 105),
    (157, 41, 100),
    (176, 49, 91),
    (192, 58, 81),
    (207, 68, 70),
    (221, 81, 58),
    (232, 96, 45),
    (241, 115, 29),
    (248, 133, 15),
    (251, 153, 6),
    (252, 174, 18),
    (250, 196, 42),
    (245, 219, 76),
    (241, 239, 117),
)
_STEPS = 256
_OPAQUE = 0.75  # of the colour where heat is full
_BAND = 2**16  # pixels that are mixed at a time
LONGEST = 1600  # pixels of the longer side of an overlay to look at


def _palette() -> npt.NDArray[np.uint8]:
    """Return colours with alpha (256, 4), from clear and calm to glowing."""
    anchors = np.array(_ANCHORS, dtype=np.float64)
    at, wanted = np.linspace(0, 1, len(anchors)), np.linspace(0, 1, _STEPS)
    colours = [np.interp(wanted, at, channel) for channel in anchors.T]
    table = np.stack([*colours, 255 * _OPAQUE * np.sqrt(wanted)], axis=1)
    return np.asarray(np.rint(table), dtype=np.uint8)


_PALETTE = _palette()


def strength_of(heat: Array) -> Array:
    """Return how strongly a heat map is drawn, from 0 below the peak of a typical good image to 1."""
    return np.clip((heat - _CALM) / (_GLOWING - _CALM), 0, 1)


def overlay(pixels: Pixels, heat: Array) -> Pixels:
    """Lay a heat map (H, W) in units of the fixed scale over an image (H, W, 3).

    Nothing is drawn below 1, the peak of a typical good image; the colour is full at 3.
    """
    mixed = np.empty_like(pixels)
    rows = max(1, _BAND // max(1, heat.shape[1]))
    for top in range(0, len(heat), rows):
        band = slice(top, top + rows)
        drawn = layer(heat[band]).astype(np.float32)
        alpha = drawn[..., 3:] / 255
        mixed[band] = np.rint((1 - alpha) * pixels[band] + alpha * drawn[..., :3])
    return mixed


def screen_overlay(pixels: Pixels, heat: npt.NDArray[np.float32]) -> Pixels:
    """Lay a heat map (h, w) over a picture (H, W, 3), which gets at most ``LONGEST`` pixels to its longer side."""
    height, width = pixels.shape[:2]
    size = _at_screen_size(height, width)
    small = (
        pixels
        if size == (width, height)
        else np.asarray(Image.fromarray(pixels).resize(size, reducing_gap=2.0))
    )
    enlarged = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return overlay(small, np.asarray(enlarged))


def _at_screen_size(height: int, width: int) -> tuple[int, int]:
    """Return width and height of a picture of ``LONGEST`` pixels at most."""
    scale = min(1.0, LONGEST / max(height, width))
    return max(1, round(scale * width)), max(1, round(scale * height))


def layer(heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return a heat map (H, W) as colours with alpha (H, W, 4) to lay over its image: clear below 1, full at 3."""
    drawn: npt.NDArray[np.uint8] = _PALETTE[np.rint(strength_of(heat) * (_STEPS - 1)).astype(np.uint8)]
    return drawn


def heat_png(heat: npt.NDArray[np.float32]) -> bytes:
    """Draw a heat map (H, W) as PNG with alpha, to lay over its image; at most ``LONGEST`` pixels long."""
    size = _at_screen_size(*heat.shape)
    if size != heat.shape[::-1]:
        heat = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    buffer = io.BytesIO()
    Image.fromarray(layer(heat), "RGBA").save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()
