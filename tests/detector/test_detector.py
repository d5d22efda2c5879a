"""The detector: what goes in, what comes out, and what it says about itself."""

from __future__ import annotations

import copy
import dataclasses
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from differnet import DifferNet, DifferNetWarning
from differnet.config import presets
from differnet.detector.prepare import Fitted
from differnet.errors import ConfigError, DifferNetError, ImageError, ModelFileError, NotFittedError
from differnet.evaluation.metrics import auroc
from differnet.features.views import render
from support import reference
from support.tiny import TINY, defective_image, fit, good_image


def test_it_finds_defects(detector):
    good = detector.score([good_image(300 + i) for i in range(12)])
    bad = detector.score([defective_image(i)[0] for i in range(12)])
    scores, labels = np.concatenate([good, bad]), np.arange(24) >= 12
    assert auroc(scores, labels) > 0.95


def test_the_score_is_eq_5_step_by_step(detector):
    image = good_image(8)
    square = detector.describer.square(image)
    views = render(square, detector.scoring_views, detector.config.views.fill)
    with torch.no_grad():
        z, _ = detector.model.flow(detector.module(views))
    assert detector.score([image])[0] == pytest.approx(reference.score(z.tolist()), rel=1e-4)


def test_a_score_depends_on_model_and_image_alone(detector):
    images = [good_image(400 + i) for i in range(4)]
    together = detector.score(images)
    assert np.array_equal(together[::-1], detector.score(images[::-1]))
    assert [detector.predict(image).score for image in images] == together.tolist()


def test_same_seed_same_detector(good_images):
    first, same, other = (fit(good_images[:8], seed=seed) for seed in (5, 5, 6))
    image = good_image(1)
    assert first.score([image]) == same.score([image])
    assert first.score([image]) != other.score([image])


def test_predictions(detector):
    calm, loud = detector.predict(good_image(5)), detector.predict(defective_image(0)[0], heat_map=True)
    assert calm.heat_map is None
    assert loud.heat_map.shape == (64, 64)
    assert loud.heat_map.dtype == np.float32
    assert loud.is_defective
    assert not calm.is_defective
    assert loud.threshold == detector.threshold
    assert loud.p_value == 1 / (1 + len(detector.model.view_scores))
    assert calm.p_value > loud.p_value


def test_maps_have_the_shape_of_the_image(detector):
    image = np.asarray(Image.fromarray(good_image(3)).resize((50, 80)))
    assert detector.localize(image).shape == (80, 50)


def test_images_in_any_form(detector, tmp_path, good_images):
    for i in range(3):
        Image.fromarray(good_images[i]).save(tmp_path / f"{i}.png")
    wanted = detector.score(good_images[:3])
    forms = [
        tmp_path,
        str(tmp_path),
        sorted(tmp_path.iterdir()),
        [Image.fromarray(g) for g in good_images[:3]],
        np.stack(good_images[:3]),
    ]
    for images in forms:
        assert np.array_equal(detector.score(images), wanted)


def test_before_fit_it_says_what_to_do():
    detector = DifferNet(weights="random", **TINY)
    assert "not fitted" in repr(detector)
    with pytest.raises(NotFittedError, match="call fit"):
        detector.score([good_image(0)])


def test_too_few_held_out_images_are_said(good_images):
    detector = DifferNet("default", weights="random", **TINY | {"epochs": 1})
    with pytest.warns(DifferNetWarning, match=r"5 held-out good images are too few .* 94 more"):
        detector.fit(good_images)
    assert (detector.promise.count, detector.promise.promised) == (5, 1 / 6)


def test_enough_held_out_images_are_not_warned_of(good_images):
    detector = DifferNet("default", weights="random", **TINY | {"epochs": 1, "rate": 0.2})
    with warnings.catch_warnings():
        warnings.simplefilter("error", DifferNetWarning)
        detector.fit(good_images)
    assert detector.promise.is_kept


def test_without_holdout_there_is_no_threshold(good_images):
    detector = DifferNet("default", weights="random", **TINY | {"epochs": 1, "holdout": 0})
    with pytest.warns(DifferNetWarning, match="there is no threshold"):
        detector.fit(good_images[:4])
    prediction = detector.predict(good_images[0])
    assert (prediction.threshold, prediction.is_defective, prediction.p_value) == (None, None, None)
    assert detector.model.train_count == 4


