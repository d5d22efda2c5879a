"""Masks beside images are no parts: told by content and name, paired with their images, and said."""

from __future__ import annotations

import json
import re
import warnings

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from differnet.cli.app import app
from differnet.data import datasets
from differnet.data.layouts.masks import is_mask, without_masks
from differnet.data.samples import check_masks
from differnet.errors import DifferNetWarning, LayoutError
from support.tiny import OPTIONS, defective_image, good_image, save

SIZE = 48


def draw(root, masks, count=4, good=12, write=None):
    """Write good parts, scratched ones, and for each of these a mask where ``masks`` says."""
    for index in range(good):
        save(root / f"good/{index:02}.png", good_image(index, SIZE))
    for index in range(count):
        pixels, mask = defective_image(index, SIZE)
        save(root / f"scratch/{index:02}.png", pixels)
        path = root / masks.format(f"{index:02}")
        (write or save)(path, mask.astype(np.uint8) * 255)
    return root


def read(root):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        (data,) = datasets.read(root)
    return data, [str(one.message) for one in said if issubclass(one.category, DifferNetWarning)]


@pytest.mark.parametrize(
    "masks",
    [
        "masks/{}.png",
        "mask/{}.bmp",
        "Masks/scratch/{}.png",
        "masks/{}_mask.png",
        "scratch/masks/{}.png",
        "scratch/{}_mask.png",
        "scratch/{}-gt.png",
        "scratch/mask_{}.png",
        "scratch/{}.bmp",
        "scratch/{}.tif",
        "scratch_mask/{}.png",
        "scratch-masks/{}.png",
        "ground_truth/scratch/{}_mask.png",
        "ground truth/{}.png",
        "GT/{}.png",
        "labels/{}.png",
        "segmentation/{}.tiff",
        "Masken/{}.png",
        "umrisse/{}.png",  # by nothing but its content
    ],
)
def test_masks_are_no_parts_and_show_the_defects_of_their_images(tmp_path, masks):
    data, said = read(draw(tmp_path, masks))
    assert len(data.train) + sum(not s.is_defective for s in data.test) == 12
    bad = [sample for sample in data.test if sample.is_defective]
    assert [sample.path.name for sample in bad] == [f"{i:02}.png" for i in range(4)]
    assert {sample.defect for sample in bad} == {"scratch"}
    assert [sample.mask for sample in bad] == [tmp_path / masks.format(f"{i:02}") for i in range(4)]
    for index, sample in enumerate(bad):
        np.testing.assert_array_equal(sample.true_mask((SIZE, SIZE)), defective_image(index, SIZE)[1])
    assert len(said) == 1
    assert "4 files are masks and no parts, such as" in said[0]
    assert "4 of them show the defects of an image here" in said[0]


def save_ones(path, mask):
    save(path, (mask > 0).astype(np.uint8))


