"""Find, decode and check images: every picture enters as uint8 RGB of shape (H, W, 3).

What is accepted: PNG, JPEG, BMP, TIFF, WebP and the first frame of a GIF; grey, colour, palette, CMYK,
with or without alpha (laid on black); 8 and 16 bits and float. A 16-bit image is scaled by its own bit
depth (the smallest of 8, 10, 12, 14 and 16 bits that holds its brightest pixel), so that 12-bit cameras
keep their detail and nothing saturates. EXIF orientation is applied.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from differnet.errors import ImageError

ImageLike: TypeAlias = Union[str, "os.PathLike[str]", npt.NDArray[Any], Image.Image]
Pixels: TypeAlias = npt.NDArray[np.uint8]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
MAX_PIXELS = 178_000_000  # just below where Pillow refuses by itself
_BIT_DEPTHS = (8, 10, 12, 14, 16)


def find(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the images at or below ``folder`` in sorted order; hidden files are left out.

    A single file is returned as it is, whatever its suffix. Raises :class:`ImageError` when the path does
    not exist or holds no image.
    """
    root = Path(folder)
    if not root.exists():
        raise ImageError(f"{root}: no such file or folder")
    if not root.is_dir():
        return [root]
    found = sorted(_walk(root))
    if not found:
        raise ImageError(f"{root}: no image found; looked for {', '.join(sorted(SUFFIXES))}")
    return found


def gather(source: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    """List single images from a folder, a path, an array, a PIL image, or a sequence of these."""
    return list(stream(source))


def stream(source: ImageLike | Iterable[ImageLike]) -> Iterator[ImageLike]:
    """Yield single images from a folder, a path, an array, a PIL image, or anything that yields these.

    An array of shape (N, H, W, 3) is N images; folders are searched when their turn comes.
    """
    if isinstance(source, (str, os.PathLike)):
        yield from find(source)
    elif isinstance(source, Image.Image):
        yield source
    elif isinstance(source, np.ndarray):
        yield from source if source.ndim == 4 else [source]
    else:
        for item in source:
            is_folder = isinstance(item, (str, os.PathLike)) and Path(item).is_dir()
            yield from find(item) if is_folder else [item]  # type: ignore[arg-type]


def load(image: ImageLike) -> Pixels:
    """Decode one image to uint8 RGB of shape (H, W, 3).

    Raises :class:`ImageError` that says what was found: not an image, truncated, too many pixels (checked
    before decoding), NaN or infinite pixels, an unusable array shape or type.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image, "array")
    if isinstance(image, Image.Image):
        return _from_pil(image, "PIL image")
    path = Path(image)
    if not path.is_file():
        what = "not a regular file" if path.exists() else "no such file"
        raise ImageError(f"{path}: {what}; an image file was wanted")
    try:
        return _from_file(path)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not an image that can be read ({_found(path)})") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: cannot be decoded: {error}") from error


def resize_square(pixels: Pixels, size: int) -> Pixels:
    """Resize to ``(size, size, 3)`` with antialiasing; the aspect ratio is not kept, as in the paper."""
    if pixels.shape[:2] == (size, size):
        return pixels
    resized = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)
    square: Pixels = np.asarray(resized, dtype=np.uint8)
    return square


def load_mask(path: Path, level: int = 128) -> npt.NDArray[np.bool_]:
    """Read a ground-truth mask as booleans of shape (H, W): true where a channel has ``level`` of 255 or more."""
    return np.asarray((load(path) >= level).any(axis=2))


def _walk(root: Path) -> Iterator[Path]:
    """Yield visible images at any depth; links to folders are followed once, unreadable folders are errors."""
    seen = set()
    for folder, below, files in os.walk(root, followlinks=True, onerror=_cannot_list):
        below[:] = [name for name in below if not name.startswith(".")]
        place = os.path.realpath(folder)
        if place in seen:
            below.clear()
            continue
        seen.add(place)
        for name in files:
            path = Path(folder, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith(".") and path.is_file():
                yield path


def _cannot_list(error: OSError) -> None:
    raise ImageError(f"{error.filename}: cannot be listed: {error.strerror}") from error


def _found(path: Path) -> str:
    size = path.stat().st_size
    return "the file is empty" if size == 0 else f"{size} bytes of something else"


def _from_file(path: Path) -> Pixels:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                if _is_deep_colour(image):
                    _check_size(image.width, image.height, str(path))
                    return _from_deep_png(path) if image.format == "PNG" else _from_tiff(path)
                _check_size(image.width, image.height, str(path))
                ImageOps.exif_transpose(image, in_place=True)  # no copy: the image is large and nobody else's
                return _from_upright(image, str(path))
        except UnidentifiedImageError:
            if path.suffix.lower() not in {".tif", ".tiff"}:
                raise
    return _from_tiff(path)


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether the file has 16 bits a channel, of which Pillow would keep the upper eight."""
    tiles = getattr(image, "tile", None)
    rawmode = str(tiles[0][3]) if tiles else ""
    return ";16" in rawmode and image.mode in {"RGB", "RGBA", "LA"}


def _from_deep_png(path: Path) -> Pixels:
    try:
        from torchvision.io import ImageReadMode, decode_png, read_file
    except ImportError as error:  # an inspection station has none, and it means to drop its decoders one day
        raise ImageError(
            f"{path}: a PNG with 16 bits a colour, and no torchvision here that decodes it; save it as TIFF"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        channels = decode_png(read_file(str(path)), ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
    if channels.shape[2] == 2:  # grey and alpha
        channels = channels[..., [0, 0, 0, 1]]
    return _from_array(channels, str(path))


def _from_tiff(path: Path) -> Pixels:
    """Read what Pillow does not know, for instance 16-bit RGB, from the first page."""
    try:
        import tifffile  # here, since an inspection station may do without
    except ImportError as error:
        raise ImageError(f"{path}: this kind of TIFF needs tifffile: pip install tifffile") from error
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            _check_size(int(page.imagewidth), int(page.imagelength), str(path))
            return _from_array(np.asarray(page.asarray()), str(path))
    except (tifffile.TiffFileError, IndexError, KeyError, RuntimeError) as error:
        raise ImageError(f"{path}: not an image that can be read ({error})") from error


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name}: has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width} x {height} is more than the {MAX_PIXELS:,} pixels that are decoded; "
            "cut it into pieces first"
        )


