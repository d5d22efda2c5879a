"""Eq. 7 against a literal gradient, and heat where the defect is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

import reference
from conftest import defective_image, good_image
from differnet import localize
from differnet.backbone import Maps, MultiScale
from differnet.flow import Flow
from differnet.pictures import overlay
from differnet.reading import reading


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
    found = localize.gradient_maps(x, module, flow, read, 1.1)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-9)


def test_heat_is_highest_in_the_defect(detector):
    for index in range(6):
        image, mask = defective_image(index)
        heat = detector.localize(image)
        assert heat.shape == mask.shape
        assert heat.min() >= 0
        assert heat[mask].mean() > 1.15 * heat[~mask].mean()  # even with a random backbone


def test_the_scale_is_fixed_by_good_images(detector):
    peaks = [float(detector.localize(good_image(500 + i)).max()) for i in range(8)]
    assert 0.5 < np.median(peaks) < 1.5
    drawn = [overlay(good_image(i), detector.localize(good_image(i))) != good_image(i) for i in range(8)]
    assert np.mean(drawn) < 0.05  # good images look calm
