"""Where the backbone runs: the same features everywhere in floats, close ones in integers, and clear refusals."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from differnet.config import sections
from differnet.decision import early_stop
from differnet.errors import ConfigError, MissingExtraError, ModelFileError, NumericalError, QuantizationError
from differnet.features.backbone import network, quantize, select, torch_runtime
from differnet.features.backbone.openvino_runtime import (
    Graph,
    OpenVinoRuntime,
    StageMaps,
    convert,
    has_bf16,
    run_graph,
)

SETTINGS = sections.Backbone(sizes=(96, 48))
ONE_SIZE = sections.Backbone(sizes=(48,))


@pytest.fixture(scope="module")
def lite0():
    return network.build(SETTINGS)


@pytest.fixture(scope="module")
def small():
    return network.build(ONE_SIZE)


@pytest.fixture(scope="module")
def graph(small):
    return quantize.quantize(small, lambda index: torch_runtime.probe((48, 48)), 2, lambda done: None)


def groups(count, side=96):
    """Views in groups of at most GROUP; the last is smaller."""
    views = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 255
    return list(views.split(early_stop.GROUP))


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_floats_agree_with_torch(lite0, name):
    wanted = torch_runtime.TorchRuntime(lite0).features(groups(7))
    found = select.choose(lite0, sections.Backbone(sizes=(96, 48), runtime=name))
    assert (found.name, found.precision) == (name, "f32")
    features = found.features(groups(7))
    assert features.shape == wanted.shape == (7, 384)
    assert torch_runtime.difference(features, wanted) <= select.AGREEMENT
    torch.testing.assert_close(found.features(groups(7)[1:]), features[4:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(96, 96), (48, 192)])
def test_feature_maps_agree_with_torch_and_leave_the_features_alone(lite0, shape):
    settings = sections.Backbone(sizes=(96, 48), runtime="openvino")
    views = torch.rand(3, 3, *shape, generator=torch.Generator().manual_seed(2)) * 255
    found = select.choose(lite0, settings, shape=shape)
    wanted, maps = lite0.feature_maps(views), found.feature_maps(views)
    assert [one.shape for one in maps] == [one.shape for one in wanted]
    for one, other in zip(maps, wanted, strict=True):
        assert torch_runtime.difference(one, other) <= select.AGREEMENT
    assert torch_runtime.difference(lite0.pool(maps, (1, 1)), found.features([views])) <= select.AGREEMENT
    alone = OpenVinoRuntime(convert(lite0, shape))
    assert alone.feature_maps is None
    assert torch.equal(alone.features([views]), found.features([views]))


def test_what_does_not_compute_as_pytorch_does_gives_no_feature_maps(lite0, graph):
    assert run_graph(graph).feature_maps is None
    assert OpenVinoRuntime(convert(lite0, with_maps=True), "bf16").feature_maps is None
    assert select.choose(lite0, sections.Backbone(sizes=(96, 48), runtime="torch")).feature_maps is None


def test_a_runtime_that_disagrees_is_refused(lite0, monkeypatch):
    right = OpenVinoRuntime.features
    monkeypatch.setattr(OpenVinoRuntime, "features", lambda self, views: right(self, views) * 1.001)
    with pytest.raises(NumericalError, match="differ from PyTorch"):
        select.choose(lite0, SETTINGS)


@pytest.mark.parametrize("shape", [(96, 96), (48, 80)])
def test_maps_of_stages_agree_with_the_network_however_many_images(lite0, shape):
    settings = sections.Backbone(sizes=(96, 48), runtime="openvino")
    maps_of = select.stage_maps_of(lite0, settings, shape, 2)
    images = torch.randn(5, 3, *shape, generator=torch.Generator().manual_seed(3))
    before = images.clone()
    wanted, found = lite0.network(images.clone()), maps_of(images)
    assert torch.equal(images, before)
    assert [one.shape for one in found] == [one.shape for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert torch_runtime.difference(one, other) <= select.AGREEMENT
    turned = maps_of(images.contiguous(memory_format=torch.channels_last))
    assert all(torch.equal(one, other) for one, other in zip(found, turned, strict=True))
    assert all(torch.equal(one[2:3], other) for one, other in zip(found, maps_of(images[2:3]), strict=True))
    assert select.stage_maps_of(lite0, settings, shape, 2) is maps_of


def test_maps_of_stages_are_the_networks_own_where_pytorch_was_asked_for(lite0):
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(3))
    settings = sections.Backbone(sizes=(96, 48), runtime="torch")
    wanted = lite0.network(images.contiguous(memory_format=torch.channels_last))
    found = select.stage_maps_of(lite0, settings, (96, 96), 2)(images)
    assert all(torch.equal(*each) for each in zip(found, wanted, strict=True))


def test_maps_of_stages_that_disagree_are_refused_each_time(small, monkeypatch):
    right = StageMaps.__call__
    monkeypatch.setattr(
        StageMaps, "__call__", lambda self, images: [1.001 * one for one in right(self, images)]
    )
    settings = sections.Backbone(sizes=(48,), runtime="openvino")
    for _ in range(2):
        with pytest.raises(NumericalError, match="openvino's feature maps differ from PyTorch's"):
            select.stage_maps_of(small, settings, (48, 48), 2)


def test_maps_of_a_single_stage_are_a_list_of_one():
    settings = sections.Backbone(sizes=(48,), stages=(2,), runtime="openvino")
    module, image = network.build(settings, "random"), torch.ones(2, 3, 48, 48)
    (found,) = select.stage_maps_of(module, settings, (48, 48), 1)(image)
    assert torch_runtime.difference(found, module.network(image)[0]) <= select.AGREEMENT


def test_maps_that_are_no_numbers_are_refused_whichever_they_are(small, monkeypatch):
    right = StageMaps.__call__
    last = lambda self, images: [*right(self, images)[:-1], right(self, images)[-1] * torch.nan]  # noqa: E731
    monkeypatch.setattr(StageMaps, "__call__", last)
    settings = sections.Backbone(sizes=(48,), runtime="openvino")
    with pytest.raises(NumericalError, match="feature maps differ from PyTorch's by nan"):
        select.stage_maps_of(small, settings, (48, 48), 2)


FORKED = """
import os, sys
import torch
from differnet.config import sections
from differnet.features.backbone import network, select
from differnet.runtime import threads

