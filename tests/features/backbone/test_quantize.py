"""Eight-bit integers: they travel with the flow that was fitted to them, and floats change to them only past a gate."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

import differnet
from differnet import DifferNet, DifferNetWarning
from differnet.detector import integers as gate
from differnet.errors import ConfigError, ModelFileError, NotFittedError, NumericalError, QuantizationError
from differnet.evaluation.metrics import auroc
from differnet.flow import tensor_file
from support.tiny import TINY, defective_image, good_image

# The tiny random backbone is no network to quantise; the smallest real one is.
SMALL = TINY | {"backbone": "efficientnet_lite0", "stages": [3], "precision": "int8", "epochs": 12}


def quiet_fit(images, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        return DifferNet("default", seed=1, **SMALL | settings).fit(images, scale_maps=False)


@pytest.fixture(scope="module")
def integers(good_images):
    return quiet_fit(good_images)


@pytest.fixture(scope="module")
def floats(good_images):
    return quiet_fit(good_images, precision="f32")


@pytest.fixture
def file(integers, tmp_path):
    path = tmp_path / "model.safetensors"
    integers.save(path)
    return path


def test_a_flow_is_fitted_to_the_integers_and_finds_defects(integers):
    assert (integers.model.precision, integers.model.runtime) == ("int8", "openvino")
    scores = integers.score(
        [good_image(300 + i) for i in range(8)] + [defective_image(i)[0] for i in range(8)]
    )
    assert auroc(scores, np.arange(16) >= 8) > 0.95


def test_the_network_travels_in_the_model_file(integers, file):
    again = differnet.load(file)
    images = [good_image(60 + i) for i in range(3)]
    assert again.score(images).tolist() == integers.score(images).tolist()
    assert again.model.graph.digest == integers.model.graph.digest
    assert "module" not in again.__dict__  # scoring needs no backbone weights
    assert again.predict(images[0], heat_map=True).heat_map.shape == (64, 64)


@pytest.mark.parametrize("part", ["graph.xml", "graph.constants", "graph.probe"])
def test_a_file_without_its_network_is_refused(file, part):
    header, tensors = tensor_file.read_tensors(file)
    del tensors[part]
    tensor_file.write_tensors(file, tensors, header)
    with pytest.raises(ModelFileError, match="do not fit together"):
        differnet.load(file)


def test_a_machine_that_computes_otherwise_is_noticed(file):
    header, tensors = tensor_file.read_tensors(file)
    tensors["graph.probe"] = tensors["graph.probe"] * 1.1
    tensor_file.write_tensors(file, tensors, header)
    with pytest.raises(NumericalError, match="differ by .*% from those where it was fitted"):
        differnet.load(file).score([good_image(0)])


def test_integers_stay_on_the_cpu(integers):
    elsewhere = copy.copy(integers)
    elsewhere.device = "cuda"
    elsewhere.__dict__.pop("describer")
    with pytest.raises(ConfigError, match="run on the CPU"):
        elsewhere.score([good_image(0)])


def test_describing_before_fitting_says_what_to_do():
    with pytest.raises(NotFittedError, match=r"call prepare\(images\) or fit"):
        _ = DifferNet("default", **SMALL).describer


def test_siblings_before_any_image_was_seen_share_the_backbone():
    first = DifferNet("default", **SMALL)
    assert first.sibling(epochs=1).module is first.module


def test_prepared_siblings_share_one_network(good_images):
    first = DifferNet("default", seed=1, **SMALL).prepare(good_images[:6])
    other = first.sibling(epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        other.fit(good_images[:8], scale_maps=False)
    assert other.model.graph is first._prepared.graph
    assert other.describer is first.describer


def test_a_fit_that_goes_on_has_the_same_network(good_images, tmp_path):
    def stop(epoch, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DifferNet("default", seed=1, **SMALL).fit(good_images[:8], checkpoint=tmp_path, on_epoch=stop)
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        resumed = DifferNet("default", seed=1, **SMALL).fit(
            good_images[:8],
            checkpoint=tmp_path,
            progress=lambda stage, done, total: seen.append(stage),
            scale_maps=False,
        )
    assert "measuring ranges for int8" not in seen
    assert "describing training images" not in seen
    whole = quiet_fit(good_images[:8])
    assert resumed.score(good_images[:2]) == pytest.approx(whole.score(good_images[:2]), rel=1e-4)


GOOD = [good_image(400 + i) for i in range(44)]  # 22 give the ranges, 22 decide


def test_floats_change_to_integers_when_the_gate_lets_them(floats, monkeypatch):
    monkeypatch.setattr(gate.Gate, "is_passed", True)  # what it weighs is tested below
    again = copy.copy(floats)
    with pytest.warns(DifferNetWarning, match="too few to promise"):
        found = again.quantize(GOOD)
    assert (again.model.precision, again.promise.count, found.count) == ("int8", 22, 22)
    assert floats.model.precision == "f32"
    fresh = [good_image(900 + i) for i in range(4)]
    moved = again.score(fresh) / floats.score(fresh)
    assert (moved != 1).all()
    assert moved == pytest.approx(1, abs=0.5)
    heat = again.localize(GOOD[0])
    assert np.isfinite(heat).all()
    with pytest.raises(ConfigError, match="in 8-bit integers already"):
        again.quantize(GOOD)


def test_a_refusal_has_the_figures_and_changes_nothing(floats, monkeypatch):
    monkeypatch.setattr(gate, "MOST_SHIFT", 0.0)
    again = copy.copy(floats)
    with pytest.raises(
        QuantizationError, match=r"on 22 good images the scores move by \d+\.\d%.*precision = 'int8'"
    ):
        again.quantize(GOOD)
    assert again.model is floats.model


def test_too_few_good_images_cannot_decide(floats):
    with pytest.raises(
        QuantizationError, match="30 good images, of which 15 give the ranges; at least 20 more"
    ):
        copy.copy(floats).quantize(GOOD[:30])


def test_preparing_a_fitted_detector_leaves_it_as_it_is(integers, good_images):
    again = copy.copy(integers)
    before = again.score(good_images[:2])
    again.prepare(GOOD[:4])
    assert again.score(good_images[:2]).tolist() == before.tolist()


def test_a_bank_that_does_not_fit_is_refused(good_images):
    import torch

    detector = DifferNet("default", seed=1, **SMALL)
    with pytest.raises(ConfigError, match=r"call prepare\(images\) before"):
        detector.fit(good_images[:6], bank=torch.zeros(6, 8, 80))
    with pytest.raises(ConfigError, match=r"shape \(5, 8, 80\)"):
        detector.fit(good_images[:6], bank=torch.zeros(5, 8, 80))


def test_a_checkpoint_of_other_images_gives_no_ranges(good_images, tmp_path):
    def stop(stage, done, total):
        if stage == "describing held-out images":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DifferNet("default", seed=1, **SMALL).fit(good_images[:8], checkpoint=tmp_path, progress=stop)
    with pytest.raises(ModelFileError, match="other images or settings"):
        DifferNet("default", seed=1, **SMALL).fit(good_images[8:16], checkpoint=tmp_path)


def test_the_gate_weighs_shift_order_and_rejections():
    floats = np.linspace(100, 130, 100)
    assert gate.compare(floats, floats * 1.01, 140.0, 0.01).is_passed
    assert not gate.compare(floats, floats * 1.08, 200.0, 0.01).is_passed  # moved
    assert not gate.compare(floats, floats[::-1], 200.0, 0.01).is_passed  # in another order
    rejecting = gate.compare(floats, floats * 1.01, 128.0, 0.01)
    assert rejecting.flagged > rejecting.allowed
    assert not rejecting.is_passed
    with pytest.raises(QuantizationError, match="at least 20"):
        gate.compare(floats[:19], floats[:19], 140.0, 0.01)