def _from_pil(image: Image.Image, name: str) -> Pixels:
    _check_size(*image.size, name)
    return _from_upright(ImageOps.exif_transpose(image), name)


def _from_upright(upright: Image.Image, name: str) -> Pixels:
    if upright.mode.startswith("I") or upright.mode == "F":
        return _from_array(np.asarray(upright), name)
    if upright.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in upright.info:
        rgba = upright.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        upright = Image.alpha_composite(black, rgba)
    return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"), dtype=np.uint8)


def _from_array(array: npt.NDArray[Any], name: str) -> Pixels:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] not in {3, 4}):
        raise ImageError(f"{name}: shape {array.shape}; (H, W), (H, W, 3) or (H, W, 4) was wanted")
    _check_size(array.shape[1], array.shape[0], name)
    pixels = _to_bytes(array, name)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    if pixels.shape[2] == 4:  # laid on black
        alpha = pixels[..., 3:].astype(np.float32) / 255
        return np.rint(pixels[..., :3] * alpha).astype(np.uint8)
    return pixels


def _to_bytes(array: npt.NDArray[Any], name: str) -> Pixels:
    """Scale any pixel type to 0..255 without saturating."""
    if array.dtype == np.uint8:
        return np.asarray(array, dtype=np.uint8)
    if array.dtype == np.bool_:
        binary: Pixels = array.astype(np.uint8) * np.uint8(255)
        return binary
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise ImageError(f"{name}: pixels of type {array.dtype}; integers or floats were wanted")
    if not np.isfinite(array).all():
        raise ImageError(f"{name}: has NaN or infinite pixels")
    low, high = float(array.min()), float(array.max())
    top = _top_of_range(array.dtype, high)
    if low < 0 or top is None:
        raise ImageError(
            f"{name}: {array.dtype} pixels from {low:g} to {high:g}; wanted are 0..255, 16 bits 0..65535, "
            "or floats 0..1"
        )
    scaled: Pixels = np.rint(array.astype(np.float64) * (255 / top)).astype(np.uint8)
    return scaled


def _top_of_range(dtype: np.dtype[Any], high: float) -> float | None:
    if np.issubdtype(dtype, np.floating) and high <= 1:
        return 1.0
    fitting = [2.0**bits - 1 for bits in _BIT_DEPTHS if high <= 2.0**bits - 1]
    return fitting[0] if fitting else None
