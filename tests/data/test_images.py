"""Decoding: every kind of picture ends as the right uint8 RGB, and bad ones say why."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from differnet.data import images, pixels
from differnet.errors import ImageError

RAMP = np.linspace(0, 255, 16 * 24).reshape(16, 24).round().astype(np.uint8)
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=2)


def save(tmp_path, image, name="image.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_colour_is_kept(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path, Image.fromarray(COLOUR), f"a.{suffix}", **options)
    assert np.array_equal(images.load(path), COLOUR)


def test_grey_becomes_three_equal_channels(tmp_path):
    loaded = images.load(save(tmp_path, Image.fromarray(RAMP)))
    assert np.array_equal(loaded, np.repeat(RAMP[..., None], 3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_16_bit_grey_is_scaled_by_its_own_bit_depth(tmp_path, suffix, bits):
    top = 2**bits - 1
    deep = (RAMP.astype(np.float64) / 255 * top).round().astype(np.uint16)
    loaded = images.load(save(tmp_path, Image.fromarray(deep), f"deep.{suffix}"))
    assert np.abs(loaded[..., 0].astype(int) - RAMP).max() <= 1
    assert len(np.unique(loaded)) > 200  # not saturated


@pytest.mark.parametrize("bits", [12, 16])
def test_deep_colour_tiff_and_png(tmp_path, bits):
    deep = (COLOUR.astype(np.float64) / 255 * (2**bits - 1)).round().astype(np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    (tmp_path / "deep.png").write_bytes(deep_png(deep))
    for name in ("deep.tif", "deep.png"):
        assert np.array_equal(images.load(tmp_path / name), COLOUR)


def deep_png(pixels):
    """Write 16-bit RGB as PNG by hand, which Pillow cannot."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_float_tiff(tmp_path):
    path = tmp_path / "float.tif"
    tifffile.imwrite(path, RAMP.astype(np.float32) / 255)
    assert np.array_equal(images.load(path)[..., 0], RAMP)


def test_alpha_is_laid_on_black(tmp_path):
    alpha = np.full_like(RAMP, 128)
    alpha[:8] = 0
    rgba = np.dstack([COLOUR, alpha])
    loaded = images.load(save(tmp_path, Image.fromarray(rgba)))
    assert (loaded[:8] == 0).all()
    assert np.abs(loaded[8:].astype(float) - COLOUR[8:] * (128 / 255)).max() <= 1
    assert np.abs(loaded.astype(int) - images.load(rgba)).max() <= 1
    grey_alpha = Image.merge("LA", (Image.fromarray(RAMP), Image.fromarray(alpha)))
    assert (images.load(save(tmp_path, grey_alpha))[:8] == 0).all()


def test_palette_binary_and_cmyk(tmp_path):
    assert images.load(save(tmp_path, Image.fromarray(COLOUR).quantize(8))).shape == (16, 24, 3)
    binary = images.load(save(tmp_path, Image.fromarray(RAMP > 100)))
    assert sorted(np.unique(binary)) == [0, 255]
    cmyk = images.load(save(tmp_path, Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "c.tiff"))
    assert cmyk[0, 0, 0] > 200 > 100 > cmyk[0, 0, 1]


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    path = save(tmp_path, Image.fromarray(COLOUR), "turned.png", exif=exif)
    assert np.array_equal(images.load(path), np.rot90(COLOUR, -1))


def test_arrays_and_pil_images():
    assert np.array_equal(images.load(COLOUR), COLOUR)
    assert np.array_equal(images.load(Image.fromarray(COLOUR)), COLOUR)
    assert np.array_equal(images.load(COLOUR / 255.0), COLOUR)
    assert images.load(RAMP > 3).max() == 255


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 4), np.nan), "NaN or infinite"),
        (np.full((4, 4), -1.0), "from -1 to -1"),
        (np.full((4, 4), 1e6), "from 1e\\+06"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\)"),
        (np.zeros((0, 4), np.uint8), "has no pixels"),
        (np.zeros((4, 4), complex), "pixels of type complex128"),
    ],
)
def test_arrays_that_are_refused(array, message):
    with pytest.raises(ImageError, match=message):
        images.load(array)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"hello, not an image", "19 bytes of something else")],
)
def test_files_that_are_no_images(tmp_path, content, message):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message):
        images.load(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = save(tmp_path, Image.fromarray(COLOUR), "cut.jpg")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ImageError, match="cannot be decoded"):
        images.load(path)


def test_size_is_checked_before_decoding(tmp_path, monkeypatch):
    path = save(tmp_path, Image.fromarray(COLOUR))
    monkeypatch.setattr(pixels, "MAX_PIXELS", 100)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="24 x 16 is more than"):
        images.load(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        images.load(tmp_path / "none.png")
    with pytest.raises(ImageError, match="not a regular file"):
        images.load(tmp_path)
    with pytest.raises(ImageError, match="no image found"):
        images.find(tmp_path)


def test_find_is_sorted_recursive_and_leaves_hidden_files(tmp_path):
    for name in ("b.png", "sub/a.JPG", ".hidden.png", "a b\n.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [p.relative_to(tmp_path).as_posix() for p in images.find(tmp_path)] == [
        "a b\n.png",
        "b.png",
        "sub/a.JPG",
    ]


def test_linked_folders_are_followed_once(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "a.png").touch()
    (inside / "link").symlink_to(outside)
    (outside / "loop").symlink_to(inside)
    assert [p.name for p in images.find(inside)] == ["a.png"]


def test_gather_accepts_what_people_have(tmp_path):
    path = save(tmp_path, Image.fromarray(COLOUR))
    assert images.gather(tmp_path) == [path]
    assert images.gather(str(path)) == [path]
    assert images.gather([tmp_path, path]) == [path, path]
    assert len(images.gather(np.stack([COLOUR, COLOUR]))) == 2
    assert len(images.gather(COLOUR)) == 1
    assert len(images.gather(Image.fromarray(COLOUR))) == 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp", "bmp", "gif"])
def test_the_header_says_the_shape_that_is_decoded(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {} if suffix in ("bmp", "gif") else {"exif": exif}
    path = save(tmp_path, Image.fromarray(COLOUR), f"a.{suffix}", **options)
    assert images.shape_of(path) == images.load(path).shape[:2]


def test_shapes_of_arrays_pictures_pages_and_of_what_is_none(tmp_path):
    assert images.shape_of(COLOUR) == images.shape_of(Image.fromarray(COLOUR)) == (16, 24)
    pages = [Image.fromarray(COLOUR), Image.fromarray(COLOUR[:8])]
    path = save(tmp_path, pages[0], "a.tiff", save_all=True, append_images=pages[1:])
    assert images.shape_of(images.Page(path, 2)) == (8, 24)
    (tmp_path / "none.png").write_bytes(b"no image")
    assert images.shape_of(tmp_path / "none.png") is None
    assert images.shape_of(tmp_path / "absent.png") is None
