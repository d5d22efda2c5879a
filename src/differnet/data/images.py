"""Find images and load them: every picture enters as uint8 RGB of shape (H, W, 3).

What is accepted and what is refused: :mod:`differnet.data.decoding`. Which level is white in an image of more than
eight bits, a scale says (:mod:`differnet.data.formats.levels`): for a model that of its training pictures, else the end
of the smallest range that holds the image. EXIF orientation is applied.

Of the files in a folder the content decides, and what is left out is said:

| a file | is |
|---|---|
| with a suffix of :data:`SUFFIXES` or :data:`UNREAD` | listed; what is wrong with it is said when it is loaded |
| of another name, whose first bytes are those of a kind that is read | listed |
| hidden (its name begins with a dot) | passed over |
| anything else, and what is being written by its name (:func:`is_being_written`) | left out, and said with a count |
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from differnet.data.decoding import (
    HEAD,
    decode,
    file_digest,
    has_deep_header,
    header_shape,
    is_image_head,
    opened,
    shown_shape,
)
from differnet.data.formats.arrays import from_array, from_pil
from differnet.data.formats.layout import Layout
from differnet.data.formats.levels import OWN, PLAIN, Scale
from differnet.data.pages import page_numbers
from differnet.data.pixels import MAX_PIXELS, Pixels, check_size
from differnet.errors import ImageError, agreeing, counted, warn

__all__ = ["MAX_PIXELS", "SUFFIXES", "ImageLike", "Page", "Pixels", "find", "gather", "load", "stream"]

SUFFIXES = frozenset(
    {
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".mpo", ".bmp", ".dib"),
        *(".tif", ".tiff", ".btf", ".tf8", ".webp", ".gif"),
    }
)
# pictures of kinds that are not read: each is refused by its name, and not passed over
UNREAD = frozenset(
    {
        *(".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".psd", ".exr", ".tga", ".pbm", ".pgm", ".ppm"),
        *(".pnm", ".dcm", ".dng", ".cr2", ".cr3", ".nef", ".arw"),
    }
)
_BEING_WRITTEN = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".download", ".swp", "~")
_NAMED = 3  # of what is left out
_BAND = 256  # rows at a time, so that large pictures take little memory


@dataclass(frozen=True)
class Page:
    """One page of a TIFF, the first being 1; it goes wherever a path goes."""

    path: Path
    number: int

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return f"{self.path}[{self.number}]"


ImageLike: TypeAlias = Union[str, "os.PathLike[str]", npt.NDArray[Any], Image.Image]


def find(folder: str | os.PathLike[str], strict: bool = True) -> list[Path]:
    """Return the images at or below ``folder`` in sorted order; hidden files are passed over.

    Other files are left out, which is said once with their number and the first of them. A single file is returned as
    it is, whatever it holds. Raises :class:`ImageError` when the path does not exist or holds no image; ``strict``:
    also for a folder that cannot be listed, which else is listed itself.
    """
    root = Path(folder)
    if not os.path.lexists(root):
        raise ImageError(f"{root}: no such file or folder")
    if not os.path.isdir(root):  # noqa: PTH112  pathlib's raises for names that are too long
        return [root]
    others: list[Path] = []
    found = sorted(_walk(root, strict, others))
    if not found:
        beside = f" among {counted(len(others), 'file')} ({_first(others, root)})" if others else ""
        raise ImageError(
            f"{root}: no image found{beside}; PNG, JPEG, BMP, TIFF, WebP and GIF are looked for, whatever their names"
        )
    if others:
        warn(f"{root}: {left_out(others, root)}")
    return found


def left_out(others: Sequence[Path], root: Path) -> str:
    """Say that files are no images, how many, and which the first of them are."""
    return f"{are_left_out(len(others))}: {_first(others, root)}"


def are_left_out(count: int, which: str = "") -> str:
    """Say that so many files are no images; ``which``: where they are, or of what kind.

    >>> are_left_out(1), are_left_out(2, "in 1 tar")
    ('1 file is no image and is left out', '2 files in 1 tar are no images and are left out')
    """
    verb = agreeing(count, "is no image and is", "are no images and are")
    return " ".join((counted(count, "file"), *([which] if which else []), verb, "left out"))


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its suffix alone, or is taken for one that is to be refused by name."""
    return os.path.splitext(name)[1].lower() in SUFFIXES | UNREAD  # noqa: PTH122


