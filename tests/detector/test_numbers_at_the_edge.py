"""Numbers at the edge: a clear error or a sane answer, and never NaN as a verdict."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from differnet import DifferNet, DifferNetWarning
from differnet.decision import thresholds
from differnet.errors import DifferNetError, NumericalError
from differnet.flow import train
from differnet.flow.flow import Flow
from differnet.runtime import threads
from support.tiny import TINY, good_image

OPEN = TINY | {
    "sizes": [32],
    "epochs": 2, "rotation": "auto", "score_rotations": "auto", "train_views": "auto", "start": "gaussian", "grid": 2,
    "stages": [1, 2], "read_stages": "auto", "pooling": "auto", "length": "auto", "noise": "auto",
}  # fmt: skip


def fit(images, settings=TINY, **changes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        return DifferNet("default", seed=1, weights="random", **settings | {"epochs": 2} | changes).fit(
            images
        )


def flat(height, width, value):
    return np.full((height, width, 3), value, np.uint8)


ODD = {
    "black": flat(64, 64, 0), "white": flat(64, 64, 255), "grey": flat(50, 80, 127), "one pixel": flat(1, 1, 9),
    "one row": flat(1, 500, 200), "long": flat(10, 20_000, 50), "tall": flat(20_000, 10, 50),
    "stripes": np.tile(np.uint8([[[0], [255]], [[255], [0]]]), (40, 40, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("frame", ["squash", "pad"])
def test_odd_images_get_a_verdict(detector, name, frame):
    if frame == "pad":
        detector = detector.sibling(frame="pad")
        detector = _with_model(detector)
    prediction = detector.predict(ODD[name], heat_map=True)
    assert np.isfinite([prediction.score, prediction.p_value, prediction.threshold]).all()
    assert prediction.heat_map.shape == ODD[name].shape[:2]
    assert np.isfinite(prediction.heat_map).all()
    assert prediction.is_defective == (prediction.score >= prediction.threshold)


_FITTED = {}


def _with_model(detector):
    if "pad" not in _FITTED:
        _FITTED["pad"] = fit([good_image(i) for i in range(10)], frame="pad")
    return _FITTED["pad"]


@pytest.mark.parametrize("settings", [TINY, OPEN], ids=["fixed", "open"])
@pytest.mark.parametrize("start", ["random", "gaussian"])
@pytest.mark.parametrize("images", ["identical", "constant", "two", "black and white"])
def test_training_images_that_say_little_give_a_detector_or_an_error(images, settings, start):
    if settings is OPEN and start == "random":
        pytest.skip("what is open starts as a Gaussian")
    good = {
        "identical": [good_image(0)] * 24,
        "constant": [flat(64, 64, 90)] * 24,
        "two": [good_image(0), good_image(1)],
        "black and white": [flat(64, 64, 0), flat(64, 64, 255)] * 6,
    }[images]
    try:
        detector = fit(good, settings, start=start)
    except DifferNetError as error:
        assert "nan" not in str(error).lower() or "NaN" in str(error)  # noqa: PT017
        return
    for image in (good[0], good[-1], good_image(5), ODD["black"], ODD["one pixel"]):
        prediction = detector.predict(image, heat_map=True)
        assert np.isfinite([prediction.score, prediction.p_value, prediction.threshold]).all()
        assert np.isfinite(prediction.heat_map).all()
    if images in ("identical", "constant"):
        assert not detector.predict(good[0]).is_defective


def test_two_images_are_enough_and_one_is_an_error():
    assert fit([good_image(0), good_image(1)]).model.train_count == 1
    with pytest.raises(DifferNetError, match="at least two groups"):
        fit([good_image(0)])


@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_a_loss_that_explodes_stops_with_its_epoch(good_images, rate):
    with pytest.raises(NumericalError, match=r"epoch \d.*lower learning_rate|learning_rate \(now") as raised:
        fit(good_images[:8], learning_rate=rate, epochs=40)
    assert "epoch" in str(raised.value)


def test_what_the_last_step_made_of_the_flow_is_looked_at():
    flow = Flow(6, 1, 4, 1)
    with pytest.raises(NumericalError, match="loss on held-out images became inf in epoch 3"):
        train._check_finite(flow, float("inf"), 2)
    train._check_finite(flow, 1.0, 2)
    with torch.no_grad():
        flow.steps[1].subnet1.layers[0].weight[0, 0] = float("nan")
    with pytest.raises(
        NumericalError, match=r"steps\.1\.subnet1.* has NaN or infinite numbers after epoch 3"
    ):
        train._check_finite(flow, None, 2)


def test_a_nan_says_which_image_it_came_from(detector, monkeypatch, tmp_path):
    names = [tmp_path / f"{index}.png" for index in range(3)]
    for index, name in enumerate(names):
        from PIL import Image

        Image.fromarray(good_image(index)).save(name)
    monkeypatch.setattr(threads, "cores", lambda: 1)  # one after the other
    real = type(detector.describer.runtime).features
    seen = []

    def spoiled(self, groups):
        features = real(self, groups)
        seen.append(features)
        return features * float("nan") if len(seen) == 2 else features

    monkeypatch.setattr(type(detector.describer.runtime), "features", spoiled)
    with pytest.raises(NumericalError, match=r"NaN or infinite features for .*1\.png"):
        detector.score(names)
    monkeypatch.undo()
    scorer = detector._scorer
    huge = torch.full((8, detector.describer.width), 3e38)
    with pytest.raises(NumericalError, match=r"that\.png: the score of a view is not finite"):
        scorer.of_features(huge, "that.png")


@settings(max_examples=200, deadline=None)
@given(
    arrays.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e300, 1e300)),
    st.floats(1e-6, 1, exclude_max=True),
)
def test_thresholds_keep_what_they_promise(scores, rate):
    """On the very scores: the share of good ones that would be rejected, with the new one counted, is promised."""
    found = thresholds.choose_threshold(scores, rate)
    assert np.isfinite(found.value) or scores.max() >= 1e300
    rejected = (1 + np.count_nonzero(scores >= found.value)) / (len(scores) + 1)
    assert rejected <= found.promised  # less where scores tie
    assert rejected == found.promised or len(set(scores)) < len(scores)
    assert found.promised <= max(rate + 1e-9, 1 / (len(scores) + 1))
    for score in scores:
        p = thresholds.p_value(float(score), scores)
        assert 0 < p <= 1
        assert (score >= found.value) == (p <= found.promised)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 9))
def test_a_threshold_of_nan_is_refused(value, at):
    scores = np.arange(10.0)
    scores[at] = value
    with pytest.raises(NumericalError):
        thresholds.choose_threshold(scores, 0.1)
