"""Views: rotations in the right direction, factors by hand, and the way back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from differnet.config.settled import SettledViews
from differnet.features.seeds import generator
from differnet.features.tiles import to_square
from differnet.features.views import ViewSet, even_views, random_views, render, turn_back
from support import reference

SETTINGS = SettledViews()


def view(angle=0.0, brightness=1.0, contrast=1.0):
    return ViewSet(torch.tensor([angle]), torch.tensor([brightness]), torch.tensor([contrast]))


def picture(size=16, seed=0):
    return torch.rand(3, size, size, generator=torch.Generator().manual_seed(seed)) * 255


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_quarter_turns_are_exact_and_counter_clockwise(quarter):
    image = picture()
    seen = render(image, view(quarter * math.pi / 2), "zeros")[0]
    torch.testing.assert_close(seen, torch.rot90(image, quarter, (1, 2)), atol=0.05, rtol=0)


def test_any_angle_is_the_literal_rotation():
    image = picture(11)
    seen = render(image, view(0.7), fill="zeros")[0]
    wanted = np.stack([reference.rotate(plane.numpy().astype(np.float64), 0.7) for plane in image])
    np.testing.assert_allclose(seen, wanted, atol=0.02)


def test_brightness_and_contrast_by_hand():
    image = torch.tensor([[[100.0, 200.0], [100.0, 200.0]]]).expand(3, 2, 2)
    seen = render(image, view(brightness=1.2, contrast=0.5), "zeros")[0, 0]
    # 120 and 240 around their mean of 180, half as far away
    torch.testing.assert_close(seen, torch.tensor([[150.0, 210.0], [150.0, 210.0]]))
    assert float(render(image, view(brightness=2.0), "zeros").max()) == 255


@pytest.mark.parametrize(("fill", "corner"), [("zeros", 0.0), ("reflection", 90.0), ("border", 90.0)])
def test_fill_outside_the_image(fill, corner):
    seen = render(torch.full((3, 32, 32), 90.0), view(math.pi / 4), fill)
    assert float(seen[0, 0, 0, 0]) == pytest.approx(corner, abs=1e-3)


def test_random_views_come_from_the_generator_alone():
    first = random_views(500, SETTINGS, generator(3, "x"))
    torch.manual_seed(99)
    again = random_views(500, SETTINGS, generator(3, "x"))
    other = random_views(500, SETTINGS, generator(4, "x"))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.angles, other.angles)
    assert 0 <= float(first.angles.min()) < 0.2
    assert 6.1 < float(first.angles.max()) < 2 * math.pi
    assert 0.85 <= float(first.brightness.min()) < 0.86
    assert 1.14 < float(first.contrast.max()) <= 1.15


def test_rotation_none_stays_upright():
    assert not random_views(5, SettledViews(rotation="none"), generator(0, "x")).angles.any()


def test_even_views_are_evenly_spaced():
    angles = even_views(4, SETTINGS).angles
    torch.testing.assert_close(angles, torch.tensor([0.0, 0.5, 1.0, 1.5]) * math.pi)


def test_maps_are_turned_back_to_where_they_came_from():
    size = 65
    y, x = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    blob = torch.tensor(np.exp(-((x - 40.0) ** 2 + (y - 22.0) ** 2) / 30), dtype=torch.float32)
    views = even_views(7, SETTINGS)
    turned = render(255 * blob.expand(3, -1, -1), views, fill="zeros")[:, 0] / 255
    back = turn_back(turned, views.angles)
    assert float((back - blob).abs().max()) < 0.05
    assert np.unravel_index(int(back.argmax()), back.shape) == (22, 40)


def test_turning_back_averages_only_what_was_seen():
    ones = torch.ones(5, 32, 32)
    back = turn_back(ones, even_views(5, SETTINGS).angles)
    torch.testing.assert_close(back, torch.ones(32, 32), atol=1e-4, rtol=0)


def test_to_square_keeps_the_value_range():
    square = to_square(np.full((5, 9, 3), 200, dtype=np.uint8), (16, 16))
    assert square.shape == (3, 16, 16)
    assert square.unique().tolist() == [200.0]
