"""One to five good images: a detector with a note, or an error that says what to do, whatever the settings."""

from __future__ import annotations

import itertools
import json
import re
import warnings

import numpy as np
import pytest
from typer.testing import CliRunner

from differnet import DifferNet
from differnet.cli.app import app
from differnet.errors import ConfigError, DifferNetWarning
from support.tiny import OPTIONS, defective_image, good_image, save, save_parts

IMAGES = [good_image(index) for index in range(5)]
PRESETS = ("default", "single", "fast", "thorough", "turned")
# what makes a preset quick; how it reads, starts and turns stays its own
QUICK = {
    "backbone": "test_efficientnet",
    "sizes": [64, 32],
    "precision": "f32",
    "runtime": "torch",
    "stages": [2, 3],
    "hidden": 8,
    "blocks": 2,
    "epochs": 1,
    "min_steps": 2,
    "train_views": 2,
    "score_views": 2,
    "map_views": 1,
}


def outcome(preset, count, **settings):
    """Return the detector and what was said, or the error."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            detector = DifferNet(preset, 1, "random", **QUICK | settings).fit(IMAGES[:count])
        except ConfigError as error:
            return None, str(error)
    assert {one.category for one in said} <= {DifferNetWarning}  # of a library nothing is heard
    return detector, " | ".join(str(one.message) for one in said)


@pytest.mark.parametrize(("preset", "count"), list(itertools.product(PRESETS, range(1, 6))))
@pytest.mark.parametrize("settings", [{}, {"holdout": 0}, {"folds": 2}], ids=["held out", "none", "folds"])
def test_few_images_make_a_detector_with_a_note_or_say_what_to_do(preset, count, settings):
    detector, said = outcome(preset, count, **settings)
    if count == 1 and settings.get("holdout") != 0:
        assert detector is None
        wanted = "1 image in 1 group: at least two groups|2 folds of 1 image in 1 group: from 2 folds"
        assert re.match(wanted, said)
        return
    fitted = detector.model.train_count
    assert fitted == count - (0 if settings else max(1, round(0.2 * count)))
    assert (
        f"{fitted} good image{'' if fitted == 1 else 's'} to fit to {'is' if fitted == 1 else 'are'} very few"
        in said
    )
    prediction = detector.predict(IMAGES[0], heat_map=True)
    assert np.isfinite(prediction.score)
    assert np.isfinite(prediction.heat_map).all()
    if settings.get("holdout") == 0:
        assert prediction.is_defective is None
        assert "no good images were held out, so there is no threshold" in said
        return
    held = count if settings else count - fitted
    kind = "cross-fitted" if settings else "held-out"
    assert f"{held} {kind} good image{' is' if held == 1 else 's are'} too few" in said
    assert prediction.is_defective is not None
    assert detector.promise.promised == pytest.approx(1 / (held + 1))


def test_images_that_are_all_the_same_make_a_detector(tmp_path):
    for count in (2, 3, 8):
        with pytest.warns(DifferNetWarning):
            detector = DifferNet("fast", 1, "random", **QUICK).fit([IMAGES[0]] * count)
        assert np.isfinite(detector.predict(defective_image(0)[0]).score)


@pytest.fixture
def data(tmp_path):
    save_parts(tmp_path / "nut", fitted=6, judged=3, first=20)
    return tmp_path


@pytest.mark.parametrize("shots", [1, 2, 3])
@pytest.mark.parametrize(
    "more", [[], ["--set", "folds=2"], ["--set", "holdout=0"]], ids=["", "folds", "none"]
)
def test_few_shots_are_measured(data, shots, more):
    arguments = ["evaluate", str(data), "--shots", str(shots), "--seeds", "1", "--no-maps", "--json"]
    done = CliRunner().invoke(app, [*arguments, *OPTIONS, *more])
    if done.exit_code == 2:
        assert "defect of differnet" not in done.stderr
        assert shots < 2
        assert "2 folds of 1 image" in re.sub(r"\s+", " ", done.stderr)
        return
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["n_train"] == shots
    assert 0 <= document["image_auroc"][0] <= 1


@pytest.mark.parametrize("count", [1, 2])
def test_the_command_says_so_in_right_grammar(tmp_path, count):
    for index in range(count):
        save(tmp_path / f"good/{index}.png", good_image(index, 40))
    model = str(tmp_path / "m.safetensors")
    done = CliRunner().invoke(app, ["fit", str(tmp_path / "good"), "--out", model, *OPTIONS])
    said = re.sub(r"\s+", " ", done.stderr)
    if count == 1:
        assert done.exit_code == 2
        assert (
            "1 image in 1 group: at least two groups are needed to hold one out; give more images, or holdout=0"
            in said
        )
        return
    assert done.exit_code == 0, done.output
    assert "Fitted on 1 good image." in done.stdout
    assert "1 held-out good image is too few to promise" in said
    assert "1 good image to fit to is very few" in said
    assert "shoot" not in said
    assert not re.search(r"\b1 [a-z -]*images\b", said + done.stdout)
