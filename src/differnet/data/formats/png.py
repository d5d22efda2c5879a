"""PNG files: whether all of their rows are there, and those with 16 bits a colour, of which Pillow keeps eight.

Pillow fills rows that are missing with zeros where the packed rows end by the rules, so that black last rows are looked
at twice, and does not look at the checksums of rows. The decoder of 16 bits a colour, imagecodecs, lets pass what lacks
its end or has too many rows, and expands what some chunks ask for: every checksum and the number of bytes in the rows
are looked at first, and it gets the header and the rows alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from differnet.errors import ImageError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # grey, colour, palette, grey and alpha, colour and alpha
_DEEP = (2, 4, 6)  # kinds of which Pillow keeps 8 of 16 bits
_PART = 2**20  # bytes that are unpacked at a time
_BEFORE_ROWS = 2**24  # bytes: chunks are not looked through further than that
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
            f"{name}: a PNG with 16 bits a colour needs imagecodecs: pip install 'differnet[codecs]'"
        ) from error
    channels = np.asarray(imagecodecs.png_decode(checked(content)))
    return channels[..., [0, 0, 0, 1]] if channels.shape[2] == 2 else channels  # grey and alpha


def size_of_rows(header: bytes) -> int:
    """Return how many bytes the unpacked rows have by the header: of each its pixels and the number of its filter."""
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    return sum(
        -(-(height - top) // down) * (1 + -(-_CHANNELS[colour] * bits * -(-(width - left) // right) // 8))
        for left, top, right, down in (_PASSES if interlaced else _WHOLE)
        if left < width and top < height
    )


def stated_white(file: BinaryIO) -> float | None:
    """Return the level that is white by the significant bits (sBIT) of a file with 16 bits; nothing where it has none.

    The place in the file stays. By the rules samples are stretched to all 16 bits whatever sBIT says; where none
    reaches beyond the significant bits, they were not (:meth:`differnet.data.formats.levels.Extent.white`).
    """
    at, found = file.tell(), None
    for kind, body in _before_rows(file):
        if kind == b"IHDR" and body[8] != 16:
            break
        if kind == b"sBIT":
            bits = set(body[: 3 if len(body) > 2 else 1])
            found = 2.0 ** bits.pop() - 1 if len(bits) == 1 else None
    file.seek(at)
    return found if found is not None and 255 < found < 2**16 - 1 else None


def check_rows(file: BinaryIO, image: Image.Image, name: str) -> None:
    """Refuse a picture of 1 to 16 bits, just decoded by Pillow, of which rows are missing: :class:`ImageError`.

    So it is where the checksum of a chunk of rows is wrong, which Pillow does not look at.
    """
    _check_sums(file, name)
    last = np.asarray(image.crop((0, image.height - 1, image.width, image.height)))
    if last.any() and not image.info.get("interlace"):
        return  # rows come in order, and one that is missing is zero
    file.seek(len(_SIGNATURE) + 8)
    wanted, found, unpack = size_of_rows(file.read(13)), 0, zlib.decompressobj()
    for part in _packed_rows(file):
        while part and found < wanted and not unpack.eof:
            found += len(unpack.decompress(part, _PART))
            part = unpack.unconsumed_tail
    while found < wanted and not unpack.eof and (more := unpack.decompress(unpack.unconsumed_tail, _PART)):
        found += len(more)
    if found < wanted:
        raise ImageError(f"{name}: cut off: its rows have {found:,} bytes, {wanted:,} were wanted")


def _check_sums(file: BinaryIO, name: str) -> None:
    """Refuse a file with a wrong checksum of a chunk of rows, such as one whose end was never written but left zero."""
    file.seek(len(_SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"IEND":
            return
        if kind != b"IDAT":
            file.seek(length + 4, 1)
            continue
        found = zlib.crc32(kind)
        while length > 0 and (part := file.read(min(length, _PART))):
            length -= len(part)
            found = zlib.crc32(part, found)
        if found.to_bytes(4, "big") != file.read(4):
            raise ImageError(f"{name}: damaged or cut off: a checksum of its rows is wrong")


def _packed_rows(file: BinaryIO) -> Iterator[bytes]:
    """Yield what the chunks of rows hold, a part at a time; their checksums were looked at."""
    file.seek(len(_SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind != b"IDAT":
            if kind == b"IEND":
                return
            file.seek(length + 4, 1)
            continue
        while length > 0 and (part := file.read(min(length, _PART))):
            length -= len(part)
            yield part
        file.seek(4, 1)


def _before_rows(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and beginning of each chunk that stands before the rows."""
    at = len(_SIGNATURE)
    while at < _BEFORE_ROWS:
        file.seek(at)
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or kind in (b"IDAT", b"IEND"):
            return
        yield kind, file.read(min(length, 13))
        at += 12 + length


def checked(content: bytes) -> bytes:
    """Return the file with its header and rows alone; raises :class:`ValueError` for anything that is wrong."""
    chunks = list(_chunks(content))
    kind, header = chunks[0]
    if kind != b"IHDR" or len(header) != 13 or chunks[-1][0] != b"IEND":
        raise ValueError("the PNG has no header or no end")
    bits, colour, packing, filtering, interlaced = header[8:]
    if bits != 16 or colour not in _DEEP or packing or filtering or interlaced > 1:
        raise ValueError("the header of the PNG is damaged")
    size = size_of_rows(header)
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
