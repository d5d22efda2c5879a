"""Model files: whole or not at all, the same scores in a fresh process, and no trust in their content."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import differnet
from differnet.detector import model, model_file
from differnet.errors import ConfigError, ModelFileError, WeightsError
from differnet.flow import tensor_file
from support.model_files import rewrite, rewrite_header
from support.tiny import TINY, good_image

FRESH = """
import json, sys, socket
def refuse(*a, **k): raise OSError("no network in this test")
socket.socket.connect = refuse
import differnet
detector = differnet.load(sys.argv[1])
print(json.dumps([x.hex() for x in detector.score(sys.argv[2]).tolist()]))
"""


@pytest.fixture
def file(detector, tmp_path):
    path = tmp_path / "model.safetensors"
    detector.save(path)
    return path


def test_a_fresh_process_without_network_gives_the_same_bits(detector, file, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(5):
        Image.fromarray(good_image(900 + i)).save(folder / f"{i}.png")
    wanted = [x.hex() for x in detector.score(folder).tolist()]
    run = subprocess.run(
        [sys.executable, "-c", FRESH, str(file), str(folder)], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == wanted


def test_several_flows_in_one_come_back(good_images, tmp_path):
    settings = TINY | {"flows": 3, "start": "gaussian", "rate": 0.2}
    several = differnet.DifferNet("default", 1, "random", **settings).fit(good_images)
    path = tmp_path / "several.safetensors"
    several.save(path)
    again = differnet.load(path)
    assert (again.score(good_images[:4]) == several.score(good_images[:4])).all()
    assert again.model.flow.count == 3
    assert "3 flows of" in repr(again)
    rewrite_header(path, lambda header: header["config"]["flow"].update(flows=2))
    with pytest.raises(ModelFileError, match="parameters found"):
        differnet.load(path)


def as_format_2(header):
    """Make a header what it was before features of several stages and places."""
    settings = header["config"]
    (settings["backbone"]["stage"],) = settings["backbone"].pop("stages")
    del header["channels"], header["choice"], settings["reading"], settings["backbone"]["grid"]
    del settings["flow"]["start"], settings["training"]["noise"]
    header["format"] = 2


def test_a_file_of_format_2_is_read(detector, file):
    rewrite_header(file, as_format_2)
    old, image = differnet.load(file), good_image(7)
    assert old.config == detector.config
    assert old.predict(image) == detector.predict(image)
    assert np.array_equal(old.localize(image), detector.localize(image))


def test_a_file_of_format_1_is_read(detector, file):
    """It has no precision, and one score of each held-out image: verdicts hold, stopping early does not."""

    def as_format_1(header, tensors):
        tensors["calibration"] = tensors.pop("view_scores").mean(dim=1)
        as_format_2(header)
        header["format"] = 1
        del header["precision"], header["config"]["backbone"]["precision"]
        del header["calibrated_on"], header["fitted_on"]  # noted since format 3

    rewrite(file, as_format_1)
    old, image = differnet.load(file), good_image(7)
    assert old.model.precision == "f32"
    assert old.threshold == detector.threshold
    assert old.predict(image) == detector.predict(image)
    with pytest.raises(ConfigError, match="calibrate it on good images first"):
        old.predict(image, views="auto")
    with pytest.raises(ConfigError, match="the threshold is for 8 views"):
        old.predict(image, views=4)
    with pytest.warns(UserWarning, match="too few to promise"):
        old.calibrate([good_image(800 + i) for i in range(20)], confidence=None)
    with pytest.warns(UserWarning, match="20 held-out good images"):
        stopped = old.predict(image, views="auto")
    seen = old.view_scores(old.describe(image))[: stopped.views]
    assert stopped.score == pytest.approx(seen.mean(), rel=1e-6)


def test_everything_travels(detector, file):
    loaded = differnet.load(file)
    assert loaded.config == detector.config
    assert loaded.seed == detector.seed
    assert loaded.threshold == detector.threshold
    assert repr(loaded) == repr(detector)
    assert np.array_equal(loaded.model.view_scores, detector.model.view_scores)
    assert loaded.model.map_scale == detector.model.map_scale
    image = good_image(77)
    assert np.array_equal(loaded.localize(image), detector.localize(image))
    assert model.summarise(loaded.model) == model.summarise(detector.model)


def test_a_failed_write_leaves_the_old_file(detector, file, monkeypatch):
    before = file.read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match=r"cannot write .*model.safetensors: No space left"):
        detector.save(file)
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("cut", [0, 5, 100, -1, -100])
def test_truncated_files_are_refused(file, cut):
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ModelFileError, match="damaged or not a model file"):
        differnet.load(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(kind="checkpoint"), "holds a checkpoint, not a detector"),
        (lambda h: h.update(format=99), "format 99; this version reads formats 1 to 3"),
        (lambda h: h.pop("config"), "do not fit together"),
        (lambda h: h["config"]["flow"].update(hidden=60000), "parameters found"),
        (lambda h: h["config"]["flow"].update(blocks=10**9), "do not fit together"),
        (lambda h: h["config"]["flow"].update(secret=1), "no setting"),
        (lambda h: h.update(features=10**9), "parameters found"),
        (lambda h: h.update(history=[{}]), "do not fit together"),
    ],
)
def test_hand_edited_headers_are_refused(file, change, message):
    rewrite_header(file, change)
    with pytest.raises(ModelFileError, match=message):
        differnet.load(file)


def test_foreign_files_are_refused(tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, foreign)
    with pytest.raises(ModelFileError, match="not one that differnet wrote"):
        differnet.load(foreign)
    with pytest.raises(ModelFileError, match="no such model file"):
        differnet.load(tmp_path / "none")


def test_nan_weights_are_refused(file):

    def spoil(header, tensors):
        tensors["flow.steps.1.subnet1.layers.0.weight"][0, 0] = float("nan")

    rewrite(file, spoil)
    with pytest.raises(ModelFileError, match="NaN"):
        differnet.load(file)


def test_other_backbone_weights_are_refused(file):
    rewrite_header(file, lambda h: h.update(backbone_digest="0" * 64))
    with pytest.raises(WeightsError, match="was fitted with weights of test_efficientnet with sha256 0000"):
        differnet.load(file)
    rewrite_header(file, lambda h: h.update(backbone_origin="file"))
    with pytest.raises(WeightsError, match="was fitted with a file of backbone weights"):
        differnet.load(file)


def test_it_is_plain_safetensors(file):
    names = set(load_file(file))
    assert {"view_scores", "flow.steps.0.order", "flow.steps.1.subnet1.layers.0.weight"} <= names
    assert tensor_file.read_header(file)["format"] == model_file.FORMAT
