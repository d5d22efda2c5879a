"""Every target end to end on miniatures of the published layouts; what is kept, what is refused, what is counted."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from conftest import TINY, defective_image, good_image
from differnet import DifferNet, config, placement, published, reproduction, reproduction_files, targets
from differnet import plans as plans_module
from differnet.cli import app
from differnet.datasets import Dataset, Sample, read
from differnet.errors import DifferNetWarning, LayoutError, ModelFileError
from differnet.metrics import auroc, recall_without_false_alarms
from differnet.plans import Plan
from differnet.reports import Order, Report, Table
from differnet.reproduction import Cell, Lab

RUN = CliRunner()
SMALL = TINY | {
    "sizes": [32],
    "epochs": 4,
    "train_views": 2,
    "score_views": 4,
    "blocks": 2,
    "map_views": 1,
    "runtime": "torch",
}
OPTIONS = ["--weights", "random"] + [
    x for name, value in SMALL.items() for x in ("--set", f"{name}={json.dumps(value)}")
]


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """A miniature of Magnetic Tile Defects: 14 good tiles of which 10 are for training, 4 defective ones."""
    root = tmp_path_factory.mktemp("mtd")
    for i in range(14):
        save(root / f"MT_Free/Imgs/good{i:02}.jpg", good_image(i, 40))
    for i, kind in enumerate(("Blowhole", "Break", "Crack", "Fray")):
        pixels, mask = defective_image(i, 40)
        save(root / f"MT_{kind}/Imgs/bad{i}.jpg", pixels)
        save(root / f"MT_{kind}/Imgs/bad{i}.png", mask.astype(np.uint8) * 255)
    (root / "MT_Uneven/Imgs").mkdir(parents=True)
    (root / "split.txt").write_text("".join(f"good{i:02}.jpg\n" for i in range(10)))
    return root


@pytest.fixture(scope="module")
def categories(tmp_path_factory):
    """A miniature of MVTec AD with two categories."""
    root = tmp_path_factory.mktemp("mvtec")
    for number, name in enumerate(("bottle", "screw")):
        for i in range(6):
            save(root / name / f"train/good/{i}.png", good_image(100 * number + i, 40))
        for i in range(3):
            save(root / name / f"test/good/{i}.png", good_image(100 * number + 50 + i, 40))
            pixels, mask = defective_image(10 * number + i, 40)
            save(root / name / f"test/dent/{i}.png", pixels)
            save(root / name / f"ground_truth/dent/{i}_mask.png", mask.astype(np.uint8) * 255)
    return root


def reproduce(target, data, out, *options):
    done = RUN.invoke(app, ["reproduce", target, str(data), "--out", str(out), "--json", *OPTIONS, *options])
    assert done.exit_code == 0, done.output
    with (out / f"{target}.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    return json.loads(done.stdout), rows, (out / f"{target}.md").read_text()


def kept(out):
    return {path.name: path.stat().st_mtime_ns for path in (out / "cells").glob("*.json")}


def test_tiles_share_their_cells_between_table_2_and_figures_5_to_7(tiles, tmp_path):
    split = ("--split", str(tiles / "split.txt"), "--seeds", "2")
    document, rows, page = reproduce("table2", tiles, tmp_path, *split, "--shots", "4")
    by_method = {row[0]: row for row in rows}
    assert by_method["GANomaly"][1:3] == ["76.6", ""]
    assert by_method["DifferNet, 10 images"][1] == "97.7"
    own, spread, best = map(float, by_method["DifferNet, 10 images"][2:5])
    assert 0 <= own <= best <= 100
    assert spread >= 0
    assert by_method["DifferNet, 4 images drawn by each seed"][1] == ""
    assert document["columns"] == rows[0]
    assert "chosen by them: not a result" in page
    assert "a stand-in for the paper's AlexNet" in page
    assert f"differnet reproduce table2 {tiles.name} --out" in page
    assert str(tiles) not in page
    cell = json.loads(next((tmp_path / "cells").glob("*.json")).read_text())
    assert cell["machine"].endswith("on cpu")
    assert f"maybe shared with other work, on {cell['machine']}." in page
    first = kept(tmp_path)
    assert len(first) == 4

    _, rows, page = reproduce("fig5", tiles, tmp_path, *split)
    assert rows[1][:2] == ["AUROC", "97.7"]
    assert float(rows[1][2]) == pytest.approx(own)
    assert rows[2][:2] == ["recall at false alarms of 0 %", "about 50"]
    assert [float(row[2]) for row in rows[2:]] == sorted(float(row[2]) for row in rows[2:])
    _, rows, _ = reproduce("fig6", tiles, tmp_path, *split)
    assert (sum(int(row[2]) for row in rows[1:]), sum(int(row[3]) for row in rows[1:])) == (4, 4)
    assert kept(tmp_path) == first  # nothing was computed again

    document, rows, _ = reproduce(
        "fig7", tiles, tmp_path, *split, "--count", "4", "--count", "6", "--count", "99"
    )
    assert [row[0] for row in rows[1:]] == ["4", "6", "10"]
    assert float(rows[3][1]) == pytest.approx(own)
    assert first.items() < kept(tmp_path).items()
    assert len(kept(tmp_path)) == 6
    for name in ("fig5", "fig6", "fig7"):
        assert Image.open(tmp_path / f"{name}.png").size[0] > 300
    assert not (tmp_path / "table2.png").exists()


def test_a_broken_off_run_goes_on_and_ends_with_the_same_figures(tiles, tmp_path, monkeypatch):
    split = ("--split", str(tiles / "split.txt"), "--seeds", "2", "--shots", "4")
    whole, _, _ = reproduce("table2", tiles, tmp_path / "whole", *split)
    compute, seen = reproduction._compute, []

    def stop_at_third(plan, *rest):
        seen.append(plan)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return compute(plan, *rest)

    monkeypatch.setattr(reproduction, "_compute", stop_at_third)
    arguments = ["reproduce", "table2", str(tiles), "--out", str(tmp_path / "cut"), *OPTIONS, *split]
    assert RUN.invoke(app, arguments).exit_code == 130
    assert len(kept(tmp_path / "cut")) == 2
    assert not (tmp_path / "cut" / "table2.md").exists()
    again = RUN.invoke(app, arguments)
    assert again.exit_code == 0, again.output
    assert len(seen) == 5  # two, the one that was stopped, and the two that were missing
    assert "kept from before" in again.stderr
    cut, _, _ = reproduce("table2", tiles, tmp_path / "cut", *split)
    assert cut["rows"] == whole["rows"]


def test_figure_8_measures_and_draws_heat_maps(tiles, tmp_path):
    split = ("--split", str(tiles / "split.txt"), "--seeds", "1")
    _, rows, page = reproduce("fig8", tiles, tmp_path, *split)
    figures = {row[0]: float(row[1]) for row in rows[1:]}
    assert list(figures) == ["AUROC of images", "AUROC of pixels", "AUPRO up to 30 % false positives"]
    assert 0 < figures["AUROC of pixels"] < 100 > figures["AUPRO up to 30 % false positives"] > 0
    assert "4 masks" in page
    picture = (tmp_path / "fig8.png").read_bytes()
    (gallery,) = (tmp_path / "cells").glob("*.png")
    assert gallery.read_bytes() == picture
    gallery.unlink()  # a cell without its picture is not finished
    reproduce("fig8", tiles, tmp_path, *split)
    assert (tmp_path / "fig8.png").read_bytes() == gallery.read_bytes()


def test_table_3_has_seven_rows_from_four_fits(tiles, tmp_path):
    sizes = ("--set", "sizes=[48,32]", "--seeds", "1", "--split", str(tiles / "split.txt"))
    many = ("--set", "score_views=64", "--set", "epochs=1", "--set", "hidden=8", "--set", "blocks=1")
    _, rows, page = reproduce("table3", tiles, tmp_path, *sizes, *many)
    assert [row[:4] for row in rows[1:]] == [
        ["A", "48", "no", "1"],
        ["B", "48, 32", "no", "1"],
        ["C", "48", "yes", "64"],
        ["D", "48, 32", "yes", "1"],
        ["E", "48, 32", "yes", "4"],
        ["F", "48, 32", "yes", "16"],
        ["G", "48, 32", "yes", "64"],
    ]
    assert len(kept(tmp_path)) == 4
    assert all(0 <= float(row[4]) <= 100 for row in rows[1:])
    assert [bool(row[6]) for row in rows[1:]] == [True, True, True, False, False, False, True]
    assert "could not be checked" in page


def test_rows_of_the_ablation_take_as_many_steps():
    base = config.resolve("turned", {"score_views": 64})
    plain, turned = (targets.ablated(base, (224,), is_turned) for is_turned in (False, True))
    for settings in (plain, turned):
        assert settings.is_settled
        assert (settings.backbone.precision, settings.backbone.sizes) == ("f32", (224,))
    assert (plain.views.rotation, plain.views.train_views, plain.views.brightness) == ("none", 1, (1.0, 1.0))
    assert plain.training.epochs * 1 == turned.training.epochs * turned.views.train_views
    paper = targets.ablated(config.resolve("paper"), (448,), False)
    assert (paper.training.epochs, paper.views.train_views) == (192, 4)  # fresh views are drawn, all alike
    assert (
        targets.ablated(config.resolve("default"), (224,), True).flow
        == config.resolve("default", {"blocks": 8, "hidden": 256}).flow
    )


def test_table_1_by_category_and_with_few_images(categories, tmp_path):
    options = ("--seeds", "2", "--shots", "3")
    _, rows, page = reproduce("table1", categories, tmp_path, *options)
    assert [row[0] for row in rows[1:]] == ["bottle", "screw", "mean"]
    assert rows[0][6].startswith("3 images: ")
    values = [float(row[3]) for row in rows[1:]]
    assert values[2] == pytest.approx(np.mean(values[:2]), abs=1e-3)
    assert len(kept(tmp_path)) == 8
    assert all(row[2] == "" for row in rows[1:])  # two categories are not the fifteen of the published mean
    assert published.TABLE1_1NN in page


def test_one_model_for_all_categories(categories, tmp_path):
    _, rows, page = reproduce("multimodal", categories, tmp_path, "--seeds", "1")
    assert [row[:2] for row in rows[1:]] == [
        ["bottle", "6"],
        ["screw", "6"],
        ["mean", "12"],
        ["all test images as one", "12"],
    ]
    (cell,) = [json.loads(path.read_text()) for path in (tmp_path / "cells").glob("*.json")]
    assert (cell["n_train"], len(cell["scores"])) == (12, 12)
    first, second = np.array(cell["scores"][:6]), np.array(cell["scores"][6:])
    labels = np.array([defect != "good" for defect in cell["defects"][:6]])
    assert float(rows[1][3]) == pytest.approx(100 * auroc(first, labels), abs=1e-3)
    assert float(rows[2][3]) == pytest.approx(100 * auroc(second, labels), abs=1e-3)
    assert targets.TARGETS["multimodal"].settings == {"blocks": 12}
    assert '"blocks": 2' in page  # --set has the last word


def test_btad_by_the_protocol_of_the_report(tmp_path):
    root = tmp_path / "btad"
    for name in ("01", "02"):
        for i in range(4):
            save(root / name / f"train/ok/{i}.bmp", good_image(i, 40))
        save(root / name / "test/ok/0.bmp", good_image(77, 40))
        pixels, mask = defective_image(3, 40)
        save(root / name / "test/ko/0.bmp", pixels)
        save(root / name / "ground_truth/ko/0.png", mask.astype(np.uint8) * 255)
    _, rows, page = reproduce("btad-report", root, tmp_path / "out", "--seeds", "1")
    assert [row[:3] for row in rows[1:]] == [["01", "4", "95.53"], ["02", "4", "79.53"], ["mean", "", ""]]
    assert "student report" in page
    protocol = config.resolve("paper", targets.TARGETS["btad-report"].settings)
    assert (protocol.backbone.sizes, protocol.training.epochs) == ((448,), 40)
    assert (protocol.backbone.backbone, protocol.training.length) == ("alexnet", 1.0)
    assert (
        "Here: test_efficientnet, 32 pixels, 4 epochs." in page
    )  # --set has the last word, and the page says so


def test_the_paper_preset_runs_from_a_local_file_of_alexnet(categories, tmp_path):
    file = tmp_path / "alexnet.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), file)
    small = {"blocks": 1, "hidden": 8, "epochs": 1, "score_views": 2, "sizes": [64]}
    options = [x for name, value in small.items() for x in ("--set", f"{name}={json.dumps(value)}")]
    arguments = ["--category", "bottle", "--weights", str(file), "--seeds", "1", "--shots", "3"]
    out = tmp_path / "out"
    done = RUN.invoke(app, ["reproduce", "table1", str(categories), "--out", str(out), *arguments, *options])
    assert done.exit_code == 0, done.output
    page = (out / "table1.md").read_text()
    assert "Preset `paper`. Backbone: alexnet, weights: file, f32." in page
    assert "stand-in" not in page
    assert "--weights alexnet.pth" in page
    file.write_bytes(b"")
    other = RUN.invoke(app, ["reproduce", "table1", str(categories), "--out", str(out), *arguments, *options])
    assert other.exit_code == 2  # other weights are other cells
    assert "not readable as weights" in other.stderr


def test_what_cannot_be_reproduced_is_said(categories, tiles, tmp_path):
    def refused(*arguments):
        done = RUN.invoke(app, ["reproduce", *map(str, arguments), "--out", str(tmp_path), *OPTIONS])
        assert done.exit_code == 2, done.output
        return done.stderr

    assert "'table9' is not one of table1, table2" in refused("table9", tiles)
    assert "one category was wanted, found bottle, screw: name one with --category" in refused(
        "fig7", categories
    )
    assert "several categories are wanted" in refused("multimodal", tiles)
    assert "expected MT_Free" in refused("table2", categories, "--layout", "mtd")
    for i in range(3):
        save(tmp_path / f"plain/good/{i}.png", good_image(i, 40))
    assert "both good and defective test images, are needed" in refused("table2", tmp_path / "plain")
    save(tmp_path / "plain/dent/0.png", defective_image(0, 40)[0])
    assert "no masks of defects" in refused("fig8", tmp_path / "plain")
    assert not (tmp_path / "cells").exists()


def test_a_cell_depends_on_all_that_goes_into_it(categories, tmp_path, monkeypatch):
    def key(plan, weights="random", device="cpu"):
        return Lab(tmp_path, weights, device, lambda *_: None, lambda *_: None).key(plan)

    bottle, screw = read(categories)
    settings = config.resolve("default", SMALL)
    plan = Plan(bottle, settings, 0)
    auto = Plan(bottle, config.resolve(settings, {"runtime": "auto", "precision": "auto"}), 0)
    plans = [
        plan,
        auto,
        Plan(screw, settings, 0),
        Plan(bottle, settings, 1),
        Plan(bottle, config.resolve(settings, {"epochs": 5}), 0),
        Plan(bottle, settings, 0, 3),
        Plan(bottle, settings, 0, maps=True),
        Plan(bottle, settings, 0, view_counts=(1,)),
    ]
    keys = [key(one) for one in plans] + [key(plan, None), key(plan, device="meta")]
    with monkeypatch.context() as patch:  # what "auto" comes to where the fast runtimes are not installed
        patch.setattr(placement, "_is_installed", lambda package: False)
        assert key(plan) == keys[0]
        keys.append(key(auto))
    monkeypatch.setattr(plans_module, "versions", lambda: {"torch": "0.1"})
    keys.append(key(plan))
    assert len(set(keys)) == 12
    monkeypatch.undo()
    shutil.copytree(categories / "bottle", tmp_path / "elsewhere" / "bottle")
    assert key(Plan(read(tmp_path / "elsewhere")[0], settings, 0)) == keys[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda sample: {"mask_level": 1},
        lambda sample: {"group": "a"},
        lambda sample: {"defect": "cut"},
        lambda sample: {"mask": None},
        lambda sample: {"path": sample.path.with_name("1.png")},
    ],
)
def test_a_cell_depends_on_each_sample_and_on_the_content_of_files(categories, tmp_path, change):
    (data,) = read(categories, categories=["bottle"])
    index = next(i for i, sample in enumerate(data.samples) if sample.mask)
    sample = data.samples[index]

    def content(changed):
        return Dataset("bottle", (*data.samples[:index], changed, *data.samples[index + 1 :])).digest()

    assert content(dataclasses.replace(sample, **change(sample))) != data.digest() == content(sample)
    other = tmp_path / sample.mask.name
    pixels = np.array(Image.open(sample.mask))
    Image.fromarray(pixels).save(other)
    assert content(dataclasses.replace(sample, mask=other)) == data.digest()
    pixels[0, 0] ^= 255
    Image.fromarray(pixels).save(other)
    assert content(dataclasses.replace(sample, mask=other)) != data.digest()


def test_maps_that_fail_do_not_lose_the_scores_of_a_fit(categories, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no room\nfor a map")

    told = []
    lab = Lab(tmp_path, "random", "cpu", lambda *_: None, lambda _, was_kept: told.append(was_kept))
    (data,) = read(categories, categories=["bottle"])
    plan = Plan(data, config.resolve("default", SMALL), 0, maps=True)
    with monkeypatch.context() as patch:
        patch.setattr(reproduction, "map_of_image", fail)
        with pytest.warns(DifferNetWarning, match="heat maps could not be measured: RuntimeError: no room"):
            cell = lab.run(plan)
    assert (cell.pixel_auroc, cell.pixel_aupro, cell.picture) == (None, None, None)
    assert cell.pixel_failure == "RuntimeError: no room"
    again = lab.run(plan)
    assert told == [False, True]
    assert again.scores.tolist() == cell.scores.tolist()
    order = Order((data,), plan.settings, (0,), None, (), lab.run)
    report = targets.fig8(order)
    assert report.table.rows[1][1:] == (None, None, None)
    assert "Heat maps could not be measured: RuntimeError: no room" in report.notes


def test_masks_that_do_not_fit_are_refused_before_a_fit(categories, tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "_compute", None)
    (data,) = read(categories, categories=["bottle"])
    lab = Lab(tmp_path, "random", "cpu", lambda *_: None, lambda *_: None)
    for pixels, message in (
        (np.ones((40, 40), np.uint8), "no pixel of the mask is as bright as 128 of 255, the brightest is 1"),
        (np.full((40, 30), 255, np.uint8), r"mask of \(40, 30\) for an image of \(40, 40\) pixels"),
    ):
        save(tmp_path / "mask.png", pixels)
        samples = tuple(
            dataclasses.replace(sample, mask=tmp_path / "mask.png") if sample.mask else sample
            for sample in data.samples
        )
        with pytest.raises(LayoutError, match=message):
            lab.run(Plan(Dataset("bottle", samples), config.resolve("default", SMALL), 0, maps=True))


def test_masks_without_a_defect_give_no_figures_of_pixels(categories, tmp_path):
    (data,) = read(categories, categories=["bottle"])
    save(tmp_path / "mask.png", np.zeros((40, 40), np.uint8))
    samples = tuple(
        dataclasses.replace(sample, mask=tmp_path / "mask.png") if sample.mask else sample
        for sample in data.samples
    )
    lab = Lab(tmp_path / "cells", "random", "cpu", lambda *_: None, lambda *_: None)
    quick = config.resolve("default", SMALL | {"epochs": 1})
    cell = lab.run(Plan(Dataset("bottle", samples), quick, 0, maps=True))
    assert (cell.pixel_auroc, cell.pixel_aupro, cell.pixel_failure) == (None, None, "")
    assert cell.picture.is_file()


def test_what_cannot_be_written_is_refused_before_a_fit(tiles, tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "_compute", None)
    (tmp_path / "file").write_text("")
    (tmp_path / "out" / "fig6.md").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cells").write_text("")
    for out, message in (("file", "cannot write"), ("out", "it is a folder"), ("other", "cannot write")):
        done = RUN.invoke(app, ["reproduce", "fig6", str(tiles), "--out", str(tmp_path / out), *OPTIONS])
        assert done.exit_code == 2, done.output
        assert message in done.stderr


def test_options_that_a_target_does_not_take_are_refused(tiles, tmp_path):
    for target, option, message in (("fig7", "--shots", "--count"), ("fig5", "--count", "for fig7")):
        done = RUN.invoke(app, ["reproduce", target, str(tiles), "--out", str(tmp_path), option, "4"])
        assert done.exit_code == 2
        assert message in done.stderr


def order_of(names, layout="", shots=None, split_file=None, seeds=(0,)):
    """Ask for something of data sets that are names alone; cells are made up, and kept in the list beside."""
    samples = tuple(Sample(Path(f"{i}.png"), "train") for i in range(20))
    samples += (Sample(Path("x.png"), "test"), Sample(Path("y.png"), "test", "dent"))
    tables = tuple(Dataset(name, samples, layout, split_file) for name in names)
    plans = []

    def run(plan):
        plans.append(plan)
        scores = [1.0, 2.0] * (len(plan.dataset.test) // 2)
        n_train = plan.shots or len(plan.dataset.train)
        return dataclasses.replace(
            cell_of(scores, [False, True] * (len(scores) // 2)), shots=plan.shots, n_train=n_train
        )

    return Order(tables, config.DEFAULT, seeds, shots, (), run), plans


@pytest.mark.parametrize("name", [name for name, target in targets.TARGETS.items() if target.takes_shots])
def test_every_target_draws_as_few_images_as_are_asked_for(name, monkeypatch):
    monkeypatch.setattr(Sample, "mask", Path("m.png"))
    names = ["a", "b"] if name == "multimodal" else ["a"]
    order, plans = order_of(names, shots=4, seeds=(0, 1))
    report = targets.TARGETS[name].make(order)
    few = [plan for plan in plans if 4 in (plan.shots, len(plan.dataset.train) / len(names))]
    if name in ("table1", "table2"):
        assert len(few) == len(plans) / 2
    else:
        assert len(few) == len(plans)
        assert any("Fitted to 4 training images, drawn by each seed" in note for note in report.notes)
    if name == "fig6":
        assert [plan.seed for plan in plans] == [0]  # the one that is drawn
    if name == "multimodal":
        assert plans[0].dataset.train != plans[1].dataset.train


def test_categories_that_say_nothing_are_refused_before_a_fit():
    order, plans = order_of(["a", "b"])
    first, second = order.datasets
    lame = dataclasses.replace(second, samples=second.samples[:-1])
    with pytest.raises(LayoutError, match=r"'b', 20 train, 1 good and 0 defective.* are needed"):
        targets.multimodal(dataclasses.replace(order, datasets=(first, lame)))
    assert plans == []


def test_a_damaged_cell_is_named_and_one_of_another_version_refused(categories, tmp_path):
    lab = Lab(tmp_path, "random", "cpu", lambda *_: None, lambda *_: None)
    plan = Plan(read(categories)[0], config.resolve("default", SMALL), 0)
    cell = lab.run(plan)
    again = lab.run(plan)
    assert cell.scores.tolist() == again.scores.tolist()
    assert (cell.looks, cell.defects, cell.choice) == (again.looks, again.defects, again.choice)
    assert [epoch for epoch, _ in cell.looks] == [1, 2, 3, 4]
    assert cell.looks[-1][1] == pytest.approx(cell.auroc)  # the last look is at the result
    assert cell.fit_seconds > 0 < cell.score_seconds_per_image
    (file,) = tmp_path.glob("*.json")
    whole = file.read_text()
    for text in ("", "{}", whole.replace('"looks"', '"glances"'), whole[:-30]):
        file.write_text(text)
        with pytest.raises(ModelFileError, match="remove it to have it computed again"):
            lab.run(plan)
    empty = read(categories)[0]
    with pytest.raises(LayoutError, match="are needed"):
        lab.run(Plan(type(empty)("nothing", tuple(empty.train)), plan.settings, 0))


def test_a_cell_is_what_the_detector_says(categories, tmp_path):
    data, settings = read(categories)[1], config.resolve("default", SMALL | {"holdout": 0})
    plan = Plan(data, settings, 1, shots=4, maps=True, view_counts=(1, 4))
    cell = Lab(tmp_path, "random", "cpu", lambda *_: None, lambda *_: None).run(plan)
    with pytest.warns(UserWarning, match="no good images were held out"):
        detector = DifferNet(settings, 1, "random").fit([s.path for s in data.shots(4, seed=1).train])
    tests = [sample.path for sample in data.test]
    assert cell.scores == pytest.approx(detector.score(tests), rel=1e-6)
    assert cell.by_views[4] == pytest.approx(cell.scores)
    assert cell.by_views[1] == pytest.approx(detector.score(tests, views=1), rel=1e-6)
    heats = [detector.localize(path).ravel() for path in tests]
    masks = [sample.true_mask((40, 40)).ravel() for sample in data.test]
    pixels = roc_auc_score(np.concatenate(masks), np.concatenate(heats))
    assert cell.pixel_auroc == pytest.approx(pixels, abs=1e-3)


def cell_of(scores, labels, looks=()):
    defects = tuple("dent" if label else "good" for label in labels)
    return Cell("x", 0, None, 1, defects, np.array(scores), {}, looks, None, None, 1.0, 1.0, None, "", "f32")


def test_a_page_says_what_was_found_out_and_keeps_published_figures_as_printed(tmp_path):
    cell = dataclasses.replace(cell_of([1.0, 2.0], [False, True]), choice="looked at upright", backbone="b")
    table = Table(("a", "b"), (("x|y", 1 / 3), ("94.90", None), ("n", 7)))
    report = Report("A title", table, (cell,), ("A note.",))
    origin = reproduction_files.Origin("differnet reproduce x", "default", config.resolve("default"))
    paths = reproduction_files.write(tmp_path, "t", report, origin)
    assert [path.name for path in paths] == ["t.csv", "t.md"]
    assert (tmp_path / "t.csv").read_bytes() == b"a,b\r\nx|y,0.3333\r\n94.90,\r\nn,7\r\n"
    page = (tmp_path / "t.md").read_text()
    assert "| a | b |\n| --- | --- |\n| x\\|y | 0.33 |\n| 94.90 |  |\n| n | 7 |\n" in page
    assert "- A note.\n" in page
    assert "- x, seed 0, 1 images: looked at upright\n" in page
    assert "Fits: 1, of 1 to 1 s; 1000 to 1000 ms an image" in page
    assert reproduction_files.to_dict("t", report, origin)["rows"] == [
        ["x|y", 1 / 3],
        ["94.90", None],
        ["n", 7],
    ]


def test_recall_at_a_rate_of_false_alarms_by_hand():
    scores = [*range(1, 11), 8.5, 9.5, 20.0]
    cell = cell_of(scores, [False] * 10 + [True] * 3)
    assert targets.recall_at(cell, 0.0) == pytest.approx(1 / 3) == cell.recall
    assert targets.recall_at(cell, 0.09) == pytest.approx(1 / 3)
    assert targets.recall_at(cell, 0.1) == pytest.approx(2 / 3)  # one of ten good ones may be rejected
    assert targets.recall_at(cell, 0.2) == pytest.approx(1)
    assert cell.recall == recall_without_false_alarms(cell.scores, cell.is_defective)


@pytest.mark.parametrize(
    ("names", "layout", "shots", "wanted"),
    [
        (sorted(published.MVTEC), "mvtec", None, ("94.9", "87.3")),
        (sorted(published.MVTEC), "mvtec", 8, ("94.9", None)),
        (sorted(published.MVTEC), "folder", None, (None, None)),
        ([f"other {i}" for i in range(15)], "mvtec", None, (None, None)),
    ],
)
def test_published_means_stand_beside_the_data_they_are_of(names, layout, shots, wanted):
    (*_, mean) = targets.table1(order_of(names, layout, shots)[0]).table.rows
    assert (mean[2], mean[6]) == wanted


def test_published_figures_of_tiles_and_btad_stand_beside_their_data_alone():
    tiles = targets.table2(order_of(["magnetic tiles"], "mtd", split_file="names.txt")[0])
    assert [row[1] for row in tiles.table.rows[-2:]] == ["97.7", None]
    by_chance = targets.table2(order_of(["magnetic tiles"], "mtd")[0])
    assert [row[1] for row in by_chance.table.rows] == [None, None]
    assert "the paper's split" in by_chance.notes[-1]
    table = targets.table2(order_of(["magnetic tiles"], "table")[0])
    assert [row[1] for row in table.table.rows] == [None, None]
    assert len(table.notes) == 1
    assert targets.fig5(order_of(["magnetic tiles"], "mtd", split_file="n.txt")[0]).table.rows[0][1] == "97.7"
    assert targets.fig5(order_of(["magnetic tiles"], "mtd", 4, "n.txt")[0]).table.rows[0][1] is None
    for layout, shots, known in (("btad", None, "95.53"), ("btad", 4, None), ("mvtec", None, None)):
        assert targets.btad_report(order_of(["01"], layout, shots)[0]).table.rows[0][2] == known
    every = sorted(published.MVTEC)
    for layout, shots, known in (("mvtec", None, "90.2"), ("mvtec", 4, None), ("table", None, None)):
        assert targets.multimodal(order_of(every, layout, shots)[0]).table.rows[15][2] == known


def test_the_best_epoch_is_at_least_the_last():
    labels = [False, False, True]
    assert cell_of([1.0, 2.0, 3.0], labels, ((1, 0.5),)).best_auroc == 1.0
    assert cell_of([1.0, 3.0, 2.0], labels, ((1, 0.9), (2, 0.5))).best_auroc == 0.9
    assert cell_of([1.0, 3.0, 2.0], labels).best_auroc == 0.5


def test_published_figures_have_a_source_and_differnet_leads_what_its_paper_compares():
    paper = [float(figure.value) for figure in published.TABLE2 if figure.source == published.PAPER]
    assert len(paper) == 6
    assert max(paper) < float(published.TABLE2_DIFFERNET)
    assert all(figure.source for figure in published.TABLE2)
