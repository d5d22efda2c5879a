"""Large pictures are cut into pieces: how many is found from the pictures, and everything after it keeps to it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import differnet
from differnet import DifferNet, Inspector
from differnet.detector import export, model_file
from differnet.errors import DifferNetWarning, ModelFileError, NotFittedError
from differnet.flow import tensor_file
from support.decoding import counted
from support.parts import lying_any_way
from support.stations import agree
from support.tiny import COMBINED, save

PIECES = COMBINED | {
    "rotation": "none",
    "score_rotations": "even",
    "sizes": [32, 16],
    "stages": [1, 2],
    "grid": 2,
    "train_views": 1,
    "rate": 0.1,
}
SINGLE = PIECES | {
    "pooling": "auto",
    "read_stages": "auto",
    "rotation": "auto",
    "length": "auto",
    "holdout": 0.2,
}


def part(index, side=144):
    """A part that lies one way: a light bar in the dark, and noise."""
    grey = np.full((side, side), 90.0)
    grey[side // 4 : -side // 4, side // 3 : side // 2] = 200
    noise = np.random.default_rng(index).normal(0, 6, grey.shape)
    return np.repeat(np.clip(grey + noise, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def spotted(index, side=144):
    """A part with a faint spot of 4 x 4 pixels."""
    image = part(1000 + index, side)
    image[side - 52 : side - 48, side - 44 : side - 40] = 140
    return image


def fit(images, seed=1, **settings):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*(too few|same shoot)", DifferNetWarning)
        return DifferNet("default", seed, "random", **settings).fit(images)


@pytest.fixture(scope="module")
def parts():
    return [part(index) for index in range(24)]


@pytest.fixture(scope="module")
def cut(parts):
    return fit(parts, **PIECES)


def test_the_number_follows_the_pictures_and_is_that_of_one_asked_for(parts, cut):
    asked = fit(parts, **PIECES | {"tiles": 2})
    assert cut.config == asked.config
    assert (cut.settings.backbone.tiles, cut.describer.tiles, cut.settings.canvas) == (2, 2, (64, 64))
    assert (cut.model.picture_shape, asked.model.picture_shape) == ((144, 144), None)
    assert cut.describe(part(5)).shape == (1, 4 * cut.sibling(tiles=1).describer.width)
    images = [part(2000), spotted(1)]
    np.testing.assert_array_equal(cut.model.view_scores, asked.model.view_scores)
    np.testing.assert_array_equal(cut.score(images), asked.score(images))
    np.testing.assert_array_equal(cut.localize(images[1]), asked.localize(images[1]))


def test_a_model_file_keeps_the_number(cut, tmp_path):
    cut.save(tmp_path / "model.safetensors")
    again = differnet.load(tmp_path / "model.safetensors")
    assert (again.config.backbone.tiles, again.describer.tiles) == (2, 2)
    assert again.model.picture_shape == (144, 144)
    images = [part(2000), spotted(1)]
    np.testing.assert_array_equal(again.score(images), cut.score(images))
    assert again.predict(images[1]) == cut.predict(images[1])


@pytest.mark.parametrize("found", [[0, 144], [144], "large", [144, 144, 3]])
def test_a_model_file_with_pictures_of_no_shape_is_refused(cut, found, tmp_path):
    cut.save(tmp_path / "model.safetensors")
    header, tensors = tensor_file.read_tensors(tmp_path / "model.safetensors")
    tensor_file.write_tensors(tmp_path / "changed", tensors, {**header, "picture_shape": found})
    with pytest.raises(ModelFileError, match="do not fit together"):
        model_file.load(tmp_path / "changed")


def test_a_model_file_of_before_pictures_were_noted_is_read(cut, tmp_path):
    cut.save(tmp_path / "model.safetensors")
    header, tensors = tensor_file.read_tensors(tmp_path / "model.safetensors")
    del header["picture_shape"]
    tensor_file.write_tensors(tmp_path / "before", tensors, header)
    before = differnet.load(tmp_path / "before")
    assert (before.model.picture_shape, before.describer.tiles) == (None, 2)
    assert before.score([part(2000)]) == cut.score([part(2000)])


def test_small_defects_stand_out_that_are_lost_in_the_whole():
    good = [part(index, 256) for index in range(40)]
    defective = [spotted(index, 256) for index in range(8)]
    pieces, whole = fit(good, **PIECES), fit(good, **PIECES | {"tiles": 1})
    assert (pieces.describer.tiles, whole.describer.tiles) == (4, 1)
    found, missed = ([one.predict(image) for image in defective] for one in (pieces, whole))
    assert [one.verdict for one in found] == ["NG"] * 8
    assert [one.verdict for one in missed].count("OK") >= 3
    assert all(mine.percent > 1.8 * other.percent for mine, other in zip(found, missed, strict=True))
    calm = [pieces.predict(part(3000 + index, 256)).percent for index in range(8)]
    assert max(calm) < 0.6 * min(one.percent for one in found)


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_an_exported_folder_judges_the_same(cut, tmp_path, form):
    images = [part(3000), spotted(1), part(3001, 90)]
    assert export.export(cut, tmp_path / "station", form, images=images).is_close
    station = Inspector(tmp_path / "station")
    assert station.station.tiles == 2
    for image in images:
        agree(station.predict(image, heat_map=True), cut.predict(image, heat_map=True), heat=True)


def test_small_pictures_stay_whole():
    detector = fit([part(index, 95) for index in range(12)], **PIECES)
    assert (detector.config.backbone.tiles, detector.model.picture_shape) == (1, None)


def test_it_is_open_until_there_are_pictures(parts):
    detector = DifferNet("default", 1, "random", **PIECES | {"aspect": 1.0})
    with pytest.raises(NotFittedError, match="come from good images"):
        _ = detector.describer
    assert detector.prepare(parts).describer.tiles == 2
    assert detector.sibling(tiles=1).module is detector.module
    assert detector.sibling(tiles=1).describer.tiles == 1


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Large pictures of parts that lie one way, as files."""
    folder = tmp_path_factory.mktemp("upright")
    for index in range(48):
        save(folder / f"{index:02}.png", part(index))
    return sorted(folder.iterdir())


