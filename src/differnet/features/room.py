"""Where decoded squares are kept until they are needed again: in memory, and from some size on in a file."""

from __future__ import annotations

import tempfile
import threading
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from differnet.config.shape import Shape
from differnet.data.sisters.thumbnails import SIDE
from differnet.data.square import Bare
from differnet.errors import warn

IN_MEMORY = 32 * 2**20  # bytes of squares; more of them lie in a temporary file
MOST = 16 * 2**30  # and more than these are not kept: their images are decoded whenever they are needed


class Room:
    """Where squares (*shape, 3) of a kind are kept: in memory, then in a file (in ``TMPDIR``) without a name.

    ``tells``: whether a full disk is warned of.
    """

    def __init__(
        self,
        shape: Shape,
        in_memory: int = IN_MEMORY,
        most: int = MOST,
        kind: npt.DTypeLike = np.uint8,
        tells: bool = True,
    ) -> None:
        self.shape = shape
        self._kind = np.dtype(kind)
        self._size = 3 * shape[0] * shape[1] * self._kind.itemsize
        self._most = most
        self._tells = tells
        self._file = tempfile.SpooledTemporaryFile(in_memory, prefix="differnet-squares-")  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._count = 0
        self._free: list[int] = []
        self._turn = threading.Lock()

    def put(self, square: Bare) -> int | None:
        """Keep a square and return its place; nothing where there is no room, which is warned of for a full disk."""
        with self._turn:
            if (self._count + 1 - bool(self._free)) * self._size > self._most:
                return None
            place = self._free.pop() if self._free else self._count
            try:
                self._file.seek(place * self._size)
                # plane by plane, as squares in floats lie in memory: nothing is copied
                self._file.write(np.ascontiguousarray(square.transpose(2, 0, 1)).data)
                self._file.flush()
            except OSError as error:
                self._most = 0
                if self._tells:
                    warn(
                        f"{_temporary_folder()}: no room for {self._size * (place + 1) / 1e6:.0f} MB of decoded "
                        f"images ({error.strerror}); they are decoded again where they are needed again, which takes "
                        "longer"
                    )
                return None
            self._count = max(self._count, place + 1)
            return place

    def get(self, place: int) -> Bare | None:
        """Return the square that was put there; nothing when it was lost on a full disk."""
        with self._turn:
            try:
                self._file.seek(place * self._size)
                found = self._file.read(self._size)
            except OSError:
                return None
        if len(found) != self._size:
            return None
        planes = np.frombuffer(found, self._kind).copy()  # can be written to, as torch wants it
        square: Bare = planes.reshape(3, *self.shape).transpose(1, 2, 0)
        return square

    def drop(self, place: int) -> None:
        """Let another square have that place."""
        with self._turn:
            self._free.append(place)


class Rooms:
    """A room for each shape that the squares of some images are asked for in, which as a rule is one.

    ``small``: where thumbnails are kept.
    """

    def __init__(self) -> None:
        self.small = Room((SIDE, SIDE), tells=False)
        self._rooms: dict[tuple[Shape, np.dtype[Any]], Room] = {}
        self._turn = threading.Lock()

    def of(self, shape: Shape, kind: np.dtype[Any]) -> Room:
        """Return the room for squares of a shape and kind of numbers."""
        with self._turn:
            if (shape, kind) not in self._rooms:
                self._rooms[shape, kind] = Room(shape, kind=kind)
            return self._rooms[shape, kind]


def _temporary_folder() -> str:
    """Return where temporary files lie, also where there is no such place."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return "no usable temporary folder (TMPDIR)"