def is_being_written(name: str) -> bool:
    """Whether a name is one that programs give to files while they write them.

    >>> is_being_written("a.png.part"), is_being_written("~a.png"), is_being_written("a.tmp.png")
    (True, True, True)
    """
    stem, suffix = os.path.splitext(name.lower())  # noqa: PTH122
    return (
        name.startswith("~")
        or name.lower().endswith(_BEING_WRITTEN)
        or (bool(suffix) and stem.endswith(".tmp"))
    )


def has_image(path: Path) -> bool:
    """Whether the first bytes of a regular file are those of an image that is read; nothing is waited for."""
    try:
        with opened(path) as file:
            return is_image_head(file.read(HEAD))
    except (ImageError, OSError):
        return False


def pages(path: Path) -> list[Path | Page]:
    """Return every page of a TIFF with several but its thumbnails, and any other file as it is, readable or not.

    Raises :class:`ImageError` for a TIFF whose pages break off, so that how many there were is not known.
    """
    try:
        with opened(path) as file:
            numbers = page_numbers(file)
    except ValueError as error:
        if isinstance(error, ImageError):  # what is wrong is said when it is loaded
            return [path]
        raise ImageError(f"{path}: {error}; the file is cut off or damaged") from error
    except OSError:
        return [path]
    return [path] if len(numbers) < 2 else [Page(path, number) for number in numbers]


