"""Image files to pixels: the content of a file decides what it is, and everything is checked before it is decoded.

| kind | what is read | what is refused |
|---|---|---|
| PNG | 1 to 16 bits, grey, colour, palette, with or without alpha | cut off, lacking rows, a wrong checksum |
| JPEG (also MPO) | grey, YCbCr, CMYK; the first picture of an MPO | cut off, lacking rows or passes |
| BMP | what Pillow reads | cut off |
| TIFF, BigTIFF | what :mod:`differnet.data.formats.layout` lists; the first page but thumbnails, or any | the rest |
| WebP, GIF | the first picture of an animation | cut off |

All of them: EXIF orientation is applied, colour profiles are left alone, alpha is laid on black. Pages and pictures
beside the one that is read are warned of. Which level is white beyond eight bits, a scale says
(:mod:`differnet.data.formats.levels`). No other kind is opened, whatever Pillow knows. More than ``MAX_PIXELS`` or
``MAX_BYTES``, no pixels, thin pictures (one side more than ``MAX_ASPECT`` times the other), empty files, folders,
pipes, devices and loops of symbolic links are refused before anything is decoded. A JPEG or a BMP whose middle was
overwritten cannot be told from a picture of noise. PNG with 16 bits a colour needs the package ``imagecodecs`` and TIFF
with such, with floats, or with colours that are laid on black already ``tifffile``; where that is compressed, by
nothing but LZW, PackBits, deflate, LZMA or Zstandard, both. A station may lack them; then such files are refused.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from differnet.data.formats import jpeg, png, tiff
from differnet.data.formats.arrays import from_array, from_pil
from differnet.data.formats.levels import OWN, PLAIN, Facts, Scale
from differnet.data.pages import MAGIC, shown_page, tell_of_frames, tell_of_others
from differnet.data.pixels import MAX_PIXELS, Pixels, check_size, upright
from differnet.errors import ImageError

KINDS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    *((magic, "TIFF") for magic in MAGIC),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
)
HEAD = 30  # bytes that say what a file is, and how large a WebP is
_MOST_DEEP_BYTES = 2**31  # of a PNG with 16 bits a colour, which is read as a whole
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # bytes that the second header of a BMP may have
_ORIENTATION = 0x0112
_WIDTH, _LENGTH, _BITS = 256, 257, 258  # of a TIFF
_ON_ITS_SIDE = (5, 6, 7, 8)
_PART = 2**20  # bytes of a file at a time
_NOT_REGULAR = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def decode(path: Path, page: int | None = None, name: str | None = None, scale: Scale = OWN) -> Pixels:
    """Decode one file, or one page of a TIFF, to uint8 RGB (H, W, 3); without ``page`` the first that is no thumbnail.

    ``scale``: where white is beyond 8 bits.

    Raises :class:`ImageError` whose message starts with the path, or ``name`` if given, and nothing else.
    """
    with opened(path, name) as file:
        return _decode_any(file, name or str(path), page, scale)


def decode_content(content: bytes, name: str, scale: Scale = OWN) -> Pixels:
    """Decode the content of a file as :func:`decode` would, wherever it came from; errors start with ``name``."""
    if not content:
        raise ImageError(f"{name}: the file is empty")
    return _decode_any(io.BytesIO(content), name, None, scale)


def header_shape(path: Path, page: int | None = None) -> tuple[int, int] | None:
    """Return height and width that a file will have when it is decoded; nothing where its header does not say it."""
    try:
        with opened(path) as file:
            head = file.read(HEAD)
            file.seek(0)
            kind = _kind(head)
            if kind == "WEBP":
                check_size(*webp_size(head), str(path))  # as when it is decoded
            if kind == "TIFF" and page is None:
                page = shown_page(file, str(path)).number
            with Image.open(file, formats=(kind or "",)) as image:
                if page is not None and page > 1:
                    image.seek(page - 1)
                return shown_shape(image)
    except Exception:  # what is wrong with it is said when it is decoded
        return None


def has_deep_header(path: Path, page: int | None = None) -> bool:
    """Whether a file may have samples of more than eight bits, by its header; true where that is damaged."""
    try:
        with opened(path) as file:
            head = file.read(HEAD)
            kind = _kind(head)
            if kind == "PNG":
                return head[24] > 8
            if kind != "TIFF":
                return kind is None
            number = shown_page(file, str(path)).number if page is None else page
            file.seek(0)
            with Image.open(file, formats=("TIFF",)) as image:
                image.seek(number - 1)
                bits = image.tag_v2.get(_BITS, (1,))
                return bool(max(bits) > 8)
    except Exception:  # what is wrong with it is said when it is decoded
        return True


def shown_shape(image: Image.Image) -> tuple[int, int]:
    """Return height and width of a picture that stands as EXIF says, without decoding it."""
    is_late = (
        image.format == "PNG" and "exif" not in image.info
    )  # to look for it there would decode the picture
    orientation = None if is_late else image.getexif().get(_ORIENTATION)
    tags = getattr(
        image, "tag_v2", {}
    )  # the size of a TIFF's picture may have been turned already, by Pillow
    shape = tags.get(_LENGTH, image.height), tags.get(_WIDTH, image.width)
    return shape[::-1] if orientation in _ON_ITS_SIDE else shape


@contextmanager
def opened(path: Path, name: str | None = None) -> Iterator[BinaryIO]:
    """Open a regular file that is not empty; a pipe is not waited for, a device not touched.

    Raises :class:`ImageError` that says what stands there instead, of ``name`` where that is not the path.
    """
    try:
        with _opened(path) as file:
            yield file
    except ImageError as error:
        text = str(error)
        if name is None or not text.startswith(str(path)):
            raise
        raise ImageError(name + text[len(str(path)) :]) from error


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ImageError(f"{path}: {_absence(error)}; an image file was wanted") from error
    except ValueError as error:
        raise ImageError(f"{path}: no name of a file ({error})") from error
    _check_regular(path, mode)  # before it is opened, which may wait or act
    try:
        file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115  closed below
    except OSError as error:
        raise ImageError(f"{path}: {_absence(error)}; an image file was wanted") from error
    with file:
        try:
            found = os.fstat(file.fileno())
        except OSError as error:  # a share that was lost since
            raise ImageError(f"{path}: {_absence(error)}; an image file was wanted") from error
        _check_regular(path, found.st_mode)
        if found.st_size == 0:
            raise ImageError(f"{path}: the file is empty")
        yield file


def file_digest(path: Path, start: bytes = b"") -> bytes:
    """Return the SHA-256 of ``start`` and a file, read a part at a time.

    Raises :class:`ImageError` for what is no regular file.
    """
    total = hashlib.sha256(start)
    with opened(path) as file:
        try:
            for part in iter(lambda: file.read(_PART), b""):
                total.update(part)
        except OSError as error:
            raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    return total.digest()


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        try:
            os.scandir(path).close()
        except OSError as error:
            raise ImageError(f"{path}: a folder that cannot be listed: {error.strerror}") from error
    for is_such, what in _NOT_REGULAR:
        if is_such(mode):
            raise ImageError(f"{path}: not a regular file but {what}; an image file was wanted")


def _absence(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "no such file"
    if error.errno == errno.ELOOP:
        return "a loop of symbolic links"
    return f"cannot be opened: {error.strerror}"


def _reason(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _decode_any(file: BinaryIO, name: str, page: int | None, scale: Scale) -> Pixels:
    try:
        return _decode(file, name, page, scale)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{name}: more than the {MAX_PIXELS:,} pixels that are decoded ({error}); cut it into pieces first"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: cannot be decoded: its header is damaged") from error
    except Exception as error:  # decoders raise whatever they stumble over
        raise ImageError(f"{name}: cannot be decoded: {_reason(error)}") from error


def _decode(file: BinaryIO, name: str, page: int | None, scale: Scale) -> Pixels:
    head = file.read(HEAD)
    file.seek(0)
    kind = _kind(head)
    if kind is None:
        size = file.seek(0, os.SEEK_END)
        raise ImageError(
            f"{name}: not an image that can be read ({size} bytes of something else); {', '.join(KINDS)} are"
        )
    if page not in (None, 1) and kind != "TIFF":
        raise ImageError(f"{name}: page {page} was wanted, but only a TIFF has pages, and this is a {kind}")
    if kind == "WEBP":
        check_size(*webp_size(head), name)  # Pillow makes room for it when it opens it
    if kind == "TIFF":
        return tiff.decode(file, name, page, scale) if page is not None else _decode_shown(file, name, scale)
    with Image.open(file, formats=(kind,)) as image:
        check_size(image.width, image.height, name)
        if kind == "PNG" and _is_deep_colour(image):
            return _decode_deep_png(file, name, image.getexif().get(_ORIENTATION), scale)
        facts = Facts(png.stated_white(file)) if kind == "PNG" else PLAIN
        image.load()
        if kind == "PNG":
            png.check_rows(file, image, name)
        elif kind == "JPEG":
            jpeg.check_pixels(file, image, name)
        ImageOps.exif_transpose(image, in_place=True)  # no copy: the image is large and nobody else's
        pixels = from_pil(image, name, scale, facts)
        tell_of_frames(image, file, kind, name)
        return pixels


def _decode_shown(file: BinaryIO, name: str, scale: Scale) -> Pixels:
    """Decode the page that a TIFF shows, and say that there are others."""
    shown = shown_page(file, name)
    pixels = tiff.decode(file, name, shown.number, scale)
    tell_of_others(name, shown)
    return pixels


def is_image_head(head: bytes) -> bool:
    """Whether the first bytes (:data:`HEAD`) of a file are those of a kind that is read, and of no text like it."""
    kind = _kind(head)
    return kind is not None and (kind != "BMP" or int.from_bytes(head[14:18], "little") in _BMP_HEADERS)


def _kind(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def webp_size(head: bytes) -> tuple[int, int]:
    """Return width and height from the first 30 bytes of a WebP file; raises ValueError for no WebP."""
    kind, known = head[12:16], len(head) == HEAD
    if known and kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if known and kind == b"VP8 ":
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        return width, height
    if known and kind == b"VP8L":
        both = int.from_bytes(head[21:25], "little")
        return 1 + (both & 0x3FFF), 1 + (both >> 14 & 0x3FFF)
    raise ValueError("the header of the WebP is damaged")


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether the file has 16 bits a channel, of which Pillow would keep the upper eight."""
    tiles = getattr(image, "tile", None)
    rawmode = str(tiles[0][3]) if tiles else ""
    return ";16" in rawmode and image.mode in {"RGB", "RGBA", "LA"}


def _decode_deep_png(file: BinaryIO, name: str, orientation: object, scale: Scale) -> Pixels:
    file.seek(0)
    facts = Facts(png.stated_white(file))
    file.seek(0)
    array = upright(png.decode(file.read(_MOST_DEEP_BYTES), name), orientation)
    return from_array(array, name, scale, facts)
