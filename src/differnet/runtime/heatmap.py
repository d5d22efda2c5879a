"""Heat maps drawn over pictures, on one scale for all: the one drawer of heat."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from differnet.data.images import Pixels

Array = npt.NDArray[Any]
# Heat is drawn from the peak of a typical good image on, and fully at three times that.
_CALM, _GLOWING = 1.0, 3.0
LEVELS = (1.0, 2.0, 3.0)  # of heat, where lines are drawn: the first is the limit
# Colours of Matplotlib's map "plasma" (CC0) from 0.93 down to 0.4, from calm to glowing: a station has no Matplotlib.
ANCHORS = (
    (249, 220, 36),
    (252, 205, 37),
    (254, 192, 41),
    (253, 178, 47),
    (252, 166, 54),
    (249, 154, 62),
    (246, 143, 68),
    (241, 131, 76),
    (237, 121, 83),
    (231, 110, 91),
    (225, 100, 98),
    (218, 90, 106),
    (211, 81, 113),
    (203, 70, 121),
    (195, 61, 128),
    (186, 51, 136),
    (177, 42, 144),
)
_STEPS = 256
_TINT = 0.22  # how opaque the colour is where heat is full: the part is seen through it
_CASING, _DARK = 0.55, 24  # the dark rim of a line, seen on bright parts
_FLAT = 1e-6  # of heat from one pixel to the next: no line crosses there
_BAND = 2**16  # pixels that are mixed at a time
LONGEST = 1600  # pixels of the longer side of an overlay to look at
_SHORTEST = 800  # of a map that is enlarged with its picture, so that its lines stay thin


def _palette() -> npt.NDArray[np.float32]:
    """Return colours with their share in a pixel (256, 4), from clear and calm to glowing."""
    anchors = np.array(ANCHORS, dtype=np.float64)
    at, wanted = np.linspace(0, 1, len(anchors)), np.linspace(0, 1, _STEPS)
    colours = [np.interp(wanted, at, channel) for channel in anchors.T]
    return np.stack([*colours, _TINT * wanted**1.5], axis=1).astype(np.float32)


_PALETTE = _palette()


def colour_of(heat: float) -> tuple[int, int, int]:
    """Return the colour in which so much heat is drawn.

    >>> colour_of(3.0)
    (177, 42, 144)
    """
    red, green, blue = np.rint(_PALETTE[_step(np.asarray(heat)), :3]).astype(int).tolist()
    return red, green, blue


def _step(heat: Array) -> npt.NDArray[np.uint8]:
    return np.asarray(np.rint(strength_of(heat) * (_STEPS - 1)), dtype=np.uint8)


def strength_of(heat: Array) -> Array:
    """Return how strongly a heat map is drawn, from 0 below the peak of a typical good image to 1."""
    return np.clip((heat - _CALM) / (_GLOWING - _CALM), 0, 1)


def overlay(pixels: Pixels, heat: Array) -> Pixels:
    """Lay a heat map (H, W) in units of the fixed scale over an image (H, W, 3); see :func:`layer`."""
    mixed = np.empty_like(pixels)
    rows, width = max(1, _BAND // max(1, heat.shape[1])), _line_width(heat.shape)
    margin = _reach(width) + 1  # of rows beyond a band that its lines hang on
    for top in range(0, len(heat), rows):
        first, band = max(0, top - margin), slice(top, top + rows)
        drawn = _layer(heat[first : top + rows + margin], width)[top - first :][: len(pixels[band])]
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


def _at_screen_size(height: int, width: int, least: int = 1) -> tuple[int, int]:
    """Return width and height of a picture whose longer side has ``least`` to ``LONGEST`` pixels."""
    longer = max(height, width)
    scale = min(max(longer, least), LONGEST) / longer
    return max(1, round(scale * width)), max(1, round(scale * height))


def layer(heat: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return a heat map (H, W) as colours with alpha (H, W, 4) to lay over its image.

    Clear below 1, the peak of a typical good image; lines at ``LEVELS``; between them a light tint, so that the part
    stays to be seen.
    """
    return np.rint(_layer(heat, _line_width(heat.shape))).astype(np.uint8)


def _line_width(shape: tuple[int, ...]) -> float:
    return max(1.5, max(shape) / 300)


def _layer(heat: Array, width: float) -> npt.NDArray[np.float32]:
    """Return colours and alpha, 0 to 255, with lines of that width in pixels."""
    heat = np.asarray(heat, dtype=np.float32)
    drawn = _PALETTE[_step(heat)]
    slope = _slope(heat)
    for level in LEVELS:
        reached = heat >= level
        if not reached.any():
            break
        crossed = (slope > _FLAT) & _near(reached, _reach(width))
        away = np.where(crossed, np.abs(heat - np.float32(level)) / np.maximum(slope, _FLAT), np.inf)
        for colour, opaque, wide in (((_DARK,) * 3, _CASING, 2 * width), (colour_of(level), 1.0, width)):
            _put(drawn, np.asarray(colour, np.float32), opaque * np.clip(wide / 2 + 0.5 - away, 0, 1))
    drawn[..., 3] *= 255
    return drawn


def _reach(width: float) -> int:
    """Return how many pixels the dark rim of a line reaches from where its level is crossed."""
    return math.ceil(width + 0.5)


def _near(reached: npt.NDArray[np.bool_], pixels: int) -> npt.NDArray[np.bool_]:
    """Return where one pixel at least was reached, at most so many away by row and by column.

    Without it a slope would promise a crossing that never comes, beside a peak just below the level.
    """
    for axis, count in enumerate(reached.shape):
        sums = np.insert(np.cumsum(reached, axis, dtype=np.int32), 0, 0, axis)
        places = np.arange(count)
        after, before = np.minimum(places + pixels + 1, count), np.maximum(places - pixels, 0)
        reached = np.take(sums, after, axis) > np.take(sums, before, axis)
    return reached


def _slope(heat: Array) -> Array:
    """Return by how much heat changes from a pixel to the next."""
    ways = [np.gradient(heat, axis=axis) for axis in (0, 1) if heat.shape[axis] > 1]
    return np.hypot(*ways) if len(ways) == 2 else np.abs(ways[0]) if ways else np.zeros_like(heat)


def _put(drawn: Array, colour: Array, share: Array) -> None:
    """Lay a colour with its share (H, W) in each pixel over what is drawn."""
    seen = share > 0
    under, share = drawn[seen], share[seen]
    below = under[:, 3] * (1 - share)
    whole = below + share
    part = (share / whole)[:, None]
    drawn[seen] = np.column_stack([part * colour + (1 - part) * under[:, :3], whole])


def heat_png(heat: npt.NDArray[np.float32]) -> bytes:
    """Draw a heat map (H, W) as PNG with alpha, to lay over its image in any size.

    Its longer side has 800 to ``LONGEST`` pixels.
    """
    height, width = heat.shape
    size = _at_screen_size(height, width, _SHORTEST)
    if size != heat.shape[::-1]:
        heat = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    buffer = io.BytesIO()
    Image.fromarray(layer(heat), "RGBA").save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()
