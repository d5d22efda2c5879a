"""TIFF and BigTIFF: one of the pages to pixels; one that lacks part of them is refused.

What its samples mean: :mod:`differnet.data.formats.layout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from differnet.data.formats import strips
from differnet.data.formats.arrays import from_array, from_pil, on_black
from differnet.data.formats.layout import (
    CMYK,
    COLOURS,
    PALETTE,
    PLAINLY_PACKED,
    PREMULTIPLIED,
    STRAIGHT,
    YCBCR,
    Layout,
)
from differnet.data.formats.levels import OWN, Scale
from differnet.data.pages import size_of
from differnet.data.pixels import Pixels, check_bytes, check_size, upright
from differnet.errors import ImageError

_CUT = "; the file is cut off or damaged"


def decode(file: BinaryIO, name: str, page: int, scale: Scale = OWN) -> Pixels:
    """Decode one page to uint8 RGB (H, W, 3); raises :class:`ImageError`, or what a decoder stumbles over."""
    try:
        with Image.open(file, formats=("TIFF",)) as image:
            _turn_to(image, page, name)
            check_size(image.width, image.height, name)
            tags: Any = image.tag_v2
            layout = Layout.of(tags.get, name)
            if layout.is_known_to_pillow and not _is_misread(tags):
                return _by_pillow(file, image, layout, name, scale)
    except UnidentifiedImageError:
        pass  # tifffile knows more kinds
    file.seek(0)
    return _by_tifffile(file, name, page, scale)


def _by_pillow(file: BinaryIO, image: Any, layout: Layout, name: str, scale: Scale) -> Pixels:
    tags = image.tag_v2
    offsets, counts = tags.get(273) or tags.get(324), tags.get(279) or tags.get(325)
    width, height = int(tags.get(256, image.width)), int(tags.get(257, image.height))
    grid = strips.Grid.of(tags, height, width)  # of the sides as stored, not turned
    _check_segments(file, offsets, counts, grid.count, name)
    strips.check(file, tags, grid, offsets, counts, name)
    if layout.photometric == PALETTE and max(tags[320]) < 256:  # written as bytes
        image.palette.palette = bytes(tags[320])
    ImageOps.exif_transpose(image, in_place=True)
    if layout.bits <= 8:  # Pillow itself turns these round
        return from_pil(image, name, scale)
    array = np.asarray(
        image
    )  # of 32 bits where the file has 16 with a sign, and with a sign where it has none
    return from_array(array.astype(layout.dtype, copy=False), name, scale, layout.facts)


def _is_misread(tags: Any) -> bool:
    """Whether Pillow swaps the bytes of floats that were predicted, which are in order by then."""
    return bool(tags.get(317) == 3 and tags.prefix == b"MM")


def _turn_to(image: Image.Image, page: int, name: str) -> None:
    try:
        image.seek(page - 1)
    except EOFError as error:
        raise ImageError(f"{name}: has no page {page}{_CUT if page == 1 else ''}") from error


def _by_tifffile(file: BinaryIO, name: str, page: int, scale: Scale) -> Pixels:
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
        layout = Layout.of(found.tags.valueof, name)
        if found.size > layout.samples * found.imagewidth * found.imagelength:
            raise ImageError(f"{name}: shape {found.shape}; (H, W), (H, W, 3) or (H, W, 4) was wanted")
        check_bytes(int(found.size) * found.dtype.itemsize, name)
        if layout.compression not in PLAINLY_PACKED:  # a picture within the picture, with a size of its own
            known = "none, LZW, deflate, PackBits, LZMA or Zstandard"
            raise ImageError(f"{name}: compressed in a way that is not read; {known} was wanted")
        wanted = int(np.prod(found.chunked))
        _check_segments(file, found.dataoffsets, found.databytecounts, wanted, name)
        array = _samples_of(found, name)
        if array.ndim == 3 and layout.planar == 2:  # one plane a colour
            array = np.moveaxis(array, 0, -1)
        array = upright(array.reshape(*array.shape[:2], -1), int(found.tags.valueof(274) or 1))
        return _from_samples(array, layout, found.tags.valueof(320), name, scale)


def _samples_of(page: Any, name: str) -> npt.NDArray[Any]:
    """Decode a page by tifffile, which asks imagecodecs for what is packed by anything but deflate."""
    try:
        return np.asarray(page.asarray())
    except (ValueError, ModuleNotFoundError) as error:  # tifffile looks for Zstandard in Python 3.14 as well
        if isinstance(error, ValueError) and "imagecodecs" not in str(error):
            raise
        raise ImageError(
            f"{name}: this compressed TIFF needs imagecodecs: pip install 'differnet[codecs]'"
        ) from error


def _from_samples(array: npt.NDArray[Any], layout: Layout, colours: Any, name: str, scale: Scale) -> Pixels:
    """Bring samples (H, W, S) of a layout to pixels (H, W, 3)."""
    if array.shape[2] != layout.samples or layout.photometric == YCBCR:
        raise ImageError(f"{name}: samples of shape {array.shape} that are not read as what they are")
    count = COLOURS[layout.photometric]
    kinds = [kind for kind in layout.extras if kind in (PREMULTIPLIED, STRAIGHT)]
    at = count + layout.extras.index(kinds[0]) if kinds else None
    base, alpha = array[..., :count], None if at is None or kinds[0] == PREMULTIPLIED else array[..., at]
    if layout.photometric == PALETTE:
        pixels = _of_palette(base[..., 0], colours, layout.bits)
    elif layout.photometric == CMYK:
        inks = _bytes(base, layout.bits)
        pixels = np.asarray(Image.frombytes("CMYK", inks.shape[1::-1], inks.tobytes()).convert("RGB"))
    elif alpha is not None and layout.bits >= 8:
        shown = base.repeat(3, axis=2) if count == 1 else base
        return from_array(np.dstack([shown, alpha]), name, scale, layout.facts)
    else:
        pixels = from_array(_bytes(base, layout.bits) if layout.bits < 8 else base, name, scale, layout.facts)
    return pixels if alpha is None else on_black(pixels, _bytes(alpha, layout.bits))


def _of_palette(places: npt.NDArray[Any], colours: Any, bits: int) -> Pixels:
    """Return the colours (H, W, 3) at places (H, W) of a colour map, which some write as bytes."""
    table = np.asarray(colours, dtype=np.uint16).reshape(3, 2**bits).T
    found: Pixels = (table if table.max() < 256 else table >> 8).astype(np.uint8)[places]
    return found


def _bytes(samples: npt.NDArray[Any], bits: int) -> Pixels:
    """Scale unsigned samples of so many bits to 0..255 by the end of their range."""
    if bits == 8:
        return samples.astype(np.uint8)
    scaled: Pixels = np.rint(samples * (255 / (2.0**bits - 1))).astype(np.uint8)
    return scaled


def _check_segments(
    file: BinaryIO, offsets: Sequence[int] | None, counts: Sequence[int] | None, wanted: int, name: str
) -> None:
    """Refuse a TIFF whose pixels lie beyond its end: decoders would fill them with black."""
    size = size_of(file)
    places = list(zip(offsets or (), counts or (), strict=False))
    if len(places) < wanted or any(count < 1 or at + count > size for at, count in places):
        raise ImageError(f"{name}: cannot be decoded: the file is cut off, or lacks part of its pixels")
