"""Model files that were damaged, forged or written by earlier versions."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import differnet
from differnet.config import presets
from differnet.detector import model_file
from differnet.detector.model import summarise, threshold
from differnet.errors import ConfigError, DifferNetWarning, ModelFileError
from differnet.features.backbone import openvino_runtime
from differnet.features.backbone.openvino_runtime import Graph
from differnet.flow import tensor_file
from support.model_files import rewrite
from support.tiny import TESTS, good_image

MODELS = TESTS / "models"
# What the version that wrote a file said of it: threshold, latent norms of fixed features, the score of a fixed image.
SAID = {
    "format-1": (
        0.7846793512855951,
        [6.989484634280261, 3.8003205940303797, 8.434168281633633],
        0.7844935127189224,
    ),
    "format-2": (
        0.7821873063048053,
        [6.989484390521037, 3.80032067240298, 8.43416828248199],
        0.7818290422541335,
    ),
    "format-3": (
        3.5257996938455043,
        [282969.4739527907, 152898.67557400887, 433027.3310948803],
        3.693085475498415,
    ),
}
SAID["format-3-digest"] = SAID["format-3"]


@pytest.fixture(autouse=True, scope="module")
def without_waiting_for_the_disk():
    """Hundreds of files are written here, and none of them has to outlive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.mark.parametrize("name", sorted(SAID))
def test_files_of_every_format_give_what_they_gave(name):
    """Written by the versions of their time; the flow is the file's own, and so are threshold and numbers."""
    promised, norms, _ = SAID[name]
    model = model_file.load(MODELS / f"{name}.safetensors")
    features = np.random.default_rng(0).normal(size=(3, model.flow.features)).astype(np.float32)
    with torch.inference_mode():
        z, _ = model.flow(torch.from_numpy(features))
    assert (0.5 * z.double().square().sum(1)).tolist() == pytest.approx(norms, rel=1e-4)
    assert threshold(model).value == pytest.approx(promised, rel=1e-12)


def test_a_file_whose_views_are_drawn_otherwise_says_so():
    """Format 1 with random views: about the same scores, and a note."""
    with pytest.warns(DifferNetWarning, match="format 1, whose random views were others"):
        old = differnet.load(MODELS / "format-1.safetensors")
    assert old.score([good_image(99, 32)])[0] == pytest.approx(SAID["format-1"][2], rel=0.02)


@pytest.mark.parametrize("name", sorted(set(SAID) - {"format-1"}))
def test_files_of_every_format_score_as_they_did(name):
    try:
        old = differnet.load(MODELS / f"{name}.safetensors")
    except differnet.errors.WeightsError:
        pytest.skip("the random weights of the backbone differ with this torch or timm")
    assert old.score([good_image(99, 32)])[0] == pytest.approx(SAID[name][2], rel=1e-3)


def test_every_release_format_has_its_file():
    formats = {tensor_file.read_header(path)["format"] for path in MODELS.glob("*.safetensors")}
    assert formats == set(range(1, model_file.FORMAT + 1))


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes((MODELS / "format-3-digest.safetensors").read_bytes())
    return path


def test_one_flipped_bit_is_detected_wherever_it_is(sealed):
    """One bit of every third byte: of the length, the header, the digest itself and the tensors."""
    whole, draws = sealed.read_bytes(), random.Random(0)  # noqa: S311
    read = []
    for at in [*range(200), *range(200, len(whole), 3)]:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << draws.randrange(8)
        sealed.write_bytes(flipped)
        try:
            model_file.load(sealed)
            read.append(at)
        except ModelFileError as error:
            assert str(sealed) in str(error)  # noqa: PT017
    assert read == []


def test_the_digest_is_the_sha256_of_the_file_without_it(sealed):
    content = sealed.read_bytes()
    with safetensors.safe_open(sealed, "pt") as file:
        digest = file.metadata()["sha256"]
    assert hashlib.sha256(content.replace(digest.encode(), b"0" * 64)).hexdigest() == digest


def one_tensor(header, tensors):
    """Put all numbers of the flow into a single tensor: their sum is right."""
    names = [name for name in tensors if name.startswith("flow.")]
    numbers = [tensors.pop(name).flatten() for name in names]
    tensors["flow.x"] = torch.cat([values for values in numbers if values.dtype == torch.float32])


