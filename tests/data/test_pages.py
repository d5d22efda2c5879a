"""Pages of a TIFF and frames of an animation: which one is looked at, and that the others are said."""

from __future__ import annotations

import io
import json
import re
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

from differnet.cli.app import app
from differnet.data import images
from differnet.data.datasets import find_good
from differnet.data.decoding import decode_content, header_shape
from differnet.errors import ImageError, PagesWarning
from support.tiny import OPTIONS, good_image

BIG = [good_image(index, 32) for index in range(4)]
THUMBNAIL = good_image(9, 8)


def write(path, *pages, bigtiff=False, byteorder="<"):
    """Write pages with what NewSubfileType says of each: 0 a picture, 1 a thumbnail, 2 a page, 4 a mask."""
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as file:
        for pixels, kind in pages:
            if kind == 4:
                file.write(pixels[..., 0] > 128, subfiletype=4, photometric="mask")
            else:
                file.write(pixels, subfiletype=kind, photometric="rgb", contiguous=False)
    return path


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}])
@pytest.mark.parametrize(
    ("pages", "shown", "others", "all_pages"),
    [
        ([(BIG[0], 0)], 0, 0, [0]),
        ([(BIG[0], 0), (BIG[1], 0), (BIG[2], 0)], 0, 2, [0, 1, 2]),
        ([(BIG[0], 2), (BIG[1], 2)], 0, 1, [0, 1]),
        ([(THUMBNAIL, 1), (BIG[0], 0)], 1, 0, [1]),
        ([(THUMBNAIL, 1), (BIG[0], 0), (BIG[1], 0)], 1, 1, [1, 2]),
        ([(BIG[0], 0), (THUMBNAIL, 1)], 0, 0, [0]),
        ([(BIG[0], 0), (THUMBNAIL, 1), (BIG[1], 2), (THUMBNAIL, 3)], 0, 1, [0, 2]),
        ([(BIG[0], 0), (BIG[1], 4)], 0, 0, [0]),
        ([(THUMBNAIL, 1)], 0, 0, [0]),
        ([(THUMBNAIL, 1), (THUMBNAIL, 1)], 0, 1, [0, 1]),
    ],
)
def test_the_first_page_that_is_no_thumbnail_is_looked_at(tmp_path, pages, shown, others, all_pages, options):
    path = write(tmp_path / "a.tif", *pages, **options)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(images.load(path), pages[shown][0])
        np.testing.assert_array_equal(decode_content(path.read_bytes(), "a.tif"), pages[shown][0])
    assert header_shape(path) == pages[shown][0].shape[:2]
    texts = [str(one.message) for one in said if one.category is PagesWarning]
    assert len(texts) == (2 if others else 0)
    for text in texts:
        assert f"page {shown + 1} is looked at, and {others} more page" in text
        assert "--all-pages" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # who asks for all pages is told of none
        found = [images.load(page) for page in images.pages(path)] if len(all_pages) > 1 else []
    for pixels, index in zip(found, all_pages if found else [], strict=True):
        np.testing.assert_array_equal(pixels, pages[index][0])
    assert len(images.pages(path)) == len(all_pages)


def test_a_raw_file_of_a_camera_is_refused_and_not_judged_by_its_thumbnail(tmp_path):
    path = tmp_path / "raw.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(THUMBNAIL, subfiletype=1, photometric="rgb", subifds=1)
        file.write(BIG[0], subfiletype=0, photometric="rgb")
    with pytest.raises(ImageError, match="has a thumbnail and its picture in a directory below"):
        images.load(path)


def test_a_pyramid_shows_its_largest_picture_in_silence(tmp_path):
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(BIG[0], photometric="rgb", subifds=1)
        file.write(THUMBNAIL, subfiletype=1, photometric="rgb")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(images.load(path), BIG[0])


def test_a_list_of_pages_that_breaks_off_is_said(tmp_path):
    path = write(tmp_path / "cut.tif", (BIG[0], 0), (BIG[1], 0), (BIG[2], 0))
    with tifffile.TiffFile(path) as file:
        last = file.pages[2].offset
    path.write_bytes(path.read_bytes()[:last])
    with pytest.warns(PagesWarning, match="page 1 is looked at, and behind it the list of pages breaks off"):
        np.testing.assert_array_equal(images.load(path), BIG[0])


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("GIF", {}, True),
        ("PNG", {}, True),
        ("WEBP", {"lossless": True}, True),
        ("MPO", {}, True),
        ("TIFF", {}, True),
        ("GIF", {"single": True}, False),
        ("PNG", {"single": True}, False),
        ("WEBP", {"single": True}, False),
        ("JPEG", {"single": True}, False),
        ("BMP", {"single": True}, False),
    ],
)
def test_animations_and_files_of_several_pictures_are_said(kind, options, told):
    buffer, frames = io.BytesIO(), [Image.fromarray(one) for one in BIG]
    options = dict(options)
    if options.pop("single", False):
        frames[0].save(buffer, kind)
    else:
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], **options)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        pixels = decode_content(buffer.getvalue(), "a")
    assert [one.category for one in said] == [PagesWarning] * told
    assert pixels.shape == (32, 32, 3)
    assert np.abs(pixels.astype(int) - BIG[0]).mean() < 12  # the first one, as far as the kind keeps it


