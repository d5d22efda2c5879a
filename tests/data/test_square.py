"""From a picture to a square and back: aspect ratio, and what is ignored."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from differnet.config import presets
from differnet.config.sections import Views
from differnet.data.square import encode
from differnet.errors import ConfigError
from differnet.features.tiles import enlarged, shown, to_square
from support.tiny import RIGHT_HALF, good_image


def test_padding_keeps_the_aspect_ratio():
    pixels = np.full((20, 40, 3), 200, np.uint8)
    square = to_square(pixels, (16, 16), Views(frame="pad"))
    assert square.shape == (3, 16, 16)
    assert (square[:, 4:12] == 200).all()
    assert (square[:, :4] == 0).all()
    assert (square[:, 12:] == 0).all()
    assert (to_square(pixels, (16, 16)) == 200).all()


@pytest.mark.parametrize("views", [Views(), Views(frame="pad")])
@pytest.mark.parametrize("shape", [(40, 40), (20, 40), (64, 16)])
def test_a_map_comes_back_to_where_the_picture_was(views, shape):
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[: shape[0] // 2] = 255
    heat = to_square(pixels, (64, 64), views)[0]
    back = enlarged(shown(heat, shape, views).numpy(), shape)
    assert back.shape == shape
    assert back[: shape[0] // 2 - 2].min() > 250
    assert back[shape[0] // 2 + 2 :].max() < 5


def test_what_is_ignored_is_grey_before_and_zero_after():
    views = Views(ignore=encode(RIGHT_HALF))
    square = to_square(good_image(0), (32, 32), views)
    assert (square[:, :, 16:] == 127).all()
    assert torch.equal(square[:, :, :16], to_square(good_image(0), (32, 32))[:, :, :16])
    heat = enlarged(shown(torch.ones(32, 32), (64, 64), views).numpy(), (64, 64))
    assert (heat[:, 40:] == 0).all()
    assert (heat[:, :24] == 1).all()


def test_a_mask_follows_the_picture_into_its_frame():
    mask = np.zeros((20, 40), np.uint8)
    mask[:, 20:] = 255
    views = Views(frame="pad", ignore=encode(mask))
    square = to_square(np.full((20, 40, 3), 200, np.uint8), (16, 16), views)
    assert (square[:, 4:12, 8:] == 127).all()
    assert (square[:, 4:12, :8] == 200).all()
    assert (square[:, :4] == 0).all()


@pytest.mark.parametrize("fill", [0, 255])
def test_masks_of_all_or_nothing_are_refused(fill):
    with pytest.raises(ConfigError, match="all" if fill else "nothing"):
        encode(np.full((8, 8), fill, np.uint8))


def test_other_texts_are_no_masks():
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    for text in ("png:AAAA", "png:%%%", "png:" + base64.b64encode(buffer.getvalue()).decode()):
        with pytest.raises(ConfigError, match="not a mask"):
            to_square(good_image(0), (16, 16), Views(ignore=text))
    with pytest.raises(ConfigError, match="ignore"):
        presets.resolve("default", {"ignore": "mask.png"})


def test_a_mask_of_another_shape_is_squeezed_into_the_picture():
    views = Views(frame="pad", ignore=encode(RIGHT_HALF))  # a square mask for a picture of 1 : 2
    square = to_square(np.full((20, 40, 3), 200, np.uint8), (16, 16), views)
    assert (square[:, 4:12, 8:] == 127).all()
    assert (square[:, 4:12, :8] == 200).all()


@pytest.mark.parametrize("frame", ["squash", "pad"])
def test_floats_are_what_bytes_are_rounded_from(frame):
    pixels = np.random.default_rng(0).integers(0, 256, (61, 90, 3), dtype=np.uint8)
    exact = to_square(pixels, (32, 40), Views(frame=frame, resampling="floats")).numpy()
    rounded = to_square(pixels, (32, 40), Views(frame=frame)).numpy()
    assert np.abs(exact - rounded).max() <= 1  # Pillow rounds after each of two passes
    assert np.all(rounded % 1 == 0)
    assert np.mean(exact % 1 == 0) < 0.6  # bars of black are whole


def test_floats_are_averages_to_the_digit():
    """Halves of a board of single pixels of 0 and 255 lie between two bytes, wherever no rim is near."""
    board = (255 * (np.indices((64, 64)).sum(axis=0) % 2)).astype(np.uint8)
    square = to_square(np.repeat(board[..., None], 3, axis=2), (32, 32), Views(resampling="floats")).numpy()
    np.testing.assert_allclose(square[:, 2:-2, 2:-2], 127.5, atol=1e-4)
    assert np.array_equal(square[0], square[1])


def test_a_picture_that_is_no_larger_stays_as_it_is():
    pixels = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    square = to_square(pixels, (24, 24), Views(resampling="floats")).numpy()
    np.testing.assert_allclose(square, pixels.transpose(2, 0, 1), atol=1e-4)
