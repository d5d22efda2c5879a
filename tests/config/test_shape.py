"""Shapes of inputs: the area of a square, whole halves, about square parts, and which pictures ask for them."""

from __future__ import annotations

import math

import pytest

from differnet.config.shape import (
    LONGEST,
    aspect_of,
    count_places,
    grid_shape,
    in_words,
    smaller,
    view_shape,
)


@pytest.mark.parametrize("size", [112, 224, 300, 448, 512, 1024])
@pytest.mark.parametrize("aspect", [1 / 4, 0.4, 1 / 1.6, 1.6, 2.0, 2.5, 3.0, 4.0])
def test_an_oblong_has_the_area_of_its_square_and_about_the_aspect(size, aspect):
    height, width = view_shape(size, aspect)
    assert height * width == pytest.approx(size**2, rel=0.12)
    assert height / width == pytest.approx(aspect, rel=0.12)
    assert view_shape(size, 1 / aspect) == pytest.approx((width, height), abs=32)


@pytest.mark.parametrize("aspect", [0.25, 0.4, 1.6, 2.5, 4.0])
def test_halves_and_quarters_of_the_usual_sizes_are_whole(aspect):
    large = view_shape(448, aspect)
    for part in (2, 4):
        assert smaller(large, 448 // part, 448) == (large[0] // part, large[1] // part)
        assert large[0] % part == large[1] % part == 0
    assert large[0] % 32 == large[1] % 32 == 0


@pytest.mark.parametrize("size", [16, 60, 300, 448])
def test_a_square_stays_what_it_was(size):
    assert view_shape(size, 1.0) == (size, size)
    assert smaller((size, size), 15, size) == (15, 15)
    for grid in range(1, 9):
        assert grid_shape(grid, (size, size)) == (grid, grid)
        assert count_places(grid, (size, size)) == (1 if grid == 1 else 1 + grid**2)


@pytest.mark.parametrize("grid", range(2, 9))
@pytest.mark.parametrize("aspect", [0.25, 0.4, 1.6, 2.5, 4.0])
def test_parts_are_about_as_many_and_about_square(grid, aspect):
    shape = view_shape(448, aspect)
    rows, columns = grid_shape(grid, shape)
    assert rows * columns == pytest.approx(grid**2, rel=0.5 if grid < 4 else 0.3)
    part = (shape[0] / rows) / (shape[1] / columns)
    assert max(part, 1 / part) < 1.5
    assert count_places(grid, shape) == 1 + rows * columns


@pytest.mark.parametrize("shape", [(300, 300), (480, 640), (640, 480), (600, 400), (400, 600)])
def test_pictures_of_ordinary_cameras_keep_the_square(shape):
    assert aspect_of([shape] * 5).value == 1.0


def test_the_median_counts_and_extremes_are_bounded():
    found = aspect_of([(1100, 434), (1100, 440), (1100, 430), (1240, 500)])
    assert found.value == pytest.approx(2.5, abs=0.1)
    assert aspect_of([(100, 1000)] * 3).value == 1 / LONGEST
    assert aspect_of([(1000, 100)] * 3).value == LONGEST
    assert aspect_of([]).value == 1.0


def test_pictures_of_many_shapes_keep_the_square():
    mixed = aspect_of([(100, 50), (100, 100), (50, 100), (300, 100)])
    assert (mixed.value, mixed.is_mixed) == (1.0, True)
    outlier = aspect_of([(200, 100)] * 30 + [(100, 100)])
    assert (outlier.value, outlier.is_mixed) == (2.0, False)


def test_it_is_said_in_words():
    assert (
        in_words((288, 704), 0.4)
        == "288 x 704 pixels, since the pictures are about 2.5 times as wide as high"
    )
    assert in_words((224, 224), 1.0) == "224 x 224 pixels"
    assert math.isclose(view_shape(448, 2.5)[0] / view_shape(448, 2.5)[1], 704 / 288)
