"""Manners of an outlier detector of scikit-learn, with images for samples."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, ParameterGrid, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from differnet.errors import ConfigError, DifferNetWarning, ShapeError
from differnet.sklearn import DefectDetector
from support.tiny import SMALL, defective_image, good_image

GOOD = np.stack([good_image(index) for index in range(20)])
BAD = np.stack([defective_image(index)[0] for index in range(5)])
SETTINGS = SMALL | {"holdout": 0.3, "epochs": 2}
GROUPS = np.repeat(np.arange(5), 4)
pytestmark = pytest.mark.filterwarnings("ignore::differnet.DifferNetWarning")
# Of scikit-learn's common checks those that need no samples.
CHECKS = [
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_estimator_repr",
    "check_estimator_cloneable",
    "check_valid_tag_types",
    "check_estimator_tags_renamed",
    "check_mixin_order",
    "check_estimators_unfitted",
]


def estimator(**options):
    return DefectDetector(
        **{"weights": "random", "settings": SETTINGS, "rate": 0.3, "random_state": 1} | options
    )


@pytest.fixture(scope="module")
def fitted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        return estimator().fit(GOOD)


@pytest.mark.parametrize("name", CHECKS)
def test_common_checks_that_need_no_samples(name):
    check = getattr(estimator_checks, name, None)
    if check is None:
        pytest.skip(f"scikit-learn {sklearn.__version__} has no {name}")
    if name == "check_estimators_unfitted":
        with pytest.raises(NotFittedError, match="not fitted yet"):
            DefectDetector().predict(GOOD[:1])
        return
    check("DefectDetector", DefectDetector())


def test_it_judges_as_the_detector_does_to_the_bit(fitted):
    images = np.concatenate([GOOD, BAD])
    said = [fitted.detector_.predict(image) for image in images]
    assert np.array_equal(fitted.score_samples(images), [-one.score for one in said])
    assert np.array_equal(fitted.predict(images) == -1, [one.is_defective for one in said])
    assert np.array_equal(fitted.predict(images) == -1, fitted.decision_function(images) < 0)
    assert np.array_equal(fitted.decision_function(images), fitted.score_samples(images) - fitted.offset_)
    assert set(fitted.predict(images)) == {-1, 1}


def test_a_score_that_is_the_threshold_itself_is_defective(fitted, monkeypatch):
    theta = fitted.detector_.threshold
    scores = np.array([theta, np.nextafter(theta, 0), np.nextafter(theta, np.inf)])
    monkeypatch.setattr(type(fitted.detector_), "score", lambda self, images: scores[: len(images)])
    assert fitted.predict(GOOD[:3]).tolist() == [-1, 1, -1]


def test_a_fit_is_repeated_and_changes_no_parameter_and_no_pixel(fitted):
    images, labels = GOOD.copy(), np.ones(len(GOOD))
    images.setflags(write=False)
    again = estimator()
    before = repr(again.get_params())
    assert again.fit(images, labels) is again
    assert repr(again.get_params()) == before
    assert np.array_equal(images, GOOD)
    assert again.offset_ == fitted.offset_
    assert np.array_equal(again.fit(GOOD).score_samples(BAD), fitted.score_samples(BAD))


def test_fit_predict_is_fit_and_predict(fitted):
    assert np.array_equal(estimator().fit_predict(GOOD), fitted.predict(GOOD))


def test_what_is_said_of_an_image_depends_on_no_other(fitted):
    whole = fitted.score_samples(BAD)
    assert np.array_equal(whole[::-1], fitted.score_samples(BAD[::-1]))
    assert np.array_equal(whole, np.concatenate([fitted.score_samples(BAD[i : i + 1]) for i in range(5)]))


def test_paths_pil_and_lists_are_images_too(fitted, tmp_path):
    paths = []
    for index, pixels in enumerate(BAD):
        paths.append(str(tmp_path / f"{index}.png"))
        Image.fromarray(pixels).save(paths[-1])
    wanted = fitted.score_samples(BAD)
    for given in (
        paths,
        np.array(paths),
        np.array(paths, dtype=object),
        list(BAD),
        [Image.open(p) for p in paths],
    ):
        assert np.array_equal(fitted.score_samples(given), wanted)


def test_it_is_pickled_and_cloned(fitted):
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301
    assert np.array_equal(again.decision_function(BAD), fitted.decision_function(BAD))
    copy = clone(fitted)
    assert not hasattr(copy, "detector_")
    assert copy.get_params() == fitted.get_params()


def test_a_pipeline_and_a_grid_of_parameters(fitted):
    line = make_pipeline(FunctionTransformer(lambda X: X[:, ::-1]), estimator())
    assert np.array_equal(line.fit(GOOD[:, ::-1]).predict(BAD[:, ::-1]), fitted.predict(BAD))
    for over in ParameterGrid({"rate": [0.2, 0.4]}):
        assert estimator().set_params(**over).fit(GOOD[:12]).detector_.settings.decision.rate == over["rate"]


def test_cross_validation_keeps_groups_together():
    images, labels = np.concatenate([GOOD, BAD]), np.repeat([1, -1], [20, 5])
    groups = np.concatenate([GROUPS, np.arange(5)])
    found = cross_validate(
        estimator(), images, labels, groups=groups, cv=GroupKFold(2), scoring="roc_auc", return_estimator=True
    )
    assert np.isfinite(found["test_score"]).all()
    for one, (train, _) in zip(found["estimator"], GroupKFold(2).split(images, labels, groups), strict=True):
        model = one.detector_.model
        assert model.train_count + model.calibrated_on.count == len(train)


def test_groups_reach_the_fit_by_routing():
    with sklearn.config_context(enable_metadata_routing=True):
        asked = estimator().set_fit_request(groups=True)
        found = cross_validate(
            asked,
            GOOD,
            cv=GroupKFold(2),
            params={"groups": GROUPS},
            scoring=lambda *_: 0.0,
            return_estimator=True,
        )
        scores = cross_val_score(
            asked, GOOD, cv=GroupKFold(2), params={"groups": GROUPS}, scoring=lambda *_: 1.0
        )
    assert scores.tolist() == [1.0, 1.0]
    groups = [one.detector_.model.calibrated_on.groups for one in found["estimator"]]
    assert all(count <= 2 for count in groups)
    by_hand = estimator().fit(GOOD, groups=GROUPS)
    assert by_hand.detector_.model.calibrated_on.count % 4 == 0


def test_a_generator_gives_another_seed_each_time():
    drawn = DefectDetector(random_state=np.random.RandomState(3))
    assert drawn._seed() != drawn._seed()
    assert DefectDetector(random_state=7)._seed() == 7


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((4, 9)), r"X of shape \(4, 9\); images \(n, H, W\)"),
        (np.zeros((0, 8, 8)), "X is empty"),
        ([], "X is empty"),
        ("folder", "X is str; an array of images or a list of paths was wanted"),
        (None, "X is NoneType"),
    ],
)
def test_what_holds_no_images_is_refused(fitted, given, said):
    for call in (estimator().fit, fitted.predict, fitted.score_samples):
        with pytest.raises(ShapeError, match=said):
            call(given)


def test_other_faults_are_said():
    with pytest.raises(ConfigError, match="3 groups for 20 images"):
        estimator().fit(GOOD, groups=[1, 2, 3])
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        estimator(settings={"epoch": 3}).fit(GOOD)
    without = estimator(settings=SETTINGS | {"holdout": 0.0}).fit(GOOD[:8])
    assert without.score_samples(GOOD[:2]).shape == (2,)
    with pytest.raises(ConfigError, match="no threshold"):
        without.predict(GOOD[:2])
