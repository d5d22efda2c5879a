"""Room for squares: what is put there comes back, wherever it lies, and a full disk loses time and nothing else."""

from __future__ import annotations

import errno
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from differnet.config import presets
from differnet.config.settled import provisional
from differnet.data import square as squares
from differnet.data.images import content_digest, load
from differnet.data.pixels import pixel_digest
from differnet.data.sisters.thumbnails import thumbnail
from differnet.data.square import encode
from differnet.decision import light
from differnet.errors import DifferNetWarning
from differnet.features.look import look_at
from differnet.features.room import Room
from support.tiny import good_image, save

SIDE = 8
SQUARES = [np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for i in range(6)]


@pytest.mark.parametrize("in_memory", [1, 400, 10**6])
def test_squares_come_back_as_they_were(in_memory):
    room = Room((SIDE, SIDE), in_memory)
    places = [room.put(square) for square in SQUARES[:4]]
    room.drop(places[1])
    assert room.put(SQUARES[4]) == places[1]  # the place is used again
    assert room.put(SQUARES[5]) == 4
    for place, square in zip([places[0], places[1], *places[2:], 4], [0, 4, 2, 3, 5], strict=True):
        np.testing.assert_array_equal(room.get(place), SQUARES[square])


def test_more_than_the_bound_is_not_kept():
    room = Room((SIDE, SIDE), most=2 * 3 * SIDE**2)
    assert [room.put(square) for square in SQUARES[:3]] == [0, 1, None]
    room.drop(0)
    assert room.put(SQUARES[3]) == 0


def test_a_full_disk_is_said_and_squares_are_decoded_again(monkeypatch, tmp_path):
    class Full(tempfile.SpooledTemporaryFile):
        def write(self, *_):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Full)
    looks = look_at([good_image(i) for i in range(3)], presets.resolve("default", {"sizes": [32]}))
    with pytest.warns(DifferNetWarning, match="no room for .* decoded again") as said:
        first = [one.bare((32, 32)) for one in looks]
    assert len(said) == 1  # once
    for one, wanted in zip(looks, first, strict=True):
        np.testing.assert_array_equal(one.bare((32, 32)), wanted)


@pytest.mark.parametrize("frame", ["squash", "pad"])
def test_a_look_has_what_the_picture_has(tmp_path, frame):
    mask = np.zeros((40, 64), np.uint8)
    mask[:9, :11] = 255
    settings = presets.resolve("default", {"sizes": [32], "tiles": 2, "frame": frame, "ignore": encode(mask)})
    path = tmp_path / "part.png"
    save(path, good_image(3)[:40])
    (one,) = look_at([path], settings)
    pixels = load(path)
    assert one.seen == (pixel_digest(pixels), light.measure(pixels), pixels.shape)
    np.testing.assert_array_equal(one.thumbnail, thumbnail(pixels))
    assert one.content == content_digest(path)
    assert str(one) == str(path)
    for _ in range(2):
        found = one.square((64, 64), settings.views)
        wanted = squares.to_square(pixels, (64, 64), settings.views)
        np.testing.assert_array_equal(found, wanted)
        assert found.strides == wanted.strides  # so that every sum comes out the same
    assert look_at([one], settings) == [one]


def test_a_square_is_gone_after_it_was_asked_for_the_last_time(monkeypatch):
    count = []
    monkeypatch.setattr("differnet.features.look.load", lambda image, scale: count.append(1) or image)
    (one,) = look_at([good_image(0)], presets.resolve("default", {"sizes": [32]}))
    one.bare((32, 32))
    one.keep = False
    one.bare((32, 32))
    assert len(count) == 1
    one.bare((32, 32))
    assert len(count) == 2


def test_without_a_temporary_folder_squares_are_not_kept_and_that_is_said(monkeypatch):
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nonexistent"])
    monkeypatch.setattr(tempfile, "tempdir", None)
    room = Room((SIDE, SIDE), in_memory=1)
    with pytest.warns(DifferNetWarning, match="no usable temporary folder"):
        assert room.put(SQUARES[0]) is None
    assert room.put(SQUARES[1]) is None  # said once


def test_several_threads_get_the_right_squares():
    images = [good_image(index, 16) for index in range(6)]
    looks = look_at(images, presets.resolve("default", {"sizes": [16]}))
    wanted = [one.bare((16, 16)).copy() for one in looks]
    wrong = []

    def read(turn):
        for number in range(300):
            index = (turn + number) % len(looks)
            looks[index].keep = bool(number % 3)
            if not np.array_equal(looks[index].bare((16, 16)), wanted[index]):
                wrong.append(index)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))
    assert wrong == []


def test_a_square_that_was_framed_otherwise_is_not_taken():
    (one,) = look_at([good_image(0)[:, :40]], presets.resolve("default", {"sizes": [32]}))
    for changes in ({"frame": "pad"}, {"frame": "squash"}, {"resampling": "bytes"}):
        views = provisional(presets.resolve("default", {"sizes": [32], **changes})).views
        (fresh,) = look_at([good_image(0)[:, :40]], presets.resolve("default", {"sizes": [32], **changes}))
        assert np.array_equal(one.square((32, 32), views), fresh.square((32, 32), views))


def test_thumbnails_lie_in_a_room_and_come_back_as_they_were(monkeypatch):
    """Also where there is no room on disk, and where the file was cut off."""
    pictures = [good_image(i) for i in range(3)]
    looks = look_at(pictures, presets.resolve("default", {"sizes": [32]}))
    for one in looks:
        one.glance(keep=False)
    for one, picture in zip(looks, pictures, strict=True):
        assert isinstance(one._small, int)
        np.testing.assert_array_equal(one.thumbnail, thumbnail(picture))
    monkeypatch.setattr(looks[1]._rooms.small, "put", lambda square: None)
    looks[1]._unsee()
    np.testing.assert_array_equal(looks[1].thumbnail, thumbnail(pictures[1]))
    monkeypatch.setattr(looks[2]._rooms.small, "get", lambda place: None)
    np.testing.assert_array_equal(looks[2].thumbnail, thumbnail(pictures[2]))
