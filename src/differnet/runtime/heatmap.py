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


def _palette() -> npt.NDArray[np.float64]:
    anchors = np.array(_ANCHORS, dtype=np.float64)
    at, wanted = np.linspace(0, 1, len(anchors)), np.linspace(0, 1, _STEPS)
    return np.stack([np.interp(wanted, at, channel) for channel in anchors.T], axis=1)


_PALETTE = _palette()  # (256, 3), from calm to glowing


def strength_of(heat: Array) -> Array:
    """Return how strongly a heat map is drawn, from 0 below the peak of a typical good image to 1."""
    return np.clip((heat - _CALM) / (_GLOWING - _CALM), 0, 1)


def _colour_of(strength: Array) -> Array:
    colour: Array = _PALETTE[np.rint(strength * (_STEPS - 1)).astype(np.intp)]
    return colour


def _alpha_of(strength: Array) -> Array:
    return 0.75 * np.sqrt(strength)


def overlay(pixels: Pixels, heat: Array) -> Pixels:
    """Lay a heat map (H, W) in units of the fixed scale over an image (H, W, 3).

    Nothing is drawn below 1, the peak of a typical good image; the colour is full at 3.
    """
    strength = strength_of(heat)
    alpha = _alpha_of(strength)[..., None]
    mixed: Pixels = np.rint((1 - alpha) * pixels + alpha * _colour_of(strength)).astype(np.uint8)
    return mixed


def layer(heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return a heat map (H, W) as colours with alpha (H, W, 4) to lay over its image: clear below 1, full at 3."""
    strength = strength_of(heat)
    drawn = np.empty((*heat.shape, 4), dtype=np.uint8)
    drawn[..., :3] = np.rint(_colour_of(strength))
    drawn[..., 3] = np.rint(255 * _alpha_of(strength))
    return drawn


def heat_png(heat: npt.NDArray[np.float32]) -> bytes:
    """Draw a heat map (H, W) as PNG with alpha, to lay over its image."""
    buffer = io.BytesIO()
    Image.fromarray(layer(heat), "RGBA").save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()
