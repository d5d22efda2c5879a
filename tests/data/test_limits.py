"""What must not wait, grow or lose pages without a word: pipes in folders, small files of many pixels, cut TIFFs."""

from __future__ import annotations

import io
import os
import signal
import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image

from differnet.batch import rows
from differnet.data import images
from differnet.data.formats import arrays
from differnet.data.images import content_digest
from differnet.errors import ImageError, ModelFileError
from support import hostile
from support.tiny import good_image


@pytest.fixture(autouse=True)
def not_for_ever():
    """What waits is an error: opening a pipe, reading a device."""

    def stop(*_):
        raise TimeoutError("waited")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("what", ["fit", "calibrate"])
def test_a_pipe_among_the_good_images_is_said(detector, tmp_path, what):
    for index in range(12):
        Image.fromarray(good_image(index)).save(tmp_path / f"{index:02}.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match=r"pipe\.png: not a regular file but a pipe"):
        detector.sibling().fit(tmp_path) if what == "fit" else detector.calibrate(
            tmp_path, rate=0.2, confidence=None
        )
    with pytest.raises(ImageError, match="a pipe"):
        content_digest(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="a device"):
        content_digest("/dev/zero")


@pytest.mark.parametrize("kind", ["uint16", "int32", "float32"])
def test_scaling_takes_little_more_than_the_pixels(kind):
    array = np.full((1500, 1500, 3), 1000, kind)
    tracemalloc.start()
    found = arrays.from_array(array, "big")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found == round(1000 * 255 / 1023)).all()
    assert peak < found.nbytes + 24 * 2**20  # and not 24 bytes a number, which are 162 MB


def test_strips_give_what_the_whole_would(monkeypatch):
    array = np.random.default_rng(0).integers(0, 2**16, (37, 11, 4)).astype(np.uint16)
    whole = arrays.from_array(array, "whole")
    monkeypatch.setattr(arrays, "_STRIP", 44)
    assert np.array_equal(arrays.from_array(array, "strips"), whole)
    assert np.array_equal(arrays.from_array(array / 65535, "floats"), whole)


def test_a_small_file_of_too_many_bytes_is_refused_before_it_is_decoded(tmp_path):
    """11000 x 11000 colour floats: fewer pixels than are allowed, and more bytes."""
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((16, 16, 3), np.float32), photometric="rgb")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for tag in (256, 257):
            found = tiff.pages[0].tags[tag]
            content[found.valueoffset : found.valueoffset + 2] = (11_000).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(ImageError, match="come to 1,452,000,000 bytes"):
        images.load(path)


def pages(*more: bytes) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.fromarray(good_image(index)) for index in range(3)]
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize("is_big", [False, True])
def test_pages_that_break_off_are_not_lost_in_silence(tmp_path, is_big):
    path = tmp_path / "pages.tif"
    tifffile.imwrite(path, np.stack([good_image(i) for i in range(3)]), photometric="rgb", bigtiff=is_big)
    assert len(images.pages(path)) == 3
    with tifffile.TiffFile(path) as tiff:
        last = tiff.pages[2].offset
    path.write_bytes(path.read_bytes()[:last])
    with pytest.raises(ImageError, match=r"pages\.tif: its directories break off after page \d"):
        rows.inputs([path], "fail", all_pages=True)
    (one,) = rows.inputs([path], "skip", all_pages=True)
    assert one.path == path
    assert "break off" in one.reason


def test_directories_in_a_ring_are_not_followed_for_ever(tmp_path):
    path = tmp_path / "ring.tif"
    path.write_bytes(hostile.tiff(hostile._grey_tags(4, 4), bytes(16), next_at=24))
    with pytest.raises(ImageError, match="break off after page 1"):
        images.pages(path)


@pytest.mark.parametrize(
    "changes",
    [{"t278": (4, 1, 2)}, {"t278": (4, 1, 0)}, {"t277": (3, 1, 3), "t284": (3, 1, 2), "t262": (3, 1, 2)}],
    ids=["one strip of two", "strips of nothing", "one plane of three"],
)
def test_a_tiff_that_lacks_strips_is_not_filled_with_black(tmp_path, changes):
    path = tmp_path / "strips.tif"
    path.write_bytes(hostile.tiff(hostile._grey_tags(4, 4, **changes), bytes(range(48))))
    with pytest.raises(ImageError, match="lacks part of its pixels|without a size"):
        images.load(path)


def test_a_folder_that_cannot_be_listed_has_its_reason(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def denied(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(ImageError, match="a folder that cannot be listed: Permission denied"):
        images.load(tmp_path / "closed")


def test_a_file_too_large_to_be_read_again_is_not_written(tmp_path, monkeypatch):
    import torch

    from differnet.flow import tensor_file

    monkeypatch.setattr(tensor_file, "MAX_BYTES", 1000)
    with pytest.raises(ModelFileError, match="would have"):
        tensor_file.write_tensors(tmp_path / "a", {"a": torch.zeros(1000)}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_heat_map_that_is_not_finite_names_its_image(detector, tmp_path, monkeypatch):
    from differnet.errors import NumericalError
    from differnet.flow import localize

    Image.fromarray(good_image(0)).save(tmp_path / "this.png")
    monkeypatch.setattr(localize, "turn_back", lambda maps, angles: maps[0] * float("nan"))
    with pytest.raises(NumericalError, match=r"this\.png: a heat map has NaN"):
        detector.predict(tmp_path / "this.png", heat_map=True)


def test_maps_are_rendered_in_groups(detector, monkeypatch):
    from differnet.flow import localize

    real, seen = localize.render, []

    def counted(image, views, fill):
        seen.append(len(views))
        return real(image, views, fill)

    monkeypatch.setattr(localize, "render", counted)
    other = detector.settings
    import dataclasses

    settings = dataclasses.replace(other, maps=dataclasses.replace(other.maps, map_views=9))
    localize.Localizer(detector.module, detector.model.fusion, settings).of_picture(good_image(0))
    assert seen == [4, 4, 1]
