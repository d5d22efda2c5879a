"""The white of a camera: settled once from the training pictures, the same for detector, station, service and rows."""

from __future__ import annotations

import json
import shutil
import threading
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

import differnet
from differnet import DifferNet, DifferNetWarning, Inspector
from differnet.cli.app import app
from differnet.config import presets
from differnet.data import images
from differnet.data.formats import levels as scales
from differnet.data.formats.levels import Levels
from differnet.decision.light import measure
from differnet.detector import export, model_file
from differnet.errors import ConfigError, ImageError, ModelFileError
from differnet.flow import tensor_file
from support import hostile, levels, stations
from support.decoding import counted
from support.stations import by_white as by
from support.tiny import OPTIONS, good_image

pytestmark = pytest.mark.filterwarnings("ignore::differnet.DifferNetWarning")
PEAK = 4000  # of the camera's 4095


def shot(index, peak=PEAK):
    """A part as a 12-bit camera sees it under a lamp that gives so much light."""
    grey = np.asarray(Image.fromarray(good_image(index)).convert("L")).copy()
    grey[0, 0] = 255
    return levels.levels(peak, grey=grey)


def folder_of(root, pictures):
    root.mkdir(parents=True)
    for index, picture in enumerate(pictures):
        (root / f"{index:02}.png").write_bytes(levels.grey_png(picture))
    return sorted(root.iterdir())


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("camera") / "good", [shot(index) for index in range(40)])


@pytest.fixture(scope="module")
def fitted(parts):
    return stations.fit(parts, **stations.UPRIGHT)


@pytest.fixture(scope="module")
def station(fitted, parts, tmp_path_factory):
    place = tmp_path_factory.mktemp("stations") / "camera"
    export.export(fitted, place, "openvino", images=parts[:2])
    return place


def said(judge, image):
    try:
        return judge.predict(image)
    except ImageError as error:
        return str(error)


def test_the_white_is_that_of_the_camera_and_each_picture_is_decoded_once(parts, monkeypatch):
    decoded = counted(monkeypatch)
    found = stations.fit(parts, **stations.UPRIGHT)
    assert found.config.views.white == found.settings.views.white == 4095
    assert decoded == dict.fromkeys(parts, 1)


@pytest.mark.parametrize(
    "holdout", [{}, {"holdout": 0}, {"folds": 4, "rate": 0.1, "review_rate": None}], ids=str
)
def test_pictures_that_reach_less_far_come_first_and_are_seen_by_the_same_white(
    tmp_path, monkeypatch, holdout
):
    """It is found out from all of them, held-out ones among them; those before it was known are decoded anew."""
    dark = folder_of(tmp_path / "a", [shot(index, 700) for index in range(3)])
    bright = folder_of(tmp_path / "b", [shot(index) for index in range(3, 40)])
    settings = stations.UPRIGHT | holdout
    decoded = counted(monkeypatch)
    found = stations.fit([*dark, *bright], **settings)
    assert decoded == dict.fromkeys(dark, 2) | dict.fromkeys(bright, 1)
    wanted = stations.fit([*dark, *bright], **settings, white=4095)
    assert found.config == wanted.config
    np.testing.assert_array_equal(found.model.view_scores, wanted.model.view_scores)
    assert found.model.fitted_on == wanted.model.fitted_on
    assert found.score(dark[0]) == wanted.score(dark[0])


def test_a_lamp_that_dims_is_seen(fitted, station):
    inspector, known = Inspector(station), fitted.predict(shot(900))
    assert known.verdict != "NG"
    for share in (4, 16):
        dim = shot(900, PEAK / share)
        ours, theirs = fitted.predict(dim), inspector.predict(dim)
        assert ours.verdict == theirs.verdict == "NG"
        assert ours.score > 10 * known.score
        assert theirs.score == pytest.approx(ours.score, rel=1e-4)
    alarms = {}
    for peak in (PEAK, PEAK / 4):
        watch = fitted.drift_monitor()
        shots = [shot(index, peak) for index in range(200, 240)]
        seen = [measure(images.load(one, fitted.settings.views)) for one in shots]
        alarms[peak] = [watch.update(10.0, *light) for light in seen][-1].brightness.alarm
    assert alarms == {PEAK: None, PEAK / 4: "lower"}


