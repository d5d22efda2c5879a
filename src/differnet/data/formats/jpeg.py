"""JPEG files that end by the rules before their last pixel, which decoders fill with grey.

What lies between the last pixel and the end of a picture is skipped by every decoder. So bytes that are put there
change nothing of a whole picture, and the pixels of one whose coded pixels end too early.
"""

from __future__ import annotations

import io
import re
import struct
from typing import BinaryIO

import numpy as np
from PIL import Image

from differnet.errors import ImageError

_MIDDLE, _NEAR = 128, 2  # the grey of what is missing, up to rounding of colours
_MORE = bytes(
    1 + (180 + number * 37) % 250 for number in range(64)
)  # begins unlike the zeros that decoders go on with
_CHEAP = 2**18  # pixels that are looked at twice in any case
# a pattern that begins with one byte is looked for soonest
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_RESTART, _INTERVAL = re.compile(rb"\xff[\xd0-\xd7]"), b"\xff\xdd\0\4"
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SCAN, _END, _START = 0xDA, 0xD9, 0xD8
_FILL = b"\xff"  # may stand before a marker, as often as one likes


def check_pixels(file: BinaryIO, image: Image.Image, name: str) -> None:
    """Refuse a picture, just decoded by Pillow, whose coded pixels end too early: :class:`ImageError`.

    Looked at again is one of at most 512 x 512 pixels, one whose last pixel is the grey of what is missing, and one in
    several passes, in which whatever is missing of the last pass looks like less detail. Of a larger one, what is
    missing of the last block of 16 x 16 pixels alone is not seen.
    """
    last = np.asarray(image.crop((image.width - 1, image.height - 1, image.width, image.height))).astype(int)
    is_large = image.width * image.height > _CHEAP
    if is_large and np.abs(last - _MIDDLE).max() > _NEAR and not image.info.get("progressive"):
        return
    file.seek(0)
    content = file.read()
    end = _end_if_complete(content)
    if end is None:
        raise ImageError(f"{name}: cut off: it has not all of its passes")
    if not _keeps_its_pixels(content, end, image):
        raise ImageError(f"{name}: cut off: its coded pixels end before the last row")


def is_whole(content: bytes, image: Image.Image) -> bool:
    """Whether the pixels of a picture, decoded by Pillow, are the same whatever stands between the last and its end."""
    end = _end_if_complete(content)
    return end is not None and _keeps_its_pixels(content, end, image)


def _keeps_its_pixels(content: bytes, end: int, image: Image.Image) -> bool:
    pixels = image.tobytes()
    return all(
        _pixels(content[:end] + more + content[end:]) == pixels
        for more in (_MORE, *_next_part(content[:end]))
    )


def _end_if_complete(content: bytes) -> int | None:
    """Return where a picture ends, if it has all of its passes."""
    end = end_of(content)
    return end if end is not None and has_all_passes(content[:end]) else None


def _pixels(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as picture:
        found: bytes = picture.tobytes()
        return found


def _next_part(content: bytes) -> list[bytes]:
    """Return what a decoder takes for one more part of a picture that is coded in parts (restart intervals)."""
    if _INTERVAL not in content:
        return []
    last = _RESTART.findall(content)
    following = 0 if not last else (last[-1][1] + 1 - 0xD0) % 8
    return [bytes([0xFF, 0xD0 + following]) + _MORE]


def end_of(content: bytes) -> int | None:
    """Return where the end of the first picture is marked; nothing where it is not."""
    at = 2
    while (found := _MARKER.search(content, at)) is not None:
        kind, before, at = found[1][0], at, found.end()
        if kind == _END:
            return before + len(content[before : found.start()].rstrip(_FILL))
        if kind not in (0x01, _START) and at + 2 <= len(content):
            at += int.from_bytes(content[at : at + 2], "big")
    return None


def has_all_passes(content: bytes) -> bool:
    """Whether a picture in several passes has all numbers of each of its colours, to their last bits."""
    at, colours, known = 2, set[int](), set[tuple[int, int]]()
    while (found := _MARKER.search(content, at)) is not None:
        kind, at = found[1][0], found.end()
        body = content[at + 2 : at + int.from_bytes(content[at : at + 2], "big")]
        at += 2 + len(body)
        if kind in _FRAMES:
            if kind not in _PROGRESSIVE:
                return True  # there is one pass
            colours = {body[6 + 3 * number] for number in range(body[5])}
        elif kind == _SCAN:
            shown, (first, last, bits) = body[1 : 1 + 2 * body[0] : 2], body[-3:]
            known |= {
                (colour, place) for colour in shown for place in range(first, last + 1) if bits & 15 == 0
            }
    return known == {(colour, place) for colour in colours for place in range(64)}


def size_of(content: bytes) -> tuple[int, int] | None:
    """Return height and width of a picture by its header; nothing where it has none."""
    at = 2
    while (found := _MARKER.search(content, at)) is not None:
        kind, at = found[1][0], found.end()
        if kind in _FRAMES and at + 7 <= len(content):
            height, width = struct.unpack(">HH", content[at + 3 : at + 7])
            return height, width
        if kind in (_SCAN, _END):
            return None
        at += int.from_bytes(content[at : at + 2], "big")
    return None
