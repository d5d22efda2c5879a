"""A fit, and whatever else needs good images, decodes each of them exactly once and hashes each file once."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest

from differnet import DifferNet
from differnet.data import images as decoder
from differnet.errors import DifferNetWarning
from differnet.features import room, sisters
from support.decoding import counted
from support.tiny import TINY, good_image, save

OPEN = TINY | {
    "rotation": "auto",
    "score_rotations": "auto",
    "train_views": "auto",
    "stages": [1, 2],
    "grid": 2,
    "read_stages": "auto",
    "pooling": "auto",
    "start": "gaussian",
    "noise": "auto",
    "length": "auto",
    "epochs": 1,
}
FRESH = TINY | {"fresh_views": True, "train_views": 2, "epochs": 2}


def upright(index):
    """A part that always lies the same way: bright above, dark below, and an off-centre bar."""
    image = np.full((64, 48), 60.0)
    image[:32] = 180
    image[10:50, 8:14] = 240
    grey = np.clip(image + np.random.default_rng(index).normal(0, 6, image.shape), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Forty-eight parts that lie one way, and as many that lie any way, as files."""
    found = {}
    for name, draw in (("upright", upright), ("turned", good_image)):
        folder = tmp_path_factory.mktemp(name)
        for index in range(48):
            save(folder / f"{index:02}.png", draw(index))
        found[name] = sorted(folder.iterdir())
    return found


@pytest.fixture
def decoded(monkeypatch):
    """How often each file was decoded."""
    return counted(monkeypatch)


def fit(images, settings, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        return DifferNet("default", 1, "random", **settings).fit(images, **options)


@pytest.mark.parametrize(
    ("lie", "settings"),
    [
        ("upright", OPEN),
        ("turned", OPEN | {"rotation": "full"}),
        ("upright", OPEN | {"folds": 4, "rate": 0.1}),
        ("upright", OPEN | {"tiles": 2, "sizes": [32]}),
        ("upright", OPEN | {"holdout": 0, "frame": "pad"}),
        ("turned", TINY | {"epochs": 1}),
        ("turned", FRESH),
        ("turned", FRESH | {"folds": 3, "rate": 0.1}),
    ],
    ids=["default", "turned", "folds", "tiles", "no holdout", "settled", "fresh", "fresh folds"],
)
def test_a_fit_decodes_every_image_once(parts, decoded, lie, settings):
    fit(parts[lie], settings)
    assert decoded == dict.fromkeys(parts[lie], 1)


def test_so_does_one_in_integers(parts, decoded):
    pytest.importorskip("nncf")
    pytest.importorskip("openvino")
    assert (
        fit(
            parts["upright"], OPEN | {"runtime": "auto", "precision": "int8", "rotation": "full"}
        ).model.precision
        == "int8"
    )
    assert decoded == dict.fromkeys(parts["upright"], 1)


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_with_a_checkpoint_each_file_is_hashed_once_as_well(parts, decoded, monkeypatch, tmp_path, precision):
    if precision == "int8":
        pytest.importorskip("nncf")
    hashed, seen = counted(monkeypatch, "file_digest"), []
    settings = OPEN | {"runtime": "auto", "precision": precision, "holdout": 0}
    whole = fit(parts["upright"], settings, checkpoint=tmp_path)
    assert hashed == decoded == dict.fromkeys(parts["upright"], 1)
    again = fit(
        parts["upright"],
        settings,
        checkpoint=tmp_path,
        progress=lambda stage, done, total: seen.append(stage),
    )
    assert hashed == decoded == dict.fromkeys(parts["upright"], 2)
    assert not {"looking at good images", "describing training images"} & set(seen)
    assert again.score(parts["turned"][:2]).tolist() == whole.score(parts["turned"][:2]).tolist()


def test_arrays_are_looked_at_once_with_a_checkpoint(monkeypatch, tmp_path):
    count, work = Counter(), decoder.from_array

    def counting(array, *rest):
        count[id(array)] += 1
        return work(array, *rest)

    monkeypatch.setattr(decoder, "from_array", counting)
    images = [upright(index) for index in range(40)]
    fit(images, OPEN, checkpoint=tmp_path)
    assert count == {id(image): 1 for image in images}


def test_calibrating_decodes_every_image_once(parts, decoded):
    detector = fit(parts["turned"], TINY | {"epochs": 1})
    decoded.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        detector.calibrate(parts["upright"], rate=0.1)
    assert decoded == dict.fromkeys(parts["upright"], 1)


def test_changing_to_integers_decodes_every_image_once(parts, decoded, monkeypatch):
    pytest.importorskip("nncf")
    from differnet.detector.integers import Gate

    monkeypatch.setattr(Gate, "is_passed", True)  # the tiny backbone is none for integers
    detector = fit(parts["turned"], TINY | {"epochs": 1})
    decoded.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        detector.quantize(parts["upright"])
    assert decoded == dict.fromkeys(parts["upright"], 1)


@pytest.mark.long
@pytest.mark.parametrize("bound", [{"in_memory": 1}, {"most": 0}, {"most": 100_000}])
def test_where_squares_are_kept_changes_no_number(parts, decoded, monkeypatch, bound):
    """In memory, in a file, or not at all: then images are decoded again, and all else is the same."""
    settings = OPEN | {"rotation": "full", "folds": 3, "rate": 0.1}
    wanted = fit(parts["turned"], settings)
    decoded.clear()
    whole = room.Room
    monkeypatch.setattr(room, "Room", lambda side, **kind: whole(side, **bound, **kind))
    found = fit(parts["turned"], settings)
    np.testing.assert_array_equal(found.model.view_scores, wanted.model.view_scores)
    assert found.model.map_scale == wanted.model.map_scale
    assert found.model.fitted_on == wanted.model.fitted_on
    assert (decoded.total() > 48) == ("most" in bound)


def test_the_square_is_let_go_when_it_was_needed_for_the_last_time(parts, monkeypatch):
    """A fit that describes each image once has few squares at a time, however many images there are."""
    rooms, whole = [], room.Room

    def made(side, **kind):
        rooms.append(whole(side, **kind))
        return rooms[-1]

    monkeypatch.setattr(room, "Room", made)
    fit(parts["turned"], TINY | {"epochs": 1, "sisters": "ignore"}, scale_maps=False)
    assert [one._count for one in rooms] == [48]  # thumbnails; no square was kept
    rooms.clear()
    fit(parts["turned"], TINY | {"epochs": 1}, scale_maps=False)  # kept since it was compared with the others
    fit(parts["turned"], TINY | {"epochs": 1, "folds": 3, "rate": 0.1}, scale_maps=False)
    thumbnails, squares = rooms[::2], rooms[1::2]
    assert [len(one._free) for one in squares] == [one._count for one in squares] == [48, 48]
    assert [(len(one._free), one._count) for one in thumbnails] == [(0, 48), (0, 48)]


def test_squares_beyond_the_room_for_comparing_are_decoded_again(parts, decoded, monkeypatch):
    whole = fit(parts["turned"], TINY | {"epochs": 1})
    monkeypatch.setattr(sisters, "KEPT", 10 * 64 * 64 * 3)
    decoded.clear()
    again = fit(parts["turned"], TINY | {"epochs": 1})
    assert decoded == dict(zip(parts["turned"], [1] * 10 + [2] * 38, strict=True))
    np.testing.assert_array_equal(again.model.view_scores, whole.model.view_scores)