def test_a_hot_pixel_and_a_little_more_light_turn_nothing(fitted, station):
    hot = shot(901)
    hot[0, 0] = 4096  # a white pixel that becomes hot
    brighter = np.minimum(np.rint(shot(901) * 1.03), 65535).astype(np.uint16)
    for judge in (fitted, Inspector(station)):
        plain = judge.predict(shot(901))
        with pytest.warns(DifferNetWarning, match=r"1 of 4,096 levels lie above white \(4095\), up to 4096"):
            found = judge.predict(hot)
        assert found == judge.predict(levels.as_seen(hot, 4095))
        assert found.score == pytest.approx(plain.score, rel=0.5)
        assert judge.predict(brighter).score == pytest.approx(plain.score, rel=0.5)


def test_the_corpus_is_judged_as_its_pixels_by_detector_and_station(fitted, station, tmp_path):
    """Every case: the very score of the pixels that it must give, or one reason at both."""
    cases, wrong = levels.cases(), {}
    by_scale = {}
    for case in cases:
        by_scale.setdefault((case.white, case.beyond), []).append(case)
    for (white, beyond), some in by_scale.items():
        detector, inspector = by(fitted, station, white if white != "auto" else "picture", beyond)
        for case in some:
            path = tmp_path / "part.bin"
            path.write_bytes(case.content)
            ours, theirs = said(detector, path), said(inspector, path)
            if case.refused is not None:
                is_right = isinstance(ours, str) and ours == theirs and case.refused in ours
            else:
                wanted = detector.predict(case.wanted)
                is_right = ours == wanted and theirs.score == pytest.approx(wanted.score, rel=1e-3)
            if not is_right:
                wrong[case.name] = ours, theirs
    assert wrong == {}


def test_model_and_station_keep_it(fitted, station, tmp_path):
    fitted.save(tmp_path / "model.safetensors")
    again = differnet.load(tmp_path / "model.safetensors")
    assert again.settings.views.white == 4095
    assert again.predict(shot(902, 900)) == fitted.predict(shot(902, 900))
    square = json.loads((station / "manifest.json").read_text())["square"]
    assert (square["white"], square["beyond"]) == (4095, "saturate")


@pytest.mark.parametrize("white", [0, -3, True, "each", None, [4095], 1e300])
def test_a_station_with_no_such_white_is_refused(station, tmp_path, white):
    shutil.copytree(station, tmp_path / "other")
    manifest = tmp_path / "other" / "manifest.json"
    about = json.loads(manifest.read_text())
    about["square"]["white"] = white
    manifest.write_text(json.dumps(about))
    with pytest.raises(ModelFileError, match="white"):
        Inspector(tmp_path / "other")


def test_models_and_stations_of_before_go_by_each_picture_and_say_so_once(fitted, station, tmp_path):
    path = tmp_path / "before.safetensors"
    fitted.save(path)
    header, tensors = tensor_file.read_tensors(path)
    for name in ("white", "beyond"):
        del header["config"]["views"][name]
    tensor_file.write_tensors(path, tensors, header)
    shutil.copytree(station, tmp_path / "station")
    manifest = tmp_path / "station" / "manifest.json"
    about = json.loads(manifest.read_text())
    for name in ("white", "beyond"):
        del about["square"][name]
    manifest.write_text(json.dumps(about))
    assert model_file.load(path).config.views.white == "picture"
    for judge in (differnet.load(path), Inspector(tmp_path / "station")):
        scales._tell.cache_clear()
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            assert judge.predict(good_image(3)).verdict is not None  # of 8 bits: nothing to say
            assert notes == []
            full, quarter = judge.predict(shot(903)), judge.predict(shot(903, 1000))
        assert quarter.score == pytest.approx(full.score, rel=0.2)
        (note,) = notes
        assert "white = 'picture', as models of before do" in str(note.message)


def test_a_fit_on_eight_bits_finds_the_end_of_the_numbers(good_images, monkeypatch):
    scales._tell.cache_clear()
    found = stations.fit(good_images, **stations.UPRIGHT)
    assert found.config.views.white == "type"
    with pytest.warns(
        DifferNetWarning, match="the training pictures had 8 bits, so in pictures of uint16 65535 is white"
    ):
        score = found.predict(good_image(3).astype(np.uint16) * 257).score
    assert score == found.predict(good_image(3)).score
    assert found.predict(good_image(3).astype(np.float32)).score == score
    assert found.predict(good_image(3) / 255.0).score == score


