"""The picture of a typical good part in a station's folder: which it is, how large, and that a wrong one is refused."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from differnet import Inspector
from differnet.detector.export import export
from differnet.errors import ModelFileError
from differnet.runtime import folder as folders
from differnet.runtime import good_part
from support.tiny import defective_image, good_image


def opened(content):
    return Image.open(io.BytesIO(content))


@pytest.fixture(scope="module")
def exported(upright, tmp_path_factory):
    """A folder that was checked by defective images too, and those images."""
    images = [good_image(900), defective_image(9)[0], good_image(901), good_image(902), defective_image(3)[0]]
    place = tmp_path_factory.mktemp("good") / "station"
    export(upright, place, "onnx", images=images)
    return place, images


def test_it_is_the_ok_image_of_the_lowest_score(upright, exported):
    place, images = exported
    found = [upright.predict(image) for image in images]
    scores = [one.score if one.verdict == "OK" else np.inf for one in found]
    assert sum(np.isfinite(scores)) >= 2
    station = Inspector(place).station
    assert station.about["format"] == folders.FORMAT
    assert np.array_equal(np.asarray(opened(station.good).convert("RGB")), images[int(np.argmin(scores))])


@pytest.mark.parametrize("images", [[], [np.full((64, 64, 3), 255, np.uint8)]])
def test_without_an_ok_image_there_is_none_and_older_versions_read_the_folder(upright, tmp_path, images):
    export(upright, tmp_path / "station", "onnx", images=images)
    station = Inspector(tmp_path / "station").station
    assert station.good is None
    assert station.about["format"] == folders.WITHOUT_GOOD
    assert not (tmp_path / "station" / good_part.NAME).exists()


def test_a_large_one_is_made_smaller_in_its_shape():
    picture = opened(good_part.drawn(np.zeros((1500, 3000, 3), np.uint8)))
    assert picture.size == (good_part.SIDE, good_part.SIDE // 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<svg onload=alert(1)>" + bytes(40), "a PNG of at most 1024"),
        (good_part.drawn(np.zeros((8, 8, 3), np.uint8))[:20], "a PNG of at most 1024"),
        ("wide", "a PNG of at most 1024"),
        (b"\x89PNG" + bytes(good_part.BYTES), "where at most 8388608 were wanted"),
    ],
)
def test_another_file_in_its_place_is_refused_though_the_manifest_names_it(
    exported, tmp_path, content, message
):
    if content == "wide":
        buffer = io.BytesIO()
        Image.new("L", (good_part.SIDE + 1, 1)).save(buffer, "png")
        content = buffer.getvalue()
    copy = shutil.copytree(exported[0], tmp_path / "copy")
    (copy / good_part.NAME).write_bytes(content)
    about = json.loads((copy / "manifest.json").read_text())
    about["files"].update(folders.describe_files({good_part.NAME: content}))
    (copy / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(ModelFileError, match=message):
        Inspector(copy)


def test_a_folder_of_before_with_a_picture_is_refused(exported, tmp_path):
    copy = shutil.copytree(exported[0], tmp_path / "copy")
    about = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(about | {"format": folders.WITHOUT_GOOD}))
    with pytest.raises(ModelFileError, match=r"good\.png"):
        Inspector(copy)


def test_it_changes_no_verdict(exported, upright):
    place, images = exported
    inspector = Inspector(place)
    for image in images:
        assert replace(inspector.predict(image), score=0, p_value=0) == replace(
            upright.predict(image), score=0, p_value=0
        )