def cells(**changes):
    """Return the tensors of the cells of heat maps, with some of them changed or left out."""
    sound = {"mean": torch.zeros(1, 8, 2, 2), "matrix": torch.eye(8), "level": torch.tensor(1.0)}
    return {f"cells.{name}": value for name, value in {**sound, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, t: h.pop("channels"), "'channels' is missing; .* take the original, or fit again"),
        (lambda h, t: t.pop("view_scores"), "'view_scores' is missing"),
        (lambda h, t: h.update(seed=-1), "seed = -1"),
        (lambda h, t: h.update(seed="x" * 9), "do not fit together"),
        (lambda h, t: h.update(map_scale=0), "map_scale = 0"),
        (lambda h, t: h.update(map_scale=1e-50), "map_scale = 1e-50"),
        (lambda h, t: h.update(stage_seconds={"fitting": "nan"}), "seconds of a stage"),
        (lambda h, t: h.update(features=[16] * 1000), "1000 flows found, 1 wanted"),
        (one_tensor, "parameters found in 1 tensors"),
        (lambda h, t: h.update(train_count=-5), "train_count = -5"),
        (lambda h, t: h.update(format=[3]), "format \\[3\\]"),
        (lambda h, t: h.update(features=1), "parameters found"),
        (lambda h, t: h.update(config=[]), "do not fit together"),
        (lambda h, t: h["config"]["backbone"].update(sizes=[4096], tiles=8), "at most 8192 pixels"),
        (lambda h, t: h["config"]["views"].update(score_views=10**6), "score_views"),
        (lambda h, t: h["config"]["maps"].update(map_views=10**6), "map_views"),
        (
            lambda h, t: h.update(history=[{"epoch": 0, "loss": "x", "held_out_loss": 0, "seconds": 0}]),
            "do not fit",
        ),
        (lambda h, t: h.update(history=7), "do not fit together"),
        (lambda h, t: h.update(versions="none"), "do not fit together"),
        (lambda h, t: h.update(precision="int8"), "'graph.probe' is missing"),
        (lambda h, t: t.update(view_scores=torch.full((2, 4), float("inf"))), "no table of finite"),
        (lambda h, t: t.update(view_scores=torch.full((2, 4), -1.0)), "no table of finite numbers from 0"),
        (lambda h, t: t.update(view_scores=torch.zeros(3)), "no table"),
        (lambda h, t: t.update(view_scores=torch.zeros(3, 0)), "of no views"),
        (lambda h, t: t.update({"flow.steps.0.order": torch.zeros(16, dtype=torch.int64)}), "permutation"),
        (lambda h, t: t.update({"flow.steps.0.order": t["flow.steps.0.order"][:4]}), "do not fit together"),
        (lambda h, t: t.update({"flow.extra": torch.zeros(0)}), "do not fit together"),
        (lambda h, t: t.update({"cells.extra": torch.zeros(0)}), "do not fit together"),
        (lambda h, t: t.update(cells(mean=None)), "do not fit together"),
        (lambda h, t: t.update(cells(mean=torch.zeros(4, 8, 2, 2))), r"cells of shape \(4, 8, 2, 2\)"),
        (lambda h, t: t.update(cells(mean=torch.zeros(1, 8, 4))), r"cells of shape \(1, 8, 4\)"),
        (lambda h, t: t.update(cells(mean=torch.zeros(1, 9999, 1, 1))), "cells of shape"),
        (lambda h, t: t.update(cells(matrix=torch.eye(7))), r"8 channels do not go with a matrix \(7, 7\)"),
        (lambda h, t: t.update(cells(level=torch.zeros(2))), "do not go with"),
        (lambda h, t: t.update(cells(level=torch.tensor(float("nan")))), "NaN or infinite"),
        (lambda h, t: t.update(cells(matrix=torch.eye(8).int())), "NaN or infinite"),
    ],
)
def test_a_file_that_was_forged_with_its_digest_is_refused(sealed, change, message):
    rewrite(sealed, change)
    with pytest.raises(ModelFileError, match=message):
        model_file.load(sealed)


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack("<Q", 2**63) + b"{}", "cut off"),
        (struct.pack("<Q", 10**9) + b"{}", "cut off"),
        (raw(b"[" * 100_000), "damaged"),
        (raw(b"\xff\xfe"), "damaged"),
        (raw([1]), "damaged"),
        (raw({"__metadata__": {"differnet": "[" * 100_000}}), "not JSON"),
        (raw({"__metadata__": {"differnet": '{"seed": NaN}'}}), "NaN is not a number"),
        (raw({"__metadata__": {"differnet": '{"map_scale": 1e999}'}}), "1e999 is not a number"),
        (raw({"__metadata__": {"differnet": '{"seed": ' + "9" * 5000 + "}"}}), "not JSON"),
        (raw({"__metadata__": {"differnet": "[]"}}), "not a JSON object"),
        (raw({"__metadata__": {"differnet": 3}}), "not one that differnet wrote"),
        (raw({"__metadata__": {"differnet": '{"sealed": true}'}}), "its digest is missing"),
        (raw({"__metadata__": {"differnet": "{}"}, "a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4]}},
             bytes(4)), "damaged"),
        (raw({"__metadata__": {"differnet": "{}"}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**42]}},
             bytes(4)), "damaged"),
    ],
)  # fmt: skip
def test_nothing_is_made_from_numbers_that_are_not_true(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        model_file.load(path)


def test_what_is_no_file_or_too_large_is_refused(tmp_path, sealed, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ModelFileError, match="not a regular file"):
            model_file.load(path)
    for path in (tmp_path / "none", tmp_path / ("a" * 300), tmp_path / "nul\0"):
        with pytest.raises(ModelFileError, match="no such model file"):
            model_file.load(path)
    monkeypatch.setattr(tensor_file, "MAX_BYTES", 1000)
    with pytest.raises(ModelFileError, match="model files have at most 1,000"):
        model_file.load(sealed)


def test_a_share_that_is_lost_is_said(sealed, monkeypatch):
    def lost(self):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", lost)
    with pytest.raises(ModelFileError, match=r"model.safetensors: cannot be read: Input/output error"):
        model_file.load(sealed)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_change_of_the_header_is_refused_or_gives_a_model(tmp_path_factory, data):
    """Values anywhere in the header are replaced, with a digest that fits: a model comes out, or a reason."""
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    header, tensors = tensor_file.read_tensors(MODELS / "format-3-digest.safetensors")
    place = header
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    leaf = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5)
    )
    place[key] = data.draw(
        leaf | st.lists(leaf, max_size=3) | st.dictionaries(st.text(max_size=3), leaf, max_size=2)
    )
    tensor_file.write_tensors(path, tensors, header)
    try:
        model = model_file.load(path)
    except ModelFileError:
        return
    json.dumps(summarise(model), allow_nan=False)


SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
NAMES = st.sampled_from([*presets.names(), *presets.DEFAULT.to_dict()])


@settings(max_examples=200, deadline=None)
@given(st.recursive(SIMPLE, lambda one: st.lists(one, max_size=3) | st.dictionaries(NAMES, one, max_size=3)))
def test_any_json_is_a_configuration_or_is_refused(values):
    try:
        found = presets.Config.from_dict(values if isinstance(values, dict) else {"views": values})
    except ConfigError:
        return
    assert presets.Config.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(presets.names())),
    st.text(max_size=12) | st.floats() | st.integers() | st.lists(st.integers(), max_size=3),
)
def test_any_value_of_a_setting_is_taken_or_refused(name, value):
    try:
        found = presets.resolve("default", {name: value})
    except ConfigError as error:
        assert str(error)  # noqa: PT017
        return
    assert presets.Config.from_dict(found.to_dict()) == found


GRAPH = (
    b'<net><layers><layer id="0" name="a" type="%s" version="opset1"><data %s/>'
    b'<output><port id="0">%s</port></output></layer></layers></net>'
)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (b"no xml", "no network"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><net/>", "no network"),
        (GRAPH % (b"ReadValue", b"", b"<dim>1</dim>"), "layer of type 'ReadValue'"),
        (GRAPH % (b"Const", b'offset="0" size="99"', b"<dim>1</dim>"), "constant"),
        (GRAPH % (b"Const", b'offset="-4" size="4"', b"<dim>1</dim>"), "constant"),
        (GRAPH % (b"Parameter", b"", b"<dim>1000000</dim><dim>1000000</dim>"), "numbers"),
        (GRAPH % (b"Parameter", b"", b"<dim>x</dim>"), "no network"),
    ],
)
def test_a_network_in_a_file_is_checked_before_it_is_built(xml, message):
    with pytest.raises(ModelFileError, match=message):
        openvino_runtime.run_graph(Graph(xml, bytes(8)))
