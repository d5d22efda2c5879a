"""A watch that is stopped or killed at any moment: nothing is lost, and nothing is recorded twice."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time

import pytest
from PIL import Image

from support.tiny import good_image, save
from support.watching import KEY, LIMIT, command, events, put, receiver, run

av = pytest.importorskip("av")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_image_in_hand(station, images, tmp_path, number):
    for index in range(200):
        put(images, f"{index:03}.png", 1000 + index)
    process = subprocess.Popen(command(station, images, tmp_path), stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline() for _ in range(5)]
    process.send_signal(number)
    rest, _ = process.communicate(timeout=LIMIT)
    lines = [json.loads(line) for line in [*lines, *rest.splitlines()]]
    assert process.returncode == 0
    rows = events(lines, "inspection")
    assert lines[-1]["inspections"] == len(rows) < 200
    with sqlite3.connect(tmp_path / "record.sqlite3") as connection:
        assert connection.execute("SELECT count(*) FROM inspections").fetchone() == (len(rows),)


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.long)])
def test_kills_lose_nothing_and_record_nothing_twice(station, images, tmp_path, kills):
    """Images come all the time, some renamed after they were judged, and the process is killed at random moments."""
    rng, over, count = random.Random(5), threading.Event(), [0]  # noqa: S311
    environment, recorded = os.environ | {"DIFFERNET_WEBHOOK_KEY": KEY}, []

    def write():
        while not over.is_set():
            if count[0] < (recorded or [0])[-1] + 60:  # never far ahead, however slow the machine is
                name = f"{count[0]:04}.png"
                if count[0] % 3:
                    put(images, name, 2000 + count[0])
                else:
                    save(images / name, good_image(2000 + count[0]))
                count[0] += 1
            over.wait(rng.uniform(0.01, 0.06))

    with receiver() as (url, found):
        options = ("--webhook", url, "--keep-images", "flagged")
        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(kills):
                process = subprocess.Popen(
                    command(station, images, tmp_path, *options),
                    stdout=subprocess.PIPE,
                    text=True,
                    env=environment,
                )
                process.stdout.readline()  # it has begun to record
                time.sleep(rng.uniform(0, 0.5))
                process.kill()
                process.communicate(timeout=LIMIT)
                with sqlite3.connect(tmp_path / "record.sqlite3") as connection:
                    recorded.append(connection.execute("SELECT count(*) FROM inspections").fetchone()[0])
                moved = min(images.glob("[0-9]*.png"))
                (images / "done").mkdir(exist_ok=True)
                moved.rename(images / "done" / moved.name)
        finally:
            over.set()
            writer.join()
        code, lines, _ = run(station, images, tmp_path, *options, "--once", env=environment)
    assert code == 0, lines[-1]
    assert recorded == sorted(recorded)
    assert recorded[-1] > kills
    with sqlite3.connect(tmp_path / "record.sqlite3") as connection:
        rows = connection.execute("SELECT id, file_name, image_digest, verdict FROM inspections").fetchall()
        assert connection.execute("SELECT count(*) FROM deliveries").fetchone() == (0,)
    written = {hashlib.sha256(path.read_bytes()).hexdigest() for path in images.rglob("*.png")}
    assert len(written) == count[0]
    assert sorted(row[2] for row in rows) == sorted(written)
    assert all(row[3] != "error" for row in rows)
    assert {one["id"] for one in found.received} == {row[0] for row in rows}
    print(f"{count[0]} images, {len(rows)} rows, {len(found.received)} messages")


@pytest.mark.slow
def test_a_video_is_gone_on_from_where_it_was_killed(station, tmp_path):
    path = tmp_path / "run.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for index in range(300):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(good_image(index), format="rgb24")))
        container.mux(stream.encode())
    kills = 0
    for _ in range(5):
        process = subprocess.Popen(
            command(station, path, tmp_path, "--every", "2", "--keep-images", "all"),
            stdout=subprocess.PIPE,
            text=True,
        )
        if events([json.loads(process.stdout.readline())], "inspection"):
            time.sleep(0.02)
            process.kill()
            kills += 1
        process.communicate(timeout=LIMIT)
    code, lines, _ = run(station, path, tmp_path, "--every", "2", "--keep-images", "all")
    assert (code, lines[-1]["event"]) == (0, "stopped")
    assert kills >= 1
    with sqlite3.connect(tmp_path / "record.sqlite3") as connection:
        names = [name for (name,) in connection.execute("SELECT file_name FROM inspections ORDER BY seq")]
        (image,) = connection.execute("SELECT image FROM inspections WHERE seq = 3").fetchone()
    assert names == [f"run.mp4#{index}" for index in range(0, 300, 2)]
    with Image.open(tmp_path / "record.images" / image) as kept:
        assert kept.size == (64, 64)
