"""Tiny detectors to export, pictures to judge, and when two judgements agree."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

from differnet import DifferNet, DifferNetWarning, Inspector
from differnet.config import presets
from differnet.detector import export
from support.tiny import TINY, defective_image, good_image

SMALL = TINY | {"epochs": 2, "hidden": 8, "blocks": 2}
UPRIGHT = SMALL | {
    "rotation": "none",
    "score_rotations": "even",
    "grid": 2,
    "pooling": "largest",
    "start": "gaussian",
    "review_rate": 0.4,
    "rate": 0.2,
}
TURNED = SMALL | {"start": "gaussian", "rate": 0.2, "fill": "zeros", "flows": 2}


def fit(images, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        return DifferNet("default", seed=1, weights="random", **settings).fit(images)


def pictures():
    wide = np.random.default_rng(5).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    return [good_image(500), defective_image(3)[0], wide, good_image(501, 33)]


def agree(found, wanted, heat=False, bound=1e-4):
    assert found.score == pytest.approx(wanted.score, rel=bound)
    assert (found.verdict, found.views, found.p_value) == (wanted.verdict, wanted.views, wanted.p_value)
    assert found.threshold == pytest.approx(wanted.threshold, rel=1e-12)
    assert found.percent == pytest.approx(wanted.percent, rel=bound)
    if heat:
        assert found.heat_map.shape == wanted.heat_map.shape
        np.testing.assert_allclose(found.heat_map, wanted.heat_map, atol=1e-3 * wanted.heat_map.max())


def exported(detector, place, form):
    """Write the folder of a detector, and return where it is."""
    export.export(detector, place, form, images=[good_image(i) for i in range(3)])
    return place


def by_white(detector, station, white, beyond="saturate"):
    """Return detector and inspector as if the training pictures had another white."""
    changed = presets.resolve(detector.model.config, {"white": white, "beyond": beyond})
    other = DifferNet(changed, detector.seed, "random")
    other._state = dataclasses.replace(
        detector._state, model=dataclasses.replace(detector.model, config=changed)
    )
    other._state = dataclasses.replace(other._state, describer=None, prepared=None)
    inspector = Inspector(station)
    inspector.station = dataclasses.replace(inspector.station, white=white, beyond=beyond)
    return other, inspector
