"""One picture in many ways: each gives its very pixels by the white of the model, or is refused with its reason."""

from __future__ import annotations

import io
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from differnet.data import images
from differnet.data.decoding import decode_content
from differnet.data.formats import arrays, jpeg
from differnet.data.formats.levels import Extent, Levels, Meter
from differnet.errors import DifferNetWarning, ImageError
from support import hostile, levels, strips

CASES = [*levels.cases(), *strips.cases()]
pytestmark = pytest.mark.filterwarnings("ignore")


def complaint(case):
    """Return what is wrong with the outcome of a case, or nothing."""
    try:
        found = decode_content(case.content, case.name, Levels(case.white, case.beyond))
    except ImageError as error:
        is_right = (
            case.refused is not None and case.refused in str(error) and str(error).startswith(case.name)
        )
        return None if is_right else f"refused: {error}"
    if case.refused is not None:
        return "taken"
    return None if np.array_equal(found, case.wanted) else "other pixels"


def test_each_has_its_pixels_or_its_reason():
    assert len(CASES) == len({case.name for case in CASES}) >= 500
    assert sum(case.refused is not None for case in CASES) >= 300
    assert {case.name: told for case in CASES if (told := complaint(case))} == {}


def test_what_is_beyond_white_is_said_with_how_much():
    over = levels.levels(4095)
    over[:2, :3] = 5000
    with pytest.warns(
        DifferNetWarning, match=r"array: 6 of 4,096 levels lie above white \(4095\), up to 5000"
    ):
        found = images.load(over, Levels(4095.0))
    assert (found[:2, :3] == 255).all()
    with pytest.raises(ImageError, match=r"6 of 4,096 levels .* beyond = 'saturate'"):
        images.load(over, Levels(4095.0, "refuse"))


@pytest.mark.parametrize("white", ["auto", "type", "picture", 4095.0])
@pytest.mark.parametrize("kind", [np.uint8, np.bool_])
def test_eight_bits_are_what_they_are_whatever_is_white(white, kind):
    array = levels.COLOUR if kind == np.uint8 else levels.COLOUR > 100
    wanted = levels.COLOUR if kind == np.uint8 else (levels.COLOUR > 100) * np.uint8(255)
    assert np.array_equal(images.load(array, Levels(white)), wanted)


def test_pil_images_of_16_bits_go_by_the_same_white():
    dim = Image.fromarray(levels.levels(1000))
    assert np.array_equal(images.load(dim, Levels(4095.0)), levels.as_seen(np.asarray(dim), 4095))
    assert np.array_equal(images.load(dim), levels.as_seen(np.asarray(dim), 1023))


@pytest.mark.parametrize("name", ["white-is-zero-16<", "white-is-zero-float<", "16-bits-tif", "12-bits-tif"])
def test_an_opened_tiff_is_what_its_tags_say(name):
    case = next(case for case in CASES if case.name == name)
    with Image.open(io.BytesIO(case.content)) as opened:
        assert np.array_equal(images.load(opened, Levels(case.white)), levels.PART)


@pytest.mark.parametrize(
    ("whites", "wanted"),
    [([1000, 900], 1023), ([1000, 1100], 4095), ([200, 255], 255), ([4096], 16383), ([65535, 3], 65535)],
)
def test_a_meter_ends_at_the_range_that_holds_all(whites, wanted):
    meter = Meter()
    for white in whites:
        images.load(levels.levels(white), meter)
    assert meter.extent.white("all") == wanted


def test_a_meter_of_floats_and_of_what_files_state():
    meter = Meter()
    images.load(levels.levels(10.0, np.float32), meter)  # dark, and not clear by itself
    images.load(levels.levels(200.0, np.float32), meter)
    assert meter.extent.white("all") == 255
    with pytest.raises(ImageError, match="some pictures have floats .* and some integers"):
        images.load(levels.levels(4095), meter)
    said = [Extent(np.dtype(np.uint16), 200.0, stated=top) for top in (4095.0, 4095.0, 1023.0)]
    assert said[0].with_other(said[1]).white("all") == 4095
    assert said[0].with_other(said[2]).white("all") == 255


@pytest.mark.parametrize("shape", [(1, 10_001), (10_001, 1), (2, 20_001)])
def test_thin_pictures_are_refused_before_they_are_decoded(shape, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    content = hostile.png(shape[1], shape[0], 8, 2, bytes(1000))
    with pytest.raises(
        ImageError, match=f"{shape[1]} x {shape[0]}: one side is more than 10,000 times the other"
    ):
        decode_content(content, "thin")
    with pytest.raises(ImageError, match="one side is more than 10,000 times"):
        arrays.from_array(np.zeros(shape, np.uint8), "thin")


def test_thin_pictures_within_the_limit_are_read():
    array = np.arange(20_000, dtype=np.uint8).reshape(10_000, 2).repeat(1, axis=1)
    assert np.array_equal(arrays.from_array(array[:, :1], "thin")[..., 0], array[:, :1])


@pytest.mark.parametrize("tail", [128, 127, 129, 0, 255])
@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": 0}, {"subsampling": 2}, {"restart_marker_rows": 1}, {"progressive": True},
        {"progressive": True, "restart_marker_rows": 1}, {"optimize": True},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_whole_jpeg_is_read_whatever_its_last_rows_show(tail, options, mode):
    shown = levels.COLOUR.copy()
    shown[20:] = tail
    content = hostile.encode(Image.fromarray(shown).convert(mode), "JPEG", quality=92, **options)
    wanted = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.array_equal(decode_content(content, "whole"), wanted)


@pytest.mark.parametrize(
    "options",
    [{}, {"subsampling": 0}, {"progressive": True}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 2}],
    ids=str,
)
def test_a_jpeg_that_ends_anywhere_early_is_refused(options):
    content = hostile.encode(Image.fromarray(strips.NOISY), "JPEG", quality=80, **options)
    start = content.index(b"\xff\xda") + 20
    taken = []
    for end in (*range(start, len(content) - 60, 97), *range(len(content) - 60, len(content) - 2)):
        short = content[:end] + b"\xff\xd9"
        with suppress(ImageError):
            taken.append((end, decode_content(short, "short").shape))
    assert taken == []


def test_the_first_of_two_pictures_is_whole_where_the_file_has_two():
    shown = levels.COLOUR.copy()
    shown[20:] = 128
    first, second = Image.fromarray(shown), Image.fromarray(levels.COLOUR)
    content = hostile.encode(first, "MPO", save_all=True, append_images=[second])
    assert np.array_equal(
        decode_content(content, "two"), np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    )


def test_a_jpeg_without_its_last_passes_is_refused():
    content = hostile.encode(Image.fromarray(levels.COLOUR), "JPEG", progressive=True, quality=95)
    starts = [at for at in range(len(content) - 1) if content[at : at + 2] == b"\xff\xda"]
    assert len(starts) > 5
    for at in starts[1:]:
        start = content.rfind(b"\xff\xc4", 0, at)  # with the table of the pass
        with pytest.raises(ImageError, match="cut off: it has not all of its passes"):
            decode_content(content[:start] + b"\xff\xd9", "short")
    assert jpeg.has_all_passes(content)


def test_black_last_rows_of_a_large_png_are_counted_in_little_memory():
    height, width = 3000, 2000
    content = hostile.png(width, height, 8, 0, bytes((1 + width) * height))
    tracemalloc.start()
    found = decode_content(content, "black")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (height, width, 3)
    assert most < 8 * width * height
