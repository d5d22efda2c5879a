"""One picture of a striped part stored in many ways, and what each must be read as by a model of that camera.

A case is the content of a file, the white of the model, and the pixels that it must give or a part of the reason for
which it is refused. All whose pixels are not said give those of :data:`PART`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tifffile
from PIL import Image

from support.hostile import NOISE, chunk, deep_png, encode, png, tiff
from support.tiny import good_image

GREY = np.asarray(Image.fromarray(good_image(700)).convert("L")).copy()
GREY[1, 1] = 255  # something is white
GREY[-1, -1] = 40
PART = np.repeat(GREY[..., None], 3, axis=2)
SIDE = len(GREY)
COLOUR = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
HALF = np.full_like(GREY, 128)


@dataclass(frozen=True)
class Level:
    """One way to store a picture: what ``white`` the model has, what it gives, or why it is ``refused``."""

    name: str
    content: bytes
    white: float | str = "auto"
    pixels: np.ndarray | None = None
    refused: str | None = None
    beyond: str = "saturate"

    @property
    def wanted(self) -> np.ndarray:
        return PART if self.pixels is None else self.pixels


def levels(end: float, kind: object = np.uint16, grey: np.ndarray = GREY) -> np.ndarray:
    """Return the part as levels of which ``end`` is white."""
    scaled = grey.astype(np.float64) / 255 * end
    return scaled.astype(kind) if np.issubdtype(kind, np.floating) else np.rint(scaled).astype(kind)


def as_seen(array: np.ndarray, white: float) -> np.ndarray:
    """Return what levels (H, W) are seen as, one by one and by the rule of three."""
    seen = np.rint(np.minimum(array.astype(np.float64), white) * 255 / white).astype(np.uint8)
    return np.repeat(seen[..., None], 3, axis=2)


def written(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def grey_png(array: np.ndarray, *more: bytes) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    return png(array.shape[1], array.shape[0], 16, 0, rows, *more)


def retagged(content: bytes, tag: int, value: int) -> bytes:
    """Put another short number into a tag of a TIFF."""
    changed = bytearray(content)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        at = file.pages[0].tags[tag].valueoffset
        changed[at : at + 2] = struct.pack(file.byteorder + "H", value)
    return bytes(changed)


def cases() -> list[Level]:
    return [
        *camera(), *floats(), *photometric(), *extra_samples(), *formats(), *palettes(), *stated(), *cut()
    ]  # fmt: skip


def camera() -> Iterator[Level]:
    """A camera of 10, 12, 14 or 16 bits: at full light, dim, with a hot pixel, by models of several kinds."""
    for bits in (10, 12, 14, 16):
        white = 2.0**bits - 1
        for name, content in {
            "png": grey_png(levels(white)), "tif": written(levels(white)), "big": written(levels(white), byteorder=">"),
            "signed": written(levels(min(white, 2**15 - 1), np.int16)) if bits < 16 else written(levels(white)),
            "colour.png": deep_png(np.dstack([levels(white)] * 3)),
            "colour.tif": written(np.dstack([levels(white)] * 3), photometric="rgb"),
        }.items():  # fmt: skip
            yield Level(f"{bits}-bits-{name}", content, white)
        for share in (4, 16, 100):
            dim = levels(white / share)
            yield Level(f"{bits}-bits-lamp-at-1/{share}", grey_png(dim), white, as_seen(dim, white))
            yield Level(f"{bits}-bits-lamp-at-1/{share}.tif", written(dim), white, as_seen(dim, white))
        if bits < 16:
            hot = levels(white * 0.9)
            hot[2, 2] = 2**bits + 75
            yield Level(f"{bits}-bits-hot", grey_png(hot), white, as_seen(hot, white))
            why = f"1 of {GREY.size:,} levels lie above white ({white:g}), up to {2**bits + 75}"
            yield Level(f"{bits}-bits-hot-refused", grey_png(hot), white, refused=why, beyond="refuse")
            opaque = np.dstack([levels(white)] * 3 + [np.full_like(levels(white), 65535)])
            yield Level(
                f"{bits}-bits-opaque", written(opaque, photometric="rgb", extrasamples=["unassalpha"]), white
            )
    yield Level("8-bits-by-12", encode(Image.fromarray(GREY), "PNG"), 4095.0)
    yield Level("16-by-type", grey_png(levels(65535)), "type")
    dark = levels(250)
    yield Level("16-dark-by-type", grey_png(dark), "type", as_seen(dark, 65535))
    yield Level("16-dark-by-itself", grey_png(dark), "picture", as_seen(dark, 255))
    yield Level("other-white", grey_png(levels(3000)), 3000.0)
    yield Level("int32-by-type", written(levels(4000, np.int32)), "type", refused="no training picture says")
    yield Level("uint32", written(levels(2**24, np.uint32)), "auto", refused="wanted are 0..255")
    yield Level("uint32-by-white", written(levels(2**24, np.uint32)), float(2**24))


def floats() -> Iterator[Level]:
    """Floats of every range, with one pixel beyond, negative, and not finite."""
    for end, white in ((1, "auto"), (1, "type"), (255, "auto"), (255, "type"), (4095, "auto")):
        for kind in (np.float32, np.float64):
            yield Level(f"{np.dtype(kind)}-{end}-{white}", written(levels(end, kind)), white)
    for white in (1.0, 255.0, 4095.0):
        yield Level(f"floats-by-{white:g}", written(levels(white, np.float32)), white)
    over = levels(1, np.float32)
    over[3, 3] = 1.0001
    for white in ("auto", "type"):
        yield Level(f"beyond-one-{white}", written(over), white, refused="neither 0..1 nor clearly 0..255")
    yield Level("beyond-one-by-1", written(over), 1.0, as_seen(over, 1))
    yield Level(
        "beyond-one-refused", written(over), 1.0, refused="above white (1), up to 1.0001", beyond="refuse"
    )
    hdr = levels(1.3, np.float32)
    yield Level("many-beyond-one", written(hdr), "auto", refused="neither 0..1 nor clearly 0..255")
    yield Level("many-beyond-one-by-1", written(hdr), 1.0, as_seen(hdr, 1))
    for order in "<>":
        for kind in (np.float16, np.float32, np.float64):
            predicted = written(levels(1, kind), predictor=True, compression="zlib", byteorder=order)
            seen = as_seen(levels(1, kind), 1)
            yield Level(f"predicted-{np.dtype(kind)}-{order}", predicted, pixels=seen)
    for name, value, why in (
        ("negative", -1e-3, "pixels from -0.001"), ("nan", np.nan, "NaN or infinite"),
        ("inf", np.inf, "NaN or infinite"),
        ("minus-inf", -np.inf, "NaN or infinite"), ("huge", 1e9, "up to 1e+09"),
    ):  # fmt: skip
        spoiled = levels(1, np.float32)
        spoiled[5, 6] = value
        for white in ("auto", "type"):
            told = "neither 0..1" if name == "huge" else why
            yield Level(f"{name}-{white}", written(spoiled), white, refused=told)
    yield Level(
        "floats-0..4095-by-type",
        written(levels(4095, np.float32)),
        "type",
        refused="no training picture says",
    )
    yield Level(
        "floats-for-levels", written(levels(1, np.float32)), 4095.0, refused="floats up to 1, where levels"
    )
    yield Level("levels-for-floats", grey_png(levels(4095)), 1.0, refused="where floats with white = 1")
    black = np.zeros_like(levels(1, np.float32))
    yield Level("black-floats", written(black), 4095.0, as_seen(black, 1))


def photometric() -> Iterator[Level]:
    """What the samples of a TIFF are: turned round, inks, or nothing that is read."""
    turned = 255 - GREY
    for order in "<>":
        for name, array, white in (
            ("8", turned, "auto"), ("16", 65535 - levels(65535), "type"), ("12", 4095 - levels(4095), 4095.0),
            ("float", 1 - levels(1, np.float32), "auto"), ("float-1", 1 - levels(1, np.float64), 1.0),
        ):  # fmt: skip
            content = written(array, photometric="miniswhite", byteorder=order)
            yield Level(f"white-is-zero-{name}{order}", content, white)
        for compression in ("lzw", "zlib", "packbits"):
            content = written(
                65535 - levels(65535), photometric="miniswhite", byteorder=order, compression=compression
            )
            yield Level(f"white-is-zero-{compression}{order}", content, 65535.0)
    inks = np.dstack([np.zeros((SIDE, SIDE, 3), np.uint8), turned])
    colour = np.asarray(Image.frombytes("CMYK", (SIDE, SIDE), inks.tobytes()).convert("RGB"))
    for name, array in (("8", inks), ("16", inks.astype(np.uint16) * 257)):
        content = written(array, photometric="separated", extrasamples=())
        yield Level(f"cmyk-{name}", content, "type", colour)
        yield Level(f"cmyk-{name}-by-12-bits", content, 4095.0, colour)
        with_set = written(array, photometric="separated", extrasamples=(), extratags=[(332, 3, 1, 2, True)])
        yield Level(f"other-inks-{name}", with_set, refused="inks other than CMYK")
    for name, kind in (("8", np.uint8), ("16", np.uint16)):
        grey, three = written(GREY.astype(kind)), written(COLOUR.astype(kind), photometric="rgb")
        for code, what in {
            4: "a mask",
            32803: "the mosaic of a camera",
            32844: "LogL",
            34892: "raw levels",
        }.items():
            yield Level(f"{what}-{name}", retagged(grey, 262, code), refused=what)
        for code, what in {
            8: "CIE Lab",
            9: "ICC Lab",
            10: "ITU Lab",
            32845: "LogLuv",
            77: "interpretation 77",
        }.items():
            yield Level(f"{what}-{name}", retagged(three, 262, code), refused=what)
    flat = {
        256: (4, 1, 4),
        257: (4, 1, 4),
        258: (3, 1, 8),
        259: (3, 1, 1),
        273: (4, 1, 8),
        277: (3, 1, 1),
        279: (4, 1, 16),
    }
    yield Level("says-not-what", tiff(flat, bytes(range(16))), refused="does not say how its samples")
    deep = written(COLOUR.astype(np.uint16) * 257, photometric="rgb")
    yield Level("ycbcr-16", retagged(deep, 262, 6), refused="YCbCr of 16 bits")
    raw = retagged(written(COLOUR, photometric="rgb"), 262, 6)
    yield Level(
        "ycbcr-plain",
        raw,
        pixels=np.asarray(Image.frombytes("YCbCr", (SIDE, SIDE), COLOUR.tobytes()).convert("RGB")),
    )
    ycbcr = [(530, 3, 2, (2, 2), True)]
    half = written(COLOUR[: SIDE // 2], photometric="rgb", extratags=ycbcr)
    yield Level("ycbcr-half", retagged(retagged(half, 262, 6), 257, SIDE), refused="")


def extra_samples() -> Iterator[Level]:
    """Samples after the colours: unspecified ones count for nothing, and alpha is laid on black once."""
    on_black = np.rint(PART * (np.float32(128) / 255)).astype(np.uint8)
    for name, kind, by in (("8", np.uint8, 1), ("16", np.uint16, 257)):
        whites = ("auto",) if by == 1 else ("type", 65535.0)
        for (where, fourth), white in [((w, f), v) for w, f in (("zero", 0), ("half", 128)) for v in whites]:
            four = np.dstack([PART, np.full_like(GREY, fourth)]).astype(kind) * kind(by)
            for more in ({}, {"compression": "lzw"}, {"planarconfig": "separate"}):
                array = np.ascontiguousarray(np.moveaxis(four, 2, 0)) if "planarconfig" in more else four
                tell = "-".join([name, where, str(white), *map(str, more.values())])
                said = {"photometric": "rgb", **more}
                yield Level(f"fourth-{tell}", written(array, extrasamples=["unspecified"], **said), white)
                yield Level(f"laid-{tell}", written(array, extrasamples=["assocalpha"], **said), white)
                straight = on_black if fourth else np.zeros_like(PART)
                yield Level(
                    f"alpha-{tell}", written(array, extrasamples=["unassalpha"], **said), white, straight
                )
        five = np.dstack([PART, HALF, GREY]).astype(kind) * kind(by)
        yield Level(
            f"two-more-{name}",
            written(five, photometric="rgb", extrasamples=["unspecified", "unspecified"]),
            whites[0],
        )
        yield Level(
            f"alpha-comes-second-{name}",
            written(
                five[..., [0, 1, 2, 4, 3]], photometric="rgb", extrasamples=["unspecified", "unassalpha"]
            ),
            whites[0],
            on_black,
        )
        for said, wanted in (("unassalpha", on_black), ("assocalpha", PART)):
            two = np.dstack([GREY, HALF]).astype(kind) * kind(by)
            content = written(two, photometric="minisblack", planarconfig="contig", extrasamples=[said])
            yield Level(f"grey-{said}-{name}", content, whites[0], wanted)
        bands = written(five, photometric="minisblack", planarconfig="contig")
        yield Level(f"bands-{name}", bands, refused="5 bands")


def formats() -> Iterator[Level]:
    """Numbers that look like others: signed, of few or odd bits, complex."""
    yield Level("signed-8", written((GREY // 2).astype(np.int8)), refused="signed samples of 8 bits")
    below = levels(4095, np.int16)
    below[4, 4] = -1
    yield Level("signed-below-zero", written(below), 4095.0, refused="pixels from -1 to 4095")
    yield Level(
        "signed-white-is-zero",
        written(levels(4095, np.int16), photometric="miniswhite"),
        4095.0,
        refused="signed",
    )
    yield Level("signed-by-type", written(levels(2**15 - 1, np.int16)), "type")
    yield Level("complex", written(levels(1, np.float32).astype(np.complex64)), refused="")
    for bits in (2, 4):
        end = 2**bits - 1
        few = np.rint(COLOUR / 255 * end).astype(np.uint8)
        packed = np.packbits(np.unpackbits(few.reshape(-1, 1), axis=1)[:, 8 - bits :].ravel()).tobytes()
        tags = {
            256: (4, 1, SIDE), 257: (4, 1, SIDE), 258: (3, 1, bits), 259: (3, 1, 1), 262: (3, 1, 2), 273: (4, 1, 8),
            277: (3, 1, 3), 278: (4, 1, SIDE), 279: (4, 1, len(packed)), 284: (3, 1, 1),
        }  # fmt: skip
        seen = np.rint(few.astype(float) * 255 / end).astype(np.uint8)
        yield Level(f"colour-of-{bits}-bits", tiff(tags, packed), "auto", seen)
        yield Level(f"colour-of-{bits}-bits-by-12", tiff(tags, packed), 4095.0, seen)
    twelve = levels(4095)
    spread = np.unpackbits(twelve.astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, 4:].ravel()
    packed = np.packbits(spread).tobytes()
    for dim in (False, True):
        tags = {
            256: (4, 1, SIDE), 257: (4, 1, SIDE), 258: (3, 1, 12), 259: (3, 1, 1), 262: (3, 1, int(not dim)),
            273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, SIDE), 279: (4, 1, len(packed)),
        }  # fmt: skip
        for white in ("auto", "type", 4095.0):
            yield Level(
                f"twelve-packed-{dim}-{white}", tiff(tags, packed), white, 255 - PART if dim else None
            )


def palettes() -> Iterator[Level]:
    """Places in a colour map of 16-bit numbers, of bytes as some write it, and with 16-bit places."""
    ramp = np.arange(256, dtype=np.uint16)[::-1]
    for name, table in {"usual": ramp * 257, "of-bytes": ramp}.items():
        content = written(255 - GREY, photometric="palette", colormap=np.stack([table] * 3))
        yield Level(f"palette-{name}", content)
        packed = written(255 - GREY, photometric="palette", colormap=np.stack([table] * 3), compression="lzw")
        yield Level(f"palette-{name}-packed", packed, 4095.0)
    long = np.zeros((3, 2**16), np.uint16)
    long[:, 1000:1256] = ramp * 257
    content = written(1000 + (255 - GREY.astype(np.uint16)), photometric="palette", colormap=long)
    yield Level("palette-16", content)
    yield Level("palette-16-by-12-bits", content, 4095.0)


def stated(bits: int = 12) -> Iterator[Level]:
    """What files state of their depth: it counts where a model has no white of its own."""
    end = 2**bits - 1
    dim = levels(end / 16)  # 8 bits hold it
    for white in ("auto", "type"):
        said = written(dim, extratags=[(281, 3, 1, end, True)])
        yield Level(f"most-sample-{white}", said, white, as_seen(dim, end))
        yield Level(
            f"significant-bits-{white}",
            grey_png(dim, chunk(b"sBIT", bytes([bits]))),
            white,
            as_seen(dim, end),
        )
        three = deep_png(np.dstack([dim] * 3), chunk(b"sBIT", bytes([bits] * 3)))
        yield Level(f"significant-bits-colour-{white}", three, white, as_seen(dim, end))
        stretched = grey_png(levels(65535), chunk(b"sBIT", bytes([bits])))
        yield Level(f"significant-bits-stretched-{white}", stretched, white)
    yield Level(
        "most-sample-by-another", written(dim, extratags=[(281, 3, 1, end, True)]), 1023.0, as_seen(dim, 1023)
    )
    own = written(
        dim, extratags=[(281, 3, 1, int(dim.max()), True)]
    )  # what it is in most files: the brightest pixel
    yield Level("most-sample-of-this-picture", own, "type", as_seen(dim, 65535))


def cut() -> Iterator[Level]:
    """Pictures that end by the rules of their format, and too early."""
    rows = {
        (8, 0): [b"\0" + row.tobytes() for row in GREY], (8, 2): [b"\0" + row.tobytes() for row in COLOUR],
        (16, 0): [b"\0" + row.astype(">u2").tobytes() for row in levels(4095)],
        (16, 2): [b"\0" + row.astype(">u2").tobytes() for row in COLOUR.astype(np.uint16) * 257],
        (1, 0): [b"\0" + np.packbits(row > 100).tobytes() for row in GREY],
    }  # fmt: skip
    for (bits, colour), whole in rows.items():
        for count in (0, 1, 10, SIDE - 1):
            why = "cannot be decoded" if (bits, colour) == (16, 2) or not count else "cut off"
            part = b"".join(whole[:count])
            yield Level(
                f"png-{bits}-{colour}-{count}-rows",
                png(SIDE, SIDE, bits, colour, part),
                refused="" if not count else why,
            )
    for name, grey in {"noise": NOISE, "part": COLOUR}.items():
        whole_png = encode(Image.fromarray(grey), "PNG")
        for share in (0.1, 0.5, 0.9, 0.99):
            kept = int(share * len(whole_png))
            zeroed = whole_png[:kept] + bytes(len(whole_png) - kept)
            yield Level(f"png-{name}-zeroed-{share}", zeroed, refused="")
        for at in (0.3, 0.7):
            flipped = bytearray(whole_png)
            flipped[int(at * len(whole_png))] ^= 1
            yield Level(f"png-{name}-flipped-{at}", bytes(flipped), refused="")
    yield Level("png-half-a-row", png(SIDE, SIDE, 8, 0, b"".join(rows[8, 0])[:-5]), refused="truncated")
    yield Level(
        "png-woven", png(SIDE, SIDE, 8, 0, b"".join(rows[8, 0])[:1000], woven=1), refused="cannot be decoded"
    )
    black = png(SIDE, SIDE, 8, 0, bytes((1 + SIDE) * SIDE))
    yield Level("png-black", black, pixels=np.zeros_like(PART))
    yield Level("png-black-cut", png(SIDE, SIDE, 8, 0, bytes((1 + SIDE) * (SIDE - 1))), refused="cut off")
    image = Image.fromarray(COLOUR)
    for name, options in {
        "444": {"subsampling": 0},
        "420": {"subsampling": 2},
        "passes": {"progressive": True},
    }.items():
        content = encode(image, "JPEG", quality=90, **options)
        for share in (0.4, 0.6, 0.8):
            short = content[: int(share * len(content))].rstrip(b"\xff") + b"\xff\xd9"
            why = "" if name == "passes" else "cut off"  # some break off in a table
            yield Level(f"jpeg-{name}-{share}", short, refused=why)
        seen = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        yield Level(f"jpeg-{name}-whole", content, pixels=seen)
    middle = encode(Image.new("RGB", (SIDE, SIDE), (128, 128, 128)), "JPEG")
    yield Level("jpeg-of-the-grey-of-what-is-missing", middle, pixels=np.full_like(PART, 128))
    for options in ({}, {"compression": "tiff_lzw"}, {"compression": "packbits"}, {"compression": "jpeg"}):
        short = encode(image.crop((0, 0, SIDE, 10)), "TIFF", **options)
        yield Level(f"tiff-{options}", retagged(retagged(short, 257, SIDE), 278, SIDE), refused="")
    for compression in (None, "lzw", "zlib", "packbits", "zstd"):
        short = written(levels(4095)[:10], compression=compression)
        tall = retagged(retagged(short, 257, SIDE), 278, SIDE)
        yield Level(f"tiff-16-{compression}", tall, 4095.0, refused="")
