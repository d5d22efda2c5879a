"""One picture in the strips and tiles of a TIFF, whole and cut off, packed in every way that is read.

Of one strip or tile in the middle the number of bytes is made smaller, as where a file was written in part, or its end
is zeros, as where room was made for a file that never came.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import numpy as np
import tifffile
from PIL import Image

from support.hostile import encode, tiff
from support.levels import COLOUR, GREY, Level, written

NOISY = np.random.default_rng(3).integers(0, 256, COLOUR.shape, dtype=np.uint8) // 2 + COLOUR // 2
_CHECKED = ("jpeg", "tiff_deflate", "tiff_adobe_deflate", "lzma", "zlib", "group3", "group4")
_BY_PILLOW = (
    *(("RGB", packing) for packing in ("raw", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits")),
    *(("RGB", packing) for packing in ("jpeg", "zstd", "lzma")),
    *(("L", packing) for packing in ("raw", "jpeg", "tiff_deflate")),
    *(("1", packing) for packing in ("group3", "group4", "tiff_ccitt", "packbits")),
    *(("CMYK", packing) for packing in ("raw", "jpeg")),
)


def cases() -> list[Level]:
    return [*_pillow(), *_tifffile(), *_without_end(), *_old()]


def in_part(content: bytes, share: float, is_zeroed: bool = False) -> bytes:
    """Leave so much of the strip or tile in the middle, or fill the rest of it with zeros."""
    changed = bytearray(content)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages[0]
        tag = page.tags.get(279) or page.tags[325]
        number, size = tag.count // 2, {3: "H", 4: "I"}[int(tag.dtype)]
        offset, count = page.dataoffsets[number], page.databytecounts[number]
        kept = max(1, int(share * count)) if share < 1 else count - int(share)
        if is_zeroed:
            changed[offset + kept : offset + count] = bytes(count - kept)
        else:
            struct.pack_into(
                file.byteorder + size, changed, tag.valueoffset + number * struct.calcsize(size), kept
            )
    return bytes(changed)


def _all(name: str, content: bytes, pixels: np.ndarray, packing: str | None) -> Iterator[Level]:
    yield Level(f"{name}-whole", content, pixels=pixels)
    for share in (0.2, 0.5, 0.9, 4):
        yield Level(f"{name}-cut-{share}", in_part(content, share), refused="")
        if packing in _CHECKED and share != 4:
            yield Level(f"{name}-zeroed-{share}", in_part(content, share, True), refused="")


def _pillow() -> Iterator[Level]:
    for mode, packing in _BY_PILLOW:
        picture = Image.fromarray(NOISY).convert(mode)
        for rows in (len(GREY), 8):
            content = encode(picture, "TIFF", compression=packing, tiffinfo={278: rows})
            with Image.open(io.BytesIO(content)) as again:
                seen = np.asarray(again.convert("RGB"))
            if packing != "jpeg":
                assert np.array_equal(seen, np.asarray(picture.convert("RGB")))
            yield from _all(f"strip-{mode}-{packing}-{rows}", content, seen, packing)


def _tifffile() -> Iterator[Level]:
    deep = NOISY.astype(np.uint16) * 257
    for packing in (None, "lzw", "zlib", "packbits", "zstd"):
        for name, array in (("8", NOISY), ("16", deep)):
            for how in ({"tile": (16, 16)}, {"rowsperstrip": 8}, {"planarconfig": "separate"}):
                shown = np.ascontiguousarray(np.moveaxis(array, 2, 0)) if "planarconfig" in how else array
                content = written(shown, photometric="rgb", compression=packing, **how)
                yield from _all(f"{name}-{packing}-{next(iter(how))}", content, NOISY, packing)
    for how in ({"tile": (16, 16)}, {"rowsperstrip": 16}):
        content = written(NOISY, photometric="rgb", compression="jpeg", **how)
        with Image.open(io.BytesIO(content)) as again:
            seen = np.asarray(again.convert("RGB"))
        yield from _all(f"jpeg-{next(iter(how))}", content, seen, "jpeg")


def _without_end() -> Iterator[Level]:
    """A JPEG in a TIFF whose coded pixels are fewer, but which has the mark of its end."""
    content = encode(Image.fromarray(NOISY), "TIFF", compression="jpeg")
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        at, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    for less in (10, 100, count // 2):
        short = content[: at + count - less] + b"\xff\xd9" + content[at + count - less + 2 :]
        yield Level(f"jpeg-in-tiff-ends-{less}-early", short, refused="")


def _old() -> Iterator[Level]:
    """The first kind of JPEG in TIFF: one picture, of which two tags say where it lies."""
    whole = encode(Image.fromarray(NOISY), "JPEG", quality=92, subsampling=0)
    side = len(NOISY)
    for less in (0, 1, 10, 200, len(whole) // 2):
        stream = whole[: len(whole) - less]
        stream = stream[:-2] + b"\xff\xd9" if less > 1 else stream
        tags = {
            256: (4, 1, side), 257: (4, 1, side), 258: (3, 3, 8 + len(stream)), 259: (3, 1, 6), 262: (3, 1, 6),
            273: (4, 1, 8), 277: (3, 1, 3), 278: (4, 1, side), 279: (4, 1, len(stream)), 513: (4, 1, 8),
            514: (4, 1, len(stream)), 530: (3, 2, 0x10001),
        }  # fmt: skip
        content = tiff(tags, stream + struct.pack("<3H", 8, 8, 8))
        if less:
            yield Level(f"old-jpeg-{less}-early", content, refused="cut off")
        else:
            with Image.open(io.BytesIO(content)) as again:
                yield Level("old-jpeg-whole", content, pixels=np.asarray(again.convert("RGB")))
    in_pieces = {tag: value for tag, value in tags.items() if tag not in (513, 514)}
    yield Level("old-jpeg-in-pieces", tiff(in_pieces, content), refused="")
