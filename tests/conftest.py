"""What tests share: good images, a tiny detector, data sets, a station, databases; nothing is downloaded."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from PIL import Image

from support.tiny import TINY, defective_image, good_image, save


def pytest_collection_finish():
    """What is imported by now stays: each fit collects garbage, and need not look at it again."""
    gc.freeze()


@pytest.fixture(scope="session")
def good_images():
    return [good_image(i) for i in range(24)]


@pytest.fixture(scope="session")
def detector(good_images):
    """A tiny detector fitted once for all tests; treat it as read-only."""
    from differnet import DifferNet

    with pytest.warns(UserWarning, match="too few to promise"):
        return DifferNet("default", seed=1, weights="random", **TINY | {"runtime": "auto"}).fit(good_images)


@pytest.fixture(scope="session")
def mvtec_root(tmp_path_factory):
    """A miniature data set in the MVTec layout with one category."""
    root = tmp_path_factory.mktemp("mvtec")
    category = root / "stripes"
    for part, start, count in (("train/good", 0, 24), ("test/good", 100, 8)):
        (category / part).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(good_image(start + i)).save(category / part / f"{i:03}.png")
    for folder in ("test/square", "ground_truth/square"):
        (category / folder).mkdir(parents=True)
    for i in range(8):
        image, mask = defective_image(i)
        Image.fromarray(image).save(category / "test" / "square" / f"{i:03}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(
            category / "ground_truth" / "square" / f"{i:03}_mask.png"
        )
    return root


@pytest.fixture(scope="module")
def categories(tmp_path_factory):
    """A miniature of MVTec AD with two categories."""
    root = tmp_path_factory.mktemp("mvtec")
    for number, name in enumerate(("bottle", "screw")):
        for i in range(6):
            save(root / name / f"train/good/{i}.png", good_image(100 * number + i, 40))
        for i in range(3):
            save(root / name / f"test/good/{i}.png", good_image(100 * number + 50 + i, 40))
            pixels, mask = defective_image(10 * number + i, 40)
            save(root / name / f"test/dent/{i}.png", pixels)
            save(root / name / f"ground_truth/dent/{i}_mask.png", mask.astype(np.uint8) * 255)
    return root


@pytest.fixture(scope="session")
def tiny_station(tmp_path_factory):
    """The folder of a tiny model with one upright view, a threshold, a review band and heat maps."""
    from support.service_fixture import export_tiny

    return export_tiny(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="session")
def upright(good_images):
    """A detector of upright views, with a threshold and a review band; read-only."""
    from support import stations

    return stations.fit(good_images, **stations.UPRIGHT)


@pytest.fixture(scope="session")
def turned(good_images):
    """A detector of turned views and two flows; read-only."""
    from support import stations

    return stations.fit(good_images, **stations.TURNED)


@pytest.fixture(scope="session")
def fixed(upright, tmp_path_factory):
    """The folder of upright views in OpenVINO."""
    from support.stations import exported

    return exported(upright, tmp_path_factory.mktemp("stations") / "fixed", "openvino")


@pytest.fixture(scope="session")
def turning(turned, tmp_path_factory):
    """The folder of turned views in OpenVINO."""
    from support.stations import exported

    return exported(turned, tmp_path_factory.mktemp("stations") / "turning", "openvino")


@pytest.fixture(scope="session")
def upright_onnx(upright, tmp_path_factory):
    """The folder of upright views in ONNX, and what was found when it was written."""
    from differnet.detector import export
    from support.stations import pictures

    place = tmp_path_factory.mktemp("stations") / "stripes"
    return place, export.export(upright, place, "onnx", images=pictures())


@pytest.fixture(scope="session")
def integers(good_images):
    """A detector fitted to the features of a real network in 8-bit integers; read-only."""
    from support.integers import quiet_fit

    return quiet_fit(good_images)


@pytest.fixture(scope="session")
def floats(good_images):
    """The same in floats; read-only."""
    from support.integers import quiet_fit

    return quiet_fit(good_images, precision="f32")


@pytest.fixture(scope="session")
def cluster():
    """The URL of a throw-away PostgreSQL."""
    from support import databases

    reason = databases.missing()
    if reason:
        pytest.skip(reason)
    with databases.postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of an empty database: SQLite's, and PostgreSQL's."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'record.sqlite3'}"
        return
    from support import databases

    place = request.getfixturevalue("cluster")
    yield place
    databases.empty(place)
