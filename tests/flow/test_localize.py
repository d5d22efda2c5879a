"""Eq. 7 against a literal gradient, and heat where the defect is."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from differnet import DifferNet
from differnet.config import presets
from differnet.config.settled import provisional, settle
from differnet.detector.scoring import localizer_of
from differnet.errors import ConfigError, NumericalError
from differnet.features.backbone.network import Maps, MultiScale
from differnet.features.backbone.openvino_runtime import OpenVinoRuntime
from differnet.features.pooling import reading
from differnet.flow import localize
from differnet.flow.flow import Flow
from differnet.flow.fusion import Fusion
from support import reference
from support.tiny import COMBINED, defective_image, good_image


def small():
    """A smooth network, so that finite differences are well defined, and a small flow."""
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Tanh())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    settings = SimpleNamespace(sizes=(12, 6), grid=1)
    module = MultiScale(Maps(network), settings, (127.0,) * 3, (64.0,) * 3).double()
    return module, Flow(module.width, 2, 6, 1, seed=1).double()


def test_blur_is_the_literal_gaussian():
    image = torch.rand(2, 3, 15, 17, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    blurred = localize.gaussian_blur(image, 1.3)
    np.testing.assert_allclose(blurred[1, 2], reference.gaussian(image[1, 2].numpy(), 1.3), atol=1e-12)


def test_gradient_map_is_eq_7_by_finite_differences():
    module, flow = small()
    x = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 255

    def loss(image):
        with torch.no_grad():
            z, log_det = flow(module(image))
        return reference.loss(z[0].tolist(), float(log_det))

    gradient = np.zeros((3, 12, 12))
    for index in np.ndindex(gradient.shape):
        step = torch.zeros_like(x)
        step[(0, *index)] = 1e-3
        gradient[index] = (loss(x + step) - loss(x - step)) / 2e-3
    wanted = reference.gradient_map(gradient, 1.1)
    read = reading((4,), sizes=2, grid=1, stages=(0,), pooling="whole")
    found = localize.gradient_maps(x, module, Fusion([flow], [read]), 1.1)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-9)


def test_contributions_share_out_the_score_by_a_literal_sum():
    generator = torch.Generator().manual_seed(2)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh())
    settings = SimpleNamespace(sizes=(9,), grid=2)
    module = MultiScale(Maps(network), settings, (127.0,) * 3, (64.0,) * 3).double()
    flow = Flow(4, 2, 6, 1, seed=1, start="gaussian").double()
    mean = torch.randn(4, generator=generator, dtype=torch.float64)
    matrix = (
        torch.eye(4, dtype=torch.float64) + torch.rand(4, 4, generator=generator, dtype=torch.float64).triu()
    )
    flow.whitening.set(mean, matrix)
    for parameter in flow.parameters():  # no longer the identity
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    x = torch.rand(1, 3, 9, 9, generator=generator, dtype=torch.float64) * 255
    cells = network((x - 127) / 64)[0].detach().numpy()

    def norm(y):
        with torch.no_grad():
            return float(0.5 * flow(torch.from_numpy(y)[None])[0].square().sum())

    wanted = np.zeros((9, 9))
    for rows, columns in itertools.product((slice(0, 5), slice(4, 9)), repeat=2):  # four parts that overlap
        y = cells[:, rows, columns].mean(axis=(1, 2))
        slopes = np.array([(norm(y + step) - norm(y - step)) / 2e-5 for step in 1e-5 * np.eye(4)])
        for i, j in itertools.product(range(rows.start, rows.stop), range(columns.start, columns.stop)):
            wanted[i, j] += slopes @ (cells[:, i, j] - mean.numpy()) * 81 / 25
    read = reading((4,), sizes=1, grid=2, stages=(0,), pooling="largest")
    found = localize.contribution_maps(x, module, Fusion([flow], [read]), 0.8)[0]
    literal = reference.gaussian(np.maximum(wanted, 0), 0.8)
    assert literal.max() > 1.5 * np.median(literal) > 0
    np.testing.assert_allclose(found, literal, rtol=1e-5, atol=1e-7)


def test_contributions_average_to_the_features_that_the_flow_knows():
    module, flow = small()
    flow = Flow(module.width, 2, 6, 1, seed=1, start="gaussian").double()
    x = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 255
    read = reading((4,), sizes=2, grid=1, stages=(0,), pooling="whole")
    exact = module(x)
    plain = localize.contribution_maps(x, module, Fusion([flow], [read]), 1.0)
    torch.testing.assert_close(
        localize.contribution_maps(x, module, Fusion([flow], [read]), 1.0, exact), plain
    )
    assert not torch.allclose(
        localize.contribution_maps(x, module, Fusion([flow], [read]), 1.0, 1.1 * exact), plain
    )


def test_a_flow_without_a_mean_refuses_to_share_out():
    module, flow = small()
    read = reading((4,), sizes=2, grid=1, stages=(0,), pooling="whole")
    with pytest.raises(ConfigError, match="pixels"):
        localize.contribution_maps(torch.zeros(1, 3, 12, 12).double(), module, Fusion([flow], [read]), 1.0)
    with pytest.raises(ConfigError, match="gradient"):
        presets.resolve("paper", {"gradient": "features"})
    eq_7, shared_out = settle(presets.PAPER).maps, provisional(presets.DEFAULT).maps
    assert (eq_7.gradient, eq_7.blur) == ("pixels", 4.0)
    assert (shared_out.gradient, shared_out.blur) == ("features", 6.0)


def test_heat_is_highest_in_the_defect(detector):
    for index in range(6):
        image, mask = defective_image(index)
        heat = detector.localize(image)
        assert heat.shape == mask.shape
        assert heat.min() >= 0
        assert heat[mask].mean() > 1.15 * heat[~mask].mean()  # even with a random backbone


@pytest.mark.parametrize("rotation", ["none", "full"])
def test_maps_are_those_of_the_torch_module(rotation):
    settings = COMBINED | {"runtime": "openvino", "rotation": rotation, "precision": "f32"}
    detector = DifferNet("default", 0, "random", **settings).fit([good_image(i) for i in range(12)])
    asked = []
    fast = localizer_of(detector.model, detector.module, detector.describer)
    spied = replace(fast, feature_maps=lambda views: asked.append(len(views)) or fast.feature_maps(views))
    exact = replace(fast, feature_maps=None)
    square = detector.describer.square(defective_image(0)[0])
    wanted = exact.of_square(square)
    torch.testing.assert_close(spied.of_square(square), wanted, rtol=0, atol=2e-3 * float(wanted.max()))
    assert asked == [1] * len(exact._turned)
    for (_, maps, shares), (_, others, known) in zip(
        spied.seen_of(square), exact.seen_of(square), strict=True
    ):
        torch.testing.assert_close(maps, others, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(shares, known, rtol=0, atol=2e-3 * float(known.max()))


def test_maps_by_the_gradient_to_the_pixels_keep_torch_and_its_threads(detector):
    found = localizer_of(detector.model, detector.module, detector.describer)
    assert (found.settings.maps.gradient, found.feature_maps) == ("pixels", None)


def test_feature_maps_that_differ_are_refused(monkeypatch):
    detector = DifferNet("default", 0, "random", **(COMBINED | {"runtime": "openvino", "rotation": "none"}))
    detector.fit([good_image(i) for i in range(12)], scale_maps=False)
    right = OpenVinoRuntime._maps
    monkeypatch.setattr(OpenVinoRuntime, "_maps", lambda self, views: [1.001 * x for x in right(self, views)])
    with pytest.raises(NumericalError, match="openvino's feature maps differ from PyTorch's"):
        detector.localize(good_image(0))


def test_the_scale_is_fixed_by_good_images(detector):
    peaks = [float(detector.localize(good_image(500 + i)).max()) for i in range(8)]
    assert 0.5 < np.median(peaks) < 1.5
    heats = [detector.localize(good_image(i)) for i in range(8)]
    assert np.mean([heat >= 1 for heat in heats]) < 0.05  # good images look calm
