"""How pictures are loaded, beside a second reader: every format, depth and layout, in files that are made here.

Usage: python benchmarks/loading.py [--keep FOLDER]

The second reader is imagecodecs (libpng, libspng, libjpeg-turbo, libwebp, giflib, libtiff and its own BMP), which gives
samples; what these mean is written out here once more, by the rules of the format. Where differnet has its samples from
imagecodecs as well, or that does not read them, they are compared with those that were written. Prints a table of how
many files of a kind gave equal pixels or were refused for a stated reason, and fails where one did anything else.
"""

from __future__ import annotations

import argparse
import io
import itertools
import struct
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from differnet.data.decoding import decode_content
from differnet.errors import ImageError

Array = npt.NDArray[Any]
SHAPES = ((16, 24), (33, 17), (1, 5))
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
COLOURS = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
PACKINGS = {"plain": None, "LZW": "lzw", "deflate": "zlib", "PackBits": "packbits", "Zstandard": "zstd"}


@dataclass(frozen=True)
class Made:
    """A file: ``second`` gives its samples, ``seen`` makes pixels (H, W, 3) of them.

    ``refused``: part of the reason for which it is not read.
    """

    kind: str
    name: str
    content: bytes
    second: Callable[[bytes], Array]
    seen: Callable[[Array], Array]
    refused: str | None = None


def samples(shape: tuple[int, int], channels: int, bits: int, seed: int = 0) -> Array:
    """Draw samples (H, W, C) of so many bits, the brightest possible among them."""
    kind = np.uint8 if bits <= 8 else np.uint16
    drawn = np.random.default_rng(seed).integers(0, 2**bits, (*shape, channels)).astype(kind)
    drawn[0, 0] = 2**bits - 1
    return drawn


def to_bytes(levels: Array, bits: int) -> Array:
    """Scale samples of so many bits to 0..255 by the rule of three."""
    return np.rint(levels.astype(np.float64) * 255 / (2**bits - 1)).astype(np.uint8)


def grey(levels: Array, bits: int = 8) -> Array:
    """Show samples (H, W) or (H, W, 1) as grey."""
    return np.repeat(to_bytes(levels.reshape(*levels.shape[:2], 1), bits), 3, axis=2)


def on_black(levels: Array, bits: int = 8) -> Array:
    """Lay samples (H, W, 2 or 4) on black by their last."""
    shown = to_bytes(levels, bits).astype(np.float64)
    colour = shown[..., :-1] if levels.shape[2] == 4 else shown[..., [0, 0, 0]]
    return np.rint(colour * shown[..., -1:] / 255).astype(np.uint8)


def cmyk(levels: Array, bits: int = 8) -> Array:
    """Bring inks (H, W, 4) to RGB: what neither the ink nor black takes away."""
    left = 255 - to_bytes(levels, bits).astype(np.float64)
    return np.rint(left[..., :3] * left[..., 3:] / 255).astype(np.uint8)


