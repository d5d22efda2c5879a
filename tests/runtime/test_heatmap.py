"""One drawer of heat: what is laid over a picture, as PNG and mixed into it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from differnet.runtime.heatmap import (
    LEVELS,
    LONGEST,
    colour_of,
    heat_png,
    layer,
    overlay,
    screen_overlay,
    strength_of,
)


def test_heat_begins_at_the_peak_of_a_good_image_and_is_full_at_three_times_that():
    assert strength_of(np.array([0.0, 1.0, 2.0, 3.0, 9.0])).tolist() == [0, 0, 0.5, 1, 1]


def test_the_colours_are_those_of_plasma_from_calm_to_glowing():
    from matplotlib import colormaps

    heat = np.linspace(1, 3, 64)
    wanted = 255 * colormaps["plasma"](0.93 - 0.53 * strength_of(heat))[..., :3]
    assert np.abs(np.array([colour_of(one) for one in heat]) - wanted).max() < 3


def test_the_part_is_seen_through_the_heat_and_lines_say_where_it_is():
    """A cone of heat from 0 to 4: lines at 1, 2 and 3, in their colours, and a light tint between them."""
    y, x = np.mgrid[:401, :401]
    heat = 4 * (1 - np.hypot(x - 200, y - 200) / 200).astype(np.float32)
    drawn = layer(heat)
    row = drawn[200, 200:]
    opaque = [index for index in range(201) if row[index, 3] > 240]
    assert {round(float(heat[200, 200 + index])) for index in opaque} == {1, 2, 3}
    for level in LEVELS:
        place = int(np.argmin(np.abs(heat[200, 200:] - level)))
        assert np.abs(row[place, :3].astype(int) - colour_of(level)).max() <= 1
    far = np.abs(heat[..., None] - np.array(LEVELS)).min(axis=2) > 0.1
    assert 0.2 * 255 < drawn[far, 3].max() <= 0.22 * 255 + 1
    assert drawn[(heat < 0.9), 3].max() == 0


def test_heat_that_only_nearly_reaches_a_level_has_no_line_there():
    """Two steep peaks, one of 0.99 and one of 1.5: a line around the second alone, and none at 2."""
    y, x = np.mgrid[:200, :300]
    below, above = (
        peak * np.exp(-((y - 100) ** 2 + (x - at) ** 2) / 40) for peak, at in ((0.99, 80), (1.5, 220))
    )
    heat = (below + above).astype(np.float32)
    drawn = layer(heat)
    assert drawn[:, :200, 3].max() == 0
    lined = np.argwhere(drawn[..., 3] > 240)
    assert len(lined) > 10
    assert np.abs(heat[tuple(lined.T)] - 1).max() < 0.1
    grey = np.full((200, 300, 3), 100, dtype=np.uint8)
    assert (overlay(grey, heat)[:, :200] == 100).all()


@pytest.mark.parametrize("level", [0.0, 1.0, 2.0, 9.0])
def test_even_heat_has_no_line(level):
    assert layer(np.full((40, 50), level, np.float32))[..., 3].max() <= 0.22 * 255 + 1


def test_the_png_is_the_layer():
    heat = np.random.default_rng(0).uniform(0, 4, (500, 900)).astype(np.float32)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(heat_png(heat)))), layer(heat))


def test_the_map_of_a_small_picture_is_enlarged_so_that_its_lines_are_thin():
    """By 20, its side then 800 pixels: the line is some three of these, not one of the picture's."""
    heat = np.linspace(0, 2, 40, dtype=np.float32)[None].repeat(30, axis=0)
    drawn = Image.open(io.BytesIO(heat_png(heat)))
    assert drawn.size == (800, 600)
    assert 2 <= (np.asarray(drawn)[300, :, 3] > 200).sum() <= 5


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
    assert len(red) > 100
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
    assert np.array_equal(alpha[170:280, 820:980], np.full((110, 160), round(0.22 * 255)))
    assert alpha[:140].max() == alpha[:, :790].max() == 0
    tall = Image.open(io.BytesIO(heat_png(np.zeros((LONGEST * 3, 1), np.float32))))
    assert tall.size == (1, LONGEST)


def test_an_overlay_of_many_bands_is_that_of_the_whole():
    """Lines are drawn by the slope, which needs the rows beside: no band may be seen."""
    y, x = np.mgrid[:300, :900]
    heat = (2 + np.sin(x / 40) * np.cos(y / 30) * 2).astype(np.float32)
    grey = np.full((300, 900, 3), 100, dtype=np.uint8)
    whole = layer(heat).astype(float)
    share = whole[..., 3:] / 255
    wanted = (1 - share) * 100 + share * whole[..., :3]
    assert np.abs(overlay(grey, heat) - wanted).max() <= 1.5
