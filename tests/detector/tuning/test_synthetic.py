"""Drawn defects change a part of an image and say which."""

from __future__ import annotations

import numpy as np
import pytest

from differnet.detector.tuning import synthetic
from support.tiny import good_image


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
