"""The loop that measures, on predictions that are made up."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from differnet.data.datasets import Dataset, Sample
from differnet.decision.verdict import Prediction
from differnet.evaluation.measure import measure
from support.tiny import good_image, save


@dataclass
class Scripted:
    """Says of each image what its name says: its score and, after a threshold of 3, a verdict."""

    threshold: float | None = 3.0
    breaks: str = ""

    def predict_iter(self, images):
        for path in images:
            score = float(path.stem)
            yield Prediction(score, self.threshold, self.threshold and score >= self.threshold)

    def localize(self, path):
        if path.stem == self.breaks:
            raise MemoryError("no room\nfor a map")
        return np.full((8, 8), float(path.stem), dtype=np.float32) + np.eye(8, dtype=np.float32)


@pytest.fixture
def data(tmp_path):
    """Good images of scores 1, 2 and 3, defective ones of 2, 4 and 5; that of 5 has no mask."""
    diagonal = np.eye(8, dtype=np.uint8) * 255
    save(tmp_path / "mask.png", diagonal)
    for folder, scores in (("good", "123"), ("bad", "245")):
        for score in scores:
            save(tmp_path / folder / f"{score}.png", good_image(0, 8))
    good = [Sample(tmp_path / f"good/{score}.png", "test") for score in "123"]
    bad = [Sample(tmp_path / f"bad/{score}.png", "test", "dent", tmp_path / "mask.png") for score in "24"]
    return Dataset("made", (*good, *bad, Sample(tmp_path / "bad/5.png", "test", "dent")))


def test_figures_by_hand(data):
    told = []
    found = measure(Scripted(), data, progress=lambda *one: told.append(one))
    assert found.scores.tolist() == [1, 2, 3, 2, 4, 5] == [one.score for one in found.predictions]
    assert found.is_defective.tolist() == [False] * 3 + [True] * 3
    assert found.image_auroc == pytest.approx((1.5 + 3 + 3) / 9)
    assert found.recall_without_false_alarms == pytest.approx(2 / 3)
    assert (found.false_alarm_rate, found.recall) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (found.pixels, found.map_seconds, found.map_failure) == (None, None, "")
    assert told == [("scoring test images", count, 6) for count in range(1, 7)]


def test_maps_are_of_what_is_good_or_has_a_mask(data):
    shown = []
    found = measure(Scripted(), data, maps=True, on_map=lambda *one: shown.append(one))
    assert [sample for sample, _, _ in shown] == list(data.test[:-1])
    assert [prediction.score for *_, prediction in shown] == [1, 2, 3, 2, 4]
    # a pixel of a mask has 3 or 5; good ones have 1, 2, 3 beside the diagonals, and 2, 3, 4 on those of good images
    good = np.array([1.0] * 56 + [2.0] * (8 + 56 + 56) + [3.0] * (8 + 56) + [4.0] * (8 + 56))
    wins = [np.mean((value > good) + 0.5 * (value == good)) for value in (3.0, 5.0)]
    assert found.pixels.auroc == pytest.approx(np.mean(wins))
    assert found.map_seconds > 0
    unmarked = Dataset("unmarked", tuple(replace(sample, mask=None) for sample in data.samples))
    assert measure(Scripted(), unmarked, maps=True).pixels is None


def test_a_map_that_fails_loses_the_scores_only_where_it_may_not(data):
    with pytest.raises(MemoryError):
        measure(Scripted(breaks="4"), data, maps=True)
    found = measure(Scripted(breaks="4"), data, maps=True, may_fail=True)
    assert (found.pixels, found.map_failure) == (None, "MemoryError: no room")
    assert found.image_auroc == measure(Scripted(), data).image_auroc


def test_without_a_threshold_there_are_no_rates_and_without_images_no_figures(data):
    found = measure(Scripted(None), data)
    assert (found.false_alarm_rate, found.recall) == (None, None)
    nothing = measure(Scripted(), Dataset("nothing", ()), maps=True)
    assert (len(nothing.scores), nothing.false_alarm_rate, nothing.recall) == (0, None, None)
    assert np.isnan([nothing.image_auroc, nothing.recall_without_false_alarms]).all()