def png(levels: Array, bits: int, colour: int, woven: bool, *more: bytes) -> bytes:
    """Write samples (H, W, C) as PNG, whole or woven in seven passes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def row(line: Array) -> bytes:
        if bits == 16:
            return line.astype(">u2").tobytes()
        if bits == 8:
            return line.tobytes()
        return np.packbits(np.unpackbits(line.reshape(-1, 1), axis=1)[:, 8 - bits :].ravel()).tobytes()

    parts = PASSES if woven else ((0, 0, 1, 1),)
    rows = [
        b"\0" + row(line)
        for left, top, right, down in parts
        for line in levels[top::down, left::right]
        if line.size
    ]
    height, width = levels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(woven))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(b"".join(rows))), chunk(b"IEND", b"")]
    )


def _as_written(drawn: Array, _: bytes) -> Array:
    return drawn


def palette_chunk(bits: int) -> bytes:
    """Return the colours of a PNG with so many bits."""
    body = COLOURS[: 2**bits].tobytes()
    return struct.pack(">I", len(body)) + b"PLTE" + body + struct.pack(">I", zlib.crc32(b"PLTE" + body))


def pngs() -> Iterator[Made]:
    """Every kind and depth of PNG, whole and woven."""
    kinds = [(0, 1, bits) for bits in (1, 2, 4, 8, 16)] + [(3, 1, bits) for bits in (1, 2, 4, 8)]
    kinds += [(2, 3, 8), (2, 3, 16), (4, 2, 8), (4, 2, 16), (6, 4, 8), (6, 4, 16)]
    for (colour, channels, bits), shape, woven in itertools.product(kinds, SHAPES, (False, True)):
        drawn = samples(shape, channels, bits)
        content = png(drawn, bits, colour, woven, *([palette_chunk(bits)] if colour == 3 else []))
        name = f"{colour}-{bits}-{shape[0]}x{shape[1]}{'-woven' * woven}.png"
        second: Callable[[bytes], Array] = imagecodecs.png_decode
        if bits == 16 and channels > 1:
            second = partial(_as_written, drawn)
        if colour == 3 or bits < 8:  # libpng spreads these out by itself
            yield Made(
                "PNG",
                name,
                content,
                second,
                lambda found: (
                    found.reshape(*found.shape[:2], -1)[..., :3] if found.ndim == 3 else grey(found)
                ),
            )
        elif channels in (2, 4):
            yield Made("PNG", name, content, second, lambda found, bits=bits: on_black(found, bits))
        else:
            seen = grey if colour == 0 else to_bytes
            yield Made("PNG", name, content, second, lambda found, seen=seen, bits=bits: seen(found, bits))
    for bits, shape in itertools.product((10, 12, 14), SHAPES):
        content = png(samples(shape, 1, bits), 16, 0, False)
        second = imagecodecs.png_decode
        yield Made(
            "PNG", f"depth-{bits}-{shape[0]}.png", content, second, lambda found, bits=bits: grey(found, bits)
        )


def smooth(shape: tuple[int, int]) -> Image.Image:
    """Return a colourful picture that JPEG can keep."""
    coarse = Image.fromarray(np.random.default_rng(2).integers(0, 256, (3, 4, 3), dtype=np.uint8))
    return coarse.resize(shape[::-1], Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def others() -> Iterator[Made]:
    """JPEG, WebP, BMP and GIF."""
    ways: dict[str, dict[str, Any]] = {
        "444": {"subsampling": 0}, "422": {"subsampling": 1}, "420": {"subsampling": 2},
        "passes": {"progressive": True},
        "restarts": {"restart_marker_rows": 1},
    }  # fmt: skip
    for (way, options), shape, quality in itertools.product(ways.items(), SHAPES, (40, 95)):
        content = saved(smooth(shape), "JPEG", quality=quality, **options)
        name = f"{way}-{quality}-{shape[0]}.jpg"
        yield Made("JPEG", name, content, imagecodecs.jpeg8_decode, lambda found: found)
        if way == "444":
            content = saved(smooth(shape).convert("L"), "JPEG", quality=quality)
            yield Made("JPEG", f"grey-{name}", content, imagecodecs.jpeg8_decode, grey)
            content = saved(smooth(shape).convert("CMYK"), "JPEG", quality=quality)
            inks = lambda found: 255 - np.asarray(imagecodecs.jpeg8_decode(found, outcolorspace="CMYK"))  # noqa: E731
            yield Made("JPEG", f"cmyk-{name}", content, inks, cmyk)
    for shape in SHAPES:
        colour = Image.fromarray(samples(shape, 3, 8))
        for name, options in {"kept": {"lossless": True}, "lossy": {"quality": 60}}.items():
            content = saved(colour, "WEBP", **options)
            yield Made(
                "WebP",
                f"{name}-{shape[0]}.webp",
                content,
                imagecodecs.webp_decode,
                lambda found: found[..., :3],
            )
        clear = Image.fromarray(samples(shape, 4, 8))
        content = saved(clear, "WEBP", lossless=True, exact=True)
        yield Made("WebP", f"alpha-{shape[0]}.webp", content, imagecodecs.webp_decode, on_black)
        bmp = imagecodecs.bmp_decode
        yield Made("BMP", f"colour-{shape[0]}.bmp", saved(colour, "BMP"), bmp, lambda found: found)
        yield Made(
            "BMP",
            f"grey-{shape[0]}.bmp",
            saved(colour.convert("L"), "BMP"),
            bmp,
            lambda found: found if found.ndim == 3 else grey(found),
        )
        few = colour.quantize(16)
        content, gif = saved(few, "GIF"), imagecodecs.gif_decode
        yield Made("GIF", f"few-{shape[0]}.gif", content, gif, lambda found: found[..., :3])
        yield Made(
            "GIF",
            f"grey-{shape[0]}.gif",
            saved(colour.convert("L"), "GIF"),
            gif,
            lambda found: found[..., :3],
        )


def tiff(array: Array, **options: Any) -> bytes:
    """Return the file that tifffile writes."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def libtiff(content: bytes) -> Array:
    """Return the samples (H, W, C) that libtiff reads, one plane a colour brought together."""
    found = np.asarray(imagecodecs.tiff_decode(content))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page: Any = file.pages[0]
        is_split = page.planarconfig == 2 and page.samplesperpixel > 1
    if is_split and found.shape[0] == page.samplesperpixel:
        found = np.moveaxis(found, 0, -1)
    return found.reshape(*found.shape[:2], -1)


def tiffs() -> Iterator[Made]:
    """Photometric interpretations, numbers, packings and orders of TIFF."""
    numbers = (("8", 8), ("16", 16))
    for (packing, compression), order, (label, bits) in itertools.product(PACKINGS.items(), "<>", numbers):
        options = {"compression": compression, "byteorder": order}
        name = f"{packing}-{'little' if order == '<' else 'big'}-{label}"
        levels = samples((33, 17), 1, bits)[..., 0]
        for which in ("minisblack", "miniswhite"):
            content = tiff(levels, photometric=which, **options)
            turned = which == "miniswhite"
            yield Made(
                "TIFF",
                f"{which}-{name}.tif",
                content,
                libtiff,
                lambda found, turned=turned, bits=bits: (
                    255 - grey(found, bits) if turned else grey(found, bits)
                ),
            )
        for layout, extra in {"strips": {"rowsperstrip": 5}, "tiles": {"tile": (16, 16)}}.items():
            content = tiff(samples((33, 17), 3, bits), photometric="rgb", **extra, **options)
            yield Made(
                "TIFF",
                f"rgb-{layout}-{name}.tif",
                content,
                libtiff,
                lambda found, bits=bits: to_bytes(found, bits),
            )
        planes = np.ascontiguousarray(np.moveaxis(samples((16, 24), 3, bits), 2, 0))
        content = tiff(planes, photometric="rgb", planarconfig="separate", **options)
        yield Made(
            "TIFF", f"planes-{name}.tif", content, libtiff, lambda found, bits=bits: to_bytes(found, bits)
        )
        yield from _with_more_samples(name, bits, options)


