"""Layouts, each read from a miniature of it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from differnet.data import datasets
from differnet.data.layouts import published as layouts
from differnet.errors import LayoutError, MissingExtraError
from support.tiny import touch


@pytest.fixture
def mtd(tmp_path):
    touch(tmp_path, *(f"MT_Free/Imgs/good{i}.jpg" for i in range(10)))
    touch(tmp_path, *(f"MT_Free/Imgs/good{i}.png" for i in range(10)))
    touch(tmp_path, "MT_Crack/Imgs/c.jpg", "MT_Crack/Imgs/c.png", "MT_Fray/Imgs/f.jpg")
    return tmp_path


def test_mvtec_one_and_many_categories(tmp_path):
    for name in ("bottle", "screw"):
        touch(tmp_path / name, "train/good/0.png", "train/good/1.png", "test/good/0.png", "test/cut/7.png")
        touch(tmp_path / name, "ground_truth/cut/7_mask.png")
    both = datasets.read(tmp_path)
    assert [d.name for d in both] == ["bottle", "screw"]
    assert [len(both[0].train), len(both[0].test)] == [2, 2]
    defective = next(s for s in both[1].test if s.is_defective)
    assert (defective.defect, defective.mask) == ("cut", tmp_path / "screw/ground_truth/cut/7_mask.png")
    assert [d.name for d in datasets.read(tmp_path, categories=["screw"])] == ["screw"]
    assert [d.name for d in datasets.read(tmp_path / "screw")] == ["screw"]
    with pytest.raises(LayoutError, match=r"no category \['bolt'\]; there are \['bottle', 'screw'\]"):
        datasets.read(tmp_path, categories=["bolt"])


def test_magnetic_tiles_with_the_split_file(mtd, tmp_path):
    split = tmp_path / "split.txt"
    split.write_text("good1.jpg\ngood4.jpg\n\n")
    (data,) = datasets.read(mtd, split_file=split)
    assert sorted(s.path.name for s in data.train) == ["good1.jpg", "good4.jpg"]
    assert len(data.test) == 8 + 2
    assert {s.defect: s.mask and s.mask.name for s in data.test if s.is_defective} == {
        "crack": "c.png",
        "fray": None,
    }


def test_magnetic_tiles_without_it_take_a_seeded_80_percent(mtd):
    first, again = datasets.read(mtd)[0], datasets.read(mtd, "mtd")[0]
    assert first == again
    assert len(first.train) == 8


def test_a_split_file_that_does_not_fit(mtd, tmp_path):
    split = tmp_path / "split.txt"
    split.write_text("good1.jpg\nother.jpg\n")
    with pytest.raises(LayoutError, match="1 names are not good images here, such as 'other.jpg'"):
        datasets.read(mtd, split_file=split)
    with pytest.raises(LayoutError, match="no such file; a split file"):
        datasets.read(mtd, split_file=tmp_path / "none.txt")


def test_plain_folders(tmp_path):
    touch(tmp_path, *(f"good/{i}.png" for i in range(10)), "dent/0.png", "dent/deep/1.png")
    (data,) = datasets.read(tmp_path)
    assert len(data.train) == 8
    assert sorted(s.defect for s in data.test) == ["dent", "dent", "good", "good"]
    (flat,) = datasets.read(tmp_path / "good")
    assert (len(flat.train), len(flat.test)) == (8, 2)


def test_wrong_roots_say_what_was_expected_and_found(tmp_path):
    touch(tmp_path, "a/b.png")
    with pytest.raises(LayoutError, match="no such folder"):
        datasets.read(tmp_path / "none")
    with pytest.raises(LayoutError, match=r"expected train/good, .*found 1 entries \(0 images\): a"):
        datasets.read(tmp_path, "mvtec")
    with pytest.raises(LayoutError, match="expected MT_Free"):
        datasets.read(tmp_path, "mtd")
    with pytest.raises(LayoutError, match="expected good images in good/"):
        datasets.read(tmp_path, "folder")
    with pytest.raises(LayoutError, match="has no categories"):
        datasets.read(tmp_path, "folder", ["x"])


def test_a_split_file_is_not_ignored(tmp_path):
    touch(tmp_path, "good/0.png", "good/1.png")
    with pytest.raises(LayoutError, match="takes no split file"):
        datasets.read(tmp_path, split_file="split.txt")


def test_good_images_alone_are_wanted_to_fit(tmp_path, mtd):
    touch(tmp_path / "plain", "0.png", "more/1.png")
    assert len(datasets.find_good(tmp_path / "plain")) == 2
    touch(tmp_path / "labelled", "good/0.png", "dent/1.png")
    with pytest.raises(LayoutError, match=r"looks like a labelled data set \(good\)"):
        datasets.find_good(tmp_path / "labelled")
    with pytest.raises(
        LayoutError, match="10 names with two suffixes, such as .*; one of them may be a mask"
    ):
        datasets.find_good(mtd / "MT_Free")


def test_shots_are_drawn_by_seed(mtd):
    data = datasets.read(mtd)[0]
    three = data.shots(3, seed=0)
    assert len(three.train) == 3
    assert three.test == data.test
    assert three == data.shots(3, seed=0) != data.shots(3, seed=1)
    with pytest.raises(LayoutError, match="9 shots asked of 8"):
        data.shots(9, seed=0)


@pytest.fixture
def cells(tmp_path):
    """A miniature of the package elpv-dataset: ten good mono cells, four good poly ones, defective and unsure ones."""
    rows = [(f"g{i}", 0.0, "mono") for i in range(10)] + [(f"h{i}", 0.0, "poly") for i in range(4)]
    rows += [
        ("d0", 1.0, "mono"),
        ("d1", 1.0, "mono"),
        ("d2", 1.0, "poly"),
        ("u0", 0.3333, "mono"),
        ("u1", 0.6666, "poly"),
    ]
    (tmp_path / "images").mkdir()
    for name, _, _ in rows:
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "images" / f"{name}.png")
    lines = [f"images/{name}.png {probability:17} {kind}" for name, probability, kind in rows]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_solar_cells_mono_and_poly_apart(cells):
    mono, poly = datasets.read(cells, "elpv")
    assert [data.name for data in (mono, poly)] == ["elpv mono", "elpv poly"]
    assert (len(mono.train), len(mono.test), len(poly.train), len(poly.test)) == (7, 5, 3, 2)
    assert sorted(s.path.stem for s in mono.test if s.is_defective) == ["d0", "d1"]
    assert not any(s.path.stem.startswith("u") for s in (*mono.samples, *poly.samples))
    assert datasets.read(cells, "elpv", ("mono",)) == [mono]


def test_solar_cells_that_are_not_there(cells, tmp_path, monkeypatch):
    with pytest.raises(LayoutError, match=r"no category \['thin'\]; there are \['mono', 'poly'\]"):
        datasets.read(cells, "elpv", ("thin",))
    (tmp_path / "other").mkdir()
    with pytest.raises(LayoutError, match=r"expected labels.csv and images/\*.png"):
        datasets.read(tmp_path / "other", "elpv")
    (cells / "labels.csv").write_text("images/g0.png 0.0\n")
    with pytest.raises(LayoutError, match="a path, a probability and a kind"):
        datasets.read(cells, "elpv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(layouts, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'differnet\[elpv\]'"):
        datasets.read("elpv")


def test_masks_on_another_scale_are_refused_and_black_ones_taken_as_they_are(tmp_path):
    pixels = np.zeros((4, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "black.png")
    pixels[1, 2] = 1
    Image.fromarray(pixels).save(tmp_path / "ones.png")
    image, ones = tmp_path / "image.png", tmp_path / "ones.png"
    with pytest.raises(
        LayoutError, match=r"ones.png: no pixel .* as bright as 128 of 255, the brightest is 1; .*white"
    ):
        datasets.Sample(image, "test", "dent", ones).true_mask((4, 4))
    assert datasets.Sample(image, "test", "dent", ones, 1).true_mask((4, 4)).sum() == 1
    assert not datasets.Sample(image, "test", "dent", tmp_path / "black.png").true_mask((4, 4)).any()
    assert not datasets.Sample(image, "test", "good", ones).true_mask((4, 4)).any()


def test_a_data_set_says_how_it_was_read(mtd, tmp_path):
    split = tmp_path / "split.txt"
    split.write_text("good1.jpg\n")
    found = [
        datasets.read(mtd)[0],
        datasets.read(mtd, split_file=split)[0],
        datasets.read(mtd / "MT_Free" / "Imgs", "folder")[0],
    ]
    assert [(data.layout, data.split_file) for data in found] == [
        ("mtd", None),
        ("mtd", "split.txt"),
        ("folder", None),
    ]
    assert found[1].shots(1, 0).split_file == "split.txt"
