"""How a picture becomes the square that views are shown of, and which part of the square it is. In NumPy alone.

Where all pictures are long, the square is an oblong of the same area (:mod:`differnet.config.shape`).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from differnet.data.formats.levels import Scale
from differnet.data.images import ImageLike, Pixels, load, resize, resize_floats
from differnet.errors import ConfigError

Shape = tuple[int, int]  # height and width
Bare = Pixels | npt.NDArray[np.float32]
Box = tuple[int, int, int, int]  # top, left, height and width
COVER = 127.0  # what stands where a picture is ignored
PREFIX = "png:"
LONGEST = 1024  # pixels that a mask keeps on its longer side


class Framing(Scale, Protocol):
    """In which frame, numbers and levels pictures are, and the mask of what does not matter: see
    :class:`differnet.config.sections.Views`.
    """

    @property
    def frame(self) -> str:
        """``"squash"`` or ``"pad"``."""

    @property
    def resampling(self) -> str:
        """``"bytes"`` or ``"floats"``: in which numbers a resized picture is."""

    @property
    def ignore(self) -> str | None:
        """A mask as :func:`differnet.data.square.encode` makes it."""


@lru_cache(maxsize=16)
def ignored_part(text: str, shape: Shape, box: Box) -> npt.NDArray[np.bool_]:
    """Return where a square is ignored whose picture lies in ``box``: booleans (S, T), not to be written to.

    Raises :class:`ConfigError` for what is no mask.
    """
    try:
        content = io.BytesIO(base64.b64decode(text.removeprefix(PREFIX), validate=True))
        with Image.open(content, formats=("PNG",)) as opened:
            if opened.mode != "1" or max(opened.size) > LONGEST:
                raise ValueError(f"mode {opened.mode}, {opened.size}")
            white = np.asarray(opened.convert("L"))
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ConfigError(f"ignore: not a mask that differnet.data.square.encode made ({error})") from error
    top, left, height, width = box
    mask = np.zeros(shape, dtype=bool)
    inner = Image.fromarray(white).resize((width, height), Image.Resampling.BILINEAR)
    mask[top : top + height, left : left + width] = np.asarray(inner) >= 128
    return mask


def kind_of(framing: Framing) -> np.dtype[Any]:
    """Return the numbers that hold a square without loss: bytes where they are whole from 0 to 255, else floats."""
    return np.dtype(np.float32) if framing.resampling == "floats" else np.dtype(np.uint8)


def to_square(pixels: Pixels, canvas: Shape, framing: Framing) -> npt.NDArray[np.float32]:
    """Bring uint8 pixels (H, W, 3) to floats (3, *canvas), values 0..255; what is ignored becomes grey."""
    return covered(resized(pixels, canvas, framing), pixels.shape, framing)


def covered(bare: Bare, shape: tuple[int, ...], framing: Framing) -> npt.NDArray[np.float32]:
    """Return what :func:`resized` made of a picture (H, W) as floats (3, S, T), what is ignored being grey.

    Where nothing is ignored it may share the numbers of ``bare``.
    """
    planes: npt.NDArray[Any] = bare.transpose(2, 0, 1)
    if framing.ignore is None:
        return np.ascontiguousarray(planes, dtype=np.float32)
    square: npt.NDArray[np.float32] = planes.astype(np.float32, order="C")
    canvas = bare.shape[0], bare.shape[1]
    square[:, ignored_part(framing.ignore, canvas, place(shape, canvas, framing))] = COVER
    return square


def place(shape: tuple[int, ...], canvas: Shape, framing: Framing) -> Box:
    """Return where a picture (H, W) lies in its square."""
    if framing.frame == "squash":
        return 0, 0, *canvas
    scale = min(room / length for room, length in zip(canvas, shape[:2], strict=True))
    height, width = (max(1, round(scale * length)) for length in shape[:2])
    return (canvas[0] - height) // 2, (canvas[1] - width) // 2, height, width


def shown(heat: npt.NDArray[np.float32], shape: tuple[int, ...], framing: Framing) -> npt.NDArray[np.float32]:
    """Return the part (h, w) of a map (S, T) in which a picture (H, W) lies; zero where it is ignored."""
    canvas = heat.shape[-2], heat.shape[-1]
    box = place(shape, canvas, framing)
    if framing.ignore is not None:
        heat = np.where(ignored_part(framing.ignore, canvas, box), np.float32(0), heat)
    top, left, height, width = box
    return heat[top : top + height, left : left + width]


def resized(pixels: Pixels, canvas: Shape, framing: Framing) -> Bare:
    """Bring pixels (H, W, 3) to a square (*canvas, 3) in bytes or floats 0..255, nothing covered."""
    top, left, height, width = place(pixels.shape, canvas, framing)
    to_shape = resize_floats if framing.resampling == "floats" else resize
    inner = to_shape(pixels, (height, width))
    if (height, width) == canvas:
        return inner
    square = np.zeros((*canvas, 3), dtype=inner.dtype)
    square[top : top + height, left : left + width] = inner
    return square


def encode(mask: ImageLike) -> str:
    """Return a mask as text for the setting ``ignore``: what is at least half as bright as white does not matter.

    Raises :class:`ImageError` for what is no image, and :class:`ConfigError` for a mask that ignores all or nothing.
    """
    picture = Image.fromarray(load(mask)[..., 0])
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
    ignored = np.asarray(picture) >= 128
    if ignored.all() or not ignored.any():
        raise ConfigError(
            f"a mask that ignores {'all' if ignored.all() else 'nothing'} of the picture; white is what to ignore"
        )
    buffer = io.BytesIO()
    Image.fromarray(ignored).save(buffer, "PNG", optimize=True)
    return PREFIX + base64.b64encode(buffer.getvalue()).decode()


def with_mask_as_text(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by name in which ``ignore`` may be an image, with its text in its place."""
    mask = settings.get("ignore")
    if mask is None or (isinstance(mask, str) and mask.startswith(PREFIX)):
        return dict(settings)
    return {**settings, "ignore": encode(mask)}
