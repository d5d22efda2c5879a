"""Images that belong together stay on one side of every split, and the model says so."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest

import differnet
from differnet import DifferNet
from differnet.data.groups import folds_of, hold_out
from differnet.data.sisters.find import Summary
from differnet.detector import crossfit
from differnet.detector.integers import _shared_out
from differnet.errors import ConfigError, DifferNetWarning
from differnet.features.look import Given
from support.tiny import SMALL, good_image, save

QUICK = SMALL | {"epochs": 1, "rate": 0.3}
OPEN = QUICK | {
    "grid": 2,
    "pooling": "auto",
    "start": "gaussian",
    "rotation": "none",
    "score_rotations": "even",
}
PARTS = [good_image(index) for index in range(40)]
NAMES = [f"item{part:02}_{number}.png" for part in range(10) for number in range(4)]


def fit(images, **options):
    settings = QUICK | options.pop("settings", {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        return DifferNet("default", 1, "random", **settings).fit(images, scale_maps=False, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("items")
    for name, picture in zip(NAMES, PARTS, strict=True):
        save(root / name, picture)
    return root


@pytest.fixture(scope="module")
def grouped(folder):
    return fit(sorted(folder.iterdir()))


def test_items_are_held_out_whole_and_the_model_says_so(grouped, tmp_path):
    model = grouped.model
    record, fitted = model.calibrated_on, model.fitted_on
    assert (record.groups, record.count) == (2, 8)
    assert Counter(record.sources.members) == {0: 4, 1: 4}
    assert not set(record.sources.groups) & set(fitted.groups)
    assert model.sisters == Summary(40, 10, 40, 4, ("their name",))
    assert model.effective.value == 2  # of two groups nothing can be told
    grouped.save(tmp_path / "part.safetensors")
    again = differnet.load(tmp_path / "part.safetensors").model
    assert (again.sisters, again.calibrated_on, again.fitted_on) == (model.sisters, record, fitted)


def test_what_it_is_worth_is_warned_of_in_numbers(folder):
    with pytest.warns(DifferNetWarning, match="worth about 2 independent ones: 1% is not provable with them"):
        DifferNet("default", 1, "random", **QUICK | {"rate": 0.01}).fit(folder, scale_maps=False)


def test_it_can_be_overruled(folder, grouped):
    paths = sorted(folder.iterdir())
    plain = fit(paths, settings={"sisters": "ignore"})
    assert plain.model.sisters is None
    assert plain.model.calibrated_on.groups == 8
    np.testing.assert_array_equal(
        plain.model.view_scores, fit(PARTS).model.view_scores
    )  # names say nothing there
    mine = fit(paths, groups=[index % 10 for index in range(40)])
    assert mine.model.sisters is None
    assert mine.model.calibrated_on.sources.groups != grouped.model.calibrated_on.sources.groups


def test_images_without_sisters_are_split_as_if_none_were_looked_for():
    found, ignored = fit(PARTS), fit(PARTS, settings={"sisters": "ignore"})
    assert found.model.sisters == Summary(40, 40, 0, 1)
    assert found.model.calibrated_on.groups == 8
    np.testing.assert_array_equal(found.model.view_scores, ignored.model.view_scores)


def test_fewer_groups_than_folds_are_no_error_unless_they_were_given(folder):
    paths = sorted(folder.iterdir())
    model = fit(paths, settings={"folds": 20}).model
    assert (model.calibrated_on.folds, len(model.view_scores)) == (10, 40)
    with pytest.raises(ConfigError, match="20 folds of 40 images in 10 groups"):
        fit(paths, settings={"folds": 20}, groups=[index // 4 for index in range(40)])


def test_calibrating_finds_them_as_well(grouped, tmp_path):
    for name, index in zip(NAMES, range(100, 140), strict=True):
        save(tmp_path / name.replace("item", "lot"), good_image(index))
    again = differnet.DifferNet.__copy__(grouped)
    with pytest.warns(DifferNetWarning, match="are of 10 groups"):
        again.calibrate(tmp_path, rate=0.1, confidence=None)
    assert again.model.calibrated_on.groups == 10
    assert 10 <= again.model.effective.value <= 40


def test_preparing_and_fitting_with_the_same_images_is_fitting(folder):
    paths = sorted(folder.iterdir())
    alone = fit(paths, settings=OPEN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        ready = DifferNet("default", 1, "random", **QUICK | OPEN).prepare(paths)
        ready.fit(paths, scale_maps=False)
    assert ready.model.choice == alone.model.choice
    np.testing.assert_array_equal(ready.model.view_scores, alone.model.view_scores)


def test_images_that_took_part_in_choosing_are_not_held_out(folder):
    paths = sorted(folder.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        ready = DifferNet("default", 1, "random", **OPEN | {"holdout": 0.0}).prepare(paths)
        with pytest.raises(
            ConfigError, match=r"8 of 8 held-out images took part .* prepare and fit with the same"
        ):
            ready.sibling(holdout=0.2).fit(paths)
        whole = ready.fit(paths, scale_maps=False)
        with pytest.raises(ConfigError, match="took part in finding out"):
            whole.sibling(holdout=0.2).fit(paths)
        others = [good_image(index) for index in range(300, 320)]
        assert ready.sibling(holdout=0.2).fit(others, scale_maps=False).model.train_count == 16


def test_integers_take_whole_groups_for_ranges_or_for_the_gate():
    groups = [index // 4 for index in range(40)]
    ranges, others = _shared_out(Given(PARTS, groups), 0)
    assert sorted(ranges + others) == list(range(40))
    assert len(ranges) == 20
    assert not {groups[index] for index in ranges} & {groups[index] for index in others}
    with pytest.raises(ConfigError, match="each too large for the ranges"):
        _shared_out(Given(PARTS[:3], [0, 0, 0]), 0)


def test_a_large_group_is_held_out_as_often_as_a_small_one():
    groups = ["large"] * 45 + [f"small{index}" for index in range(55)]
    held = [{groups[i] for i in hold_out(groups, 0.2, seed)[1]} for seed in range(200)]
    times, plain = (sum(name in one for one in held) for name in ("large", "small3"))
    assert 0.7 * plain < times < 1.3 * plain
    for seed in range(20):
        assert len(hold_out(groups, 0.2, seed)[1]) >= 20
    two = [sum(hold_out(["a"] * 5 + ["b"] * 5, 0.2, seed)[1]) < 15 for seed in range(40)]
    assert 10 < sum(two) < 30  # either of two


def test_unequal_folds_are_said():
    with pytest.warns(DifferNetWarning, match="the 3 folds hold 2 to 20 images"):
        crossfit.warn_when_unequal(folds_of(["a"] * 20 + ["b", "c", "d", "e"], 3, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        crossfit.warn_when_unequal(folds_of(range(17), 3, 0))