def test_the_rest_is_found_out_from_pieces_and_each_image_is_decoded_once(files, monkeypatch):
    count = counted(monkeypatch)
    found = fit(files, **SINGLE)
    assert count == dict.fromkeys(files, 1)
    asked = fit(files, **SINGLE | {"tiles": 2})
    assert found.config.backbone.tiles == 2
    assert found.model.choice.candidates[0].auroc is not None
    assert found.model.choice == asked.model.choice
    np.testing.assert_array_equal(found.model.view_scores, asked.model.view_scores)


def test_a_broken_off_fit_goes_on_in_pieces(files, tmp_path):
    class Stopped(Exception):
        pass

    def stop(epoch, total):
        raise Stopped

    settings = SINGLE | {"length": 1.0}
    whole = fit(files, **settings)
    asked = {"preset": "default", "seed": 1, "weights": "random", **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        with pytest.raises(Stopped):
            DifferNet(**asked).fit(files, checkpoint=tmp_path, on_epoch=stop)
        again = DifferNet(**asked).fit(files, checkpoint=tmp_path)
    assert again.describer.tiles == 2
    assert again.model.choice == whole.model.choice
    np.testing.assert_array_equal(again.model.view_scores, whole.model.view_scores)


@pytest.mark.parametrize("rotation", ["auto", "full"])
def test_views_that_turn_are_of_the_whole_picture_and_that_is_said(rotation):
    large = [image.repeat(2, axis=0).repeat(2, axis=1) for image in lying_any_way(110)]
    turning = PIECES | {"sizes": [64, 32], "score_rotations": "random", "train_views": 2, "holdout": 0.2}
    with pytest.warns(DifferNetWarning) as told:
        detector = DifferNet("default", 1, "random", **turning | {"min_steps": 2, "rotation": rotation}).fit(
            large
        )
    (said,) = [str(one.message) for one in told if "looked at as a whole" in str(one.message)]
    assert "the pictures are about 256 pixels wide and 256 high, but views turn" in said
    assert "tiles = 2 does so however they lie, at 4 times the work" in said
    assert (detector.config.views.rotation, detector.config.backbone.tiles) == ("full", 1)
    assert detector.model.picture_shape is None


def test_turned_views_are_cut_where_that_is_asked_for(parts):
    turning = PIECES | {"rotation": "full", "score_rotations": "random", "tiles": 2}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*looked at as a whole", DifferNetWarning)
        warnings.filterwarnings("ignore", "(?s).*(too few|same shoot)", DifferNetWarning)
        assert DifferNet("default", 1, "random", **turning).fit(parts).describer.tiles == 2
