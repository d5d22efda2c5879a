"""The station judges as the detector does: views, threads, streams, maps."""

from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from differnet import DifferNetWarning, Inspector
from differnet.detector import export
from differnet.errors import (
    ConfigError,
    ImageError,
    ModelFileError,
)
from differnet.runtime import folder as folders
from differnet.runtime.engines import OpenVinoEngine
from differnet.runtime.enlarge import enlarge
from support.stations import agree, pictures
from support.tiny import defective_image, good_image


def test_a_folder_of_upright_views_judges_as_the_detector(upright, fixed):
    inspector = Inspector(fixed)
    for image in pictures():
        agree(inspector.predict(image, heat_map=True), upright.predict(image, heat_map=True), heat=True)
    assert (
        inspector.predict(good_image(1)).review_threshold == upright.predict(good_image(1)).review_threshold
    )


def test_a_folder_of_turned_views_judges_as_the_detector(turned, turning):
    inspector = Inspector(turning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)  # few images: the promise of stopping early is weak
        for image, views in zip(pictures(), (None, 3, "auto", "auto"), strict=True):
            agree(inspector.predict(image, True, views), turned.predict(image, True, views), heat=True)
    np.testing.assert_allclose(
        inspector.view_scores(pictures()[2]),
        turned.view_scores(turned.describe(pictures()[2])),
        rtol=1e-4,
    )


def test_a_band_for_review_has_all_three_answers(upright, fixed):
    """Also where a part is judged before all of its views were seen."""
    inspector = Inspector(fixed)
    scores = [good_image(i) for i in range(300, 340)]
    wanted = [upright.predict(image).verdict for image in [*scores, defective_image(3)[0]]]
    assert [inspector.predict(image).verdict for image in [*scores, defective_image(3)[0]]] == wanted
    assert set(wanted) == {"OK", "review", "NG"}


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_many_threads_get_the_same_answers(turned, turning, form, tmp_path):
    place = turning
    if form == "onnx":
        pytest.importorskip("onnxscript")
        place = tmp_path / "station"
        export.export(turned, place, form, images=[good_image(1)])
    inspector, images = Inspector(place), [good_image(i) for i in range(40, 60)]
    wanted = [inspector.predict(image, heat_map=True) for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: inspector.predict(image, heat_map=True), images))
    assert found == wanted
    for ours, theirs in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(ours.heat_map, theirs.heat_map)


def test_a_stream_and_a_monitor(fixed):
    inspector = Inspector(fixed)
    found = list(inspector.predict_iter(iter(pictures())))
    assert [one.score for one in found] == [inspector.predict(image).score for image in pictures()]
    monitor = inspector.drift_monitor()
    assert monitor.update(found[0].score, 128.0, 1.0).images == 1
    assert "threshold" in repr(inspector)
    assert inspector.promise.rate == 0.2


def test_what_it_cannot_do_is_said(turning, fixed, tmp_path):
    inspector = Inspector(turning)
    for views in (0, 9, "many"):
        with pytest.raises(ConfigError, match="8 random view"):
            inspector.predict(good_image(1), views=views)
    with pytest.raises(ImageError, match="no such file"):
        Inspector(fixed).predict(tmp_path / "none.png")


@pytest.mark.parametrize("count", [0, -1])
def test_no_threads_are_refused(fixed, count):
    with pytest.raises(ConfigError, match="threads = "):
        Inspector(fixed, threads=count)


def test_maps_are_enlarged_as_torch_does():
    part = np.random.default_rng(0).random((7, 5), dtype=np.float32)
    for shape in ((7, 5), (31, 40), (3, 4), (1, 9)):
        wanted = torch.nn.functional.interpolate(
            torch.from_numpy(part)[None, None], size=shape, mode="bilinear", align_corners=False
        )
        np.testing.assert_allclose(enlarge(part, shape), wanted[0, 0], atol=1e-6)


def test_openvino_takes_any_number_of_views(fixed):
    engine = OpenVinoEngine(*((fixed / name).read_bytes() for name in folders.names_of("score", "openvino")))
    views = np.random.default_rng(0).uniform(0, 255, (3, 3, 64, 64)).astype(np.float32)
    together = engine.run({"views": views})
    one_by_one = [engine.run({"views": views[i : i + 1]})["norms"][0] for i in range(3)]
    np.testing.assert_allclose(together["norms"], one_by_one, rtol=1e-5)
    with pytest.raises(ModelFileError, match="does not take these inputs"):
        engine.run({"pictures": views})


@pytest.mark.parametrize("form", ["onnx", "openvino"])
@pytest.mark.parametrize("views", [None, "auto"])
def test_images_of_a_stream_are_judged_on_cores_of_their_own_as_one_by_one(
    upright_onnx, turning, form, views, monkeypatch
):
    inspector = Inspector(upright_onnx[0] if form == "onnx" else turning)
    images = [good_image(i) for i in range(40, 51)]
    wanted = [inspector.predict(image, heat_map=True, views=views) for image in images]
    monkeypatch.setattr("differnet.runtime.inspector.cores", lambda: 3)
    seen, real = set(), type(inspector)._judge

    def judge(self, *arguments, **named):
        seen.add(threading.current_thread().name.partition("_")[0])
        return real(self, *arguments, **named)

    monkeypatch.setattr(type(inspector), "_judge", judge)
    found = list(inspector.predict_iter(iter(images), heat_map=True, views=views))
    assert "differnet-lane" in seen
    assert found == wanted
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours.heat_map, theirs.heat_map)


def test_an_image_that_cannot_be_read_is_an_error_where_its_turn_is(fixed, tmp_path):
    (tmp_path / "none.png").write_bytes(b"no picture")
    stream = Inspector(fixed).predict_iter(
        [good_image(1), good_image(2), tmp_path / "none.png", good_image(3)]
    )
    assert [next(stream).score, next(stream).score] == [
        Inspector(fixed).predict(good_image(i)).score for i in (1, 2)
    ]
    with pytest.raises(ImageError, match=r"none\.png"):
        next(stream)
