"""One look at an image: it is decoded once, and what is kept of it is small, whatever it is needed for later."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from differnet.config import presets
from differnet.config.shape import Shape, times, view_shape
from differnet.data import square as squares
from differnet.data.formats.levels import Meter, Scale
from differnet.data.images import ImageLike, Pixels, content_digest, gather, load, shape_of
from differnet.data.pixels import pixel_digest
from differnet.data.sisters.find import Summary
from differnet.data.sisters.thumbnails import Thumbnail, thumbnail
from differnet.data.square import Bare, Framing
from differnet.data.stream import name_of
from differnet.decision import light
from differnet.decision.light import Light
from differnet.features.room import Room, Rooms


class Seen(NamedTuple):
    """What is noted of a decoded picture: the digest of its pixels, its light and its shape (H, W, 3)."""

    digest: str
    light: Light
    shape: tuple[int, ...]

    @classmethod
    def of(cls, pixels: Pixels) -> Seen:
        """Measure a decoded picture."""
        return cls(pixel_digest(pixels), light.measure(pixels), pixels.shape)


class Look:
    """An image of a fit, decoded when the first thing is asked of it and then no more.

    ``canvas``: the shape of its square; where one of another shape is asked for, it is decoded once more. ``keep``:
    whether its square will be asked for again. Raises :class:`ImageError` for what cannot be read.
    """

    def __init__(self, image: ImageLike, rooms: Rooms, canvas: Shape, framing: Framing) -> None:
        self.image = image
        self.keep = True
        self._rooms = rooms
        self._canvas = canvas
        self._framing = framing
        self._white = framing.white  # by which it was, or will be, decoded
        self._seen: Seen | None = None
        self._place: int | None = None
        self._small: int | Thumbnail | None = None  # its place, or itself where there is no room
        self._content = b""
        self._turn = threading.RLock()

    def __str__(self) -> str:
        return name_of(self.image)

    @property
    def seen(self) -> Seen:
        """What is noted of the picture."""
        return self._seen or self._decode()[1]

    @property
    def thumbnail(self) -> Thumbnail:
        """The picture in small: (64, 64, 3). Those of all images lie beside their squares, not in memory."""
        with self._turn:
            if self._seen is None:
                self._decode()
            found = self._rooms.small.get(self._small) if isinstance(self._small, int) else self._small
            return thumbnail(load(self.image, self._framing)) if found is None else found.astype(np.uint8)

    @cached_property
    def announced(self) -> Shape | None:
        """Height and width as the header says them; nothing where it does not, or is damaged."""
        return shape_of(self.image)

    @property
    def size(self) -> int:
        """How many bytes its square takes."""
        return 3 * self._canvas[0] * self._canvas[1] * squares.kind_of(self._framing).itemsize

    @property
    def content(self) -> bytes:
        """A digest of the image file, or of the pixels where there is no file."""
        if not self._content:
            if isinstance(self.image, (str, os.PathLike)):
                self._content = content_digest(self.image)
            else:
                self._content = self.seen.digest.encode()
        return self._content

    def expect(self, canvas: Shape) -> None:
        """Have its square made in this shape when it is decoded, if it was not."""
        with self._turn:
            if self._place is None:
                self._canvas = canvas

    def bare(self, canvas: Shape) -> Bare:
        """Return the square (*canvas, 3), nothing covered."""
        with self._turn:
            if canvas != self._canvas:
                self._drop()
                self._canvas = canvas
            found = None if self._place is None else self._room.get(self._place)
            if found is None:
                found, _ = self._decode()
            if not self.keep:
                self.forget()
            return found

    def square(self, canvas: Shape, framing: Framing) -> npt.NDArray[np.float32]:
        """Return what views are rendered from (3, *canvas), values 0..255; what is ignored is grey."""
        with self._turn:
            self.go_by(framing)
            return squares.covered(self.bare(canvas), self.seen.shape, framing)

    def measure(self, meter: Meter) -> None:
        """Decode it by the white of a meter, and keep what came of it for the case that this stays the white."""
        with self._turn:
            self._unsee()
            self._decode(meter)
            self._white = meter.white

    def go_by(self, framing: Framing) -> None:
        """Go by these settings from now on; what was decoded by another white, or framed otherwise, is given up."""
        with self._turn:
            before = self._framing
            if framing.white != self._white:
                self._unsee()
            elif (framing.frame, framing.resampling) != (before.frame, before.resampling):
                self._drop()
            self._framing, self._white = framing, framing.white

    def glance(self, keep: bool) -> Seen:
        """Return what is noted of the picture, decoding it if need be; ``keep``: with its square, for later."""
        with self._turn:
            before, self.keep = self.keep, self.keep and keep
            try:
                return self.seen
            finally:
                self.keep = before

    def forget(self) -> None:
        """Give up the square."""
        with self._turn:
            self.keep = False
            self._drop()

    def _unsee(self) -> None:
        """Forget what came of another white."""
        self._drop()
        self._seen = None
        if isinstance(self._small, int):
            self._rooms.small.drop(self._small)
        self._small = None

    def _drop(self) -> None:
        if self._place is not None:
            self._room.drop(self._place)
            self._place = None

    @property
    def _room(self) -> Room:
        return self._rooms.of(self._canvas, squares.kind_of(self._framing))

    def _decode(self, scale: Scale | None = None) -> tuple[Bare, Seen]:
        with self._turn:
            pixels = load(self.image, scale or self._framing)
            bare = squares.resized(pixels, self._canvas, self._framing)
            if self._seen is None:
                self._seen = Seen.of(pixels)
                small = thumbnail(pixels)
                place = self._rooms.small.put(small)
                self._small = small if place is None else place
            if self.keep:
                self._place = self._room.put(bare)
            return bare, self._seen


Shown: TypeAlias = ImageLike | Look
Good: TypeAlias = ImageLike | Iterable[ImageLike] | Sequence[Look]


def look_at(images: Sequence[Shown], settings: presets.Config) -> list[Look]:
    """Return a look at each image for settings of this size, tiling and frame; looks stay as they are.

    While the aspect or the tiles are open, it is at a square of the whole: :meth:`Look.bare` changes that.
    """
    known = [one for one in images if isinstance(one, Look)]
    if len(known) == len(images):
        return known
    rooms, aspect, tiles = Rooms(), settings.views.aspect, settings.backbone.tiles
    shape = view_shape(settings.backbone.sizes[0], 1.0 if aspect == "auto" else aspect)
    canvas = times(shape, 1 if tiles == "auto" else tiles)
    return [one if isinstance(one, Look) else Look(one, rooms, canvas, settings.views) for one in images]


def looks_of(images: Good, settings: presets.Config) -> list[Look]:
    """Return a look at each image of a folder, a path, an array, a PIL image, or a sequence of these or of looks."""
    return look_at(gather(images), settings)  # type: ignore[arg-type]  # looks pass through


def expect(images: Sequence[Look], canvas: Shape) -> None:
    """Have the squares of all images made in this shape when they are decoded."""
    for image in images:
        image.expect(canvas)


def seen(image: Shown) -> Seen:
    """Return what is noted of an image, decoding it if that was not done."""
    return image.seen if isinstance(image, Look) else Seen.of(load(image))


def source(image: Shown) -> ImageLike:
    """Return the image itself."""
    return image.image if isinstance(image, Look) else image


@dataclass(frozen=True)
class Given:
    """Good images, and which of them belong together (same part, same shoot), if that is known.

    ``found``: what was found of that in the images themselves; nothing where the groups were given, or not looked for.
    """

    images: Sequence[Look]
    groups: Sequence[Hashable] | None = None
    found: Summary | None = None
