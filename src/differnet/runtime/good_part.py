"""The picture of a typical good part in the folder of a station, for people to compare with."""

from __future__ import annotations

import io

from PIL import Image

from differnet.data.images import Pixels

NAME = "good.png"
SIDE, BYTES = 1024, 8 * 2**20  # the most pixels a side, and bytes
_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def drawn(pixels: Pixels) -> bytes:
    """Return an image (H, W, 3) as PNG of at most ``SIDE`` pixels a side."""
    picture, buffer = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    picture.save(buffer, "png", compress_level=9)
    return buffer.getvalue()


def check_size(size: int) -> None:
    """Raise :class:`ValueError` for more bytes than such a picture has, before they are read."""
    if size > BYTES:
        raise ValueError(f"{NAME} of {size} bytes, where at most {BYTES} were wanted")


def checked(content: bytes | None) -> bytes | None:
    """Return the bytes of such a picture, or nothing; raises :class:`ValueError` for anything else."""
    if content is None:
        return None
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    if not content.startswith(_HEAD) or not 0 < width <= SIDE or not 0 < height <= SIDE:
        raise ValueError(f"{NAME}: a PNG of at most {SIDE} pixels a side was wanted")
    return content
