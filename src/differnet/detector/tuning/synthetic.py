"""Defects drawn into good images: what a detector that has seen no defect can be judged by before the first one.

The kinds follow what is used to train other detectors without defects: pieces pasted elsewhere (CutPaste, Li et al.,
CVPR 2021), texture blended in where smooth noise is high (DRAEM, Zavrtanik et al., ICCV 2021), and plain
drawings. They are not real defects: docs/results/judge.md says how far their verdicts carry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from differnet.data.images import Pixels

Rng = np.random.Generator
Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Maker = Callable[[Pixels, Rng], tuple[Field, Field]]
LEAST_SIDE = 16


def draw(pixels: Pixels, kind: str, strength: float, rng: Rng) -> tuple[Pixels, Mask]:
    """Return a copy of ``pixels`` (H, W, 3) with one defect, and where it is (H, W).

    ``kind``: a name in :data:`KINDS`; ``strength`` in (0, 1] is how far the defect covers what was there. Raises
    :class:`ValueError` for images of less than 16 pixels a side.
    """
    if min(pixels.shape[:2]) < LEAST_SIDE:
        raise ValueError(f"defects are drawn into images of at least {LEAST_SIDE} pixels a side")
    drawn, where = KINDS[kind](pixels, rng)
    alpha = (strength * where)[..., None]
    mixed = (1 - alpha) * pixels + alpha * drawn
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8), where > 0.3


def _pasted(pixels: Pixels, rng: Rng) -> tuple[Field, Field]:
    """A piece of the image, pasted elsewhere."""
    return _moved(pixels, rng), _polygon(pixels, rng, 0.06, 0.16)


def _scar(pixels: Pixels, rng: Rng) -> tuple[Field, Field]:
    """A long, thin piece from elsewhere."""
    start, heading = _inside(pixels, rng), rng.uniform(0, 2 * np.pi)
    end = start + _side(pixels) * rng.uniform(0.12, 0.3) * np.array([np.cos(heading), np.sin(heading)])
    return _moved(pixels, rng), _line(pixels, [start, end], rng.uniform(0.015, 0.035))


def _texture(pixels: Pixels, rng: Rng) -> tuple[Field, Field]:
    """The image's own texture, shuffled and turned, where smooth noise is high."""
    turned = np.rot90(pixels, int(rng.integers(1, 4)))
    fitted = np.asarray(Image.fromarray(np.ascontiguousarray(turned)).resize(pixels.shape[1::-1]))
    drawn = np.clip(_rolled(fitted, rng) * rng.uniform(0.6, 1.4), 0, 255).astype(np.float32)
    noise = _blurred(rng.standard_normal(pixels.shape[:2]), 0.04 * _side(pixels))
    near = _disc(pixels, _inside(pixels, rng), 0.2)
    high = (noise > np.quantile(noise, 0.6)) * near
    return drawn, _soft(high, 0.005 * _side(pixels))


def _scratch(pixels: Pixels, rng: Rng) -> tuple[Field, Field]:
    """A crooked line, lighter or darker than what it crosses."""
    points, heading = [_inside(pixels, rng)], rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(3, 8))):
        heading += rng.normal(0, 0.3)
        step = 0.07 * _side(pixels) * np.array([np.cos(heading), np.sin(heading)])
        points.append(points[-1] + step)
    return _shifted(pixels, rng), _line(pixels, points, rng.uniform(0.006, 0.02))


def _spot(pixels: Pixels, rng: Rng) -> tuple[Field, Field]:
    """One to four round spots close to each other, lighter or darker."""
    centre = _inside(pixels, rng)
    where = np.zeros(pixels.shape[:2], np.float32)
    for _ in range(int(rng.integers(1, 5))):
        place = centre + rng.normal(0, 0.05 * _side(pixels), 2)
        where = np.maximum(where, _disc(pixels, place, rng.uniform(0.012, 0.05)))
    return _shifted(pixels, rng), _soft(where, 0.004 * _side(pixels))


def _missing(pixels: Pixels, rng: Rng) -> tuple[Field, Field]:
    """A piece that is gone: the colour of the whole image, without texture."""
    drawn = np.broadcast_to(pixels.mean(axis=(0, 1)), pixels.shape).astype(np.float32)
    return drawn, _polygon(pixels, rng, 0.05, 0.14)


def _misplaced(pixels: Pixels, rng: Rng) -> tuple[Field, Field]:
    """A piece turned where it is, by 90, 180 or 270 degrees."""
    side = min(int(_side(pixels) * rng.uniform(0.15, 0.3)), *pixels.shape[:2])
    top, left = (int(rng.integers(0, length - side + 1)) for length in pixels.shape[:2])
    drawn = pixels.astype(np.float32)
    window = (slice(top, top + side), slice(left, left + side))
    drawn[window] = np.rot90(drawn[window], int(rng.integers(1, 4)))
    where = np.zeros(pixels.shape[:2], np.float32)
    where[window] = 1
    return drawn, where