threads.mind_forks()
settings = sections.Backbone(sizes=(48,), runtime="openvino")
module, images = network.build(settings, "random"), torch.ones(2, 3, 48, 48)
wanted = select.stage_maps_of(module, settings, (48, 48), 2)(images)
child = os.fork()
if not child:
    found = select.stage_maps_of(module, settings, (48, 48), 2)(images)
    os._exit(0 if all(torch.allclose(*each, rtol=1e-4, atol=1e-4) for each in zip(found, wanted)) else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_makes_maps_of_stages_anew():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=120)


def test_half_precision_stays_close(lite0):
    wanted = torch_runtime.TorchRuntime(lite0).features(groups(4))
    half = torch_runtime.TorchRuntime(lite0, precision="f16").features(groups(4))
    assert half.dtype == torch.float32
    assert 0 < torch_runtime.difference(half, wanted) < 0.01


def test_bfloat16_stays_close_or_is_refused(lite0, monkeypatch):
    wanted = torch_runtime.TorchRuntime(lite0).features(groups(4))
    settings = sections.Backbone(sizes=(96, 48), precision="bf16")
    if has_bf16():
        found = select.choose(lite0, settings)
        assert found.precision == select.choose_precision(settings, "cpu") == "bf16"
        assert 1e-6 < torch_runtime.difference(found.features(groups(4)), wanted) < select.AGREEMENT_BF16
    monkeypatch.setattr(select, "has_bf16", lambda: False)
    with pytest.raises(ConfigError, match="this CPU does not compute in bfloat16"):
        select.choose(lite0, settings)


@pytest.mark.parametrize(
    ("installed", "name", "precision"),
    [
        (("openvino", "onnxruntime", "nncf"), "openvino", "int8"),
        (("openvino", "onnxruntime"), "openvino", "f32"),
        (("onnxruntime", "onnxscript", "nncf"), "onnxruntime", "f32"),
        (("onnxruntime",), "torch", "f32"),
        ((), "torch", "f32"),
    ],
)
def test_auto_takes_the_fastest_that_is_installed(monkeypatch, installed, name, precision):
    monkeypatch.setattr(select, "_is_installed", lambda package: package in installed)
    assert select.choose_name(SETTINGS, "cpu") == name
    assert select.choose_precision(SETTINGS, "cpu") == precision
    assert select.choose_name(SETTINGS, "cuda") == "torch"
    assert select.choose_precision(SETTINGS, "cuda") == "f32"


