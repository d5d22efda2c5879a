"""Strips and tiles of a TIFF that end too early, which decoders fill with grey, white, or what lies behind them.

| packed as | whole is |
|---|---|
| nothing | as many bytes as there are pixels |
| JPEG | with the mark of its end, and the same pixels whatever stands between its last one and that mark |
| deflate, LZMA | up to its checksum, which fits |
| CCITT (RLE, Group 3, Group 4) | with the same pixels whatever follows |

The decoders of the others say themselves what is missing.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image

from differnet.data.formats import jpeg
from differnet.data.formats.layout import JPEG
from differnet.errors import ImageError

_PLAIN, _DEFLATE, _LZMA, _CCITT, _OLD_JPEG = (1,), (8, 32946), (34925,), (2, 3, 4), 6
_LONG = 4  # the type of a number in a TIFF of 32 bits
_FILL_ORDER, _GROUP_3, _GROUP_4, _TABLES, _STREAM, _STREAM_BYTES = 266, 292, 293, 347, 513, 514
# What may follow a strip of CCITT: no code of it ends with more than three zeros, which may lie in a byte of zeros.
_AFTER_ZEROS = tuple(bytes([first, *range(1 + first, 256, 29)]) * 8 for first in range(32))
_BEHIND = tuple(bytes([first + 5]) * 64 for first in range(0, 256, 8))
_MOST_ZEROS = 8  # bytes behind a strip
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Grid:
    """The strips or tiles of a page: each is ``down`` x ``across`` pixels; the last strip may have fewer rows."""

    height: int
    width: int
    down: int
    across: int
    planes: int
    is_tiled: bool

    @classmethod
    def of(cls, tags: Any, height: int, width: int) -> Grid:
        """Read the tags of a page of this size; raises ValueError for strips or tiles without a size."""
        if is_tiled := bool(tags.get(322)):
            across, down = int(tags[322]), int(tags.get(323, 0))
        else:
            across, down = width, min(int(tags.get(278, height)), height)
        if across < 1 or down < 1:
            raise ValueError("strips or tiles without a size")
        planes = int(tags.get(277, 1)) if tags.get(284) == 2 else 1
        return cls(height, width, down, across, planes, is_tiled)

    @property
    def count(self) -> int:
        """How many there must be."""
        return self.planes * self._of_a_plane

    @property
    def _of_a_plane(self) -> int:
        return math.ceil(self.width / self.across) * math.ceil(self.height / self.down)

    def rows(self, number: int) -> int:
        """Return how many rows there are in one of them."""
        if self.is_tiled:
            return self.down
        return min(self.down, self.height - number % self._of_a_plane * self.down)


def check(
    file: BinaryIO, tags: Any, grid: Grid, offsets: Sequence[int], counts: Sequence[int], name: str
) -> None:
    """Refuse a page of a strip or tile that ends too early: :class:`ImageError`."""
    packing = int(tags.get(259) or 1)
    if packing == _OLD_JPEG:
        _check_old_jpeg(file, tags, grid, name)
    if packing not in (*_PLAIN, *_DEFLATE, *_LZMA, *_CCITT, JPEG):
        return
    for number, (at, count) in enumerate(zip(offsets, counts, strict=False)):
        if number == grid.count:
            return
        rows = grid.rows(number)
        if packing in _PLAIN:
            is_whole = count >= rows * _row_bytes(tags, grid)
        else:
            file.seek(at)
            is_whole = _is_whole(file.read(count), packing, tags, rows, grid, name)
        if not is_whole:
            kind = "tile" if grid.is_tiled else "strip"
            raise ImageError(
                f"{name}: cut off: {kind} {number + 1} of {grid.count} ends before its last pixel"
            )


def _check_old_jpeg(file: BinaryIO, tags: Any, grid: Grid, name: str) -> None:
    """Refuse a page of the first kind of JPEG in TIFF whose one picture is not whole, or stands in pieces."""
    at, count = (int(tags.get(tag) or 0) for tag in (_STREAM, _STREAM_BYTES))
    if not at:
        raise ImageError(
            f"{name}: an old kind of JPEG in TIFF, in pieces, is not read; save it as a JPEG or a TIFF"
        )
    file.seek(at)
    if not _is_whole_jpeg(file.read(count or -1), b"", grid.height, grid.width, name):
        raise ImageError(f"{name}: cut off: its picture ends before its last pixel")


def _row_bytes(tags: Any, grid: Grid) -> int:
    bits = tags.get(258) or 1
    samples = 1 if grid.planes > 1 else int(tags.get(277) or 1)
    deep = int(bits[0] if isinstance(bits, tuple) else bits)
    return math.ceil(grid.across * samples * deep / 8)


def _is_whole(content: bytes, packing: int, tags: Any, rows: int, grid: Grid, name: str) -> bool:
    if packing in _DEFLATE:
        return _has_end(zlib.decompressobj(), content)
    if packing in _LZMA:
        import lzma  # here, since a Python may lack it

        return _has_end(lzma.LZMADecompressor(), content)
    if packing == JPEG:
        return _is_whole_jpeg(content, bytes(tags.get(_TABLES) or b""), rows, grid.across, name)
    return _is_whole_fax(content, packing, tags, rows, grid.across)


def _has_end(unpacker: Any, content: bytes) -> bool:
    """Whether packed bytes go on to their checksum, and it fits; raises what the library does where it does not."""
    unpacker.decompress(content)
    return bool(unpacker.eof)


def _is_whole_jpeg(content: bytes, tables: bytes, rows: int, across: int, name: str) -> bool:
    """Whether a JPEG, whose ``tables`` may stand elsewhere, has the pixels that it must have."""
    if jpeg.end_of(content) is None:
        return False
    found = jpeg.size_of(content)
    if found is not None and (found[0] < rows or found[1] < across):
        raise ImageError(f"{name}: cut off: a strip has {found[0]} rows, {rows} were wanted")
    whole = content[:2] + tables[2:-2] + content[2:]
    with Image.open(io.BytesIO(whole), formats=("JPEG",)) as picture:
        picture.load()
        return jpeg.is_whole(whole, picture)


def _is_whole_fax(content: bytes, packing: int, tags: Any, rows: int, across: int) -> bool:
    """Whether a picture of black and white has the same pixels whatever follows."""
    known = {256: across, 257: rows, 258: 1, 259: packing, 262: 0, 277: 1, 278: rows}
    known |= {tag: int(tags[tag]) for tag in (_GROUP_3, _GROUP_4) if tags.get(tag)}
    if tags.get(_FILL_ORDER) == 2:
        content = content.translate(_REVERSED)
    coded = content.rstrip(b"\0")
    if len(content) - len(coded) > _MOST_ZEROS:  # room for what never came
        return False
    behind = _AFTER_ZEROS if len(coded) < len(content) else _BEHIND
    first = _fax_pixels(coded + behind[0], known)
    return first != b"" and all(_fax_pixels(coded + more, known) == first for more in behind[1:])


def _fax_pixels(content: bytes, known: dict[int, int]) -> bytes:
    """Return the pixels of a strip by itself, none where it cannot be decoded."""
    tags = known | {273: 8, 279: len(content)}
    entries = b"".join(struct.pack("<HHII", tag, _LONG, 1, tags[tag]) for tag in sorted(tags))
    head = b"II*\0" + struct.pack("<I", 8 + len(content)) + content
    whole = head + struct.pack("<H", len(tags)) + entries + bytes(4)
    try:
        with Image.open(io.BytesIO(whole), formats=("TIFF",)) as picture:
            found: bytes = picture.tobytes()
            return found
    except (OSError, ValueError, SyntaxError):
        return b""
