"""Several images at a time, each on a core: the same results in the same order, errors where their image's turn is."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from differnet import DifferNet
from differnet.data.stream import LookAhead, in_lanes
from differnet.errors import ImageError, NumericalError
from differnet.features.backbone import openvino_runtime
from differnet.features.backbone.torch_runtime import in_turn, lanes
from differnet.runtime import threads
from support.tiny import COMBINED, good_image, save

UPRIGHT = {"rotation": "none", "train_views": 1, "score_rotations": "even"}
TURNED = {"rotation": "full", "train_views": 4, "score_views": 8, "score_rotations": "random"}
IMAGES = [good_image(100 + index) for index in range(11)]


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 4)


@pytest.fixture(scope="module", params=[UPRIGHT, TURNED], ids=["upright", "turned"])
def detector(request):
    settings = COMBINED | request.param | {"runtime": "openvino"}
    found = DifferNet("default", 0, "random", **settings)
    return found.fit([good_image(index) for index in range(20)])


def watched(detector, monkeypatch):
    """Note the threads in which images are described."""
    seen, real = [], type(detector.describer).features

    def features(self, square, views, name="an image"):
        seen.append(threading.current_thread().name)
        return real(self, square, views, name)

    monkeypatch.setattr(type(detector.describer), "features", features)
    return seen


def test_many_images_are_judged_on_lanes_as_one_by_one(detector, monkeypatch):
    alone = [detector.predict(image) for image in IMAGES]
    early = [detector.predict(image, views="auto") for image in IMAGES]
    seen = watched(detector, monkeypatch)
    assert list(detector.predict_iter(IMAGES)) == alone
    assert any(name.startswith("differnet-lane") for name in seen)
    assert list(detector.predict_iter(IMAGES, views="auto")) == early
    assert detector.score(IMAGES).tolist() == [one.score for one in alone]
    bank = torch.stack([detector.describe(image) for image in IMAGES])
    assert torch.equal(torch.stack(list(detector.describer.stream(IMAGES, detector.scoring_views))), bank)


def test_with_one_core_there_are_no_lanes(detector, monkeypatch):
    wanted = detector.score(IMAGES).tolist()
    monkeypatch.setattr(threads, "cores", lambda: 1)
    seen = watched(detector, monkeypatch)
    assert detector.score(IMAGES).tolist() == wanted
    assert not any(name.startswith("differnet-lane") for name in seen)


def test_an_error_comes_where_its_image_is(detector, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    mixed = [*IMAGES[:5], tmp_path / "bad.png", *IMAGES[5:]]
    found = detector.predict_iter(mixed)
    judged = [next(found).score for _ in range(5)]
    with pytest.raises(ImageError, match=r"bad\.png"):
        next(found)
    assert judged == detector.score(IMAGES[:5]).tolist()


def test_a_nan_says_which_image_it_came_from(detector, monkeypatch, tmp_path):
    """The first view is the picture as it is, by which the spoiled one is known whatever lane it is in."""
    paths = [tmp_path / f"{index}.png" for index in range(len(IMAGES))]
    for path, image in zip(paths, IMAGES, strict=True):
        save(path, image)
    square = detector.describer.square(paths[7])
    real = openvino_runtime._OneCore.features

    def spoiled(self, groups):
        views = list(groups)
        return real(self, views) * (float("nan") if torch.equal(views[0][0], square) else 1)

    monkeypatch.setattr(openvino_runtime._OneCore, "features", spoiled)
    found = detector.predict_iter(iter(paths))
    time.sleep(1)  # all that may lie ready does, so that images are judged together
    judged = [next(found).score for _ in range(7)]
    with pytest.raises(NumericalError, match=r"NaN or infinite features for .*7\.png"):
        next(found)
    monkeypatch.undo()
    assert judged == [detector.predict(path).score for path in paths[:7]]


def test_torch_keeps_its_threads(detector):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        detector.score(IMAGES)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_others_are_let_in_between_and_nothing_hangs(detector):
    """Two streams and a thread that wants its turn, all at once; each ends with what it gives alone."""
    wanted = detector.score(IMAGES).tolist()
    found = {}

    def stream(name):
        found[name] = detector.score(IMAGES).tolist()

    def turn():
        with in_turn():
            found["turn"] = torch.get_num_threads()

    workers = [threading.Thread(target=stream, args=(name,)) for name in "ab"] + [
        threading.Thread(target=turn)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert found["a"] == found["b"] == wanted
    assert "turn" in found


def test_a_stream_that_is_given_up_leaves_no_thread(detector):
    before = threading.active_count()
    stream = detector.predict_iter(iter(IMAGES))
    next(stream)
    stream.close()
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before


def test_only_so_many_images_are_drawn_ahead():
    drawn = []

    def source():
        for index in range(100):
            drawn.append(index)
            yield index

    ahead = LookAhead(lambda item: item, source(), ahead=6, threads=3)
    assert ahead.take()[0] == (0, 0)
    time.sleep(0.2)
    assert len(drawn) == 7
    assert ahead.take(4) == [(index, index) for index in range(1, 5)]
    ahead.close()


def test_what_is_slow_is_not_overtaken():
    def work(item):
        time.sleep(0.1 if item % 3 == 0 else 0)
        return np.float64(item)

    ahead = LookAhead(work, range(10), ahead=8, threads=4)
    found = []
    while some := ahead.take(3):
        assert len(some) <= 3
        found += some
    assert found == [(item, item) for item in range(10)]
    ahead.close()


def worked(work, count, most, lanes, seconds=60.0):
    """Return the futures of all that one call of :func:`in_lanes` works on, and the items it left."""
    with (
        closing(LookAhead(lambda item: -item, range(count), ahead=most, threads=2)) as ahead,
        ThreadPoolExecutor(lanes) as pool,
    ):
        done = list(in_lanes(ahead, ahead.take(), pool, work, most, seconds))
        left = []
        while some := ahead.take(count):
            left += [item for item, _ in some]
        return done, left


def test_a_lane_does_not_stand_still_for_a_slow_image():
    third = threading.Event()

    def work(item, decoded):
        assert decoded == -item
        if item == 3:
            third.set()
        if item == 0:
            time.sleep(0.1)  # until others are decoded
        if item == 1:
            assert third.wait(10)
        return item

    done, left = worked(work, 12, 4, 2)
    assert [one.result() for one in done] + left == list(range(12))
    assert len(done) > 4


def test_no_more_than_so_many_are_under_way():
    under_way, most = [], []

    def work(item, _):
        under_way.append(item)
        most.append(len(under_way))
        time.sleep(0.02)
        under_way.remove(item)

    worked(work, 12, 3, 8)
    assert max(most) == 3


def test_nothing_is_begun_after_its_time():
    done, left = worked(lambda item, _: time.sleep(0.05), 12, 4, 2, seconds=0.0)
    assert (len(done), left) == (1, list(range(1, 12)))


def test_an_error_of_the_work_is_where_its_item_is():
    def work(item, _):
        time.sleep(0.02)
        if item == 2:
            raise ValueError("the third")
        return item

    done, left = worked(work, 6, 4, 2)
    assert [one.exception() and str(one.exception()) for one in done[:4]] == [None, None, "the third", None]
    assert len(done) + len(left) == 6


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system does not list threads")
def test_threads_have_ended_for_the_system_once_lanes_are_closed():
    """Those of a plain pool have not: they still give up buffers of MKL, whose locks a forked child would wait for."""
    there = 0
    for _ in range(200):
        with lanes() as pool:
            ids = set(
                pool.map(
                    lambda _: (torch.ones(64, 64) @ torch.ones(64, 64), threading.get_native_id())[1],
                    range(8),
                )
            )
        assert ids
        there += any(Path(f"/proc/self/task/{one}").exists() for one in ids)
    assert there == 0


def test_one_image_is_judged_without_a_thread_begun_for_it(detector, monkeypatch):
    wanted, begun = detector.predict(IMAGES[0]), []
    monkeypatch.setattr(threading.Thread, "start", begun.append)
    assert detector.predict(IMAGES[0]) == wanted
    assert begun == []
