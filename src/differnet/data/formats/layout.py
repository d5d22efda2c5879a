"""What the samples of a TIFF mean, as its tags say, whichever library decodes them.

| photometric interpretation | how |
|---|---|
| black is zero, white is zero | grey; the second turned round |
| RGB, palette, CMYK | colour; CMYK as Pillow brings it to RGB |
| YCbCr | 8 bits, packed, or plain without subsampling |
| Lab, LogLuv, masks, mosaics of cameras, anything else, none | refused |

Unsigned samples of 1 to 16 bits, signed ones of 16, floats. Of extra samples alpha is used, straight or laid on black
already, and unspecified ones are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from differnet.data.formats.levels import Facts
from differnet.errors import ImageError

# How pixels may be packed: not at all, by LZW, deflate, PackBits, LZMA, Zstandard.
PLAINLY_PACKED = frozenset({1, 5, 8, 32946, 32773, 34925, 50000})
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
_OTHERS = {
    4: "a mask", 8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab", 32803: "the mosaic of a camera", 32844: "LogL",
    32845: "LogLuv", 34892: "the raw levels of a camera",
}  # fmt: skip
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
PREMULTIPLIED, STRAIGHT = 1, 2
JPEG = 7
_MOST_SAMPLES = 16


@dataclass(frozen=True)
class Layout:
    """What the tags say of the samples of a page.

    ``extras``: what the samples after the colours are, 0 for unspecified; ``kind``: unsigned, signed or float;
    ``stated``: the level that is white, where the file says so.
    """

    photometric: int
    bits: int
    kind: int
    samples: int
    extras: tuple[int, ...]
    compression: int
    planar: int
    stated: float | None

    @classmethod
    def of(cls, get: Callable[[int], Any], name: str) -> Layout:
        """Read the tags by their numbers; raises :class:`ImageError` for what is not read."""
        photometric, samples = get(262), int(get(277) or 1)
        bits, kinds = set(_numbers(get(258) or 1)), set(_numbers(get(339) or UNSIGNED))
        if photometric is None:
            raise ImageError(
                f"{name}: does not say how its samples are to be seen (photometric interpretation)"
            )
        if int(photometric) not in COLOURS:
            what = _OTHERS.get(int(photometric), f"photometric interpretation {int(photometric)}")
            raise ImageError(f"{name}: its samples are {what}; grey, RGB, palette, CMYK or YCbCr was wanted")
        if len(bits) != 1 or len(kinds) != 1 or not kinds <= {UNSIGNED, SIGNED, FLOAT}:
            raise ImageError(
                f"{name}: samples of {sorted(bits)} bits and formats {sorted(kinds)}; all alike, unsigned, signed or "
                "floats were wanted"
            )
        colours = COLOURS[int(photometric)]
        extras = _numbers(get(338) or ())
        if not extras and samples > colours:  # as everybody takes it who wrote so
            extras = (STRAIGHT,) if (int(photometric), samples) == (RGB, 4) else (0,) * (samples - colours)
        found = cls(
            int(photometric),
            bits.pop(),
            kinds.pop(),
            samples,
            extras,
            int(get(259) or 1),
            int(get(284) or 1),
            None,
        )
        found._check(get, name)
        return replace(found, stated=found._stated(get))

    def _check(self, get: Callable[[int], Any], name: str) -> None:
        colours, is_grey = COLOURS[self.photometric], self.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO)
        if self.samples != colours + len(self.extras) or self.samples > _MOST_SAMPLES:
            raise ImageError(
                f"{name}: {self.samples} samples a pixel and {len(self.extras)} extra ones, where {colours} are colours"
            )
        if is_grey and self.extras.count(0) > 1:
            raise ImageError(f"{name}: {self.samples} bands; one, three or four were wanted")
        if self.kind == SIGNED and (
            self.bits not in (16, 32) or self.photometric not in (BLACK_IS_ZERO, RGB)
        ):
            raise ImageError(f"{name}: signed samples of {self.bits} bits; unsigned ones were wanted")
        if self.kind == FLOAT and not (is_grey or self.photometric == RGB):
            raise ImageError(f"{name}: floats are read as grey or RGB")
        if self.photometric == CMYK and int(get(332) or 1) != 1:
            raise ImageError(f"{name}: inks other than CMYK")
        if self.photometric == YCBCR:
            factors = _numbers(get(530) or (2, 2))
            if self.bits != 8 or self.extras or not (self.compression != 1 or _is_plain_ycbcr(get)):
                raise ImageError(
                    f"{name}: YCbCr of {self.bits} bits, subsampled {factors}; 8 bits, packed or not subsampled, "
                    "of the usual coefficients were wanted"
                )

    def _stated(self, get: Callable[[int], Any]) -> float | None:
        """Return the end of the range of unusual depths, or MaxSampleValue where it is such an end."""
        if self.kind == FLOAT:
            return None
        if self.bits < 8 or 8 < self.bits < 16:
            return 2.0**self.bits - 1
        tops = set(_numbers(get(281) or ()))
        top = tops.pop() if len(tops) == 1 and self.bits == 16 else 0
        return float(top) if top in (1023, 4095, 16383) else None

    @property
    def is_known_to_pillow(self) -> bool:
        """Whether Pillow reads such samples as what they are, provided that it opens them."""
        if self.samples > 1 and self.bits > 8:
            return False
        return PREMULTIPLIED not in self.extras or self.compression not in PLAINLY_PACKED

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numbers of a sample of more than eight bits."""
        kind = {UNSIGNED: "uint", SIGNED: "int", FLOAT: "float"}[self.kind]
        return np.dtype(f"{kind}{16 if self.bits <= 16 else self.bits}")

    @property
    def facts(self) -> Facts:
        """What the numbers alone do not tell."""
        return Facts(self.stated, inverted=self.photometric == WHITE_IS_ZERO)


def _is_plain_ycbcr(get: Callable[[int], Any]) -> bool:
    """Whether YCbCr that is not packed is what Pillow takes it for: each pixel its own colour, by the usual numbers."""
    weights = get(529) or (0.299, 0.587, 0.114)
    ends = get(532) or (0, 255, 128, 255, 128, 255)
    usual = np.allclose(np.ravel(weights).astype(float), (0.299, 0.587, 0.114), atol=1e-3) and [
        round(float(one)) for one in np.ravel(ends)
    ] == [0, 255, 128, 255, 128, 255]
    whole = 3 * int(get(256) or 0) * int(get(257) or 0)
    return bool(usual and sum(_numbers(get(279) or get(325) or 0)) >= whole)


def _numbers(value: Any) -> tuple[int, ...]:
    """Return the numbers of a tag, which readers give as one or as many."""
    return tuple(int(one) for one in value) if isinstance(value, tuple | list | np.ndarray) else (int(value),)
