"""Limits are looked at before anything is decoded, of the very picture that would be decoded."""

from __future__ import annotations

import io
import struct

import pytest

pytest.importorskip("fastapi")

from PIL import Image

from differnet.service.http import upload


def saved(kind, size, mode="L", **options):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


def behind_a_thumbnail(kind):
    """Return a TIFF whose first page is a thumbnail, and whose second has 400 x 300 pixels."""
    buffer = io.BytesIO()
    small, large = Image.new("L", (8, 8)), Image.new("I;16" if kind == "deep" else "L", (400, 300))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    small.save(buffer, "TIFF", save_all=True, append_images=[large], tiffinfo={254: 1})
    content = bytearray(buffer.getvalue())
    first = struct.unpack_from("<I", content, 4)[0]
    at = first + 2 + 12 * struct.unpack_from("<H", content, first)[0]
    second = struct.unpack_from("<I", content, at)[0]
    for number in range(struct.unpack_from("<H", content, second)[0]):
        entry = second + 2 + 12 * number
        if struct.unpack_from("<H", content, entry)[0] == 254:
            struct.pack_into("<I", content, entry + 8, 0)  # the second page is no thumbnail
    return bytes(content)


def gif_with_a_frame_beyond_its_screen():
    head = b"GIF89a" + struct.pack("<HH", 1, 1) + b"\xf0\0\0" + b"\0\0\0\xff\xff\xff"
    return head + b"," + struct.pack("<HHHH", 0, 0, 400, 300) + b"\0\x02\x02\x4c\x01\0;"


@pytest.mark.parametrize(
    "content",
    [
        behind_a_thumbnail("usual"),
        behind_a_thumbnail("deep"),
        gif_with_a_frame_beyond_its_screen(),
        saved("PNG", (400, 300), "1"),
        saved("WEBP", (400, 300), "RGB", lossless=True),
    ],
    ids=["thumbnail", "deep", "frame", "bits", "lossless"],
)
def test_what_would_be_decoded_is_what_is_limited(content, monkeypatch):
    monkeypatch.setattr(upload, "decode_content", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(upload.TooManyPixelsError, match=r"part: 400 x 300 is more than the 100,000 pixels"):
        upload.read(content, "part", 100_000)


def test_a_thumbnail_that_is_too_large_keeps_no_picture_from_being_read():
    assert upload.read(behind_a_thumbnail("usual"), "part", 120_000).shape == (300, 400, 3)
