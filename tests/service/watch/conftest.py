"""What the tests of the watch share: one station, and a record and a folder of images for each."""

from __future__ import annotations

import warnings

import pytest

from support.tiny import good_image


@pytest.fixture(scope="session")
def station(good_images, tmp_path_factory):
    """The folder of a tiny model in ONNX."""
    from differnet import DifferNet, DifferNetWarning
    from differnet.detector import export
    from support.watching import SETTINGS

    place = tmp_path_factory.mktemp("stations") / "stripes"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        detector = DifferNet("default", seed=1, weights="random", **SETTINGS).fit(good_images)
    export.export(detector, place, "onnx", images=[good_image(500)])
    return place


@pytest.fixture
def inspector(station):
    from differnet import Inspector

    return Inspector(station, threads=1)


@pytest.fixture
def store(tmp_path):
    from differnet.service.record.store import Store

    found = Store.open(f"sqlite:///{tmp_path}/record.sqlite3")
    yield found
    found.close()


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    return folder
