"""Detectors of pictures that are cut into pieces, framed or masked."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import differnet
from differnet import DifferNet
from differnet.config.settled import is_open
from differnet.errors import ConfigError, DifferNetWarning
from differnet.features.pooling import reading
from differnet.features.tiles import cut
from support.tiny import RIGHT_HALF, TINY, good_image


def fitted(images, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        return DifferNet("default", seed=0, weights="random", **TINY | settings).fit(images)


def with_spot(image, column):
    changed = image.copy()
    changed[20:34, column : column + 14] = 250
    return changed


def test_scores_and_maps_do_not_see_what_is_ignored(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(RIGHT_HALF).save(path)
    detector = fitted([good_image(i) for i in range(16)], rotation="none", ignore=path)
    image = good_image(77)
    detector.save(tmp_path / "m.safetensors")
    loaded = differnet.load(tmp_path / "m.safetensors")
    for one in (detector, loaded):
        assert one.predict(with_spot(image, 44)).score == one.predict(image).score
        assert one.predict(with_spot(image, 8)).score != one.predict(image).score
        assert (one.localize(with_spot(image, 44))[:, 40:] == 0).all()


@pytest.mark.filterwarnings("ignore::differnet.DifferNetWarning")
def test_a_fit_can_be_told_what_to_ignore(tmp_path):
    images, settings = [good_image(i) for i in range(16)], TINY | {"rotation": "none"}
    asked = DifferNet("default", seed=0, weights="random", ignore=RIGHT_HALF, **settings).fit(images)
    detector = DifferNet("default", seed=0, weights="random", **settings)
    for _ in range(2):  # fitted before or not
        assert detector.fit(images, ignore=RIGHT_HALF) is detector
        assert detector.config == asked.config
        assert detector.score(images).tolist() == asked.score(images).tolist()
    spotted = with_spot(good_image(77), 44)
    assert detector.predict(spotted).score == detector.predict(good_image(77)).score
    before = detector.score([spotted]).tolist()
    with pytest.raises(ConfigError, match="ignore and bank were given"):
        detector.fit(images, ignore=RIGHT_HALF, bank=torch.zeros(16, 8, 4))
    with pytest.raises(ConfigError, match="ignores all"):
        detector.fit(images, ignore=np.full_like(RIGHT_HALF, 255))
    assert detector.score([spotted]).tolist() == before
    assert detector.fit(images).predict(spotted).score == before[0]  # what was asked for is kept


def test_pieces_come_row_by_row():
    square = torch.arange(16.0).view(1, 4, 4)
    pieces = cut(square, 2)
    assert [piece.flatten().tolist() for piece in pieces][1] == [2, 3, 6, 7]
    assert len(cut(square, 1)) == 1


def test_the_most_anomalous_piece_counts():
    read = reading((1,), sizes=1, grid=1, stages=(0,), pooling="whole", tiles=4)
    assert read.columns.tolist() == [[0], [1], [2], [3]]
    assert read.of_view(torch.tensor([1.0, 2, 9, 3, 4, 0, 0, 0])).tolist() == [9, 4]
    parts = reading((1,), sizes=1, grid=2, stages=(0,), pooling="average", tiles=4)
    assert parts.width == 20
    assert parts.columns[4].tolist() == [6]  # the first part of the second piece
    assert parts.of_view(torch.arange(16.0)).tolist() == [13.5]
    assert parts.of_tile.columns.tolist() == [[1], [2], [3], [4]]


@pytest.mark.parametrize("rotation", ["none", "full"])
def test_a_picture_in_pieces_is_each_piece_by_itself(rotation, tmp_path):
    images = [np.kron(np.ones((2, 2, 1), np.uint8), good_image(i)) for i in range(16)]
    detector = fitted(images, tiles=2, rotation=rotation)
    row = detector.describe(images[0])
    alone = detector.sibling(tiles=1)
    assert row.shape == (len(detector.scoring_views), 4 * alone.describer.width)
    piece = alone.describer.features(alone.describer.square(images[0][:64, 64:]), detector.scoring_views)
    torch.testing.assert_close(row[:, alone.describer.width : 2 * alone.describer.width], piece)
    good, bad = images[3], with_spot(images[3], 80)
    assert detector.predict(bad).score > detector.predict(good).score
    heat = detector.localize(bad)
    assert heat.shape == (128, 128)
    detector.save(tmp_path / "m.safetensors")
    assert differnet.load(tmp_path / "m.safetensors").predict(bad) == detector.predict(bad)


OPEN = {
    "rotation": "auto",
    "score_rotations": "auto",
    "start": "gaussian",
    "length": "auto",
    "epochs": 2,
}


def speckles(index, shape=(64, 64), middle=128):
    grey = np.random.default_rng(index).normal(middle, 30, (*shape, 1)).clip(0, 255).astype(np.uint8)
    return grey.repeat(3, axis=2)


@pytest.mark.parametrize("tiles", [2, pytest.param(3, marks=pytest.mark.long)])
def test_what_is_open_is_found_out_from_all_pieces(tiles):
    found = fitted([speckles(i) for i in range(50)], tiles=tiles, **OPEN)
    assert found.model.choice.rotation == "none"
    assert found.model.choice.candidates
    assert not is_open(found.config)


@pytest.mark.parametrize("settings", [{"ignore": RIGHT_HALF}, {"frame": "pad"}])
def test_maps_of_good_images_peak_at_one_in_what_is_shown(settings):
    images = [speckles(i, (40, 64)) for i in range(16)]
    detector = fitted(images, rotation="none", holdout=0.5, **settings)
    peaks = [detector.localize(image).max() for image in images]
    assert 0.5 < np.median(peaks) < 2
