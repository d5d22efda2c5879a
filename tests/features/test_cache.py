"""The bank of training features: in memory, in a file, or beside a checkpoint, always the same numbers."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from differnet.data.stream import look_ahead, silent
from differnet.errors import ImageError, ModelFileError
from differnet.features.cache import describe_all, kept_bank
from differnet.features.checkpoint import Checkpoint
from support.tiny import good_image

IMAGES = [good_image(i) for i in range(5)]


@pytest.fixture
def describer(detector):
    return detector.describer


def test_a_large_bank_lives_in_a_file(describer):
    small, large = (
        describe_all(describer, IMAGES, 0, silent),
        describe_all(describer, IMAGES, 0, silent, large=1),
    )
    assert small.shape == (5, 8, describer.width)
    assert torch.equal(small, large)


def test_no_room_for_a_bank_is_said_before_any_work(describer, tmp_path, monkeypatch):
    def full(descriptor, start, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="no room for .* GB of features"):
        describe_all(describer, IMAGES, 0, silent, large=1)
    with pytest.raises(OSError, match=str(tmp_path)):
        kept_bank(describer, IMAGES, 0, Checkpoint(tmp_path, ""), "k", silent)


def test_a_kept_bank_goes_on_where_it_stopped(describer, tmp_path, monkeypatch):
    monkeypatch.setattr("differnet.features.cache._OFTEN", 2)
    key = "k"
    whole = describe_all(describer, IMAGES, 0, silent)

    def stop(stage, done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept_bank(describer, IMAGES, 0, Checkpoint(tmp_path, ""), key, stop)
    seen = []
    bank = kept_bank(
        describer, IMAGES, 0, Checkpoint(tmp_path, ""), key, lambda stage, done, total: seen.append(done)
    )
    assert seen == [5]  # four were kept when it stopped
    assert torch.equal(bank, whole)
    again = kept_bank(describer, IMAGES, 0, Checkpoint(tmp_path, ""), key, lambda *a: seen.append("again"))
    assert "again" not in seen
    assert torch.equal(again, whole)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ('{"key": "other", "images": 5}', "other images or settings"),
        ("{", "damaged"),
        ('{"images": 5}', "damaged"),
    ],
)
def test_a_foreign_or_damaged_bank_is_refused(describer, tmp_path, state, message):
    key = "k"
    kept_bank(describer, IMAGES, 0, Checkpoint(tmp_path, ""), key, silent)
    (tmp_path / "bank.json").write_text(state)
    with pytest.raises(ModelFileError, match=message):
        kept_bank(describer, IMAGES, 0, Checkpoint(tmp_path, ""), key, silent)


def test_a_bank_of_another_shape_is_refused(describer, tmp_path):
    (tmp_path / "bank.json").write_text(json.dumps({"key": "k", "images": 2}))
    np.save(tmp_path / "bank.npy", np.zeros((2, 2, 2), dtype=np.float32))
    with pytest.raises(ModelFileError, match=r"shape \(2, 2, 2\)"):
        kept_bank(describer, IMAGES, 0, Checkpoint(tmp_path, ""), "k", silent)
    (tmp_path / "bank.npy").write_bytes(b"no table")
    with pytest.raises(ModelFileError, match="damaged"):
        kept_bank(describer, IMAGES, 0, Checkpoint(tmp_path, ""), "k", silent)


def test_a_bank_that_was_cut_off_or_is_gone_is_refused(describer, tmp_path):
    kept_bank(describer, IMAGES, 0, Checkpoint(tmp_path, ""), "k", silent)
    os.truncate(tmp_path / "bank.npy", 400)
    with pytest.raises(ModelFileError, match="damaged"):
        kept_bank(describer, IMAGES, 0, Checkpoint(tmp_path, ""), "k", silent)
    (tmp_path / "bank.npy").unlink()
    with pytest.raises(ModelFileError, match="damaged"):
        kept_bank(describer, IMAGES, 0, Checkpoint(tmp_path, ""), "k", silent)


def test_looking_ahead_keeps_order_and_says_errors_in_turn():
    def work(item):
        if item == 3:
            raise ImageError("three")
        return item * item

    found = look_ahead(work, range(9))
    assert [next(found) for _ in range(3)] == [(0, 0), (1, 1), (2, 4)]
    with pytest.raises(ImageError, match="three"):
        next(found)
    assert list(look_ahead(work, [])) == []


def test_a_live_source_is_not_waited_for():
    """The first image is judged while the camera still waits for the second."""
    second = threading.Event()

    def camera():
        yield 1
        assert second.wait(30)
        yield 2

    found = look_ahead(str, camera())
    assert next(found) == (1, "1")
    second.set()
    assert list(found) == [(2, "2")]


MAPPED = """
import torch
from differnet.features.cache import filled
from differnet.flow.sources import Parts

def resident():
    return 4096 * int(open('/proc/self/statm').read().split()[1])

rows, width, most = 400, 100_000, 0
before = resident()
table = filled((rows, width), (torch.full((width,), float(row)) for row in range(rows)), large=1)
most = resident() - before
parts = Parts(table, torch.arange(width).view(-1, 1000), 16, 0)
for number, batch in enumerate(parts.batches(0)):
    if number % 100 == 0:
        most = max(most, resident() - before)
print(rows * width * 4, most, float(batch.double().mean()))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="only Linux tells")  # noqa: PTH110
def test_a_bank_in_a_file_takes_little_memory_while_it_is_filled_and_read():
    run = subprocess.run([sys.executable, "-c", MAPPED], capture_output=True, text=True, check=True)
    size, most, _ = map(float, run.stdout.split())
    assert size == 160e6
    assert most < 60e6