def test_held_out_images_are_not_fitted_to_and_groups_stay_together(good_images):
    groups = [i // 4 for i in range(24)]
    detector = fit(good_images, groups=groups)
    assert detector.model.train_count == 16  # two groups of four are held out
    assert len(detector.model.view_scores) == 8


def test_calibrating_again_needs_no_training(detector):
    again = copy.copy(detector)
    fresh = [good_image(700 + i) for i in range(20)]
    promise = again.calibrate(fresh, rate=0.1, confidence=None)
    assert promise.is_kept
    assert promise.count == 20
    assert again.threshold == promise.value != detector.threshold
    assert np.mean(again.score(fresh) >= again.threshold) <= 0.1


def test_calibrating_with_nothing_keeps_the_threshold(detector):
    again = copy.copy(detector)
    with pytest.raises(DifferNetError):
        again.calibrate([])
    assert again.threshold == detector.threshold


def test_another_runtime_is_said(detector, tmp_path):
    pytest.importorskip("openvino")
    elsewhere = presets.resolve(detector.config, {"runtime": "torch"})
    again = detector.sibling(runtime="torch")
    again._state = Fitted(dataclasses.replace(detector.model, config=elsewhere))
    with pytest.warns(DifferNetWarning, match="fitted on features from openvino and scores with torch"):
        score = again.score([good_image(3)])
    assert score == pytest.approx(detector.score([good_image(3)]), rel=1e-3)


def test_a_fit_that_fails_changes_nothing(detector, tmp_path):
    again = copy.copy(detector)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"bad.png"):
        again.fit([good_image(0), good_image(1), bad])
    assert again.model is detector.model


def test_a_broken_off_fit_goes_on(good_images, tmp_path):
    whole = fit(good_images[:8])

    def stop(epoch, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(good_images[:8], checkpoint=tmp_path, on_epoch=stop)
    seen = []
    resumed = fit(
        good_images[:8],
        checkpoint=tmp_path,
        progress=lambda stage, done, total: seen.append(stage),
        on_epoch=lambda epoch, total: seen.append(epoch.epoch),
    )
    assert "describing training images" not in seen
    assert [x for x in seen if isinstance(x, int)] == [1]
    assert resumed.score(good_images[:2]).tolist() == whole.score(good_images[:2]).tolist()
    with pytest.raises(ModelFileError, match="checkpoint of other images or settings"):
        fit(good_images[8:16], checkpoint=tmp_path)


def test_features_of_other_stages_are_not_taken_from_a_checkpoint(good_images, tmp_path):
    """Even where these have as many channels, as in a vision transformer."""
    vit = {"backbone": "test_vit", "sizes": [160], "stages": [1, 3], "epochs": 1, "holdout": 0}
    fit(good_images[:4], settings=vit, checkpoint=tmp_path)
    for file in tmp_path.glob("flow*"):
        file.unlink()
    with pytest.raises(ModelFileError, match="checkpoint of other images or settings"):
        fit(good_images[:4], settings=vit | {"stages": [2, 3]}, checkpoint=tmp_path)


def test_a_seed_beyond_what_torch_knows_is_refused_before_any_work():
    for seed in (-1, 2**64):
        with pytest.raises(ConfigError, match=f"seed = {seed}: .* below 2\\*\\*64"):
            DifferNet(seed=seed)


def test_fresh_views_take_no_bank(good_images):
    settings = {"fresh_views": True, "train_views": 2, "batch": 8, "holdout": 0, "runtime": "torch"}
    alone = fit(good_images[:8], settings=settings)
    rows = torch.zeros(8, 2, alone.describer.width)  # of other images, as it were
    beside = fit(good_images[:8], settings=settings, bank=rows)
    assert [epoch.loss for epoch in beside.model.history] == [epoch.loss for epoch in alone.model.history]


def test_fresh_views_train_through_the_same_loop(good_images):
    seen = []
    detector = fit(
        good_images[:6],
        settings={"fresh_views": True, "train_views": 4, "batch": 8, "holdout": 0},
        on_epoch=lambda epoch, total: seen.append(epoch.loss),
    )
    assert len(seen) == 2
    assert np.isfinite(detector.score(good_images[:1])).all()


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "no images were given"),
        ([good_image(0)], {}, "at least two groups"),
        ([good_image(0), good_image(1)], {"groups": ["a"]}, "1 groups for 2 images"),
    ],
)
def test_what_cannot_be_fitted_is_explained(images, options, message):
    with pytest.raises(ConfigError, match=message):
        fit(images, **options)


@pytest.mark.parametrize("image", [np.zeros((1, 1, 3)), np.full((9, 300, 3), 255), np.zeros((64, 64))])
def test_odd_images_get_a_finite_score(detector, image):
    prediction = detector.predict(image.astype(np.uint8), heat_map=True)
    assert np.isfinite(prediction.score)
    assert prediction.heat_map.shape == image.shape[:2]


def test_unknown_settings_name_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        DifferNet(epoch=3)
    assert issubclass(ConfigError, DifferNetError)
    assert issubclass(ConfigError, ValueError)