def _with_more_samples(name: str, bits: int, options: dict[str, Any]) -> Iterator[Made]:
    four = samples((16, 24), 4, bits)
    content = tiff(four, photometric="rgb", extrasamples=["unassalpha"], **options)
    yield Made("TIFF", f"alpha-{name}.tif", content, libtiff, lambda found: on_black(found, bits))
    content = tiff(four, photometric="rgb", extrasamples=["unspecified"], **options)
    yield Made("TIFF", f"fourth-{name}.tif", content, libtiff, lambda found: to_bytes(found[..., :3], bits))
    laid = np.minimum(four, four[..., 3:])
    content = tiff(laid, photometric="rgb", extrasamples=["assocalpha"], **options)
    yield Made("TIFF", f"laid-{name}.tif", content, libtiff, lambda found: to_bytes(found[..., :3], bits))
    content = tiff(four, photometric="separated", extrasamples=(), **options)
    yield Made(
        "TIFF", f"cmyk-{name}.tif", content, partial(_as_written, four), lambda found: cmyk(found, bits)
    )
    if bits == 8:
        table = (COLOURS.astype(np.uint16) * 257).T
        content = tiff(four[..., 0], photometric="palette", colormap=np.ascontiguousarray(table), **options)
        yield Made("TIFF", f"palette-{name}.tif", content, libtiff, lambda found: COLOURS[found[..., 0]])
        lab = tiff(four[..., :3], photometric="cielab", **options)
        yield Made("TIFF", f"lab-{name}.tif", lab, libtiff, to_bytes, refused="Lab")
    signed = tiff(four[..., 0].astype(np.int8 if bits == 8 else np.int16) - 1, **options)
    yield Made(
        "TIFF",
        f"signed-{name}.tif",
        signed,
        libtiff,
        to_bytes,
        refused="signed" if bits == 8 else "pixels from -",
    )


def floats() -> Iterator[Made]:
    """Floats in TIFF: of 0 to 1, 0 to 255 and 0 to 4095, black or white being zero."""
    for (kind, end), packing, which in itertools.product(
        itertools.product(("float16", "float32", "float64"), (1, 255, 4095)),
        ("plain", "deflate"),
        ("minisblack", "miniswhite"),
    ):
        if kind == "float16" and end == 4095:
            continue
        levels = (samples((33, 17), 1, 8)[..., 0] / 255 * end).astype(kind)
        content = tiff(levels, photometric=which, compression=PACKINGS[packing])
        turned = which == "miniswhite"

        def seen(found: Array, end: int = end, turned: bool = turned) -> Array:
            shown = np.repeat(np.rint(found.astype(np.float64) * (255 / end)).astype(np.uint8), 3, axis=2)
            return 255 - shown if turned else shown

        yield Made("TIFF", f"{which}-{kind}-{end}-{packing}.tif", content, libtiff, seen)


def made() -> list[Made]:
    """Return all files."""
    return [*pngs(), *others(), *tiffs(), *floats()]


def outcome(one: Made) -> str:
    """Say what became of a file: ``equal``, why it was refused, or, beginning with ``WRONG``, what is not right."""
    try:
        found = decode_content(one.content, one.name)
    except ImageError as error:
        is_stated = one.refused is not None and one.refused in str(error)
        return f"refused: {one.refused}" if is_stated else f"WRONG: refused: {error}"
    if one.refused is not None:
        return "WRONG: read"
    wanted = one.seen(np.asarray(one.second(one.content)))
    if found.shape != wanted.shape:
        return f"WRONG: {found.shape} for {wanted.shape}"
    apart = int(np.abs(found.astype(int) - wanted.astype(int)).max())
    return "equal" if apart == 0 else f"WRONG: apart by {apart}"


def main() -> None:
    """Compare all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", type=Path, help="a folder to write the files to")
    keep = parser.parse_args().keep
    warnings.simplefilter("ignore")
    files = made()
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        for one in files:
            (keep / one.name).write_bytes(one.content)
    said = Counter((one.kind, outcome(one)) for one in files)
    for (kind, what), count in sorted(said.items()):
        print(f"{kind:<5} {count:>4}  {what}")
    print(f"{len(files)} files; Pillow {Image.__version__}, imagecodecs {imagecodecs.__version__}")
    sys.exit(any(what.startswith("WRONG") for _, what in said))


if __name__ == "__main__":
    main()
