"""Eight-bit integers: they travel with the flow that was fitted to them, and a fit goes on with them."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

import differnet
from differnet import DifferNet, DifferNetWarning
from differnet.detector.prepare import Fitted
from differnet.errors import ConfigError, ModelFileError, NotFittedError, NumericalError
from differnet.evaluation.metrics import auroc
from differnet.flow import tensor_file
from support.integers import SMALL, quiet_fit
from support.tiny import defective_image, good_image


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
    elsewhere._state = Fitted(integers.model)  # as it was loaded
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
        other.fit(good_images[:6], scale_maps=False)
    assert other.model.graph is first._prepared.graph
    assert other.describer is first.describer


@pytest.mark.long
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
