"""Cross-fitting: every image is scored by a flow that never saw it, nor any image of its group."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import differnet
from differnet import DifferNet, DifferNetWarning
from differnet.cli.app import app
from differnet.data.groups import folds_of
from differnet.decision.thresholds import choose_threshold
from differnet.errors import ConfigError
from support.tiny import TINY, good_image

SETTINGS = TINY | {"epochs": 2, "folds": 4, "rate": 0.1}


@given(st.lists(st.sampled_from("abcdefghij"), min_size=2, max_size=60), st.integers(2, 6), st.integers(0, 3))
def test_folds_keep_groups_together_and_use_every_image_once(groups, folds, seed):
    if folds > len(set(groups)):
        with pytest.raises(ConfigError, match="as many as there are"):
            folds_of(groups, folds, seed)
        return
    parts = folds_of(groups, folds, seed)
    assert len(parts) == folds
    assert all(parts)
    assert sorted(i for part in parts for i in part) == list(range(len(groups)))
    named = [{groups[i] for i in part} for part in parts]
    assert sum(len(names) for names in named) == len(set(groups))
    assert folds_of(groups, folds, seed) == parts


def test_folds_are_of_one_size():
    assert [len(part) for part in folds_of(range(22), 5, 0)] == [5, 5, 4, 4, 4]
    assert [len(part) for part in folds_of([i // 3 for i in range(24)], 4, 1)] == [6, 6, 6, 6]


@pytest.fixture(scope="module")
def crossed():
    images = [good_image(i) for i in range(24)]
    groups = [i // 2 for i in range(24)]
    with pytest.warns(
        DifferNetWarning, match="24 images .* of 12 groups, and the estimate over folds counts"
    ):
        detector = DifferNet("default", 1, "random", **SETTINGS).fit(images, groups)
    return images, groups, detector


def test_each_image_has_the_score_of_a_flow_fitted_to_the_other_folds(crossed):
    images, groups, detector = crossed
    parts = folds_of(groups, 4, 1)
    part = parts[2]
    others = [images[i] for i in range(24) if i not in part]
    alone = DifferNet("default", 1, "random", **SETTINGS | {"folds": 0, "holdout": 0})
    with pytest.warns(DifferNetWarning, match="no good images were held out"):
        alone.fit(others, bank=crossed_bank(alone, images)[[i for i in range(24) if i not in part]])
    wanted = alone.score([images[i] for i in part])
    np.testing.assert_allclose(detector.model.calibration()[part], wanted, rtol=1e-4)


def crossed_bank(detector, images):
    from differnet.features.cache import describe_all

    detector.prepare(images)
    return describe_all(detector.describer, images, 1, lambda stage, done, total: None)


def test_the_flow_that_judges_is_fitted_to_all_images(crossed):
    images, _, detector = crossed
    assert detector.model.train_count == 24
    whole = DifferNet("default", 1, "random", **SETTINGS | {"folds": 0, "holdout": 0})
    with pytest.warns(DifferNetWarning, match="no good images were held out"):
        whole.fit(images)
    np.testing.assert_allclose(detector.score(images[:3]), whole.score(images[:3]), rtol=1e-5)


def test_the_promise_is_named_an_estimate_and_travels(crossed, tmp_path):
    _, _, detector = crossed
    promise = detector.promise
    assert (promise.guarantee, promise.folds, promise.count) == ("cross-fitted", 4, 24)
    assert "as estimated over 4 folds (no proof" in str(promise)
    record = detector.model.calibrated_on
    assert (record.folds, record.count, record.groups, record.same_shoot) == (4, 24, 12, False)
    detector.save(tmp_path / "model")
    loaded = differnet.load(tmp_path / "model")
    assert loaded.promise == promise
    assert loaded.model.calibrated_on == record
    fresh = [good_image(900 + i) for i in range(12)]
    assert loaded.calibrate(fresh, rate=0.1, confidence=None).guarantee == "marginal"


def test_what_folds_leave_unproven_is_said(crossed):
    images, _, detector = crossed
    with pytest.raises(ConfigError, match="cross-fitted, by the flows of 4 folds"):
        detector.drift_monitor()
    with pytest.warns(DifferNetWarning, match="an estimate from 24 cross-fitted images over 4 folds"):
        detector.predict(images[0], views="auto")
    with pytest.warns(DifferNetWarning, match="6 cross-fitted good images are too few .*no proof") as said:
        DifferNet("default", 1, "random", **SETTINGS | {"folds": 2, "epochs": 1}).fit(
            [*images[:5], images[4]], groups=range(6)
        )
    (copies,) = [str(one.message) for one in said if "copies" in str(one.message)]
    assert copies.startswith("1 of the 6 images")
    assert "its copy was fitted to" in copies
    with pytest.warns(DifferNetWarning, match="1 of the 6 images .* and are not; remove the copies"):
        DifferNet("default", 1, "random", **SETTINGS | {"folds": 2, "epochs": 1}).fit(
            [*images[:5], images[4]]
        )


def test_what_folds_cannot_do_is_refused_before_anything_is_looked_at(tmp_path):
    none = [tmp_path / "none.png"] * 6
    for settings, message in (
        ({"confidence": 0.5, "rate": 0.3}, "no such promise is known"),
        ({"folds": 7}, "7 folds of 6 images"),
    ):
        with pytest.raises(ConfigError, match=message):
            DifferNet("default", 1, "random", **SETTINGS | settings).fit(none)
    with pytest.raises(ConfigError, match="folds = 1"):
        DifferNet("default", folds=1)
    with pytest.raises(ConfigError, match="no such promise is known"):
        choose_threshold(np.arange(100.0), 0.05, 0.5, folds=5)


def test_the_command_fits_over_folds(tmp_path):
    (tmp_path / "good").mkdir()
    for i in range(12):
        Image.fromarray(good_image(i)).save(tmp_path / "good" / f"part{i // 2}-{i}.png")
    settings = TINY | {"epochs": 1, "rate": 0.2}
    options = [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    start = ["fit", str(tmp_path / "good"), "--out", str(tmp_path / "m"), "--weights", "random"]
    done = CliRunner().invoke(app, [*start, *options, "--folds", "3", "--group-pattern", r"part\d+"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "Fitted on 12 good images." in said
    assert "from 12 good images: a good part is rejected" in said
    assert "as estimated over 3 folds (no proof" in said
    record = differnet.load(tmp_path / "m", weights="random").model.calibrated_on
    assert (record.groups, record.folds) == (6, 3)
