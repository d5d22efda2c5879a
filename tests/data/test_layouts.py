"""Published layouts, each read from a miniature of it, and told from the others by its folders."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from differnet.data import datasets
from differnet.errors import DifferNetWarning, LayoutError
from support.tiny import touch


def ad2(root):
    touch(root, "train/good/000_regular.png", "train/good/001_regular.png", "validation/good/000_regular.png")
    touch(root, "test_public/good/000_regular.png", "test_public/bad/000_regular.png")
    touch(root, "test_public/bad/000_overexposed.png")
    touch(root, "test_public/ground_truth/bad/000_regular_mask.png")
    touch(root, "test_private/000_regular.png", "test_private_mixed/000_mixed.png")


def mvtec_3d(root):
    for part in ("train/good", "validation/good", "test/good", "test/hole"):
        touch(root, f"{part}/rgb/000.png", f"{part}/xyz/000.tiff")
    touch(root, "train/good/rgb/001.png", "test/good/gt/000.png", "test/hole/gt/000.png")


def btad(root):
    touch(root, "train/ok/0000.bmp", "train/ok/0001.bmp", "test/ok/0002.bmp", "test/ko/0000.bmp")
    touch(root, "test/ko/0001.bmp", "ground_truth/ko/0000.png")


def visa(root):
    rows = ["object,split,label,image,mask"]
    for name in ("candle", "pcb1"):
        images = f"{name}/Data/Images"
        touch(root, *(f"{images}/Normal/{i:04}.JPG" for i in range(3)), f"{images}/Anomaly/000.JPG")
        mask = root / name / "Data" / "Masks" / "Anomaly" / "000.png"
        mask.parent.mkdir(parents=True)
        Image.fromarray(np.array([[0, 1, 2, 3]] * 4, dtype=np.uint8)).save(mask)
        rows += [f"{name},train,normal,{images}/Normal/{i:04}.JPG," for i in range(2)]
        rows += [f"{name},test,normal,{images}/Normal/0002.JPG,"]
        rows += [f"{name},test,anomaly,{images}/Anomaly/000.JPG,{name}/Data/Masks/Anomaly/000.png"]
    (root / "split_csv").mkdir()
    (root / "split_csv" / "1cls.csv").write_text("\n".join(rows) + "\n")


def below(root, samples):
    return sorted(sample.path.relative_to(root).as_posix() for sample in samples)


@pytest.mark.parametrize("layout", ["auto", "mvtec-ad2"])
def test_mvtec_ad_2(tmp_path, layout):
    for name in ("can", "vial"):
        ad2(tmp_path / name)
    can, vial = datasets.read(tmp_path, layout)
    assert (can.name, vial.name) == ("can", "vial")
    assert below(tmp_path / "can", can.train) == [
        "train/good/000_regular.png",
        "train/good/001_regular.png",
        "validation/good/000_regular.png",
    ]
    masks = {sample.path.name: sample.mask for sample in vial.test if sample.is_defective}
    truth = tmp_path / "vial/test_public/ground_truth/bad/000_regular_mask.png"
    assert masks == {"000_regular.png": truth, "000_overexposed.png": None}
    assert [sample.defect for sample in vial.test] == ["bad", "bad", "good"]  # nothing private, no mask
    assert datasets.read(tmp_path / "vial", layout) == [vial] == datasets.read(tmp_path, layout, ["vial"])


@pytest.mark.parametrize("layout", ["auto", "mvtec-3d"])
def test_mvtec_3d_ad_in_colour(tmp_path, layout):
    mvtec_3d(tmp_path / "bagel")
    (bagel,) = datasets.read(tmp_path, layout)
    assert below(tmp_path / "bagel", bagel.train) == [
        "train/good/rgb/000.png",
        "train/good/rgb/001.png",
        "validation/good/rgb/000.png",
    ]
    assert below(tmp_path / "bagel", bagel.test) == ["test/good/rgb/000.png", "test/hole/rgb/000.png"]
    good, hole = bagel.test
    assert (good.defect, good.mask) == ("good", None)
    assert (hole.defect, hole.mask) == ("hole", tmp_path / "bagel/test/hole/gt/000.png")


@pytest.mark.parametrize("layout", ["auto", "btad"])
def test_btad_with_masks_of_another_suffix(tmp_path, layout):
    for name in ("01", "02", "03"):
        btad(tmp_path / name)
    found = datasets.read(tmp_path, layout)
    assert [data.name for data in found] == ["01", "02", "03"]
    assert (len(found[2].train), len(found[2].test)) == (2, 3)
    masks = {sample.path.name: sample.mask for sample in found[2].test if sample.is_defective}
    assert masks == {"0000.bmp": tmp_path / "03/ground_truth/ko/0000.png", "0001.bmp": None}


@pytest.mark.parametrize("layout", ["auto", "visa"])
def test_visa_by_its_published_split(tmp_path, layout):
    visa(tmp_path)
    candle, pcb1 = datasets.read(tmp_path, layout)
    assert (candle.name, pcb1.name) == ("candle", "pcb1")
    assert below(tmp_path / "candle/Data/Images", candle.train) == ["Normal/0000.JPG", "Normal/0001.JPG"]
    good, defective = pcb1.test
    assert (good.defect, good.mask, defective.defect) == ("good", None, "defective")
    assert defective.true_mask((4, 4)).tolist() == [[False, True, True, True]] * 4  # numbers, not brightness
    assert datasets.read(tmp_path, layout, ["pcb1"]) == [pcb1]
    with pytest.raises(LayoutError, match=r"no category \['pcb9'\]; there are \['candle', 'pcb1'\]"):
        datasets.read(tmp_path, layout, ["pcb9"])
    (tmp_path / "candle/Data/Images/Normal/0001.JPG").unlink()
    with pytest.raises(LayoutError, match=r"1cls.csv: 1 of 5 files are not there, such as .*0001.JPG"):
        datasets.read(tmp_path, layout)
    assert datasets.read(tmp_path, layout, ["pcb1"]) == [pcb1]  # what is not asked for may be missing


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("mvtec", "train/good, test/<defect> and ground_truth/<defect>"),
        (
            "mvtec-ad2",
            "train/good, validation/good, test_public/good, test_public/bad and test_public/ground",
        ),
        ("mvtec-3d", "train/good/rgb, validation/good/rgb, test/<defect>/rgb and test/<defect>/gt"),
        ("btad", "train/ok, test/ok, test/ko and ground_truth/ko"),
        ("visa", "split_csv/1cls.csv with the columns object, split, label, image, mask"),
        ("elpv", "labels.csv and images"),
        ("mtd", "MT_Free/Imgs"),
    ],
)
def test_a_wrong_root_is_shown_what_was_expected_and_what_it_holds(tmp_path, layout, expected):
    touch(tmp_path, "some/0.png", "other.png")
    with pytest.raises(
        LayoutError, match=rf"expected {expected}.*found 2 entries \(1 images\): other.png, some"
    ):
        datasets.read(tmp_path, layout)


@pytest.mark.parametrize(
    ("make", "layout", "folder"),
    [
        (ad2, "mvtec-ad2", "validation"),
        (ad2, "mvtec-ad2", "train"),
        (mvtec_3d, "mvtec-3d", "test"),
        (btad, "btad", "ground_truth"),
    ],
)
def test_a_folder_that_is_missing_is_named(tmp_path, make, layout, folder):
    make(tmp_path / "one")
    (tmp_path / "one" / folder).rename(tmp_path / "elsewhere")
    with pytest.raises(LayoutError, match=rf"one: there is no {folder}.*; expected .*; found \d entries"):
        datasets.read(tmp_path, layout)


def test_several_layouts_at_once_are_not_guessed(tmp_path):
    btad(tmp_path / "01")
    mvtec_3d(tmp_path / "bagel")
    with pytest.raises(LayoutError, match=r"several layouts at once \(btad in 01, mvtec-3d in bagel\)"):
        datasets.read(tmp_path)
    assert [data.name for data in datasets.read(tmp_path, "btad")] == ["01"]


def test_folders_of_good_images_are_told_from_data_sets(tmp_path):
    btad(tmp_path / "01")
    assert len(datasets.find_good(tmp_path / "01" / "train")) == 2
    with pytest.raises(LayoutError, match=r"labelled data set \(ko\)"):
        datasets.find_good(tmp_path / "01" / "test")


def test_a_coloured_mask_counts_in_every_channel(tmp_path):
    pixels = np.zeros((2, 3, 3), dtype=np.uint8)
    pixels[0, 0, 1] = 255
    pixels[1, 2, 2] = 128
    pixels[1, 1] = 127
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    sample = datasets.Sample(tmp_path / "image.png", "test", "dent", tmp_path / "mask.png")
    assert np.argwhere(sample.true_mask((2, 3))).tolist() == [[0, 0], [1, 2]]


@pytest.mark.parametrize(
    ("make", "folder", "defect"), [(btad, "ground_truth/ko", "ko"), (mvtec_3d, "test/hole/gt", "hole")]
)
def test_masks_of_ones_count_as_masks(tmp_path, make, folder, defect):
    make(tmp_path / "one")
    pixels = np.zeros((4, 4), dtype=np.uint8)
    pixels[1, 2] = 1
    name = "0000.png" if make is btad else "000.png"
    Image.fromarray(pixels).save(tmp_path / "one" / folder / name)
    (data,) = datasets.read(tmp_path)
    masked = [sample for sample in data.test if sample.mask]
    assert [sample.defect for sample in masked] == [defect]
    assert np.argwhere(masked[0].true_mask((4, 4))).tolist() == [[1, 2]]


def test_kinds_of_defects_without_masks_are_said_and_read_all_the_same(tmp_path):
    touch(tmp_path / "nut", "train/good/0.png", "test/good/0.png", "test/cut/0.png", "test/bent/0.png")
    touch(tmp_path / "nut", "ground_truth/cut/0.png")  # without _mask
    with pytest.warns(DifferNetWarning, match=r"nut: no masks for bent; .*Expected train/good, .*_mask.png"):
        (data,) = datasets.read(tmp_path)
    truth = tmp_path / "nut" / "ground_truth" / "cut"
    assert [sample.mask for sample in data.test] == [None, truth / "0.png", None]
    (truth / "0.png").rename(truth / "0_mask.png")
    with pytest.warns(DifferNetWarning, match=r"no masks for bent; .*; found 3 entries \(0 images\)"):
        datasets.read(tmp_path)
    touch(tmp_path / "nut", "ground_truth/bent/0_mask.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(datasets.read(tmp_path)[0].test) == 3


@pytest.mark.parametrize(
    ("masks", "paired", "said"),
    [
        (["0_mask.png", "1_mask.png"], ["0_mask.png", "1_mask.png"], []),
        (
            ["0.png", "1.png"],
            ["0.png", "1.png"],
            ["2 masks have another name than NAME_mask.png, such as 0.png"],
        ),
        (["0_gt.bmp", "1_mask.PNG"], ["0_gt.bmp", "1_mask.PNG"], ["2 masks have another name"]),
        (["0_mask.png"], ["0_mask.png", None], ["no mask for 1 of 2 of cut"]),
        (
            ["0_mask.png", "0.png", "1_mask.png"],
            ["0_mask.png", "1_mask.png"],
            ["0.png: left out, since 0_mask.png"],
        ),
        (
            ["0_mask.png", "1_mask.png", "7_mask.png"],
            ["0_mask.png", "1_mask.png"],
            ["1 mask is of no image in"],
        ),
        (["a_mask.png", "b_mask.png"], [None, None], ["no masks for cut", "2 masks are of no image in"]),
    ],
)
def test_masks_of_other_names_and_of_no_image_are_said(tmp_path, masks, paired, said):
    touch(tmp_path / "nut", "train/good/0.png", "test/good/0.png", "test/cut/0.png", "test/cut/1.png")
    touch(tmp_path / "nut", *(f"ground_truth/cut/{name}" for name in masks))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        (data,) = datasets.read(tmp_path)
    assert [s.mask and s.mask.name for s in data.test if s.is_defective] == paired
    texts = [str(one.message) for one in found]
    assert len(texts) == len(said)
    assert all(any(part in text for text in texts) for part in said)


@pytest.mark.parametrize("name", ["../../evil", "..", ".", "", "a/b", "a\\b"])
def test_names_of_data_sets_are_no_paths(tmp_path, name):
    visa(tmp_path)
    table = tmp_path / "split_csv" / "1cls.csv"
    table.write_text(table.read_text().replace("pcb1,test,anomaly", f"{name},test,anomaly"))
    with pytest.raises(
        LayoutError, match=r"1cls.csv, row of 'pcb1.*000.JPG': object .*; a name without / and"
    ):
        datasets.read(tmp_path)
    with pytest.raises(LayoutError, match="not a name for a data set"):
        datasets.Dataset(name, ())


def test_a_folder_named_from_inside_has_its_name(tmp_path, monkeypatch):
    touch(tmp_path / "parts", "0.png", "1.png", "sub/train/good/0.png")
    monkeypatch.chdir(tmp_path / "parts")
    assert datasets.read(".", "folder")[0].name == "parts"
    monkeypatch.chdir(tmp_path / "parts" / "sub")
    assert datasets.read("..", "folder")[0].name == "parts"
