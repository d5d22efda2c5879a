"""What was asked for holds: for siblings, after calibrating and quantising, and for the next fit."""

from __future__ import annotations

import warnings

import numpy as np

from differnet import DifferNet
from differnet.errors import DifferNetWarning
from support.tiny import TINY

PARTS = [np.random.default_rng(index).integers(0, 256, (48, 48, 3), dtype=np.uint8) for index in range(40)]


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
