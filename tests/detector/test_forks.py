"""Forked, pickled and copied detectors: the same verdicts, and nobody waits for threads that are not there."""

from __future__ import annotations

import copy
import io
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import differnet
from differnet import DifferNet, Inspector
from differnet.errors import ModelFileError, NotFittedError
from support.tiny import SMALL, TESTS, TINY, fit, good_image

LIMIT = 120  # seconds that a child may take that does not wait for ever

CODE = """
import json, multiprocessing, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, torch
import differnet
from PIL import Image

model, images, way = sys.argv[1], sys.argv[2:], sys.argv[2]
images = sys.argv[3:]
torch.set_num_threads(2)
torch.ones(2000, 2000) @ torch.ones(2000, 2000)  # the parent has threads of its own now
judge = differnet.Inspector if way.startswith("station") else differnet.load


def scores(judging):
    return [prediction.score for prediction in judging.predict_iter(images)]


if way.endswith("loaded"):
    detector = judge(model)
elif way.endswith("used"):
    detector = judge(model)
    scores(detector)
elif way.endswith("anew"):
    scores(judge(model))
elif way == "fit":
    detector = judge(model)
    scores(detector)
elif way == "before":
    pass


def child(answer):
    try:
        if way == "fit":
            other = differnet.DifferNet(detector.config, 1, "random").fit(images * 4)
            answer.send(scores(other))
        else:
            answer.send(scores(judge(model) if way.endswith(("anew", "before")) else detector))
    except differnet.DifferNetError as error:
        answer.send(f"{type(error).__name__}: {error}")


context = multiprocessing.get_context("fork")
here, there = context.Pipe()
process = context.Process(target=child, args=(there,))
process.start()
print(json.dumps(here.recv() if here.poll(90) else "it hangs"))
process.kill()
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for index in range(4):
        Image.fromarray(good_image(700 + index)).save(root / f"{index}.png")
    return sorted(map(str, root.iterdir()))


def forked(model, way, pictures):
    """Return what a forked child scores."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    run = subprocess.run(
        [sys.executable, "-c", CODE, str(model), way, *pictures],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return eval(run.stdout.splitlines()[-1])  # noqa: S307  our own


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("way", [pytest.param("loaded", marks=pytest.mark.long), "used", "anew", "before"])
@pytest.mark.parametrize(
    "runtime", ["torch", "openvino", pytest.param("onnxruntime", marks=pytest.mark.long)]
)
def test_a_forked_child_judges_as_its_parent(runtime, way, pictures, tmp_path):
    pytest.importorskip(runtime)
    model = tmp_path / "m.safetensors"
    settings = TINY | {"epochs": 1, "runtime": runtime, "rate": 0.5}
    detector = DifferNet("default", 1, "random", **settings).fit([good_image(i) for i in range(12)])
    detector.save(model)
    found = forked(model, way, pictures)
    if (runtime, way) == ("openvino", "anew"):  # it keeps threads of what was given up
        assert found.startswith(
            "ConfigError: this process was forked from one in which OpenVINO keeps threads"
        )
        assert "multiprocessing.get_context('spawn')" in found
        return
    assert found == pytest.approx(detector.score(pictures).tolist(), rel=1e-4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize(
    "way", [pytest.param("station loaded", marks=pytest.mark.long), "station used", "station anew"]
)
@pytest.mark.parametrize("kind", ["fixed", "onnx"])
def test_a_forked_child_has_the_station_of_its_parent(kind, way, pictures, request):
    folder = (
        request.getfixturevalue("fixed") if kind == "fixed" else request.getfixturevalue("upright_onnx")[0]
    )
    wanted = [one.score for one in Inspector(folder).predict_iter(pictures)]
    found = forked(folder, way, pictures)
    if (kind, way) == ("fixed", "station anew"):
        assert found.startswith(
            "ConfigError: this process was forked from one in which OpenVINO keeps threads"
        )
        return
    assert found == pytest.approx(wanted, rel=1e-4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_can_fit(pictures, tmp_path):
    model = tmp_path / "m.safetensors"
    settings = SMALL | {"epochs": 1, "rate": 0.5}
    DifferNet("default", 1, "random", **settings).fit([good_image(i) for i in range(12)]).save(model)
    found = forked(model, "fit", pictures)
    assert len(found) == 4
    assert np.isfinite(found).all()


GIVEN_UP = """
import gc, os, sys, warnings
warnings.simplefilter("ignore")
from differnet import DifferNet
from support.parts import lying_any_way
from support.tiny import TINY

settings = TINY | {"epochs": 1, "runtime": "openvino", "rotation": "auto", "sizes": [64]}
images = lying_any_way(110)
detector = DifferNet("default", 1, "random", **settings).fit(images, scale_maps=False)
assert detector.model.choice.turning.images == 20
wanted = detector.score(images[:3])
child = os.fork()
if not child:
    found = detector.score(images[:3])
    del detector
    gc.collect()
    os._exit(0 if abs(found - wanted).max() <= 1e-4 * wanted.max() else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_can_give_up_the_detector_of_its_parent():
    pytest.importorskip("openvino")
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    subprocess.run([sys.executable, "-c", GIVEN_UP], check=True, timeout=LIMIT, env=environment)


WAYS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),  # noqa: S301  our own
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "protocol 2": lambda thing: pickle.loads(pickle.dumps(thing, protocol=2)),  # noqa: S301
}


@pytest.mark.parametrize("way", WAYS)
def test_a_fitted_detector_is_pickled_and_copied_to_the_bit(detector, way):
    other, images = WAYS[way](detector), [good_image(800 + i) for i in range(3)]
    assert other.score(images).tolist() == detector.score(images).tolist()
    assert other.predict(images[0]) == detector.predict(images[0])
    assert (other.config, other.seed, other.promise) == (detector.config, detector.seed, detector.promise)
    np.testing.assert_array_equal(other.localize(images[0]), detector.localize(images[0]))
    np.testing.assert_array_equal(other.model.view_scores, detector.model.view_scores)
    assert other.model.fitted_on == detector.model.fitted_on
    assert other.model.calibrated_on == detector.model.calibrated_on


@pytest.mark.parametrize("way", WAYS)
def test_a_loaded_detector_is_too(detector, way, tmp_path):
    detector.save(tmp_path / "m")
    loaded = differnet.load(tmp_path / "m")
    image = good_image(5)
    assert WAYS[way](loaded).predict(image) == detector.predict(image)


@pytest.mark.parametrize("way", WAYS)
def test_one_that_has_learned_nothing_keeps_what_it_was_asked_for(way):
    blank = DifferNet("default", 3, "random", **SMALL)
    other = WAYS[way](blank)
    assert (other.config, other.seed, other.device) == (blank.config, 3, "cpu")
    with pytest.raises(NotFittedError):
        _ = other.model


def test_one_that_is_prepared_says_what_to_do(good_images):
    ready = DifferNet("default", 3, "random", **SMALL).prepare(good_images)
    with pytest.raises(
        NotFittedError, match="prepared and not fitted cannot be pickled or copied: fit it first"
    ):
        pickle.dumps(ready)


def test_a_pickle_that_was_changed_is_refused_as_a_file_would_be(detector):
    content = bytearray(pickle.dumps(detector))
    content[len(content) // 2] ^= 1
    with pytest.raises(ModelFileError, match="a pickled detector: damaged"):
        pickle.loads(bytes(content))  # noqa: S301


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["fixed", "onnx"])
def test_an_inspector_is_pickled_and_copied(kind, way, request):
    folder = (
        request.getfixturevalue("fixed") if kind == "fixed" else request.getfixturevalue("upright_onnx")[0]
    )
    inspector, image = Inspector(folder, threads=1), good_image(5)
    changed = inspector.with_rates(0.4)
    for one in (inspector, changed):
        other = WAYS[way](one)
        assert other.predict(image) == one.predict(image)
        assert other.threshold == one.threshold


@pytest.fixture(autouse=True)
def usual_sigterm():
    """Pools end their workers by SIGTERM; Ray's handler, which other tests leave behind, may let one wait for ever."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    if before is not None:  # it was set from Python
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def by_torch():
    """A detector that forked workers can use whatever OpenVINO was used for before, in these tests."""
    return fit([good_image(i) for i in range(12)], settings={"rate": 0.5})


class Judging:
    """What a data loader of PyTorch asks for: pictures by their number, judged in its workers."""

    def __init__(self, detector, images):
        self.detector, self.images = detector, images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.detector.predict(self.images[index]).score


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_of_a_data_loader(by_torch, context):
    from torch.utils.data import DataLoader

    images = [good_image(900 + i) for i in range(4)]
    wanted = by_torch.score(images).tolist()
    loader = DataLoader(
        Judging(by_torch, images), batch_size=2, num_workers=2, multiprocessing_context=context, timeout=LIMIT
    )
    assert [score for batch in loader for score in batch.tolist()] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_jobs_of_joblib(by_torch, backend):
    joblib = pytest.importorskip("joblib")
    images = [good_image(900 + i) for i in range(4)]
    wanted = by_torch.score(images).tolist()
    found = joblib.Parallel(2, backend=backend, timeout=LIMIT)(
        joblib.delayed(differnet.DifferNet.predict)(by_torch, image) for image in images
    )
    assert [one.score for one in found] == pytest.approx(wanted, rel=1e-4)


def test_joblib_dumps_and_loads(detector):
    joblib = pytest.importorskip("joblib")
    file = io.BytesIO()
    joblib.dump(detector, file)
    file.seek(0)
    assert joblib.load(file).predict(good_image(5)) == detector.predict(good_image(5))
