"""The demo says which defects are hard by their pixels, finds the clear ones, and says what it found."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from differnet.cli.evaluate import tell_demo
from differnet.data import datasets
from differnet.evaluation import demo, plots, showcase

MASK = np.zeros((112, 112), dtype=bool)
MASK[40:60, 50:70] = True
# By looking at the tiles: a piece missing from the smooth moon, a faint spot in grass.
HARD = {
    "brick": {"dent": [2, 3], "missing_piece": [2, 3]},
    "grass": {"dent": [0, 1, 2, 3], "scratch": [2, 3], "spot": [2, 3], "stain": [3]},
    "gravel": {"dent": [2, 3], "scratch": [2, 3], "spot": [2, 3], "stain": [3]},
    "moon": {"dent": [2, 3], "missing_piece": [0, 1, 2, 3]},
}


def noise(count: int, seed: int, deviation: float = 20.0) -> showcase.Field:
    return np.random.default_rng(seed).normal(120, deviation, (count, 112, 112)).astype(np.float32)


def test_visibility_grows_with_the_contrast_and_falls_with_what_good_tiles_vary_by():
    good, tile = noise(40, 0), noise(1, 1)[0]
    seen = [showcase.visibility(tile - depth * MASK, MASK, good) for depth in (0, 10, 20, 40)]
    assert seen[0] < 3
    assert seen[1:] == sorted(seen[1:])
    assert seen[-1] > showcase.CLEAR_FROM
    uneven = good + np.random.default_rng(2).normal(0, 30, (40, 1, 1)).astype(np.float32) * MASK
    assert showcase.visibility(tile - 40 * MASK, MASK, uneven) < showcase.CLEAR_FROM


def test_visibility_by_hand():
    good = np.stack([100 + level * MASK for level in (-10, 10)]).astype(np.float32)
    tile = (100 + 35 * MASK).astype(np.float32)  # contrasts of good tiles: mean 0, standard deviation 10
    assert showcase.visibility(tile, MASK, good) == pytest.approx(3.5)


def test_a_texture_that_is_gone_is_seen_where_there_was_one_alone():
    tile = noise(1, 1)[0]
    tile[MASK] = 120
    assert showcase.visibility(tile, MASK, noise(40, 0)) > showcase.CLEAR_FROM
    smooth = noise(1, 1, deviation=1)[0]
    smooth[MASK] = 120
    assert showcase.visibility(smooth, MASK, noise(40, 0, deviation=1)) < 1


def test_the_sheet_gives_each_group_rows_of_its_own(tmp_path):
    def panels(count: int, mask: showcase.Mask | None) -> list[plots.Panel]:
        blank = np.zeros((112, 112, 3), dtype=np.uint8)
        return [plots.Panel(blank, blank[..., 0].astype(np.float32), mask, "tile")] * count

    path = tmp_path / "sheet.png"
    heights = []
    for groups in ([("four", panels(4, MASK))], [("five", panels(5, MASK))], [("one", panels(1, None))] * 2):
        plots.grouped_sheet(path, groups, "title")
        heights.append(Image.open(path).height)
    assert heights[0] < heights[1] < heights[2]  # a row, two rows, and two rows with another heading


def test_what_nobody_sees_is_called_hard(tmp_path):
    pytest.importorskip("skimage")
    demo.write_demo_data(tmp_path)
    hard = {name: _hard(datasets.read_mvtec(tmp_path, [name])[0]) for name in demo.TEXTURES}
    assert hard == HARD


@pytest.mark.long
def test_the_demos_defects_are_found(tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setitem(showcase.SETTINGS, "min_steps", 100)  # the demo takes eight times as many
    document = showcase.run_demo(tmp_path, 0, lambda stage, done, total: None, ("brick",))
    figures = document["textures"]["brick"]
    assert document["not_run"] == ["grass", "gravel", "moon"]
    assert figures["image_auroc"] >= 0.85
    assert figures["pixel_auroc"] >= 0.6
    assert figures["found_clear"] >= 0.8 * figures["n_clear"]
    assert figures["found"] == figures["found_clear"] + figures["found_hard"]
    assert figures["n_defective"] == figures["n_clear"] + figures["n_hard"] == 20
    assert Image.open(document["open"][0]).width > 800


def test_the_summary_counts_clear_and_hard_defects_and_says_what_to_open(capsys):
    brick = {"found_clear": 11, "n_clear": 11, "found_hard": 7, "n_hard": 9, "false_alarms": 1, "n_good": 18}
    moon = brick | {"found_hard": 0, "n_hard": 0, "false_alarms": 0}
    tell_demo(
        {
            "textures": {
                name: figures | {"image_auroc": 0.99, "pixel_auroc": 0.97}
                for name, figures in {"brick": brick, "moon": moon}.items()
            },
            "not_run": ["grass", "gravel"],
            "seconds": 100.0,
            "open": ["out/brick.png", "out/moon.png"],
        }
    )
    said = capsys.readouterr().out
    assert "brick: 11 of 11 clear defects found, 7 of 9 hard ones, 1 false alarm among 18 good tiles" in said
    assert "moon: 11 of 11 clear defects found, no false alarms among 18 good tiles" in said
    assert "--all fits grass and gravel too" in said
    assert "Open out/brick.png and out/moon.png" in said


def _hard(dataset: datasets.Dataset) -> dict[str, list[int]]:
    """Return which tiles of each defect are hard, strongest defect first."""
    good = np.stack([showcase._brightness(sample.path) for sample in dataset.train])
    hard: dict[str, list[int]] = {}
    for sample in dataset.test:
        if sample.is_defective:
            mask = sample.true_mask(good.shape[1:])
            if showcase.visibility(showcase._brightness(sample.path), mask, good) < showcase.CLEAR_FROM:
                hard.setdefault(sample.defect, []).append(int(sample.path.stem))
    return hard
