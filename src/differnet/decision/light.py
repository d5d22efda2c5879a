"""Two numbers of a picture that know nothing of parts: how bright it is, and how sharp."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from differnet.errors import ShapeError

_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
_BAND = 256  # rows at a time, so that large pictures take little memory


class Light(NamedTuple):
    """``brightness``: mean grey level, 0 to 255. ``sharpness``: see :func:`measure`, without a unit, from 0 on."""

    brightness: float
    sharpness: float


def measure(pixels: npt.NDArray[Any]) -> Light:
    """Return brightness and sharpness of a picture (H, W, 3), values 0..255.

    Sharpness is the variance of the Laplacian of the grey picture (Pech-Pacheco et al., "Diatom autofocusing in
    brightfield microscopy", ICPR 2000), divided by the square of its mean: without that, a lamp at half its power would
    pass for a picture a quarter as sharp. Noise counts as sharpness. It is 0 for a black picture and for one that is
    less than 3 pixels wide or high. Raises :class:`ShapeError` for another shape.

    >>> measure(np.full((8, 8, 3), 100, dtype=np.uint8))
    Light(brightness=100.0, sharpness=0.0)
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ShapeError(
            f"pixels of shape {pixels.shape}; (H, W, 3) was wanted, as differnet.data.images.load gives"
        )
    grey_sum, count, moments = 0.0, 0, np.zeros(2)
    for start in range(0, len(pixels), _BAND):
        grey = pixels[start : start + _BAND + 2].astype(np.float32) @ _GREY
        grey_sum += float(grey[:_BAND].sum(dtype=np.float64))
        laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
        count += laplacian.size
        moments += laplacian.sum(dtype=np.float64), np.square(laplacian, dtype=np.float64).sum()
    brightness = grey_sum / (pixels.shape[0] * pixels.shape[1])
    if brightness == 0 or count == 0:
        return Light(round(brightness, 4), 0.0)
    variance = max(moments[1] / count - (moments[0] / count) ** 2, 0.0)
    return Light(round(brightness, 4), round(float(variance) / brightness**2, 9))
