"""Shapes of inputs: the area of a square, whole halves, about square parts, and which pictures ask for them."""

from __future__ import annotations

import math

import pytest

from differnet.config.sections import Backbone
from differnet.config.shape import (
    LARGEST_SQUARE,
    LONGEST,
    MOST_TILES,
    aspect_of,
    count_places,
    grid_shape,
    in_words,
    smaller,
    tiling_of,
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


@pytest.mark.parametrize(
    ("shape", "size", "tiles"),
    [
        ((448, 448), 448, 1),
        ((1343, 1343), 448, 1),
        ((1344, 1344), 448, 2),  # one and a half times 896
        ((1792, 1792), 448, 2),  # each piece has 896 x 896 pixels
        ((2239, 2239), 448, 2),
        ((2240, 2240), 448, 3),
        ((3584, 3584), 448, 4),
        ((20_000, 20_000), 448, MOST_TILES),
        ((896, 3584), 448, 2),  # of the area of 1792 x 1792
        ((3584, 896), 448, 2),
        ((1792, 1792), 224, 4),
        ((1792, 1792), 640, 1),
        ((1, 1), 448, 1),
    ],
)
def test_pictures_are_cut_where_each_piece_has_twice_the_pixels_that_the_network_sees(shape, size, tiles):
    found = tiling_of([shape] * 3, size)
    assert (found.tiles, found.picture) == (tiles, shape)


@pytest.mark.parametrize("size", [16, 448, 1024, 2048, 2049, 3000, 4096])
@pytest.mark.parametrize("side", [1, 1000, 5000, 17_000, 40_000])
def test_no_more_is_seen_of_all_pieces_than_can_be_asked_for(size, side):
    found = tiling_of([(side, side)], size)
    assert found.tiles * size <= LARGEST_SQUARE
    assert Backbone(sizes=(size,), tiles=found.tiles).tiles == found.tiles


def test_tiles_go_by_the_picture_of_the_median_area():
    small, middle, huge = (300, 400), (2000, 1800), (9000, 9000)
    assert tiling_of([huge, small, middle], 448) == (2, middle)
    assert tiling_of([small, small, huge], 448) == (1, small)
    assert tiling_of([small, huge], 448) == (1, small)  # of two the smaller, which is less work
    assert tiling_of([], 448) == (1, None)


def test_it_is_said_in_words():
    assert (
        in_words((288, 704), 0.4)
        == "288 x 704 pixels, since the pictures are about 2.5 times as wide as high"
    )
    assert in_words((224, 224), 1.0) == "224 x 224 pixels"
    assert in_words((448, 448), 1.0, 3, (3000, 4000)) == (
        "448 x 448 pixels a piece; cut into 3 x 3 pieces, since the pictures are about 4000 pixels wide and 3000 high: "
        "small defects stay visible, at 9 times the work (tiles=1 looks at each as a whole)"
    )
    assert in_words((704, 288), 2.5, 2).startswith(
        "704 x 288 pixels a piece, since the pictures are about 2.5 times as high as wide; cut into 2 x 2 pieces: small"
    )
    assert math.isclose(view_shape(448, 2.5)[0] / view_shape(448, 2.5)[1], 704 / 288)
