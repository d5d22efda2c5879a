"""PNG files with 16 bits a colour, of which Pillow keeps eight: checked here, decoded by imagecodecs.

The decoder underneath lets pass what lacks its end or has too many rows, and expands what some chunks ask for. So every
checksum and the number of bytes in the rows are looked at first, and it gets the header and the rows alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from differnet.errors import ImageError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {2: 3, 4: 2, 6: 4}  # colour, grey and alpha, colour and alpha
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_WHOLE = ((0, 0, 1, 1),)  # left, top, and steps to the right and down


def decode(content: bytes, name: str) -> npt.NDArray[Any]:
    """Return the pixels (H, W, 3) or (H, W, 4) as uint16.

    Raises :class:`ValueError` or what the decoder raises for what is damaged, and :class:`ImageError` where there is no
    decoder.
    """
    try:
        import imagecodecs  # here, since a station may do without
    except ImportError as error:
        raise ImageError(
            f"{name}: a PNG with 16 bits a colour needs imagecodecs: pip install imagecodecs"
        ) from error
    channels = np.asarray(imagecodecs.png_decode(checked(content)))
    return channels[..., [0, 0, 0, 1]] if channels.shape[2] == 2 else channels  # grey and alpha


def checked(content: bytes) -> bytes:
    """Return the file with its header and rows alone; raises :class:`ValueError` for anything that is wrong."""
    chunks = list(_chunks(content))
    kind, header = chunks[0]
    if kind != b"IHDR" or len(header) != 13 or chunks[-1][0] != b"IEND":
        raise ValueError("the PNG has no header or no end")
    width, height, bits, colour, packing, filtering, interlaced = struct.unpack(">IIBBBBB", header)
    if bits != 16 or colour not in _CHANNELS or packing or filtering or interlaced > 1:
        raise ValueError("the header of the PNG is damaged")
    size = sum(  # of each row: its bytes and the number of its filter
        -(-(height - top) // down) * (1 + 2 * _CHANNELS[colour] * -(-(width - left) // right))
        for left, top, right, down in (_PASSES if interlaced else _WHOLE)
        if left < width and top < height
    )
    packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
    found = len(zlib.decompressobj().decompress(packed, size + 1))
    if found != size:
        raise ValueError(f"the rows of the PNG have {found} bytes, {size} were wanted")
    parts = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(*part) for part in parts)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while True:
        (length,) = struct.unpack_from(">I", content, at)  # struct.error at the end: the file is cut off
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        (check,) = struct.unpack_from(">I", content, at + 8 + length)
        if zlib.crc32(kind + body) != check:
            raise ValueError(f"a checksum of the PNG is wrong, that of {kind!r}")
        yield kind, body
        if kind == b"IEND":
            return
        at += 12 + length


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
