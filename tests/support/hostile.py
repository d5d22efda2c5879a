"""Bad and odd images, made anew each time, each with what must come of it.

``python tests/hostile.py FOLDER`` writes them to look at. A case is a file and either the shape (and, where the format
loses nothing, the pixels) that it must be decoded to, or a part of the reason for which it must be refused.
"""

from __future__ import annotations

import io
import itertools
import os
import socket
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

H, W = 16, 24
RAMP = np.linspace(0, 255, H * W).reshape(H, W).round().astype(np.uint8)
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=2)
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
NOISE = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Case:
    """One input: ``refused`` is part of the reason; else ``shape`` and, where known, ``pixels`` are wanted."""

    path: Path
    refused: str | None = None
    shape: tuple[int, int, int] | None = None
    pixels: np.ndarray | None = None


def make(root: Path) -> list[Case]:
    """Write all cases below ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    makers = (
        _modes,
        _orientations,
        _tiffs,
        _deep,
        _sizes,
        _names,
        _cut_off,
        _foreign,
        _claims,
        _broken,
        _special,
    )
    return [case for maker in makers for case in maker(root)]


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes, check: int | None = None) -> bytes:
    check = zlib.crc32(kind + content) if check is None else check
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *more: bytes, woven: int = 0) -> bytes:
    """Write a PNG by hand."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, woven)
    parts = (
        chunk(b"IHDR", header) + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + parts


def deep_png(pixels: np.ndarray, *more: bytes) -> bytes:
    """Write 16-bit RGB as PNG, which Pillow cannot."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(pixels.shape[1], pixels.shape[0], 16, 2, rows, *more)


def tiff(tags: dict[int, tuple[int, int, int]], content: bytes = b"", next_at: int = 0) -> bytes:
    """Write a TIFF of one directory by hand: tag -> (type, count, value); pixels come right after the head."""
    entries = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    head = b"II*\0" + struct.pack("<I", 8 + len(content)) + content
    return head + struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_at)


def _grey_tags(width: int, height: int, **changes: tuple[int, int, int]) -> dict[int, tuple[int, int, int]]:
    tags = {
        256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8),
        277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, width * height),
    }  # fmt: skip
    return tags | {int(name[1:]): value for name, value in changes.items()}


def _put(root: Path, name: str, content: bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _modes(root: Path) -> Iterator[Case]:
    """Every mode that Pillow writes, in every kind of file."""
    kinds = {"PNG": "png", "JPEG": "jpg", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp", "GIF": "gif"}
    colour = Image.fromarray(COLOUR)
    for mode, (kind, suffix) in itertools.product(
        ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "YCbCr"), kinds.items()
    ):
        image = colour.convert("L").convert("I;16") if mode == "I;16" else colour.convert(mode)
        try:
            content = encode(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
        except (OSError, ValueError, KeyError):
            continue  # this kind has no such mode
        path = _put(root, f"mode-{mode.replace(';', '')}.{suffix}", content)
        if mode == "F":
            yield Case(path, shape=(H, W, 3))  # floats 0..255
            continue
        exact = {"RGB": COLOUR, "RGBA": COLOUR, "L": np.asarray(colour.convert("L").convert("RGB"))}.get(mode)
        yield Case(path, shape=(H, W, 3), pixels=None if kind in ("JPEG", "GIF") else exact)
    content = encode(colour, "GIF", save_all=True, append_images=[colour.rotate(180)])
    yield Case(_put(root, "animated.gif", content), shape=(H, W, 3))
    content = encode(colour, "WEBP", save_all=True, append_images=[colour.rotate(180)], lossless=True)
    yield Case(_put(root, "animated.webp", content), shape=(H, W, 3), pixels=COLOUR)
    content = encode(colour, "PNG", save_all=True, append_images=[colour.rotate(180)])
    yield Case(_put(root, "animated.png", content), shape=(H, W, 3), pixels=COLOUR)
    content = encode(colour, "MPO", save_all=True, append_images=[colour])
    yield Case(_put(root, "two.mpo.jpg", content), shape=(H, W, 3))
    yield Case(_put(root, "a png.jpg", encode(colour, "PNG")), shape=(H, W, 3), pixels=COLOUR)
    profile = encode(colour, "PNG", icc_profile=b"not a profile at all" * 10)
    yield Case(_put(root, "profile.png", profile), shape=(H, W, 3), pixels=COLOUR)


def _orientations(root: Path) -> Iterator[Case]:
    """The eight orientations of EXIF, in files that Pillow decodes and in those that others decode."""
    ways = {
        1: COLOUR, 2: COLOUR[:, ::-1], 3: np.rot90(COLOUR, 2), 4: COLOUR[::-1], 5: COLOUR.swapaxes(0, 1),
        6: np.rot90(COLOUR, -1), 7: np.rot90(COLOUR, 2).swapaxes(0, 1), 8: np.rot90(COLOUR),
    }  # fmt: skip
    deep = COLOUR.astype(np.uint16) * 257
    for way, wanted in ways.items():
        exif = Image.Exif()
        exif[0x0112] = way
        picture = Image.fromarray(COLOUR)
        shape = wanted.shape
        for kind, suffix in (("PNG", "png"), ("TIFF", "tif"), ("JPEG", "jpg")):
            path = _put(root, f"way-{way}.{suffix}", encode(picture, kind, exif=exif))
            yield Case(path, shape=shape, pixels=None if kind == "JPEG" else wanted)
        content = deep_png(deep, chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
        yield Case(_put(root, f"deep-way-{way}.png", content), shape=shape, pixels=wanted)
        path = root / f"deep-way-{way}.tif"
        tifffile.imwrite(path, deep, photometric="rgb", extratags=[(274, 3, 1, way, True)])
        yield Case(path, shape=shape, pixels=wanted)


def _tiffs(root: Path) -> Iterator[Case]:
    """Numbers, layouts and compressions of TIFF."""
    colour = Image.fromarray(COLOUR)
    for compression in ("raw", "tiff_lzw", "tiff_deflate", "packbits"):
        path = _put(root, f"{compression}.tif", encode(colour, "TIFF", compression=compression))
        yield Case(path, shape=(H, W, 3), pixels=COLOUR)
    for name in ("group3", "group4"):
        content = encode(colour.convert("1"), "TIFF", compression=name)
        yield Case(_put(root, f"{name}.tif", content), shape=(H, W, 3))
    grey = RAMP.astype(np.float64) / 255
    exact = np.repeat(RAMP[..., None], 3, axis=2)

    def write(name: str, array: np.ndarray, **options: object) -> Path:
        tifffile.imwrite(root / name, array, **options)
        return root / name

    for kind in ("float16", "float32", "float64"):
        yield Case(write(f"{kind}.tif", grey.astype(kind)), shape=(H, W, 3))
    deep = COLOUR.astype(np.uint16) * 257
    for name, options in {
        "big": {"bigtiff": True}, "planar": {"planarconfig": "separate"}, "tiled": {"tile": (16, 16)},
        "motorola": {"byteorder": ">"}, "strips": {"rowsperstrip": 3},
    }.items():  # fmt: skip
        for depth, array in (("8", COLOUR), ("16", deep)):
            turned = np.moveaxis(array, -1, 0) if name == "planar" else array
            path = write(f"{name}-{depth}.tif", np.ascontiguousarray(turned), photometric="rgb", **options)
            yield Case(path, shape=(H, W, 3), pixels=COLOUR)
    yield Case(write("grey16.tif", RAMP.astype(np.uint16) * 257), shape=(H, W, 3), pixels=exact)
    yield Case(write("pages.tif", np.stack([COLOUR, COLOUR[::-1]]), photometric="rgb"), pixels=COLOUR)
    for name, value in {"nan": np.nan, "inf": np.inf, "minus-inf": -np.inf}.items():
        spoiled = grey.astype(np.float32)
        spoiled[3, 4] = value
        yield Case(write(f"{name}.tif", spoiled), "NaN or infinite pixels")
    yield Case(write("negative.tif", grey.astype(np.float32) - 1), "pixels from -1 to 0")
    yield Case(write("huge-floats.tif", grey.astype(np.float32) * 1e9), "pixels from 0 to 1e+09")
    yield Case(write("32-bit.tif", RAMP.astype(np.uint32) * 2**24), "")
    yield Case(write("signed.tif", RAMP.astype(np.int16) - 300), "pixels from -300")
    yield Case(write("complex.tif", grey.astype(np.complex64)), "")
    yield Case(
        write("volume.tif", np.zeros((5, 8, 8, 7), np.uint8), photometric="minisblack"), shape=(8, 7, 3)
    )
    yield Case(write("five-bands.tif", np.zeros((8, 8, 5), np.uint16), planarconfig="contig"), "")


def _deep(root: Path) -> Iterator[Case]:
    """PNG with 16 bits a colour, which another decoder reads; that one lets some damage pass."""
    deep = COLOUR.astype(np.uint16) * 257
    grey_alpha = np.dstack([RAMP, np.full_like(RAMP, 255)]).astype(np.uint16) * 257
    grey = np.repeat(RAMP[..., None], 3, axis=2)
    for name, colour, pixels, wanted in (("colour", 2, deep, COLOUR), ("grey alpha", 4, grey_alpha, grey)):
        flat = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
        yield Case(_put(root, f"deep {name}.png", png(W, H, 16, colour, flat)), pixels=wanted)
        woven = b"".join(
            b"\0" + row.astype(">u2").tobytes()
            for left, top, right, down in _PASSES
            for row in pixels[top::down, left::right]
        )
        yield Case(_put(root, f"deep woven {name}.png", png(W, H, 16, colour, woven, woven=1)), pixels=wanted)
        why = "cannot be decoded"
        for fault, rows in {"short": flat[:-1], "long": flat + b"\0", "filter": b"\7" + flat[1:]}.items():
            yield Case(_put(root, f"deep {name} {fault}.png", png(W, H, 16, colour, rows)), why)
        whole = bytearray(png(W, H, 16, colour, flat))
        for at in (20, 45, len(whole) // 2, len(whole) - 20, len(whole) - 5):
            flipped = bytearray(whole)
            flipped[at] ^= 1
            yield Case(_put(root, f"deep {name} flipped {at}.png", bytes(flipped)), why)
        yield Case(_put(root, f"deep {name} no end.png", bytes(whole[:-12])), why)


def _sizes(root: Path) -> Iterator[Case]:
    for width, height in ((1, 1), (1, 300), (300, 1), (20_000, 10), (10, 20_000), (2, 2), (3, 5000)):
        content = encode(Image.new("RGB", (width, height), (9, 99, 199)), "PNG")
        yield Case(_put(root, f"size-{width}x{height}.png", content), shape=(height, width, 3))
    for name, colour in {"black": 0, "white": 255, "grey": 127}.items():
        content = encode(Image.new("L", (W, H), colour), "PNG")
        yield Case(_put(root, f"{name}.png", content), pixels=np.full((H, W, 3), colour, np.uint8))


def _names(root: Path) -> Iterator[Case]:
    content = encode(Image.fromarray(COLOUR), "PNG")
    names = [
        "with space.png", "new\nline.png", "tab\there.png", "quote'\".png", "comma,;.png", "-dash.png", "--json.png",
        "[red]markup[/].png", "%s{0}.png", "ümlaut-日本.png", "🙂.png", "\x1b[31m.png", "a" * 251 + ".png", "*?.png",
        "back\\slash.png", "UPPER.PNG", "=formula.png", "~.png", "e\u0301-\u00e9.png", "\u202egnp.png",
        os.fsdecode(b"latin-\xe9\xff.png"), os.fsdecode(b"\xc3\x28.png"), "/".join(["deep" * 12] * 40) + "/x.png",
    ]  # fmt: skip
    for name in names:
        yield Case(_put(root, f"names/{name}", content), pixels=COLOUR)


def _cut_off(root: Path) -> Iterator[Case]:
    """Every kind of file, broken off at many places."""
    noise = Image.fromarray(NOISE)
    whole = {
        "png": encode(noise, "PNG"), "jpg": encode(noise, "JPEG"), "bmp": encode(noise, "BMP"),
        "webp": encode(noise, "WEBP"), "lossless.webp": encode(noise, "WEBP", lossless=True),
        "gif": encode(noise, "GIF"), "raw.tif": encode(noise, "TIFF"),
        "lzw.tif": encode(noise, "TIFF", compression="tiff_lzw"), "deep.png": deep_png(NOISE.astype(np.uint16) * 257),
    }  # fmt: skip
    for suffix, content in whole.items():
        for share in (0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97):
            length = int(share * len(content))
            why = "is empty" if length == 0 else "not an image" if length < 4 else ""
            yield Case(_put(root, f"cut-{share}.{suffix}", content[:length]), why)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, NOISE.astype(np.uint16) * 257, photometric="rgb")
    for share in (0.3, 0.6, 0.9, 0.99):
        cut = buffer.getvalue()[: int(share * len(buffer.getvalue()))]
        yield Case(_put(root, f"cut-{share}.deep.tif", cut), "cut off")


def _foreign(root: Path) -> Iterator[Case]:
    """What is no image, or one of a kind that is not read, whatever it is called."""
    picture = Image.fromarray(COLOUR)
    array = io.BytesIO()
    np.save(array, COLOUR)
    contents = {
        "text": b"hello, not an image", "html": b"<html><body>404</body></html>", "json": b'{"a": 1}',
        "zip": b"PK\x03\x04" + bytes(60), "gzip": b"\x1f\x8b\x08" + bytes(40), "elf": b"\x7fELF" + bytes(60),
        "pdf": b"%PDF-1.7\n1 0 obj\n", "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "pickle": b"\x80\x04\x95.",
        "numpy": array.getvalue(), "ppm": encode(picture, "PPM"), "tga": encode(picture, "TGA"),
        "ico": encode(picture, "ICO"), "jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60), "psd": b"8BPS\0\1" + bytes(60),
        "zeros": bytes(1000), "ones": b"\xff" * 1000, "one byte": b"\x89", "newline": b"\n",
        "riff": b"RIFF" + struct.pack("<I", 40) + b"WAVEfmt " + bytes(40), "avif": b"\0\0\0\x1cftypavif" + bytes(40),
        "swapped magic": b"PNG\x89\r\n\x1a\n" + encode(picture, "PNG")[8:], "late": b" " + encode(picture, "PNG"),
    }  # fmt: skip
    for name, content in contents.items():
        yield Case(_put(root, f"foreign {name}.png", content), "not an image that can be read")


def _claims(root: Path) -> Iterator[Case]:
    """Small files that claim to be large, or to have no pixels."""
    many = "more than the 178,000,000 pixels"
    for name, (width, height) in {
        "wide": (2**31 - 1, 1), "square": (2**31 - 1,) * 2, "large": (20_000, 20_000), "line": (178_000_001, 1),
    }.items():  # fmt: skip
        yield Case(_put(root, f"claims {name}.png", png(width, height, 8, 0, b"\0")), many)
        tags = _grey_tags(min(width, 2**31), min(height, 2**31), t279=(4, 1, 16))
        yield Case(_put(root, f"claims {name}.tif", tiff(tags, bytes(16))), many)
    bmp = bytearray(encode(Image.new("L", (4, 4)), "BMP"))
    bmp[18:26] = struct.pack("<ii", 50_000, 50_000)
    yield Case(_put(root, "claims.bmp", bytes(bmp)), many)
    gif = bytearray(encode(Image.new("L", (4, 4)), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield Case(_put(root, "claims.gif", bytes(gif)), many)
    size = (16_383 - 1).to_bytes(3, "little") * 2
    webp = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size
    yield Case(_put(root, "claims.webp", webp), many)
    jpeg = bytearray(encode(Image.new("L", (16, 16)), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65_535, 65_535)
    yield Case(_put(root, "claims.jpg", bytes(jpeg)), many)
    yield Case(_put(root, "no width.png", png(0, 4, 8, 0, b"\0")), "")
    yield Case(_put(root, "no size.png", png(0, 0, 8, 0, b"\0")), "")
    yield Case(_put(root, "no size.tif", tiff(_grey_tags(0, 0), bytes(4))), "")
    yield Case(_put(root, "no width.bmp", bytes(bmp[:18]) + bytes(8) + bytes(bmp[26:])), "")
    yield Case(_put(root, "no size.gif", bytes(gif[:6]) + bytes(4) + bytes(gif[10:])), shape=(4, 4, 3))
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26)))
    yield Case(_put(root, "text bomb.png", png(1, 1, 8, 0, b"\0\0", text)), "")
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**26)))
    yield Case(_put(root, "profile bomb.png", png(1, 1, 8, 0, b"\0\0", profile)), "too large")


def _broken(root: Path) -> Iterator[Case]:
    """Damage in the middle: checksums, directories, references."""
    whole = bytearray(encode(Image.fromarray(NOISE), "PNG"))
    for name, at in {"header": 17, "pixels": len(whole) // 2}.items():
        flipped = bytearray(whole)
        flipped[at] ^= 0x10
        yield Case(_put(root, f"flipped in {name}.png", bytes(flipped)), "")
    yield Case(_put(root, "no pixels.png", bytes(whole[:33]) + chunk(b"IEND", b"")), "")
    yield Case(_put(root, "short pixels.png", png(40, 48, 8, 2, bytes(100))), "")
    yield Case(_put(root, "bad bits.png", png(4, 4, 7, 2, bytes(100))), "")
    yield Case(
        _put(root, "bad zlib.png", bytes(whole[:33]) + chunk(b"IDAT", b"x" * 50) + chunk(b"IEND", b"")), ""
    )
    yield Case(_put(root, "no palette.png", png(4, 4, 8, 3, bytes(20))), shape=(4, 4, 3))
    good = bytes(range(16))
    grey = np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4, 1), 3, axis=2)
    yield Case(_put(root, "by hand.tif", tiff(_grey_tags(4, 4), good)), pixels=grey)
    yield Case(_put(root, "loop.tif", tiff(_grey_tags(4, 4), good, next_at=24)), pixels=grey)
    for name, changes in {
        "beyond": {"t273": (4, 1, 10**6)}, "too long": {"t279": (4, 1, 10**6)}, "no bytes": {"t279": (4, 1, 0)},
        "bits": {"t258": (3, 1, 77)}, "compression": {"t259": (3, 1, 31_000)}, "channels": {"t277": (3, 1, 60_000)},
        "type": {"t256": (99, 1, 4)}, "count": {"t273": (4, 2**31, 8)},
    }.items():  # fmt: skip
        yield Case(_put(root, f"tiff {name}.tif", tiff(_grey_tags(4, 4, **changes), good)), "")
    less = {tag: value for tag, value in _grey_tags(4, 4).items() if tag not in (273, 279)}
    yield Case(_put(root, "tiff without strips.tif", tiff(less, good)), "")
    yield Case(_put(root, "directory beyond.tif", b"II*\0" + struct.pack("<I", 10**8)), "")
    yield Case(_put(root, "no directory.tif", b"II*\0" + bytes(4)), "")


def _special(root: Path) -> Iterator[Case]:
    """What is in the file system besides regular files."""
    folder = root / "special"
    (folder / "folder.png").mkdir(parents=True)
    yield Case(folder / "folder.png", "not a regular file but a folder")
    yield Case(folder / "none.png", "no such file")
    yield Case(folder / "none.png" / "below.png", "no such file")
    yield Case(folder / ("a" * 300 + ".png"), "too long")
    yield Case(folder / "nul\0.png", "no name of a file")
    for name, target in {
        "broken link.png": "nothing", "itself.png": "itself.png", "one.png": "two.png", "two.png": "one.png",
        "null.png": "/dev/null", "zero.png": "/dev/zero",
    }.items():  # fmt: skip
        (folder / name).symlink_to(target)
        why = "loop of symbolic links" if name in ("itself.png", "one.png", "two.png") else "a device"
        yield Case(folder / name, "no such file" if name == "broken link.png" else why)
    os.mkfifo(folder / "pipe.png")
    yield Case(folder / "pipe.png", "a pipe")
    here = Path.cwd()
    os.chdir(folder)  # names of sockets must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
    os.chdir(here)
    yield Case(folder / "socket.png", "a socket")
    linked = _put(root, "target.png", encode(Image.fromarray(COLOUR), "PNG"))
    (folder / "link.png").symlink_to(linked)
    yield Case(folder / "link.png", pixels=COLOUR)


if __name__ == "__main__":
    for made in make(Path(sys.argv[1])):
        wanted = "decoded" if made.refused is None else f"refused: {made.refused}"
        print(ascii(str(made.path)), wanted)
