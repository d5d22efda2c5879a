"""What the tests of the watch share: one station, and a record and a folder of images for each."""

from __future__ import annotations

import pytest


@pytest.fixture
def station(upright_onnx):
    """The folder of a tiny model in ONNX."""
    return upright_onnx[0]


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
