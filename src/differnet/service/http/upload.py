"""Bytes as they were received to pixels, past a limit that is checked before anything is decoded; and maps to PNG."""

from __future__ import annotations

import io

from PIL import Image

from differnet.data.decoding import KINDS, decode_content, webp_size
from differnet.data.formats.levels import OWN, Scale
from differnet.data.pages import shown_page
from differnet.data.pixels import Pixels
from differnet.errors import ImageError

_TIFF = (b"II", b"MM")


class TooManyPixelsError(ImageError):
    """A picture with more pixels than the service takes."""


def read(content: bytes, name: str, most_pixels: int, scale: Scale = OWN) -> Pixels:
    """Decode an image (H, W, 3); its size is looked at first. ``scale``: which level is white beyond eight bits.

    Raises :class:`TooManyPixelsError` and, for what is no image or damaged, :class:`ImageError`; messages start with
    ``name``.
    """
    width, height = _dimensions(content)
    if width * height > most_pixels:
        raise TooManyPixelsError(
            f"{name}: {width} x {height} is more than the {most_pixels:,} pixels that are taken; cut it into pieces"
        )
    return decode_content(content, name, scale)


def _dimensions(content: bytes) -> tuple[int, int]:
    """Return width and height of what will be decoded, (0, 0) where they are not understood: then decoding says why.

    Of a TIFF the page that stands for it, which may be a large one behind a thumbnail.
    """
    page = 0
    try:
        if content[:4] == b"RIFF":
            return webp_size(content[:30])  # Pillow makes room for one when it opens it
        if content[:2] in _TIFF:
            page = shown_page(io.BytesIO(content), "image").number - 1
        with Image.open(io.BytesIO(content), formats=[kind for kind in KINDS if kind != "WEBP"]) as image:
            if page:
                image.seek(page)
            return image.width, image.height
    except Exception:  # it may be a kind of TIFF that Pillow does not know
        return _tiff_dimensions(content, page) if content[:2] in _TIFF else (0, 0)


def _tiff_dimensions(content: bytes, page: int) -> tuple[int, int]:
    try:
        import tifffile  # here, since a station may do without

        with tifffile.TiffFile(io.BytesIO(content)) as tiff:
            shown = tiff.pages[page]
            return int(shown.imagewidth), int(shown.imagelength)
    except Exception:  # decoders raise whatever they stumble over
        return 0, 0
