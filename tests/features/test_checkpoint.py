"""The checkpoint of a fit: one message for what belongs to another, one for what is damaged, and a key of its own."""

from __future__ import annotations

import json

import pytest

from differnet.config import presets
from differnet.errors import ModelFileError
from differnet.features.checkpoint import Checkpoint, opened
from differnet.features.look import look_at
from support.tiny import good_image, save

SETTINGS = presets.resolve("default", {"sizes": [32]})


def key_of(folder, images, rest):
    with opened(folder, look_at(images, SETTINGS)) as checkpoint:
        return checkpoint.key(rest)


def test_the_key_tells_images_their_order_and_all_else_apart(tmp_path):
    images = [good_image(i) for i in range(4)]
    chosen = images, images[:3], images[::-1], [*images[:3], good_image(3)[:, :32]]
    keys = {key_of(tmp_path, some, seed) for some in chosen for seed in (0, 1)}
    assert len(keys) == 8
    assert key_of(tmp_path, [image.copy() for image in images], 0) in keys


def test_files_are_known_by_their_content(tmp_path):
    paths = [tmp_path / name for name in ("a.png", "b.png")]
    for path in paths:
        save(path, good_image(0))
    first, second = (key_of(tmp_path / "c", [path], 0) for path in paths)
    assert first == second
    save(paths[1], good_image(1))
    assert key_of(tmp_path / "c", [paths[1]], 0) != first


def test_without_a_folder_there_is_none():
    with opened(None, look_at([good_image(0)], SETTINGS)) as checkpoint:
        assert checkpoint is None


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"key": "k", "done": "many"}', "\0"])
def test_what_cannot_be_understood_is_damaged(tmp_path, content):
    checkpoint = Checkpoint(tmp_path, "")
    (tmp_path / "some.json").write_text(content)
    assert checkpoint.has("some.json")
    with pytest.raises(ModelFileError, match=r"some.json: damaged .* remove .* to start anew"):
        read(checkpoint)


def test_what_belongs_to_another_is_not_called_damaged(tmp_path):
    (tmp_path / "some.json").write_text('{"key": "other", "done": "many"}')
    with pytest.raises(ModelFileError, match="a checkpoint of other images or settings") as raised:
        read(Checkpoint(tmp_path, ""))
    assert "damaged" not in str(raised.value)


def read(checkpoint):
    with checkpoint.reading("some.json") as file:
        kept = json.loads(file.read_bytes())
        checkpoint.check(kept["key"], "k")
        return int(kept["done"])
