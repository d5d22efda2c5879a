"""What grey level is white in pictures of more than eight bits: that belongs to the camera, not to each picture.

A 12-bit camera writes its levels into 16 bits, and no picture says which of them is white. If its brightest pixel did,
a lamp at a quarter would give the very pixels that it gives at full light. So a model has one ``white``, which is
settled once from all training pictures (:mod:`differnet.features.white`), and every picture is scaled by it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from differnet.errors import ImageError, ImageWarning, warn

_DEPTHS = (8, 10, 12, 14, 16)  # bits
_TELLING = threading.Lock()
_SIGNED = 2.0**15 - 1
_FEW = 0.01  # of the pixels: floats of which fewer lie above 1 are none of 0..255
_DIM = 16.0  # and those whose brightest pixel is below it hardly are
_ADVICE = "say which level is white with white = NUMBER (--set white=NUMBER)"


class Scale(Protocol):
    """By what white pictures are scaled: see :class:`differnet.config.sections.Views`."""

    @property
    def white(self) -> float | str:
        """A level, ``"type"``, ``"picture"``, or ``"auto"`` where it is not settled."""

    @property
    def beyond(self) -> str:
        """``"saturate"`` or ``"refuse"``: what becomes of brighter pixels."""


@dataclass(frozen=True)
class Levels:
    """A scale by itself; the default is for pictures that no model is asked of: each by its own brightest pixel."""

    white: float | str = "auto"
    beyond: str = "saturate"


OWN = Levels()


@dataclass(frozen=True)
class Facts:
    """What a file says of its samples besides their numbers.

    ``white``: the level that is white, where it says so; ``inverted``: zero is white; ``premultiplied``: colours are
    laid on black already, whatever their alpha.
    """

    white: float | None = None
    inverted: bool = False
    premultiplied: bool = False


PLAIN = Facts()


@dataclass(frozen=True)
class Extent:
    """How far the levels of one picture reach, or of many.

    ``dtype``: of their numbers; ``high``, ``low``: the brightest and darkest; ``above`` of ``count`` levels lie above
    1; ``stated``: the white that all files state.
    """

    dtype: np.dtype[Any]
    high: float
    low: float = 0.0
    above: int = 0
    count: int = 1
    stated: float | None = None

    @classmethod
    def of(cls, array: npt.NDArray[Any], facts: Facts = PLAIN) -> Extent:
        """Measure levels (H, W, ...), alpha left out."""
        high = float(array.max())
        some = is_float(array.dtype) and high > 1
        above = int(np.count_nonzero(array > 1)) if some else 0
        return cls(array.dtype, high, float(array.min()), above, array.size, facts.white)

    def with_other(self, other: Extent) -> Extent:
        """Return how far both reach; raises :class:`ImageError` for floats beside integers."""
        if is_float(self.dtype) != is_float(other.dtype):
            raise ImageError(
                f"some pictures have floats (up to {max(self.high, other.high):g} with the others) and some integers "
                f"of more than 8 bits: they have no white in common; store all in the same way, or {_ADVICE}"
            )
        return replace(
            self if self.dtype.itemsize >= other.dtype.itemsize else other,
            high=max(self.high, other.high),
            low=min(self.low, other.low),
            above=self.above + other.above,
            count=self.count + other.count,
            stated=self.stated if self.stated == other.stated else None,
        )

    def white(self, name: str) -> float:
        """Return the white that suits them: what files state, else the end of the range that holds the brightest.

        Ranges end at 1 for floats, and for all at 255, 1023, 4095, 16383 and 65535. Raises :class:`ImageError`, which
        starts with ``name``, for more, and for floats of which it cannot be told.
        """
        if self.stated is not None and self.high <= self.stated:
            return self.stated
        if is_float(self.dtype) and self.high <= 1:
            return 1.0
        self.check_clear(name)
        ends = [2.0**bits - 1 for bits in _DEPTHS]
        if self.dtype.name == "int16":
            ends[-1] = _SIGNED
        fitting = [end for end in ends if self.high <= end]
        if not fitting:
            raise ImageError(
                f"{name}: {self.dtype} pixels from {self.low:g} to {self.high:g}; wanted are 0..255, 16 bits 0..65535, "
                f"or floats 0..1; {_ADVICE}"
            )
        return fitting[0]

    def check_clear(self, name: str) -> None:
        """Refuse floats that may be 0..1 with some beyond, or dark ones of 0..255: one scale makes the other black."""
        is_unclear = self.high < _DIM or self.above < _FEW * self.count
        if is_float(self.dtype) and self.high > 1 and is_unclear:
            raise ImageError(
                f"{name}: floats up to {self.high:g}, {self.above:,} of {self.count:,} above 1: neither 0..1 nor "
                f"clearly 0..255; {_ADVICE}, for instance white=1, where brighter pixels are white as well"
            )


class Meter:
    """A scale that follows the pictures which are decoded by it: the white that suits all of them so far."""

    beyond = "saturate"

    def __init__(self) -> None:
        self.extent: Extent | None = None
        self.used: float | str = "type"

    @property
    def white(self) -> float | str:
        """The white by which the last picture was scaled; ``"type"`` for one of eight bits."""
        return self.used

    def take(self, found: Extent) -> float:
        """Take another picture into account, and return the white that suits all, or 1 while that is not clear."""
        self.extent = found if self.extent is None else self.extent.with_other(found)
        try:
            self.used = self.extent.white("the pictures")
        except ImageError:  # said when all were seen
            self.used = max(1.0, self.extent.high)
        return self.used


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether numbers are floats."""
    return bool(np.issubdtype(dtype, np.floating))


