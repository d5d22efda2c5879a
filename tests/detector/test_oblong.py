"""Long parts are looked at in an oblong: it is found from the pictures, and everything after it keeps to it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import differnet
from differnet import DifferNet, Inspector
from differnet.data.square import encode
from differnet.detector import export
from differnet.errors import ConfigError, DifferNetWarning
from support.decoding import counted
from support.parts import lying_any_way
from support.stations import UPRIGHT, agree
from support.tiny import save

LONG = UPRIGHT | {"sizes": [64, 32], "grid": 3, "blur": 3.0, "stages": [1, 2], "review_rate": None}
MANY = 110  # of which 80 are fitted to
ANY_WAY = LONG | {"rotation": "auto", "pooling": "auto", "read_stages": "auto", "length": 0.0}


def part(index: int, shape=(160, 64)) -> np.ndarray:
    """A long part that lies one way: light above, dark below, a bar to the left; a little noise."""
    height, width = shape
    image = np.full(shape, 80.0)
    image[: height // 2] = 170
    image[height // 8 : -height // 8, width // 6 : width // 4] = 230
    grey = np.clip(image + np.random.default_rng(index).normal(0, 5, shape), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def cracked(index: int) -> tuple[np.ndarray, slice, slice]:
    """A part with a short crack, and where it is."""
    image, rows, columns = part(1000 + index), slice(112, 124), slice(40, 52)
    image[rows, columns] = 250
    return image, rows, columns


def fit(images, **settings):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*too few", DifferNetWarning)
        return DifferNet("default", seed=1, weights="random", **settings).fit(images)


@pytest.fixture(scope="module")
def parts():
    return [part(index) for index in range(24)]


@pytest.fixture(scope="module")
def oblong(parts):
    return fit(parts, **LONG)


def test_the_shape_follows_the_pictures(oblong):
    assert oblong.config.views.aspect == 2.5
    assert oblong.settings.shape == oblong.describer.shape == (100, 40)
    features = oblong.describe(part(5))
    assert features.shape == (1, oblong.describer.width)
    assert oblong.describer.width == (1 + 5 * 2) * 2 * sum(oblong.module.channels)
    assert len(oblong.model.reading.columns) == 5 * 2  # of a grid of 3


@pytest.mark.parametrize("frame", ["squash", "pad"])
@pytest.mark.parametrize("tiles", [1, 2])
def test_a_crack_is_found_where_it_is(parts, oblong, frame, tiles):
    plain = (frame, tiles) == ("squash", 1)
    detector = oblong if plain else fit(parts, **LONG | {"frame": frame, "tiles": tiles})
    image, rows, columns = cracked(1)
    heat = detector.localize(image)
    assert heat.shape == image.shape[:2]
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert rows.start - 8 <= row < rows.stop + 8
    assert columns.start - 8 <= column < columns.stop + 8
    assert detector.predict(image).score > max(detector.score([part(2000 + i) for i in range(4)]))


def test_maps_to_the_pixels_work_as_well(parts):
    detector = fit(parts, **LONG | {"gradient": "pixels", "blur": 2.0})
    image, rows, columns = cracked(2)
    heat = detector.localize(image)
    inside = heat[rows.start - 8 : rows.stop + 8, columns.start - 8 : columns.stop + 8]
    assert inside.max() == heat.max()


def test_what_is_ignored_stays_out(parts):
    mask = np.zeros((160, 64), np.uint8)
    mask[100:] = 255
    detector = fit(parts, **LONG | {"ignore": encode(mask)})
    image, rows, _ = cracked(3)
    assert detector.score([image])[0] == pytest.approx(detector.score([part(1003)])[0], rel=1e-6)
    assert (detector.localize(image)[rows] == 0).all()


@pytest.mark.parametrize(
    ("form", "changes"),
    [
        ("onnx", {}),
        ("openvino", {}),
        ("onnx", {"tiles": 2, "frame": "pad", "score_rotations": "random"}),
        ("openvino", {"tiles": 2, "frame": "pad", "score_rotations": "random"}),
    ],
)
def test_an_exported_folder_judges_the_same(parts, oblong, tmp_path, form, changes):
    detector = fit(parts, **LONG | changes) if changes else oblong
    images = [part(3000), cracked(4)[0], part(3001, (90, 120)), part(3002, (64, 160))]
    found = export.export(detector, tmp_path / "station", form, images=images)
    assert found.is_close
    station = Inspector(tmp_path / "station")
    assert station.station.shape == (100, 40)
    assert "size" not in station.station.about["square"]  # a version that knows squares alone refuses it
    for image in images:
        agree(station.predict(image, heat_map=True), detector.predict(image, heat_map=True), heat=True)


def test_a_square_is_exported_as_it_always_was(upright, tmp_path):
    export.export(upright, tmp_path / "station", "onnx")
    assert Inspector(tmp_path / "station").station.about["square"]["size"] == 64


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_other_runtimes_give_the_same_scores(parts, oblong, runtime):
    other = fit(parts, **LONG | {"runtime": runtime})
    images = [part(4000), cracked(5)[0]]
    np.testing.assert_allclose(other.score(images), oblong.score(images), rtol=1e-3)


def test_a_model_file_keeps_the_shape(oblong, tmp_path):
    oblong.save(tmp_path / "model.safetensors")
    again = differnet.load(tmp_path / "model.safetensors")
    assert again.describer.shape == (100, 40)
    image = cracked(6)[0]
    assert again.score([image]) == oblong.score([image])
    np.testing.assert_array_equal(again.localize(image), oblong.localize(image))


def test_integers_work_and_are_exported(parts, tmp_path):
    pytest.importorskip("nncf")
    pytest.importorskip("openvino")
    detector = fit(parts, **LONG | {"precision": "int8", "runtime": "auto"})
    assert (detector.model.precision, detector.describer.shape) == ("int8", (100, 40))
    assert export.export(detector, tmp_path / "station", "openvino", int8=True, images=parts[:2]).is_close


def test_wide_pictures_lie_the_other_way(parts):
    detector = fit([np.ascontiguousarray(one.swapaxes(0, 1)) for one in parts], **LONG)
    assert detector.describer.shape == (40, 100)
    image, rows, columns = cracked(7)
    heat = detector.localize(np.ascontiguousarray(image.swapaxes(0, 1)))
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert columns.start - 8 <= row < columns.stop + 8
    assert rows.start - 8 <= column < rows.stop + 8


def test_a_number_overrules_the_pictures(parts):
    assert fit(parts, **LONG | {"aspect": 1.0}).describer.shape == (64, 64)
    assert fit(parts, **LONG | {"aspect": 0.4}).describer.shape == (40, 100)
    with pytest.raises(ConfigError, match="aspect = 2.5 needs rotation = 'none'"):
        DifferNet("turned", aspect=2.5)


def test_pictures_of_many_shapes_are_brought_to_a_square_and_that_is_said(parts):
    mixed = [part(index, ((160, 64), (64, 64), (64, 160))[index % 3]) for index in range(24)]
    with pytest.warns(DifferNetWarning, match="of many shapes"):
        detector = fit(mixed, **LONG)
    assert detector.describer.shape == (64, 64)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Long pictures, as files: enough of parts that lie one way, and of parts that lie any way."""
    found = {}
    any_way = [np.pad(image, ((96, 96), (0, 0), (0, 0)), mode="edge") for image in lying_any_way(MANY)]
    for name, drawn in (("upright", [part(index) for index in range(MANY)]), ("turned", any_way)):
        folder = tmp_path_factory.mktemp(name)
        for index, image in enumerate(drawn):
            save(folder / f"{index:03}.png", image)
        found[name] = sorted(folder.iterdir())
    return found


def test_finding_out_the_rest_goes_by_the_oblong_and_decodes_each_image_once(files, monkeypatch):
    count = counted(monkeypatch)
    detector = fit(files["upright"], **ANY_WAY)
    assert (detector.config.views.rotation, detector.describer.shape) == ("none", (100, 40))
    assert not detector.model.choice.turning.turns
    assert count == dict.fromkeys(files["upright"], 1)


def test_parts_that_lie_any_way_are_turned_in_a_square_and_that_is_said(files, tmp_path):
    with pytest.warns(DifferNetWarning, match=r"2.5 times as high as wide, but views turn"):
        detector = fit(files["turned"], **ANY_WAY)
    assert (detector.config.views.rotation, detector.config.views.aspect) == ("full", 1.0)
    assert detector.describer.shape == (64, 64)
    assert detector.model.choice.turning.turns
    square = fit(files["turned"], **ANY_WAY | {"rotation": "full", "aspect": 1.0})
    np.testing.assert_array_equal(detector.model.view_scores, square.model.view_scores)