def save_numbers(path, mask):
    numbers = (mask > 0).astype(np.uint8)
    numbers[:, SIZE // 2 :] *= 3
    save(path, numbers)


def save_jpeg(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path, "JPEG", quality=80)


@pytest.mark.parametrize("write", [save_ones, save_numbers, save_jpeg])
def test_masks_on_other_scales_are_masks(tmp_path, write):
    data, _ = read(draw(tmp_path, "masks/{}.png", write=write))
    bad = [sample for sample in data.test if sample.is_defective]
    assert len(bad) == 4
    for index, sample in enumerate(bad):
        wanted = defective_image(index, SIZE)[1]
        assert np.mean(sample.true_mask((SIZE, SIZE)) == wanted) > 0.99


def test_masks_of_no_image_are_left_out_and_said(tmp_path):
    draw(tmp_path, "masks/{}.png")
    save(tmp_path / "masks/99.png", defective_image(0, SIZE)[1].astype(np.uint8) * 255)
    save(tmp_path / "masks/00.bmp", defective_image(0, SIZE)[1].astype(np.uint8) * 255)
    save(tmp_path / "masks/03.png", np.zeros((8, 8), np.uint8))  # of another size
    data, said = read(tmp_path)
    bad = [sample for sample in data.test if sample.is_defective]
    assert [sample.mask is not None for sample in bad] == [True, True, True, False]
    assert "6 files are masks and no parts" in said[0]
    assert "3 are left out, since no image of that name and size can be told" in said[0]


def test_two_kinds_with_the_same_names_need_masks_that_say_whose_they_are(tmp_path):
    draw(tmp_path, "masks/{}.png")
    for index in range(4):
        save(tmp_path / f"dent/{index:02}.png", defective_image(20 + index, SIZE)[0])
    data, said = read(tmp_path)
    assert len([s for s in data.test if s.is_defective]) == 8
    assert all(sample.mask is None for sample in data.test)
    assert "4 are left out" in said[0]
    (tmp_path / "masks").rename(tmp_path / "m")
    (tmp_path / "masks").mkdir()
    (tmp_path / "m").rename(tmp_path / "masks" / "scratch")
    data, _ = read(tmp_path)
    assert sum(sample.mask is not None for sample in data.test) == 4


@pytest.mark.parametrize("folder", ["face_masks", "labels", "gt"])
def test_pictures_in_a_folder_named_like_masks_are_parts(tmp_path, folder):
    draw(tmp_path, "scratch/{}_mask.png")
    for index in range(3):
        save(tmp_path / folder / f"{index}.png", defective_image(30 + index, SIZE)[0])
    data, _ = read(tmp_path)
    assert sum(sample.defect == folder for sample in data.test) == 3


def test_a_picture_named_like_a_mask_is_a_part_and_said(tmp_path):
    draw(tmp_path, "masks/{}.png")
    save(tmp_path / "scratch/07_mask.png", defective_image(7, SIZE)[0])
    data, said = read(tmp_path)
    assert sum(sample.is_defective for sample in data.test) == 5
    assert any("1 file is named like a mask and has the content of a picture" in text for text in said)


def test_parts_that_are_black_and_white_themselves_are_parts(tmp_path):
    for index in range(8):
        save(
            tmp_path / f"good/label_{index}.png",
            (good_image(index, SIZE)[..., 0] > 128).astype(np.uint8) * 255,
        )
        save(
            tmp_path / f"dent/label_{index}.png",
            (good_image(index, SIZE)[..., 0] > 90).astype(np.uint8) * 255,
        )
    data, _ = read(tmp_path)
    assert len(data.samples) == 16


@pytest.mark.parametrize(
    ("pixels", "wanted"),
    [
        (np.zeros((9, 9, 3), np.uint8), True),
        (np.full((9, 9, 3), 255, np.uint8), True),
        (good_image(0, 32), False),
        (defective_image(0, 40)[0], False),
        (np.repeat((np.indices((32, 32)).sum(0) % 5 * 60)[..., None], 3, 2).astype(np.uint8), True),
        (np.random.default_rng(0).integers(0, 20, (32, 32, 3), dtype=np.uint8), False),  # a lamp that is off
    ],
)
def test_what_the_content_of_a_mask_is(pixels, wanted):
    assert is_mask(pixels) is wanted


def test_inverted_masks_are_noted(tmp_path):
    data, _ = read(draw(tmp_path, "masks/{}.png", write=lambda path, mask: save(path, 255 - mask)))
    with pytest.warns(DifferNetWarning, match="4 of 4 masks are white over more than half .*inverted"):
        check_masks(data.test)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_masks([])


def test_good_images_to_fit_to_have_no_masks_among_them(tmp_path):
    for index in range(6):
        save(tmp_path / f"{index}.jpg", good_image(index, SIZE))
        save(tmp_path / f"{index}.png", defective_image(index, SIZE)[1].astype(np.uint8) * 255)
        save(tmp_path / f"{index}_mask.png", np.zeros((SIZE, SIZE), np.uint8))
    with pytest.warns(DifferNetWarning, match="12 files are masks and no parts"):
        assert [path.name for path in datasets.find_good(tmp_path)] == [f"{i}.jpg" for i in range(6)]
    save(tmp_path / "0.bmp", good_image(0, SIZE))
    with pytest.warns(
        DifferNetWarning, match="1 name with two suffixes, such as '0': each file is taken for an image"
    ):
        assert len(datasets.find_good(tmp_path)) == 7


def test_masks_that_cannot_be_told_from_images_are_refused(tmp_path):
    for index in range(3):
        save(tmp_path / f"{index}.png", np.full((8, 8), 255, np.uint8))
        save(tmp_path / f"{index}.bmp", np.zeros((8, 8), np.uint8))
    with pytest.raises(
        LayoutError, match="3 names with two suffixes, such as '0'; one of them may be a mask"
    ):
        datasets.find_good(tmp_path)


def test_nothing_is_said_where_there_is_no_mask(tmp_path):
    for index in range(4):
        save(tmp_path / f"good/{index}.png", good_image(index, SIZE))
        save(tmp_path / f"dent/{index}.png", defective_image(index, SIZE)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(without_masks(sorted(tmp_path.rglob("*.png")), tmp_path).images) == 8


@pytest.fixture
def model(tmp_path):
    for index in range(10):
        save(tmp_path / f"train/{index}.png", good_image(100 + index, SIZE))
    path = tmp_path / "m.safetensors"
    done = CliRunner().invoke(
        app, ["fit", str(tmp_path / "train"), "--out", str(path), "--set", "rate=0.5", *OPTIONS]
    )
    assert done.exit_code == 0, done.output
    return path


def test_commands_count_parts_and_not_masks(model, tmp_path):
    data = draw(tmp_path / "data", "masks/{}.png")
    done = CliRunner().invoke(app, ["evaluate", str(data), "--json", *OPTIONS])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["n_defective"], document["n_with_mask"]) == (4, 4)
    assert document["pixel_aupro"][0] is not None
    assert "4 files are masks and no parts" in re.sub(r"\s+", " ", done.stderr)
    page = ["report", str(model), str(data), "--out", str(tmp_path / "r.html"), "--json", "--no-maps"]
    done = CliRunner().invoke(app, page)
    assert done.exit_code == 0, done.output
    assert sum(json.loads(done.stdout)["counts"].values()) == 16
    assert json.loads(done.stdout)["known_defects"][0]["count"] == 4
    bad = draw(tmp_path / "bad", "scratch/{}_gt.png", good=0)
    other = ["calibrate", str(model), str(data / "good"), "--out", str(tmp_path / "m2"), "--marginal"]
    done = CliRunner().invoke(app, [*other, "--defects", str(bad), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["known_defects"][0]["count"] == 4
    assert "4 files are masks and no parts" in re.sub(r"\s+", " ", done.stderr)
