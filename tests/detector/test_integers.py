"""From floats to 8-bit integers: only past a gate of figures."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from differnet import DifferNetWarning
from differnet.detector import integers as gate
from differnet.errors import ConfigError, QuantizationError
from support.tiny import good_image

GOOD = [good_image(400 + i) for i in range(44)]  # 22 give the ranges, 22 decide


def test_floats_change_to_integers_when_the_gate_lets_them(floats, monkeypatch):
    monkeypatch.setattr(gate.Gate, "is_passed", True)  # what it weighs is tested below
    again = copy.copy(floats)
    with pytest.warns(DifferNetWarning, match="too few to promise"):
        found = again.quantize(GOOD)
    assert (again.model.precision, again.promise.count, found.count) == ("int8", 22, 22)
    assert floats.model.precision == "f32"
    fresh = [good_image(900 + i) for i in range(4)]
    moved = again.score(fresh) / floats.score(fresh)
    assert (moved != 1).all()
    assert moved == pytest.approx(1, abs=0.5)
    heat = again.localize(GOOD[0])
    assert np.isfinite(heat).all()
    with pytest.raises(ConfigError, match="in 8-bit integers already"):
        again.quantize(GOOD)


def test_a_refusal_has_the_figures_and_changes_nothing(floats, monkeypatch):
    monkeypatch.setattr(gate, "MOST_SHIFT", 0.0)
    again = copy.copy(floats)
    with pytest.raises(
        QuantizationError, match=r"on 22 good images the scores move by \d+\.\d%.*precision = 'int8'"
    ):
        again.quantize(GOOD)
    assert again.model is floats.model


def test_too_few_good_images_cannot_decide(floats):
    with pytest.raises(
        QuantizationError, match="30 good images, of which 15 give the ranges; at least 20 more"
    ):
        copy.copy(floats).quantize(GOOD[:30])


def test_preparing_a_fitted_detector_leaves_it_as_it_is(integers, good_images):
    again = copy.copy(integers)
    before = again.score(good_images[:2])
    again.prepare(GOOD[:4])
    assert again.score(good_images[:2]).tolist() == before.tolist()


def test_the_gate_weighs_shift_order_and_rejections():
    floats = np.linspace(100, 130, 100)
    assert gate.compare(floats, floats * 1.01, 140.0, 0.01).is_passed
    assert not gate.compare(floats, floats * 1.08, 200.0, 0.01).is_passed  # moved
    assert not gate.compare(floats, floats[::-1], 200.0, 0.01).is_passed  # in another order
    rejecting = gate.compare(floats, floats * 1.01, 128.0, 0.01)
    assert rejecting.flagged > rejecting.allowed
    assert not rejecting.is_passed
    with pytest.raises(QuantizationError, match="at least 20"):
        gate.compare(floats[:19], floats[:19], 140.0, 0.01)
