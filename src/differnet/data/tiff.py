"""TIFF and BigTIFF: one of the pages to pixels; one that lacks part of them is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from differnet.data.pages import size_of
from differnet.data.pixels import Pixels, check_bytes, check_size, from_array, from_pil, upright
from differnet.errors import ImageError

# How pixels may be packed: not at all, by LZW, deflate, PackBits, LZMA, Zstandard.
_PLAIN = frozenset({1, 5, 8, 32946, 32773, 34925, 50000})
_CUT = "; the file is cut off or damaged"


def decode(file: BinaryIO, name: str, page: int) -> Pixels:
    """Decode one page to uint8 RGB (H, W, 3); raises :class:`ImageError`, or what a decoder stumbles over."""
    try:
        with Image.open(file, formats=("TIFF",)) as image:
            _turn_to(image, page, name)
            check_size(image.width, image.height, name)
            tags: Any = image.tag_v2
            bits = tags.get(258, (1,))
            if max(bits) <= 8 or max(len(bits), tags.get(277, 1)) == 1:  # of deep colour Pillow keeps 8 bits
                offsets, counts = tags.get(273) or tags.get(324), tags.get(279) or tags.get(325)
                width, height = int(tags.get(256, image.width)), int(tags.get(257, image.height))
                wanted = _count_segments(tags, width, height)  # of the sides as stored, not turned
                _check_segments(file, offsets, counts, wanted, name)
                ImageOps.exif_transpose(image, in_place=True)
                return from_pil(image, name)
    except UnidentifiedImageError:
        pass  # tifffile knows more kinds
    file.seek(0)
    return _decode_deep(file, name, page)


def _count_segments(tags: Any, width: int, height: int) -> int:
    """Return how many strips or tiles a page of this size must have; raises ValueError for a size of theirs of zero."""
    if tags.get(322):
        across, down = int(tags[322]), int(tags.get(323, 0))
    else:
        across, down = width, min(int(tags.get(278, height)), height)
    if across < 1 or down < 1:
        raise ValueError("strips or tiles without a size")
    planes = int(tags.get(277, 1)) if tags.get(284) == 2 else 1
    return planes * math.ceil(width / across) * math.ceil(height / down)


def _turn_to(image: Image.Image, page: int, name: str) -> None:
    try:
        image.seek(page - 1)
    except EOFError as error:
        raise ImageError(f"{name}: has no page {page}{_CUT if page == 1 else ''}") from error


def _decode_deep(file: BinaryIO, name: str, page: int) -> Pixels:
    """Read what Pillow does not know, for instance 16-bit RGB."""
    try:
        import tifffile  # here, since a station may do without
    except ImportError as error:
        raise ImageError(f"{name}: this kind of TIFF needs tifffile: pip install tifffile") from error
    with tifffile.TiffFile(file) as tiff:
        try:
            found: Any = tiff.pages[page - 1]
        except IndexError as error:
            raise ImageError(f"{name}: has no page {page}{_CUT if page == 1 else ''}") from error
        check_size(int(found.imagewidth), int(found.imagelength), name)
        if found.size > 4 * found.imagewidth * found.imagelength:
            raise ImageError(f"{name}: shape {found.shape}; (H, W), (H, W, 3) or (H, W, 4) was wanted")
        check_bytes(int(found.size) * found.dtype.itemsize, name)
        if int(found.compression) not in _PLAIN:  # a picture within the picture, with a size of its own
            known = "none, LZW, deflate, PackBits, LZMA or Zstandard"
            raise ImageError(f"{name}: compressed in a way that is not read; {known} was wanted")
        wanted = int(np.prod(found.chunked))
        _check_segments(file, found.dataoffsets, found.databytecounts, wanted, name)
        orientation = found.tags.get(274)
        array = np.asarray(found.asarray())
        if array.ndim == 3 and int(found.planarconfig or 1) == 2:  # one plane a colour
            array = np.moveaxis(array, 0, -1)
        return from_array(upright(array, orientation and int(orientation.value)), name)


def _check_segments(
    file: BinaryIO, offsets: Sequence[int] | None, counts: Sequence[int] | None, wanted: int, name: str
) -> None:
    """Refuse a TIFF whose pixels lie beyond its end: decoders would fill them with black."""
    size = size_of(file)
    places = list(zip(offsets or (), counts or (), strict=False))
    if len(places) < wanted or any(count < 1 or at + count > size for at, count in places):
        raise ImageError(f"{name}: cannot be decoded: the file is cut off, or lacks part of its pixels")
