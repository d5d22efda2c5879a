"""What ``evaluate`` gives: figures by other means, verdicts of a second flow, and no say for the test images."""

from __future__ import annotations

import dataclasses
import json
import warnings

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from differnet import DifferNet, DifferNetWarning
from differnet.config import presets
from differnet.data.datasets import Dataset, read
from differnet.data.stream import silent
from differnet.detector.promise.split import split
from differnet.errors import LayoutError
from differnet.evaluation.evaluate import NO_THRESHOLD_NOTE, THRESHOLD_NOTE, evaluate
from differnet.features.cache import describe_all
from support.decoding import counted
from support.tiny import SMALL, defective_image, good_image, save

SETTINGS = presets.resolve("default", SMALL | {"epochs": 20, "score_views": 16, "rate": 0.2, "holdout": 0.5})
QUICK = presets.resolve(SETTINGS, {"epochs": 1, "score_views": 2})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Fourteen good images to fit to, four to judge, and four defective ones of which the last has no mask."""
    root = tmp_path_factory.mktemp("evaluated")
    for i in range(14):
        save(root / f"stripes/train/good/{i:02}.png", good_image(i, 40))
    for i in range(4):
        save(root / f"stripes/test/good/{i}.png", good_image(100 + i, 40))
        pixels, mask = defective_image(i, 40)
        faint = 0.3 * pixels + 0.7 * good_image(10_000 + i, 40)  # so faint that some are not found
        save(root / f"stripes/test/square/{i}.png", np.rint(faint).astype(np.uint8))
        save(root / f"stripes/ground_truth/square/{i}_mask.png", mask.astype(np.uint8) * 255)
    (found,) = read(root)
    return with_samples(found, lambda sample: {"mask": None} if sample.path.name == "3.png" else {})


@pytest.fixture(scope="module")
def evaluated(data):
    """Two seeds, with the maps that were shown and the runs that were told."""
    maps, told = [], []
    found = evaluate(
        data,
        SETTINGS,
        (0, 1),
        weights="random",
        on_map=lambda *shown: maps.append(shown),
        on_run=told.append,
    )
    return found, maps, told


@pytest.fixture(scope="module")
def second(data):
    """The flow that gives the verdicts of seed 0, fitted step by step."""
    paths = [sample.path for sample in data.train]
    chosen, held = split(paths, None, SETTINGS.decision, 0)
    assert len(held) == 7
    detector = DifferNet(SETTINGS, 0, "random").prepare([paths[index] for index in chosen])
    bank = describe_all(detector.describer, paths, 0, silent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        return detector.fit(paths, bank=bank)


def with_samples(data, changes):
    samples = tuple(dataclasses.replace(sample, **changes(sample)) for sample in data.samples)
    return dataclasses.replace(data, samples=samples)


def test_figures_are_those_of_the_scores_by_other_means(data, evaluated):
    found, _, told = evaluated
    assert [run.seed for run in found.runs] == [0, 1]
    assert tuple(told) == found.runs
    for run in found.runs:
        labels = [sample.is_defective for sample in data.test]
        assert run.is_defective.tolist() == labels
        assert run.image_auroc == pytest.approx(roc_auc_score(labels, run.scores))
        highest = max(score for score, label in zip(run.scores, labels, strict=True) if not label)
        above = [score > highest for score, label in zip(run.scores, labels, strict=True) if label]
        assert run.recall_without_false_alarms == sum(above) / 4
        assert min(run.fit_seconds, run.score_seconds_per_image, run.map_seconds_per_image) > 0
    first, other = found.runs
    assert first.image_auroc != first.early.image_auroc_all_views  # not the second flow's
    assert first.scores.tolist() != other.scores.tolist()


def test_scores_are_of_a_detector_that_was_fitted_to_all_training_images(data, evaluated):
    whole = DifferNet(SETTINGS, 0, "random", holdout=0.0)
    paths = [sample.path for sample in data.train]
    with pytest.warns(DifferNetWarning, match="no good images were held out"):
        whole.fit(paths)
    run = evaluated[0].runs[0]
    assert run.scores == pytest.approx(whole.score([sample.path for sample in data.test]), rel=1e-6)


def test_verdicts_come_from_a_second_flow_and_the_images_held_out_from_it(data, evaluated, second):
    run, maps = evaluated[0].runs[0], evaluated[1]
    said = [second.predict(sample.path) for sample in data.test]
    assert second.threshold is not None
    assert run.promised_false_alarm_rate == second.promise.promised
    for kind, rate in ((False, run.false_alarm_rate), (True, run.recall)):
        chosen = [
            one.is_defective for one, label in zip(said, run.is_defective, strict=True) if label == kind
        ]
        assert rate == np.mean(chosen)
    by_path = {sample.path: one for sample, one in zip(data.test, said, strict=True)}
    for sample, _, prediction in maps:
        assert prediction.score == pytest.approx(by_path[sample.path].score, rel=1e-6)
        assert prediction.threshold == pytest.approx(second.threshold, rel=1e-6)
        assert prediction.is_defective == by_path[sample.path].is_defective
    assert run.scores != pytest.approx([one.score for one in said], rel=1e-3)


def test_early_figures_are_those_of_the_second_flow_that_stops_early(data, evaluated, second):
    early = evaluated[0].runs[0].early
    labels = np.array([sample.is_defective for sample in data.test])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        stopped = [second.predict(sample.path, views="auto") for sample in data.test]
    full = [second.predict(sample.path) for sample in data.test]
    views = np.array([one.views for one in stopped])
    flagged, flagged_by_all = (np.array([one.is_defective for one in some]) for some in (stopped, full))
    assert (early.views, early.views_good) == (views.mean(), views[~labels].mean())
    assert 0 < early.views < 16
    assert early.changed == (flagged != flagged_by_all).sum()
    assert early.missed == (flagged_by_all & ~flagged & labels).sum()
    assert early.error == second.model.standard.early_stop.error
    assert early.image_auroc == pytest.approx(roc_auc_score(labels, [one.score for one in stopped]))
    assert early.image_auroc_all_views == pytest.approx(roc_auc_score(labels, [one.score for one in full]))


def test_maps_are_drawn_of_what_is_good_or_has_a_mask_and_shown_for_the_first_seed(data, evaluated):
    run, maps = evaluated[0].runs[0], evaluated[1]
    drawn = [sample for sample in data.test if not sample.is_defective or sample.mask]
    assert [sample for sample, _, _ in maps] == drawn
    assert len(drawn) == 7
    masks = [sample.true_mask(heat.shape).ravel() for sample, heat, _ in maps]
    heats = [heat.ravel() for _, heat, _ in maps]
    wanted = roc_auc_score(np.concatenate(masks), np.concatenate(heats))
    assert run.pixel_auroc == pytest.approx(wanted, abs=1e-3)
    assert 0 <= run.pixel_aupro <= 1


def test_test_images_choose_nothing(data, evaluated):
    """Without the masks, two of the images and the labels of the others nothing changes for these."""
    left = [sample for sample in data.test if sample.path.name in "0.png 2.png 3.png"][::-1]
    other = [dataclasses.replace(sample, defect="other", mask=None) for sample in left]
    run, whole = (
        evaluate(Dataset("x", (*data.train, *other)), SETTINGS, weights="random").runs[0],
        evaluated[0].runs[0],
    )
    scores = {sample.path: score for sample, score in zip(data.test, whole.scores, strict=True)}
    assert run.scores.tolist() == [scores[sample.path] for sample in left]
    assert run.promised_false_alarm_rate == whole.promised_false_alarm_rate
    flagged = 4 * whole.recall + 4 * whole.false_alarm_rate
    assert flagged - 2 <= len(left) * run.recall <= flagged
    assert (run.pixel_auroc, run.map_seconds_per_image, run.false_alarm_rate) == (None, None, None)


def test_the_document_has_all_seeds_and_no_nan(data, evaluated):
    found = evaluated[0]
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    values = [run.image_auroc for run in found.runs]
    assert document["image_auroc"] == values
    assert document["image_auroc_mean"] == pytest.approx(np.mean(values))
    assert document["image_auroc_spread"] == pytest.approx(np.std(values, ddof=1))
    counts = [document[name] for name in ("n_train", "n_good", "n_defective", "n_with_mask")]
    assert counts == [14, 4, 4, 3]
    assert (document["dataset"], document["seeds"], document["shots"]) == ("stripes", [0, 1], None)
    assert document["threshold"] == THRESHOLD_NOTE
    assert document["early"][0] == dataclasses.asdict(found.runs[0].early)


def test_shots_are_drawn_by_the_seed(data):
    few = evaluate(data, QUICK, (0, 1), shots=6, weights="random", maps=False)
    assert few.to_dict()["n_train"] == 6
    for run in few.runs:
        drawn = data.shots(6, run.seed)
        alone = evaluate(drawn, QUICK, (run.seed,), weights="random", maps=False).runs[0]
        assert run.scores.tolist() == alone.scores.tolist()
        assert run.recall == alone.recall
    assert data.shots(6, 0).train != data.shots(6, 1).train


@pytest.mark.parametrize("changes", [{"holdout": 0.0}, {"fresh_views": True}])
def test_where_nothing_is_held_out_there_are_no_verdicts(data, changes):
    shown = []
    settings = presets.resolve(QUICK, changes)
    found = evaluate(data, settings, weights="random", on_map=lambda *one: shown.append(one))
    (run,) = found.runs
    assert (run.false_alarm_rate, run.recall, run.promised_false_alarm_rate, run.early) == (None,) * 4
    assert {prediction.is_defective for *_, prediction in shown} == {None}
    assert 0 <= run.image_auroc <= 1
    assert found.to_dict()["threshold"] == NO_THRESHOLD_NOTE


def test_good_images_alone_have_no_auroc(data):
    good = tuple(sample for sample in data.samples if not sample.is_defective)
    found = evaluate(Dataset("good", good), QUICK, weights="random")
    (run,) = found.runs
    assert np.isnan([run.image_auroc, run.recall_without_false_alarms]).all()
    assert run.recall is None
    assert 0 <= run.false_alarm_rate <= 1
    document = found.to_dict()
    assert document["image_auroc"] == document["recall"] == [None]
    assert document["early"][0]["image_auroc"] is None


def test_what_cannot_be_measured_is_refused_before_a_fit(data, tmp_path):
    def refused(dataset, message):
        told = []
        with pytest.raises(LayoutError, match=message):
            evaluate(dataset, QUICK, weights="random", progress=lambda *one: told.append(one))
        assert told == []

    for samples in (data.train, data.test):
        refused(Dataset("half", tuple(samples)), "training and test images are both needed")
    save(tmp_path / "mask.png", np.full((40, 30), 255, np.uint8))
    wrong = with_samples(data, lambda sample: {"mask": tmp_path / "mask.png"} if sample.mask else {})
    refused(wrong, r"mask of \(40, 30\) for an image of \(40, 40\) pixels")
    assert evaluate(wrong, QUICK, weights="random", maps=False).runs[0].pixel_auroc is None
    with pytest.raises(LayoutError, match="15 shots asked of 14 training images"):
        evaluate(data, QUICK, shots=15, weights="random", maps=False)


def test_each_training_image_is_decoded_once_for_both_flows(data, monkeypatch):
    count = counted(monkeypatch)
    evaluate(data, QUICK, (0,), weights="random", maps=False)
    assert {count[sample.path] for sample in data.train} == {1}