def gather(source: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    """List single images from a folder, a path, an array, a PIL image, or a sequence of these."""
    return list(stream(source))


def stream(source: ImageLike | Iterable[ImageLike]) -> Iterator[ImageLike]:
    """Yield single images from a folder, a path, an array, a PIL image, or anything that yields these.

    An array of shape (N, H, W, 3) is N images; folders are searched when their turn comes.
    """
    if isinstance(source, (Image.Image, Page)):
        yield source
    elif isinstance(source, (str, os.PathLike)):
        yield from find(source)
    elif isinstance(source, np.ndarray):
        yield from source if source.ndim == 4 else [source]
    else:
        for item in source:
            is_folder = isinstance(item, (str, os.PathLike)) and os.path.isdir(item)  # noqa: PTH112
            yield from find(item) if is_folder else [item]  # type: ignore[arg-type]


def load(image: ImageLike | Page, scale: Scale = OWN) -> Pixels:
    """Decode one image to uint8 RGB of shape (H, W, 3); ``scale``: which level is white beyond eight bits.

    Raises :class:`ImageError` that says what was found: not an image, cut off, too many pixels (checked
    before decoding), NaN or infinite pixels, an unusable array shape or type.
    """
    if isinstance(image, np.ndarray):
        return from_array(image, "array", scale)
    if isinstance(image, Image.Image):
        return _from_pil(image, scale)
    if isinstance(image, Page):
        return decode(image.path, image.number, None, scale)
    if isinstance(image, (str, os.PathLike)):
        return decode(Path(image), None, None, scale)
    raise ImageError(f"{type(image).__name__}: a path, an array (H, W, 3) or a PIL image was wanted")


def is_deep(image: ImageLike | Page) -> bool:
    """Whether an image may have more than eight bits, by its header alone; true where that is damaged."""
    if isinstance(image, np.ndarray):
        return image.dtype not in (np.uint8, np.bool_)
    if isinstance(image, Image.Image):
        return image.mode.startswith("I") or image.mode == "F"
    return has_deep_header(Path(image), image.number if isinstance(image, Page) else None)


def shape_of(image: ImageLike | Page) -> tuple[int, int] | None:
    """Return height and width of an image from its header alone; nothing where that does not say it, or is damaged."""
    if isinstance(image, np.ndarray):
        return (int(image.shape[0]), int(image.shape[1])) if image.ndim in (2, 3) and image.size else None
    if isinstance(image, Image.Image):
        return shown_shape(image)
    return header_shape(Path(image), image.number if isinstance(image, Page) else None)


def content_digest(image: str | os.PathLike[str]) -> bytes:
    """Return the SHA-256 of an image file, another for each page; :class:`ImageError` for what is no regular file."""
    return file_digest(Path(image), str(image.number).encode() if isinstance(image, Page) else b"")


def resize_square(pixels: Pixels, size: int) -> Pixels:
    """Resize to ``(size, size, 3)`` with antialiasing; the aspect ratio is not kept, as in the paper."""
    return resize(pixels, (size, size))


def resize(pixels: Pixels, shape: tuple[int, int]) -> Pixels:
    """Resize to ``(*shape, 3)`` with antialiasing, whatever the aspect ratio was."""
    if pixels.shape[:2] == shape:
        return pixels
    resized = Image.fromarray(pixels).resize(shape[::-1], Image.Resampling.BILINEAR)
    found: Pixels = np.asarray(resized, dtype=np.uint8)
    return found


def resize_floats(pixels: Pixels, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Resize to ``(*shape, 3)`` as :func:`resize` does, without rounding to bytes; values 0..255."""
    one_plane = is_grey(pixels)  # then one channel does the work of all
    planes = [
        np.asarray(
            Image.fromarray(pixels[..., channel].astype(np.float32)).resize(
                shape[::-1], Image.Resampling.BILINEAR
            )
        )
        for channel in range(1 if one_plane else 3)
    ]
    # plane by plane in memory, as networks take them
    found: npt.NDArray[np.float32] = np.stack(planes * 3 if one_plane else planes).transpose(1, 2, 0)
    return found


def is_grey(pixels: Pixels) -> bool:
    """Whether all three colours of a picture (H, W, 3) are the same everywhere."""
    bands = (pixels[row : row + _BAND] for row in range(0, len(pixels), _BAND))
    return all((band[..., 0] == band[..., place]).all() for band in bands for place in (1, 2))


def load_mask(path: Path, level: int = 128) -> npt.NDArray[np.bool_]:
    """Read a ground-truth mask as booleans of shape (H, W): true where a channel has ``level`` of 255 or more."""
    return np.asarray((load(path) >= level).any(axis=2))


def _first(paths: Sequence[Path], root: Path) -> str:
    names = [str(path.relative_to(root)) for path in sorted(paths)[:_NAMED]]
    return ", ".join(names) + (", ..." if len(paths) > _NAMED else "")


def _walk(root: Path, strict: bool, others: list[Path]) -> Iterator[Path]:
    """Yield visible images at any depth, and put what is none into ``others``; links to folders are followed once."""
    seen = set()
    unlisted: list[Path] = []
    on_error = _cannot_list if strict else lambda error: unlisted.append(Path(error.filename))
    for folder, below, files in os.walk(root, followlinks=True, onerror=on_error):
        below[:] = sorted(name for name in below if not name.startswith("."))
        place = os.path.realpath(folder)
        if place in seen:
            below.clear()
            continue
        seen.add(place)
        for name in files:
            path = Path(folder, name)
            if name.startswith("."):
                continue
            if is_image_name(name) or (not is_being_written(name) and has_image(path)):
                yield path
            else:
                others.append(path)
    yield from unlisted


def _cannot_list(error: OSError) -> None:
    raise ImageError(f"{error.filename}: cannot be listed: {error.strerror}") from error


def _from_pil(image: Image.Image, scale: Scale) -> Pixels:
    check_size(*image.size, "PIL image")
    try:
        tags = getattr(image, "tag_v2", None)  # of one that was opened from a TIFF
        facts = Layout.of(tags.get, "PIL image").facts if tags and is_deep(image) else PLAIN
        return from_pil(ImageOps.exif_transpose(image), "PIL image", scale, facts)
    except (OSError, ValueError, SyntaxError) as error:  # it may be read from its file only now
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"PIL image: cannot be decoded: {error}") from error