def test_floats_are_settled_as_well_and_what_has_no_white_in_common_is_refused(tmp_path):
    grey = [np.asarray(Image.fromarray(good_image(i)).convert("L")) for i in range(30)]
    assert stations.fit([one / 255 for one in grey], **stations.UPRIGHT).config.views.white == 1
    assert stations.fit([one / 255 * 4095 for one in grey], **stations.UPRIGHT).config.views.white == 4095
    over = [one / 255 for one in grey]
    over[7][2, 2] = 1.0001
    with pytest.raises(ImageError, match=r"the training pictures: floats up to 1.0001, 1 of .* white=1"):
        stations.fit(over, **stations.UPRIGHT)
    forced = stations.fit(over, **stations.UPRIGHT, white=1)
    assert np.isfinite(forced.score(over[7])).all()
    mixed = [one / 255 for one in grey[:20]] + [levels.levels(4095, grey=one) for one in grey[20:]]
    with pytest.raises(ImageError, match="some pictures have floats .* some integers"):
        stations.fit(mixed, **stations.UPRIGHT)
    beside = [good_image(i) for i in range(20)] + [levels.levels(4095, grey=one) for one in grey[20:]]
    assert stations.fit(beside, **stations.UPRIGHT).config.views.white == 4095


@pytest.mark.parametrize("value", [0, -1, "each", float("nan")])
def test_no_such_white_can_be_asked_for(value):
    with pytest.raises(ConfigError, match="white"):
        presets.resolve("default", {"white": value})


def test_prepare_calibrate_and_a_sibling_go_by_the_same_white(parts, fitted):
    settings = stations.UPRIGHT | {"rotation": "auto", "read_stages": "auto", "pooling": "auto"}
    ready = DifferNet("default", seed=1, weights="random", **settings).prepare(parts)
    assert ready.config.views.white == ready.describer.views.white == 4095
    assert ready.sibling(epochs=1).config.views.white == 4095
    other = stations.fit(parts, **stations.UPRIGHT)
    darker = [shot(index, 900) for index in range(100, 130)]
    other.calibrate(darker, rate=0.2, confidence=None)
    assert other.config.views.white == 4095
    brightness = other.model.calibrated_on.brightness
    by_hand = [measure(images.load(one, Levels(4095.0))).brightness for one in darker]
    assert sorted(brightness) == pytest.approx(sorted(by_hand))


def test_pictures_beyond_are_refused_by_choice(fitted, station, tmp_path):
    detector, inspector = by(fitted, station, 4095.0, "refuse")
    over = shot(904)
    over[5, 5] = 4096
    for judge in (detector, inspector):
        assert judge.predict(shot(904)).verdict is not None
        with pytest.raises(ImageError, match=r"1 of 4,096 levels lie above white \(4095\)"):
            judge.predict(over)


def test_rows_maps_and_light_of_the_command_go_by_it(parts, tmp_path):
    """From files alone: fit with a white, score, and the drift monitor sees the light as the model does."""
    run = CliRunner().invoke
    model, dim = tmp_path / "m.safetensors", folder_of(tmp_path / "dim", [shot(905, 1000)])[0]
    done = run(
        app,
        ["fit", str(parts[0].parent), "--out", str(model), *OPTIONS, "--set", "white=4095", "--seed", "1"],
    )
    assert done.exit_code == 0, done.output
    assert "views.white = 4095.0" in run(app, ["info", str(model)]).output
    table, maps = tmp_path / "rows.jsonl", tmp_path / "maps"
    arguments = ["--out", table, "--maps", maps, "--drift", tmp_path / "state.json"]
    done = run(app, ["score", str(model), str(dim), *map(str, arguments)])
    assert done.exit_code in (0, 1), done.output
    (row,) = map(json.loads, table.read_text().splitlines())
    light = measure(images.load(dim, Levels(4095.0)))
    assert (row["brightness"], row["sharpness"]) == pytest.approx(tuple(light))
    assert row["score"] == differnet.load(model).predict(dim).score


def test_workers_of_a_cluster_make_the_squares_of_the_detector(fitted, parts, tmp_path):
    pytest.importorskip("pyarrow")
    from differnet.batch.cluster.inventory import entries_of
    from differnet.batch.cluster.loading import squares

    folder_of(tmp_path / "dim", [shot(906, 1000)])
    describer = fitted.describer
    taken = list(
        squares(
            entries_of([str(tmp_path / "dim"), str(parts[0])]), describer.canvas, fitted.model.config.views
        )
    )
    for one in taken:
        wanted = describer.square(tmp_path / "dim" / "00.png" if "dim" in one.name else parts[0])
        np.testing.assert_array_equal(one.square, wanted.numpy())
    assert taken[0].square.mean() < 0.5 * taken[1].square.mean()