def encoded(kind, pixels=BIG[0]):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def stacked(count=3, **options):
    """Write one page that says it holds several pictures, which lie one behind the other."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, BIG[0][..., 0], photometric="minisblack", **options)
    return buffer.getvalue() + BIG[1][..., 0].tobytes() * (count - 1)


GREYS = np.stack([image[..., 0] for image in BIG])
IMAGEJ = {"description": "ImageJ=1.53t\nimages=3\nslices=3\n", "metadata": None}


def in_one_page(**options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, GREYS, photometric="minisblack", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (encoded("JPEG") + encoded("JPEG", BIG[1]), "or has several pictures; the first is looked at"),
        (encoded("PNG") + encoded("PNG", BIG[1]), "or has several pictures; the first is looked at"),
        (encoded("GIF") + encoded("GIF", BIG[1]), "or has several pictures; the first is looked at"),
        (encoded("JPEG") + b"\0\0\0\x18ftypmp42" + bytes(1000), None),
        (stacked(**IMAGEJ), "holds 3 pictures in one page"),
        (stacked(**IMAGEJ, byteorder=">"), "holds 3 pictures in one page"),
        (stacked(**IMAGEJ, bigtiff=True), "holds 3 pictures in one page"),
        (stacked(description="ImageJ=1.53t\nimages=1\n", metadata=None), None),
        (stacked(description="images=3", metadata=None), None),
        (in_one_page(contiguous=True, truncate=True), "holds 4 pictures in one page"),
        (in_one_page(imagej=True), "page 1 is looked at, and 3 more pages of it are not"),
    ],
)
def test_pictures_behind_the_first_are_said(content, said):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert decode_content(content, "a").shape == (32, 32, 3)
    texts = [str(one.message) for one in found if one.category is PagesWarning]
    assert len(texts) == (said is not None)
    assert said is None or said in texts[0]


def test_planes_of_colour_are_no_pictures_of_their_own():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.moveaxis(BIG[0], 2, 0), photometric="rgb", planarconfig="separate")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(decode_content(buffer.getvalue(), "a"), BIG[0])


def test_a_volume_shows_its_first_plane_and_says_so():
    buffer = io.BytesIO()
    volume = np.repeat(BIG[0][None, ..., 0], 16, axis=0)
    tifffile.imwrite(buffer, volume, volumetric=True, tile=(16, 16, 16), photometric="minisblack")
    with pytest.warns(PagesWarning, match="holds 16 pictures in one page"):
        found = decode_content(buffer.getvalue(), "a")
    np.testing.assert_array_equal(found, BIG[0][..., [0, 0, 0]])


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "good"
    root.mkdir()
    for number in range(4):
        pages = [(good_image(10 * number + index), 0) for index in range(4)]
        write(root / f"{number}.tif", *pages, (THUMBNAIL, 1))
    return root


def test_a_fit_takes_one_page_of_each_file_and_says_so_or_all_of_them(folder, tmp_path):
    assert (len(find_good(folder)), len(find_good(folder, all_pages=True))) == (4, 16)
    model, options = str(tmp_path / "m.safetensors"), ["--set", "holdout=0", "--json", *OPTIONS]
    counts, said = {}, {}
    for name, more in (("first", []), ("all", ["--all-pages"])):
        done = CliRunner().invoke(app, ["fit", str(folder), "--out", model, *options, *more])
        assert done.exit_code == 0, done.output
        counts[name], said[name] = json.loads(done.stdout)["train_count"], re.sub(r"\s+", " ", done.stderr)
    assert counts == {"first": 4, "all": 16}
    assert said["first"].count("more page") == 1
    assert "page 1 is looked at, and 3 more pages of it are not; --all-pages" in said["first"]
    assert "3 more files have pages or frames that were not looked at" in said["first"]
    assert "looked at, and" not in said["all"]


def test_every_page_has_a_row_and_a_group(folder, tmp_path):
    model = str(tmp_path / "m.safetensors")
    options = ["--all-pages", "--group-pattern", r"(\d)\.tif", "--json", "--set", "rate=0.2", *OPTIONS]
    done = CliRunner().invoke(app, ["fit", str(folder), "--out", model, *options])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["train_count"], document["calibration_count"]) == (
        12,
        4,
    )  # pages of a file stay together
    done = CliRunner().invoke(app, ["score", model, str(folder), "--all-pages", "--json"])
    rows = json.loads(done.stdout)["images"]
    assert [row["path"] for row in rows] == [f"{folder}/{n}.tif[{p}]" for n in range(4) for p in (1, 2, 3, 4)]