@pytest.mark.parametrize(
    ("settings", "device", "installed", "error", "message"),
    [
        ({"runtime": "openvino"}, "cuda", True, ConfigError, "runs on the CPU, not on 'cuda'"),
        ({"runtime": "openvino"}, "cpu", False, MissingExtraError, "pip install openvino"),
        ({"runtime": "onnxruntime"}, "cpu", False, MissingExtraError, r"pip install 'differnet\[onnx\]'"),
        ({"runtime": "torch", "precision": "int8"}, "cpu", True, ConfigError, "runs in OpenVINO on a CPU"),
        ({"precision": "f16", "runtime": "openvino"}, "cpu", True, ConfigError, "runs in PyTorch"),
        ({"precision": "int8"}, "cuda", True, ConfigError, "runs in OpenVINO on a CPU"),
        ({"precision": "bf16"}, "cuda", True, ConfigError, "runs in OpenVINO on a CPU"),
        ({"precision": "bf16", "runtime": "torch"}, "cpu", True, ConfigError, "runs in OpenVINO on a CPU"),
        ({"precision": "bf16"}, "cpu", False, MissingExtraError, "pip install openvino"),
    ],
)
def test_what_cannot_be_had_is_explained(monkeypatch, settings, device, installed, error, message):
    monkeypatch.setattr(select, "_is_installed", lambda package: installed)
    with pytest.raises(error, match=message):
        select.choose_precision(sections.Backbone(**settings), device)


def test_int8_without_nncf_is_explained(monkeypatch):
    monkeypatch.setattr(select, "_is_installed", lambda package: package != "nncf")
    with pytest.raises(MissingExtraError, match=r"pip install 'differnet\[int8\]'"):
        select.choose_precision(sections.Backbone(precision="int8"), "cpu")


def test_integers_point_where_floats_do(small, graph):
    wanted = torch_runtime.TorchRuntime(small).features(groups(6, 48))
    found = run_graph(graph)
    assert found.precision == "int8"
    features = found.features(groups(6, 48))
    assert 1e-4 < torch_runtime.difference(features, wanted) < 0.5
    assert quantize.alignment(features, wanted) > 0.9


def test_a_graph_is_bytes_that_give_the_same_features_again(small, graph):
    again = Graph(bytes(graph.xml), bytes(graph.constants))
    assert again.digest == graph.digest
    assert Graph(graph.xml, graph.constants[:-1] + bytes([graph.constants[-1] ^ 1])).digest != graph.digest
    assert torch.equal(run_graph(again).features(groups(5, 48)), run_graph(graph).features(groups(5, 48)))
    assert len(graph.constants) < 0.5 * sum(4 * p.numel() for p in small.parameters())


def test_a_graph_that_is_none_is_refused(graph):
    with pytest.raises(ModelFileError, match="cannot be read"):
        run_graph(Graph(b"<net/>", b""))


def test_integers_that_point_elsewhere_are_refused(monkeypatch):
    module = network.build(sections.Backbone(sizes=(48,), stages=(1,)))
    monkeypatch.setattr(quantize, "alignment", lambda found, wanted: 0.5)
    with pytest.raises(QuantizationError, match=r"cosine 0.500.*precision = 'f32'"):
        quantize.quantize(module, lambda index: torch_runtime.probe((48, 48)), 1, lambda done: None)


def test_nothing_is_reported_over_the_network(graph):
    assert sys.modules["openvino_telemetry"] is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize(("precision", "tolerance"), [("f32", 1e-3), ("f16", 1e-2)])
def test_cuda_gives_the_same_features(lite0, precision, tolerance):
    wanted = torch_runtime.TorchRuntime(lite0).features(groups(5))
    settings = sections.Backbone(sizes=(96, 48), precision=precision)
    found = select.choose(network.build(SETTINGS), settings, "cuda").features(groups(5))
    assert torch_runtime.difference(found, wanted) < tolerance


def test_convert_keeps_the_shape_of_a_group(lite0):
    assert list(convert(lite0).input(0).shape) == [early_stop.GROUP, 3, 96, 96]
