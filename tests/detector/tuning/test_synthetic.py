"""Drawn defects change a part of an image and say which."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from differnet import DifferNet
from differnet.detector.tuning import evidence, synthetic
from differnet.errors import DifferNetWarning
from support.tiny import TINY, good_image


@pytest.mark.parametrize("kind", synthetic.KINDS)
@pytest.mark.parametrize("shape", [(64, 64), (40, 120)])
def test_a_defect_changes_a_part_and_nothing_else(kind, shape):
    changed = 0
    for seed in range(5):
        pixels = good_image(seed, 128)[: shape[0], : shape[1]]
        before = pixels.copy()
        drawn, mask = synthetic.draw(pixels, kind, 1.0, np.random.default_rng(seed))
        again, _ = synthetic.draw(pixels, kind, 1.0, np.random.default_rng(seed))
        assert np.array_equal(pixels, before)
        assert np.array_equal(drawn, again)
        assert drawn.shape == pixels.shape
        assert mask.shape == shape
        assert mask.mean() < 0.6
        difference = np.abs(drawn.astype(int) - pixels).max(axis=2)
        changed += difference[mask].max(initial=0) > 10
        assert difference[~mask].mean() < 8
    assert changed >= 4


def test_strength_mixes():
    pixels = good_image(1, 96)
    strong, weak = (
        synthetic.draw(pixels, "spot", strength, np.random.default_rng(0))[0].astype(int)
        for strength in (1.0, 0.3)
    )
    assert 2 * np.abs(weak - pixels).sum() < np.abs(strong - pixels).sum()


def test_a_tiny_image_is_refused():
    with pytest.raises(ValueError, match="at least 16 pixels"):
        synthetic.draw(np.zeros((8, 90, 3), np.uint8), "spot", 1.0, np.random.default_rng(0))


PARTS = [np.random.default_rng(index).integers(0, 256, (48, 48, 3), dtype=np.uint8) for index in range(40)]


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
