"""PNG files with 16 bits a colour, of which Pillow keeps eight: taken apart, checked, and decoded by torchvision.

On a damaged file the decoder underneath ends the process. So it gets what cannot be wrong: a file written anew from
the header and the unpacked rows, after every checksum and the number of bytes were found to be right.
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


def decode(content: bytes) -> npt.NDArray[Any]:
    """Return the pixels (H, W, 3) or (H, W, 4) as uint16; raises :class:`ValueError` for what is damaged."""
    try:
        import torch
        from torchvision.io import ImageReadMode, decode_png
    except ImportError as error:  # torchvision means to drop its decoders one day
        raise ImageError(
            "a PNG with 16 bits a colour, which this torchvision no longer decodes; save it as TIFF"
        ) from error
    data = torch.frombuffer(bytearray(rebuilt(content)), dtype=torch.uint8)
    channels: npt.NDArray[Any] = decode_png(data, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
    return channels[..., [0, 0, 0, 1]] if channels.shape[2] == 2 else channels  # grey and alpha


def rebuilt(content: bytes) -> bytes:
    """Write the file anew from its header and its rows; raises :class:`ValueError` for anything that is wrong."""
    chunks = list(_chunks(content))
    kind, header = chunks[0]
    if kind != b"IHDR" or len(header) != 13 or chunks[-1][0] != b"IEND":
        raise ValueError("the PNG has no header or no end")
    width, height, bits, colour, packing, filtering, interlaced = struct.unpack(">IIBBBBB", header)
    if bits != 16 or colour not in _CHANNELS or packing or filtering or interlaced > 1:
        raise ValueError("the header of the PNG is damaged")
    parts = [  # rows and bytes in a row, with the number of the row's filter
        (-(-(height - top) // down), 1 + 2 * _CHANNELS[colour] * -(-(width - left) // right))
        for left, top, right, down in (_PASSES if interlaced else _WHOLE)
        if left < width and top < height
    ]
    rows = _unpacked([body for kind, body in chunks if kind == b"IDAT"], sum(n * size for n, size in parts))
    start = 0
    for count, size in parts:
        end = start + count * size
        if (np.frombuffer(rows, np.uint8)[start:end:size] > 4).any():
            raise ValueError("a row of the PNG has a filter that does not exist")
        start = end
    body = _chunk(b"IDAT", zlib.compress(rows, 1))
    return _SIGNATURE + _chunk(b"IHDR", header) + body + _chunk(b"IEND", b"")


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


def _unpacked(bodies: list[bytes], size: int) -> bytes:
    unpack = zlib.decompressobj()
    rows = unpack.decompress(b"".join(bodies), size + 1)
    if len(rows) != size:
        raise ValueError(f"the rows of the PNG have {len(rows)} bytes, {size} were wanted")
    return rows


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