def test_service_and_watch_judge_as_the_station(station, tmp_path):
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("watchfiles")
    from differnet.service.http.model import Served, Task
    from differnet.service.record.store import Store
    from differnet.service.watch.folder import Folder
    from differnet.service.watch.loop import Watch, Wishes
    from differnet.service.watch.memory import StoreMemory

    inspector = Inspector(station)
    store = Store.open(f"sqlite:///{tmp_path}/record.sqlite3")
    (tmp_path / "in").mkdir()
    wanted = {}
    for name, picture in {"full.png": shot(907), "dim.png": shot(907, 1000), "float.png": None}.items():
        content = (
            levels.written(levels.levels(1, np.float32)) if picture is None else levels.grey_png(picture)
        )
        (tmp_path / "in" / name).write_bytes(content)
        wanted[name] = said(inspector, tmp_path / "in" / name)
    served = Served("http", inspector, store, 10**6, "none")
    memory = StoreMemory(store, "watch", "line")
    source = Folder(tmp_path / "in", "line", memory, print, settle=0.0, patience=0.1, scale=inspector.station)
    rows = list(Watch(inspector, memory, Wishes(), print).run(source, threading.Event(), True))
    rows += [served.inspect(Task((tmp_path / "in" / name).read_bytes(), name)).inspection for name in wanted]
    assert len(rows) == 6
    for row in rows:
        if row.file_name == "float.png":
            assert "floats up to 1, where levels with white = 4095 were wanted" in row.error
        else:
            assert (row.score, row.verdict) == (wanted[row.file_name].score, wanted[row.file_name].verdict)
    store.close()


def test_pages_and_colours_beyond_eight_bits_are_told_by_their_headers(tmp_path):
    deep, eight = tmp_path / "deep.tif", tmp_path / "eight.tif"
    tifffile.imwrite(deep, np.stack([levels.levels(4095)] * 2), photometric="minisblack")
    tifffile.imwrite(eight, levels.COLOUR, photometric="rgb")
    (tmp_path / "deep.png").write_bytes(hostile.deep_png(levels.COLOUR.astype(np.uint16)))
    Image.fromarray(levels.COLOUR).save(tmp_path / "eight.png")
    Image.fromarray(levels.COLOUR).save(tmp_path / "eight.jpg")
    (tmp_path / "none.tif").write_bytes(b"II*\0 damaged")
    for path, wanted in {
        deep: True, images.Page(deep, 2): True, eight: False, tmp_path / "deep.png": True,
        tmp_path / "eight.png": False,
        tmp_path / "eight.jpg": False, tmp_path / "none.tif": True,
    }.items():  # fmt: skip
        assert images.is_deep(path) == wanted, path


def test_other_methods_go_by_the_white_of_their_training_pictures(parts, good_images, tmp_path):
    from differnet.evaluation.baselines.dsebm import Dsebm
    from differnet.features.white import scale_of

    assert scale_of(parts) == Levels(4095.0)
    assert scale_of(good_images) == Levels("type")
    method = Dsebm()
    method.epochs = method.least_steps = 1
    method.fit(parts, 0)
    full, dim = folder_of(tmp_path / "shots", [shot(908), shot(908, 1000)])
    eight = tmp_path / "dim.png"
    Image.fromarray(levels.as_seen(shot(908, 1000), 4095)).save(eight)
    assert method.score(dim) == method.score(eight) != method.score(full)


def test_evaluate_goes_by_the_white_of_the_model(tmp_path):
    """A dim part among the test images is found; by its own brightest pixel it was like the good ones."""
    root = tmp_path / "set"
    folder_of(root / "train" / "good", [shot(index) for index in range(30)])
    folder_of(root / "test" / "good", [shot(index) for index in range(300, 306)])
    folder_of(root / "test" / "dim", [shot(index, 1000) for index in range(306, 312)])
    run = CliRunner().invoke
    done = run(app, ["evaluate", str(root), *OPTIONS, "--seeds", "1", "--json"])
    assert done.exit_code == 0, done.output
    assert '"image_auroc": 1.0' in done.stdout, done.stdout[:2000]
