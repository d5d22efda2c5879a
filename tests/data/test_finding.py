"""Which files of a folder are images: their content decides, and what is left out is said."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import Image

from differnet.data import images
from differnet.data.datasets import find_good, read_folder
from differnet.errors import DifferNetWarning, ImageError
from support.tiny import good_image, touch


def content(kind, index=0):
    buffer = io.BytesIO()
    Image.fromarray(good_image(index, 16)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jfif", "JPEG"),
        ("a.jpe", "JPEG"),
        ("a.JIF", "JPEG"),
        ("a.mpo", "JPEG"),
        ("a.dib", "BMP"),
        ("a.apng", "PNG"),
        ("a.btf", "TIFF"),
        ("a", "PNG"),
        ("part.2024", "JPEG"),
        ("a.dat", "BMP"),
        ("a.img", "TIFF"),
        ("a.bin", "WEBP"),
        ("a.gfi", "GIF"),
        ("a.jpg.bak", "JPEG"),
        ("a.txt", "PNG"),
    ],
)
def test_an_image_of_any_name_is_found_and_read(tmp_path, name, kind):
    touch(tmp_path, "b.png")
    (tmp_path / name).write_bytes(content(kind))
    assert tmp_path / name in images.find(tmp_path)
    wanted = np.asarray(Image.open(io.BytesIO(content(kind))).convert("RGB"))
    np.testing.assert_array_equal(images.load(tmp_path / name), wanted)


@pytest.mark.parametrize(
    ("name", "bytes_"),
    [
        ("notes.txt", b"not an image"),
        ("BMW.txt", b"BMW, Munich, 1916: a list of parts and their makers, in no order at all"),
        ("labels.csv", b"path,label\n"),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0"),
        ("empty", b""),
        ("a.png.part", content("PNG")),
        ("a.jpg.crdownload", content("JPEG")),
        ("~a", content("PNG")),
        ("a.tmp", content("PNG")),
    ],
)
def test_what_is_no_image_is_said_with_its_name(tmp_path, name, bytes_):
    touch(tmp_path, "b.png")
    (tmp_path / name).write_bytes(bytes_)
    with pytest.warns(DifferNetWarning, match=f"1 file is no image and is left out: {name}$"):
        assert images.find(tmp_path) == [tmp_path / "b.png"]


def test_many_are_counted_and_the_first_named(tmp_path):
    touch(tmp_path, "b.png")
    (tmp_path / "more").mkdir()
    for name in ("z.txt", "y.txt", "more/x.txt", "w.txt", "v.txt"):
        (tmp_path / name).write_text("text")
    with pytest.warns(DifferNetWarning) as said:
        images.find(tmp_path)
    (one,) = said
    assert str(one.message) == (
        f"{tmp_path}: 5 files are no images and are left out: more/x.txt, v.txt, w.txt, ..."
    )


@pytest.mark.parametrize("suffix", sorted(images.UNREAD))
def test_pictures_of_kinds_that_are_not_read_are_listed_and_refused_by_name(tmp_path, suffix):
    touch(tmp_path, "b.png")
    (tmp_path / f"a{suffix}").write_bytes(b"\0\0\0\x18ftypheic and more of it")
    assert images.find(tmp_path) == [tmp_path / f"a{suffix}", tmp_path / "b.png"]
    with pytest.raises(ImageError, match=f"a{suffix}: not an image that can be read"):
        images.load(tmp_path / f"a{suffix}")


def test_pipes_links_to_nothing_and_hidden_files(tmp_path):
    touch(tmp_path, "b.png", ".hidden.png")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.warns(DifferNetWarning, match="2 files are no images and are left out: lost, pipe$"):
        assert images.find(tmp_path) == [tmp_path / "b.png"]


def test_a_folder_without_an_image_says_what_it_has(tmp_path):
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (tmp_path / name).write_text("text")
    with pytest.raises(
        ImageError, match=r"no image found among 4 files \(a.txt, b.txt, c.txt, ...\); PNG, JPEG"
    ):
        images.find(tmp_path)


def test_every_image_of_a_mixed_folder_is_fitted_to_and_measured(tmp_path):
    for index in range(15):
        for suffix, kind in ((".jpg", "JPEG"), (".jfif", "JPEG"), ("", "PNG")):
            (tmp_path / "good").mkdir(exist_ok=True)
            (tmp_path / "good" / f"{index:02}{suffix}").write_bytes(content(kind, index))
    with pytest.warns(DifferNetWarning, match="15 names with two suffixes, such as '00': each file is taken"):
        assert len(find_good(tmp_path / "good")) == 45
    assert len(read_folder(tmp_path).samples) == 45
