"""The cells of the paper's tables: what they depend on, what is kept, and what is refused before a fit."""

from __future__ import annotations

import dataclasses
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from differnet import DifferNet
from differnet.config import presets
from differnet.data.datasets import Dataset, read
from differnet.errors import DifferNetWarning, ImageError, LayoutError, ModelFileError
from differnet.evaluation.paper import cells, figures
from differnet.evaluation.paper import plan as plans_module
from differnet.evaluation.paper.cells import Lab
from differnet.evaluation.paper.plan import Plan
from differnet.evaluation.paper.report import Study
from differnet.features.backbone import select
from support.tiny import SMALL, save


def test_a_cell_depends_on_all_that_goes_into_it(categories, tmp_path, monkeypatch):
    def key(plan, weights="random", device="cpu"):
        return Lab(tmp_path, weights, device, lambda *_: None, lambda *_: None).key(plan)

    bottle, screw = read(categories)
    settings = presets.resolve("default", SMALL)
    plan = Plan(bottle, settings, 0)
    auto = Plan(bottle, presets.resolve(settings, {"runtime": "auto", "precision": "auto"}), 0)
    plans = [
        plan,
        auto,
        Plan(screw, settings, 0),
        Plan(bottle, settings, 1),
        Plan(bottle, presets.resolve(settings, {"epochs": 5}), 0),
        Plan(bottle, settings, 0, 3),
        Plan(bottle, settings, 0, maps=True),
        Plan(bottle, settings, 0, view_counts=(1,)),
    ]
    keys = [key(one) for one in plans] + [key(plan, None), key(plan, device="meta")]
    with monkeypatch.context() as patch:  # what "auto" comes to where the fast runtimes are not installed
        patch.setattr(select, "_is_installed", lambda package: False)
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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_place_of_an_image_is_refused_and_not_waited_for(categories, tmp_path):
    (data,) = read(categories, categories=["bottle"])
    os.mkfifo(tmp_path / "pipe.png")
    first = dataclasses.replace(data.samples[0], path=tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="pipe"):
        Dataset("bottle", (first, *data.samples[1:])).digest()


def test_maps_that_fail_do_not_lose_the_scores_of_a_fit(categories, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no room\nfor a map")

    told = []
    lab = Lab(tmp_path, "random", "cpu", lambda *_: None, lambda _, was_kept: told.append(was_kept))
    (data,) = read(categories, categories=["bottle"])
    plan = Plan(data, presets.resolve("default", SMALL), 0, maps=True)
    with monkeypatch.context() as patch:
        patch.setattr(cells, "localize", fail)
        with pytest.warns(DifferNetWarning, match="heat maps could not be measured: RuntimeError: no room"):
            cell = lab.run(plan)
    assert (cell.pixel_auroc, cell.pixel_aupro, cell.picture) == (None, None, None)
    assert cell.pixel_failure == "RuntimeError: no room"
    again = lab.run(plan)
    assert told == [False, True]
    assert again.scores.tolist() == cell.scores.tolist()
    order = Study((data,), plan.settings, (0,), None, (), lab.run)
    report = figures.fig8(order)
    assert report.table.rows[1][1:] == (None, None, None)
    assert "Heat maps could not be measured: RuntimeError: no room" in report.notes


def test_masks_that_do_not_fit_are_refused_before_a_fit(categories, tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "_compute", None)
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
            lab.run(Plan(Dataset("bottle", samples), presets.resolve("default", SMALL), 0, maps=True))


def test_masks_without_a_defect_give_no_figures_of_pixels(categories, tmp_path):
    (data,) = read(categories, categories=["bottle"])
    save(tmp_path / "mask.png", np.zeros((40, 40), np.uint8))
    samples = tuple(
        dataclasses.replace(sample, mask=tmp_path / "mask.png") if sample.mask else sample
        for sample in data.samples
    )
    lab = Lab(tmp_path / "cells", "random", "cpu", lambda *_: None, lambda *_: None)
    quick = presets.resolve("default", SMALL | {"epochs": 1})
    cell = lab.run(Plan(Dataset("bottle", samples), quick, 0, maps=True))
    assert (cell.pixel_auroc, cell.pixel_aupro, cell.pixel_failure) == (None, None, "")
    assert cell.picture.is_file()


def test_a_damaged_cell_is_named_and_one_of_another_version_refused(categories, tmp_path):
    lab = Lab(tmp_path, "random", "cpu", lambda *_: None, lambda *_: None)
    plan = Plan(read(categories)[0], presets.resolve("default", SMALL), 0)
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
    data, settings = read(categories)[1], presets.resolve("default", SMALL | {"holdout": 0})
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