def white_of(found: Extent, scale: Scale, name: str) -> float:
    """Return the level that is white in a picture which reaches as far as ``found``.

    Raises :class:`ImageError` where ``scale`` does not go with such numbers.
    """
    if isinstance(scale, Meter):
        return scale.take(found)
    if scale.white == "picture" and found.high > 0:
        _tell_once(
            "grey levels beyond 8 bits are scaled by the brightest pixel of each picture (white = 'picture', as models "
            "of before do): a lamp that dims is not seen, and one hot pixel changes the whole picture; a new fit "
            "settles the white of the camera"
        )
    if scale.white == "type":
        return _white_of_type(found, name)
    if isinstance(scale.white, str):
        return found.white(name)
    white = float(scale.white)
    if white <= 1 and not is_float(found.dtype):
        raise ImageError(
            f"{name}: {found.dtype} pixels up to {found.high:g}, where floats with white = {white:g} were wanted: "
            "store it as the training pictures were"
        )
    if white > 1 and is_float(found.dtype) and 0 < found.high <= 1:
        raise ImageError(
            f"{name}: floats up to {found.high:g}, where levels with white = {white:g} were wanted: store it as the "
            "training pictures were"
        )
    return white


def _white_of_type(found: Extent, name: str) -> float:
    """Return the end of the range of the numbers themselves, for models whose training pictures had 8 bits."""
    if found.stated is not None and found.high <= found.stated:
        return found.stated
    end = {"uint16": 65535.0, "int16": _SIGNED}.get(found.dtype.name, 255.0)
    if is_float(found.dtype):
        end = 1.0 if found.high <= 1 else 255.0
        found.check_clear(name)
    if found.high > end:
        raise ImageError(
            f"{name}: {found.dtype} pixels up to {found.high:g}, and no training picture says which level is white: "
            f"they had 8 bits; {_ADVICE} at a fit, or scale pictures to 0..255"
        )
    if end > 255:
        _tell_once(
            f"the training pictures had 8 bits, so in pictures of {found.dtype} {end:g} is white; where the camera's "
            "white is another, fit with white = NUMBER (--set white=NUMBER)"
        )
    return end


def check_beyond(array: npt.NDArray[Any], white: float, scale: Scale, name: str) -> None:
    """Say how many levels are above white, or refuse the picture as ``scale`` says."""
    if isinstance(scale, Meter):
        return
    count = int(np.count_nonzero(array > white))
    share = f"{count:,} of {array.size:,} levels lie above white ({white:g}), up to {float(array.max()):g}"
    if scale.beyond == "refuse":
        raise ImageError(f"{name}: {share}; beyond = 'saturate' would take them for white")
    warn(f"{name}: {share}; they are taken for white", ImageWarning)


def _tell_once(message: str) -> None:
    """Warn once in a process, whatever filters say: every picture of a stream would say the same."""
    with _TELLING:  # by one thread alone, or two may be the first
        _tell(message)


@lru_cache(maxsize=64)
def _tell(message: str) -> None:
    warn(message)
