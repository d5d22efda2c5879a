"""The demo data: tiles of real photographs that scikit-image ships, with defects drawn into some of them.

Each photograph is divided into square cells. A random part of the cells gives training tiles, the others
give test tiles, so that no pixel is seen twice; the cell is part of a training tile's name, because tiles of
one cell overlap and belong on one side when some are held out. Masks are kept. The layout is MVTec's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from differnet.data.images import Pixels
from differnet.errors import MissingExtraError

TEXTURES = ("brick", "grass", "gravel", "moon")
SIDE = 512
CELL = 128
TILE = 112
TRAIN_TILES_A_CELL = 8
GOOD_TEST_TILES = 18
STRENGTHS = (1.0, 0.8, 0.6, 0.4)
_TRAIN_SHARE = 0.625

Field = npt.NDArray[np.float32]
Rng = np.random.Generator
Drawer = Callable[[Pixels, float, Rng], tuple[Pixels, npt.NDArray[np.bool_]]]


def write_demo_data(root: Path, seed: int = 0, textures: tuple[str, ...] | None = None) -> list[str]:
    """Write every texture as an MVTec category below ``root`` and return their names.

    Raises :class:`MissingExtraError` without scikit-image.
    """
    names = TEXTURES if textures is None else textures
    for index, name in enumerate(names):
        _write_texture(root / name, _photograph(name), np.random.default_rng([seed, index]))
    return list(names)


def cell_of(path: Path) -> str:
    """Return the cell that a training tile was cut from: the group to hold out together."""
    return path.stem.split("-")[0]


def _write_texture(folder: Path, photograph: Pixels, rng: Rng) -> None:
    cells = _cells(photograph)
    order = rng.permutation(len(cells))
    border = round(_TRAIN_SHARE * len(cells))
    for cell in order[:border]:
        for i in range(TRAIN_TILES_A_CELL):
            _save(folder / "train" / "good" / f"cell{cell:02}-{i}.png", _cut(cells[cell], rng))
    tests = itertools.cycle(cells[cell] for cell in order[border:])
    for i in range(GOOD_TEST_TILES):
        _save(folder / "test" / "good" / f"{i:03}.png", _cut(next(tests), rng))
    for defect, draw in DEFECTS.items():
        for i, strength in enumerate(STRENGTHS):
            tile, mask = draw(_cut(next(tests), rng), strength, rng)
            _save(folder / "test" / defect / f"{i:03}.png", tile)
            white = mask.astype(np.uint8) * np.uint8(255)
            _save(folder / "ground_truth" / defect / f"{i:03}_mask.png", white)


def _cells(photograph: Pixels) -> list[Pixels]:
    rows, columns = photograph.shape[0] // CELL, photograph.shape[1] // CELL
    corners = itertools.product(range(0, rows * CELL, CELL), range(0, columns * CELL, CELL))
    return [photograph[top : top + CELL, left : left + CELL] for top, left in corners]


def _photograph(name: str) -> Pixels:
    try:
        from skimage import data
    except ImportError as error:
        raise MissingExtraError(
            "the demo needs the photographs of scikit-image: pip install 'differnet[demo]'"
        ) from error
    image = np.asarray(getattr(data, name)(), dtype=np.uint8)[:SIDE, :SIDE]
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., :3]


def _cut(cell: Pixels, rng: Rng) -> Pixels:
    top, left = (int(start) for start in rng.integers(0, CELL - TILE + 1, 2))
    tile: Pixels = cell[top : top + TILE, left : left + TILE].copy()
    return tile


def _scratch(tile: Pixels, strength: float, rng: Rng) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    start = rng.uniform(20, TILE - 20, 2)
    heading = rng.uniform(0, 2 * np.pi)
    points = [start]
    for _ in range(8):
        heading += rng.normal(0, 0.25)
        points.append(points[-1] + 11 * np.array([np.cos(heading), np.sin(heading)]))
    line = Image.new("L", (TILE, TILE))
    ImageDraw.Draw(line).line([tuple(p) for p in points], fill=255, width=int(rng.integers(3, 6)))
    return _blend(tile, _soften(line, 0.6), 250.0 if tile.mean() < 128 else 10.0, 0.9 * strength)


def _spot(tile: Pixels, strength: float, rng: Rng) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    disc = _ellipse(rng, low=8, high=14)
    return _blend(tile, _soften(disc, 0.8), float(rng.choice([5.0, 245.0])), 0.9 * strength)


def _stain(tile: Pixels, strength: float, rng: Rng) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """A large, soft darkening, uneven at its rim."""
    blot = Image.new("L", (TILE, TILE))
    centre = rng.uniform(40, TILE - 40, 2)
    for _ in range(7):
        x, y = centre + rng.normal(0, 10, 2)
        r = rng.uniform(13, 22)
        ImageDraw.Draw(blot).ellipse((x - r, y - r, x + r, y + r), fill=255)
    return _blend(tile, _soften(blot, 4), 15.0, 0.75 * strength)


def _dent(tile: Pixels, strength: float, rng: Rng) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Pull the texture towards a centre and shade it, light on one side and dark on the other."""
    x, y = np.meshgrid(np.arange(TILE), np.arange(TILE))
    cx, cy = rng.uniform(35, TILE - 35, 2)
    radius = rng.uniform(22, 30)
    dx, dy = x - cx, y - cy
    bump = np.exp(-(dx**2 + dy**2) / (2 * (radius / 2) ** 2))
    pull = 1 + 0.9 * strength * bump
    sx = np.clip(np.rint(cx + dx * pull), 0, TILE - 1).astype(int)
    sy = np.clip(np.rint(cy + dy * pull), 0, TILE - 1).astype(int)
    angle = rng.uniform(0, 2 * np.pi)
    shade = (dx * np.cos(angle) + dy * np.sin(angle)) / (radius / 2) * bump
    shaded = tile[sy, sx] + 110 * strength * shade[..., None]
    return np.clip(np.rint(shaded), 0, 255).astype(np.uint8), bump > 0.25


