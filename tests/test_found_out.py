"""What is found out from good images and asked for later must not be lost or contradict itself."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from differnet import DifferNet
from differnet.config import presets
from differnet.config.settled import provisional, settle
from differnet.data.stream import silent
from differnet.detector import provenance
from differnet.detector.tuning import choice, evidence, length, synthetic
from differnet.errors import DifferNetWarning, ModelFileError
from differnet.features.pooling import reading
from support.tiny import TINY

PARTS = [np.random.default_rng(index).integers(0, 256, (48, 48, 3), dtype=np.uint8) for index in range(40)]


@pytest.mark.parametrize("tiles", [1, 6, 8])
def test_cutting_into_tiles_leaves_enough_images_to_find_out_the_rotation(tiles, monkeypatch):
    seen = []

    class Looked(Exception):
        pass

    def look(self, read):
        seen.append((len(self.fitted), len(self.held)))
        raise Looked

    monkeypatch.setattr(choice.Tables, "told_apart", look)
    settings = presets.resolve("fast", {"tiles": tiles})
    with pytest.raises(Looked):
        choice.choose(settings, (80, 112, 192), None, range(1000), None, 0, silent)
    assert seen[0][1] >= choice.FEWEST_HELD


def test_random_weights_are_never_left_untrained():
    quick = presets.resolve("fast", {"rotation": "none", "start": "random", "noise": 0.0})
    assert settle(quick).training.length == 1.0
    assert settle(presets.resolve("fast", {"rotation": "none"})).training.length == 0.0


def test_a_trial_of_random_weights_does_not_stop_before_training():
    asked = presets.resolve(
        "default",
        {"rotation": "none", "read_stages": "all", "pooling": "whole", "grid": 1, "stages": [5]}
        | {
            "start": "random",
            "noise": 0.0,
            "blocks": 1,
            "hidden": 4,
            "depth": 1,
            "epochs": 2,
            "min_steps": 0,
        },
    )
    rows = torch.randn(20, 2, 4, generator=torch.Generator().manual_seed(0))
    tests = torch.cat([rows[:8, :1], 100 + rows[:8, :1]], dim=1)[:, :, None]  # told by any weights
    shown = evidence.Evidence(list(range(20)), rows, tests, False)
    settings = provisional(asked)
    found = choice.Choice("none", (5,), "whole", {}, (), 20, 8)
    read = reading((4,), sizes=1, grid=1, stages=(0,), pooling="whole")
    assert length.with_length(found, shown, settings, read, 0, silent).length > 0


def test_a_sibling_with_another_start_asks_anew_how_far_to_train():
    known = {"rotation": "none", "start": "gaussian", "length": "quick"}
    detector = DifferNet("fast", weights="random", **TINY | known)
    assert detector.config.training.length == 0.0
    assert detector.sibling(start="random", noise=0.0).config.training.length == 1.0


def test_what_calibrate_asked_for_holds_for_the_next_fit():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        detector = DifferNet(weights="random", **TINY)
        detector.prepare(PARTS[:20])
        detector.fit(PARTS[:20], scale_maps=False)
        detector.calibrate(PARTS[20:], rate=0.2, confidence=None, views=2)
        assert (detector.config.decision.rate, detector.config.views.score_views) == (0.2, 2)
        detector.fit(PARTS[:20], scale_maps=False)
    assert (detector.config.decision.rate, detector.config.views.score_views) == (0.2, 2)
    assert detector.model.config.decision.rate == 0.2


@pytest.mark.parametrize("groups", [["a", "a", "b"], [1, 1, 2]])
def test_groups_in_an_array_are_those_of_a_list(groups):
    made = [provenance._sources(["x"], [], some).groups for some in (groups, np.array(groups))]
    assert made[0] == made[1]
    assert provenance._sources(["x"], [], None).groups == ()


@pytest.mark.parametrize("shape", [(11, 224, 3), (224, 5, 3), (1, 1, 3)])
@pytest.mark.parametrize("kind", synthetic.KINDS)
def test_defects_are_drawn_into_thin_parts_too(shape, kind):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    drawn = evidence._with_defect(pixels, kind, np.random.default_rng(1))
    assert drawn.shape == shape
    assert drawn.dtype == np.uint8


def test_what_is_wide_enough_is_drawn_into_as_it_is():
    drawn = evidence._with_defect(PARTS[0], "spot", np.random.default_rng(1))
    rng = np.random.default_rng(1)
    assert np.array_equal(drawn, synthetic.draw(PARTS[0], "spot", rng.uniform(0.3, 1), rng)[0])


def test_a_detector_is_fitted_to_thin_parts_without_a_word_about_arrays():
    strips = [np.tile(part[top : top + 8], (1, 20, 1)) for part in PARTS for top in (0, 16)]
    open_ = {"rotation": "none", "start": "gaussian", "length": "auto", "frame": "pad", "epochs": 2}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        detector = DifferNet("default", weights="random", **TINY | open_).fit(strips, scale_maps=False)
    assert detector.model.choice.trained
    assert all(issubclass(one.category, DifferNetWarning) for one in said), [str(one.message) for one in said]


def test_a_foreign_checkpoint_is_not_called_damaged(tmp_path):
    file = tmp_path / "choice.json"
    choice.keep_choice(file, "one", choice.Choice("none", (5,), "whole", {}, (), 20, 8))
    with pytest.raises(ModelFileError, match="other images or settings") as raised:
        choice.kept_choice(file, "another")
    assert "damaged" not in str(raised.value)
