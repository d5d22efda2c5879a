"""One picture as the studio sees it: decoded once, and small ever after."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from differnet.data.decoding import has_deep_header
from differnet.data.images import Pixels, is_grey, load
from differnet.data.pixels import pixel_digest
from differnet.data.sisters.thumbnails import Thumbnail, thumbnail
from differnet.decision import light
from differnet.decision.light import Light
from differnet.errors import ImageError, in_a_line, noting
from differnet.studio.project import Kind

PREVIEW = 320  # pixels of the longer side
SHOWN = 1600
_DECODING = threading.Semaphore(2)  # large pictures that are decoded at a time, whoever asks


@dataclass(frozen=True)
class Seen:
    """What is noted of a decoded picture: its shape, whether it is grey, its digest, its light, and it in small.

    ``preview``: JPEG of at most 320 pixels. ``note``: what was not looked at, such as further pages.
    """

    height: int
    width: int
    is_grey: bool
    is_deep: bool
    digest: str
    light: Light
    thumbnail: Thumbnail
    preview: bytes
    note: str | None = None


@dataclass(frozen=True)
class Picture:
    """A picture that was chosen. ``name``: from its folder on; ``defect``: its type, nothing for good ones.

    Neither ``seen`` nor ``error``: it was not looked at yet. ``stamp``: time and size of the file when it was.
    """

    id: str
    path: Path
    kind: Kind
    name: str
    defect: str | None = None
    seen: Seen | None = None
    error: str | None = None
    stamp: tuple[int, int] = (0, 0)


def id_of(path: Path, kind: Kind) -> str:
    """Return by which name a browser asks for a picture: the same for the same path."""
    return hashlib.sha256(f"{kind}\0{path}".encode("utf-8", "surrogateescape")).hexdigest()[:20]


def printable(text: str) -> str:
    r"""Return a text that can be sent: names of files hold bytes that are no letters.

    >>> printable("a\udcff.png")
    'a\\udcff.png'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def stamp_of(path: Path) -> tuple[int, int]:
    """Return time and size of a file, by which it is known whether it is the same still."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def look(path: Path) -> Seen:
    """Decode a picture and note what is seen; raises :class:`ImageError`, as a fit would."""
    with _DECODING, noting() as notes:
        try:
            pixels = load(path)
        except OSError as error:
            raise ImageError(in_a_line(error)) from error
        return Seen(
            height=pixels.shape[0],
            width=pixels.shape[1],
            is_grey=is_grey(pixels),
            is_deep=has_deep_header(path),
            digest=pixel_digest(pixels),
            light=light.measure(pixels),
            thumbnail=thumbnail(pixels),
            preview=encoded(pixels, PREVIEW, "JPEG"),
            note=notes.text,
        )


def shown(path: Path) -> bytes:
    """Return a picture as a browser can draw it: PNG of at most 1600 pixels."""
    with _DECODING, noting():
        return encoded(load(path), SHOWN, "PNG")


def encoded(pixels: Pixels, longest: int, form: str) -> bytes:
    """Return a picture (H, W, 3) as the bytes of a file, its longer side at most so many pixels."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest, longest), Image.Resampling.BILINEAR, reducing_gap=2.0)
    if is_grey(pixels):
        image = image.convert("L")
    buffer = io.BytesIO()
    image.save(buffer, form, **({"quality": 82} if form == "JPEG" else {"compress_level": 3}))
    return buffer.getvalue()


def thumbnails_of(pictures: list[Picture]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return them all in small (N, 64, 64, 3)."""
    return np.array([one.seen.thumbnail for one in pictures if one.seen is not None], np.uint8)
