"""One drawer of heat: what is laid over a picture, as PNG and mixed into it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from differnet.runtime.heatmap import LONGEST, heat_png, layer, overlay, screen_overlay, strength_of


def test_heat_begins_at_the_peak_of_a_good_image_and_is_full_at_three_times_that():
    assert strength_of(np.array([0.0, 1.0, 2.0, 3.0, 9.0])).tolist() == [0, 0, 0.5, 1, 1]


def test_the_colours_are_those_of_inferno():
    from matplotlib import colormaps

    heat = np.linspace(1, 3, 256, dtype=np.float32)[None]
    wanted = 255 * colormaps["inferno"](0.25 + 0.7 * strength_of(heat))[..., :3]
    assert np.abs(layer(heat)[..., :3] - wanted).max() < 6
    assert layer(heat)[0, 0, 3] == 0
    assert layer(heat)[0, -1, 3] == 191  # three quarters of 255


def test_the_png_is_the_layer():
    heat = np.random.default_rng(0).uniform(0, 4, (5, 7)).astype(np.float32)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(heat_png(heat)))), layer(heat))


def test_an_overlay_is_the_layer_mixed_into_the_picture():
    heat = np.random.default_rng(0).uniform(0, 4, (5, 7)).astype(np.float32)
    grey = np.full((5, 7, 3), 100, dtype=np.uint8)
    whole = Image.alpha_composite(Image.fromarray(grey).convert("RGBA"), Image.fromarray(layer(heat), "RGBA"))
    found = overlay(grey, heat).astype(int)
    assert np.abs(found - np.asarray(whole.convert("RGB"))).max() <= 1
    assert (overlay(grey, np.zeros((5, 7))) == grey).all()


def test_an_overlay_for_a_screen_is_no_larger_than_one():
    """A map of any size is laid over a picture of any size, each where it belongs."""
    heat = np.zeros((30, 40), dtype=np.float32)
    heat[10, 30] = 9
    grey = np.full((3000, 4000, 3), 100, dtype=np.uint8)
    drawn = screen_overlay(grey, heat).astype(int)
    assert drawn.shape == (1200, 1600, 3)
    red = np.argwhere(np.abs(drawn - 100).max(axis=2) > 20)
    assert np.abs(red.mean(axis=0) - (10.5 * 40, 30.5 * 40)).max() < 1
    small = screen_overlay(grey[:60, :80], heat)
    assert small.shape == (60, 80, 3)
    assert (screen_overlay(grey[:1, :3000], heat[:1, :1]) == 100).all()


def test_a_map_of_a_large_picture_is_drawn_at_screen_size_in_its_shape():
    heat = np.zeros((900, 3200), np.float32)
    heat[300:600, 1600:2000] = 3.0
    drawn = Image.open(io.BytesIO(heat_png(heat)))
    assert drawn.size == (LONGEST, 450)
    alpha = np.asarray(drawn)[..., 3]
    assert np.array_equal(alpha[160:290, 810:990], np.full((130, 180), round(0.75 * 255)))
    assert alpha[:140].max() == alpha[:, :790].max() == 0
    tall = Image.open(io.BytesIO(heat_png(np.zeros((LONGEST * 3, 1), np.float32))))
    assert tall.size == (1, LONGEST)