def _missing_piece(tile: Pixels, strength: float, rng: Rng) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Fill a polygon with the mean colour of the tile: the texture is gone, the brightness is not."""
    centre = rng.uniform(35, TILE - 35, 2)
    size = 16 + 18 * strength
    angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
    radii = size * rng.uniform(0.7, 1.0, 7)
    corners = [
        (centre[0] + r * np.cos(a), centre[1] + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)
    ]
    hole = Image.new("L", (TILE, TILE))
    ImageDraw.Draw(hole).polygon(corners, fill=255)
    return _blend(tile, _soften(hole, 0.8), tile.mean(axis=(0, 1)), 0.95)


DEFECTS: dict[str, Drawer] = {
    "scratch": _scratch,
    "spot": _spot,
    "dent": _dent,
    "stain": _stain,
    "missing_piece": _missing_piece,
}


def _ellipse(rng: Rng, low: float, high: float) -> Image.Image:
    picture = Image.new("L", (TILE, TILE))
    x, y = rng.uniform(20, TILE - 20, 2)
    a, b = rng.uniform(low, high, 2)
    ImageDraw.Draw(picture).ellipse((x - a, y - b, x + a, y + b), fill=255)
    return picture


def _soften(picture: Image.Image, radius: float) -> Field:
    blurred = picture.filter(ImageFilter.GaussianBlur(radius))
    field: Field = np.asarray(blurred, dtype=np.float32) / np.float32(255)
    return field


def _blend(tile: Pixels, shape: Field, colour: Any, opacity: float) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    alpha = opacity * shape[..., None]
    mixed = (1 - alpha) * tile + alpha * np.asarray(colour, dtype=np.float32)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8), shape > 0.3


def _save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