def _dull(pixels: Pixels, rng: Rng) -> tuple[Field, Field]:
    """A part that is blurred, as if smeared."""
    width = rng.uniform(0.01, 0.03) * _side(pixels)
    drawn = _blurred(pixels.astype(np.float32), (width, width, 0))
    return drawn, _polygon(pixels, rng, 0.08, 0.2)


def _stain(pixels: Pixels, rng: Rng) -> tuple[Field, Field]:
    """A large, soft part that is darker or lighter."""
    where = _disc(pixels, _inside(pixels, rng), rng.uniform(0.08, 0.18))
    drawn = np.clip(pixels * rng.choice([0.5, 0.65, 1.4, 1.6]), 0, 255).astype(np.float32)
    return drawn, _soft(where, 0.04 * _side(pixels))


KINDS: Mapping[str, Maker] = {
    "pasted": _pasted,
    "scar": _scar,
    "texture": _texture,
    "scratch": _scratch,
    "spot": _spot,
    "missing": _missing,
    "misplaced": _misplaced,
    "dull": _dull,
    "stain": _stain,
}


def _side(pixels: Pixels) -> float:
    """Return the side of a square of the same area; sizes of defects are shares of it."""
    return float(np.sqrt(pixels.shape[0] * pixels.shape[1]))


def _inside(pixels: Pixels, rng: Rng) -> npt.NDArray[np.float64]:
    """Return a point (x, y) away from the rim."""
    height, width = pixels.shape[:2]
    return rng.uniform(0.12, 0.88, 2) * (width, height)


def _shifted(pixels: Pixels, rng: Rng) -> Field:
    """Return the image much lighter or darker, as far as there is room to either side."""
    change = rng.uniform(50, 130)
    sign = rng.choice([-1, 1]) if 64 < pixels.mean() < 192 else 1 if pixels.mean() <= 64 else -1
    shifted: Field = np.clip(pixels + sign * change, 0, 255).astype(np.float32)
    return shifted


def _rolled(pixels: Pixels, rng: Rng) -> Pixels:
    """Return the image moved round by at least a quarter of each side."""
    shift = [int(length * rng.uniform(0.25, 0.75)) for length in pixels.shape[:2]]
    moved: Pixels = np.roll(pixels, shift, axis=(0, 1))
    return moved


def _moved(pixels: Pixels, rng: Rng) -> Field:
    """Return what a pasted piece shows: another place, a little lighter or darker."""
    moved: Field = np.clip(_rolled(pixels, rng) * rng.uniform(0.85, 1.15), 0, 255).astype(np.float32)
    return moved


def _polygon(pixels: Pixels, rng: Rng, low: float, high: float) -> Field:
    """Return a filled polygon with a radius from ``low`` to ``high`` of the side."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(4, 9))))
    radii = _side(pixels) * rng.uniform(low, high) * rng.uniform(0.7, 1, len(angles))
    x, y = _inside(pixels, rng)
    corners = [(x + r * np.cos(a), y + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)]
    canvas = _canvas(pixels)
    ImageDraw.Draw(canvas).polygon(corners, fill=255)
    return _soft(_field(canvas), 0.004 * _side(pixels))


def _line(pixels: Pixels, points: list[npt.NDArray[np.float64]], width: float) -> Field:
    canvas = _canvas(pixels)
    thick = max(1, round(width * _side(pixels)))
    ImageDraw.Draw(canvas).line([(float(x), float(y)) for x, y in points], fill=255, width=thick)
    return _soft(_field(canvas), 0.003 * _side(pixels))


def _disc(pixels: Pixels, centre: npt.NDArray[np.float64], radius: float) -> Field:
    """Return 1 within ``radius``, a share of the side, of a point."""
    y, x = np.indices(pixels.shape[:2], dtype=np.float32)
    distance = np.hypot(x - centre[0], y - centre[1])
    disc: Field = (distance <= max(1.0, radius * _side(pixels))).astype(np.float32)
    return disc


def _canvas(pixels: Pixels) -> Image.Image:
    return Image.new("L", pixels.shape[1::-1])


def _field(canvas: Image.Image) -> Field:
    field: Field = np.asarray(canvas, dtype=np.float32) / np.float32(255)
    return field


def _soft(where: npt.NDArray[np.floating], width: float) -> Field:
    softened: Field = _blurred(where.astype(np.float32), width)
    return softened


def _blurred(values: npt.NDArray[Any], width: float | tuple[float, ...]) -> npt.NDArray[Any]:
    from scipy import ndimage  # 0.15 seconds of every start, which only this needs

    blurred: npt.NDArray[Any] = ndimage.gaussian_filter(values, width)
    return blurred
