"""What a video and a camera give: each frame once, and the newest where the judge is slow."""

from __future__ import annotations

import http.server
import io
import itertools
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from differnet.service.watch.video import Camera, Video
from support.arrivals import Notes, running, wait_for

av = pytest.importorskip("av")


def picture(index):
    """A frame whose number can be read from its brightness, whatever the codec loses."""
    return np.full((48, 64, 3), 10 + 12 * (index % 20), dtype=np.uint8)


def write_video(path, count=16, codec="mpeg4", rotation=0):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def number_of(arrival):
    return round((float(arrival.pixels.mean()) - 10) / 12)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_each_nth_frame_of_a_video_is_taken_once_and_gone_on_from(tmp_path, suffix):
    path, notes = tmp_path / f"run.{suffix}", Notes()
    write_video(path)
    stop, found = threading.Event(), []
    for arrival in Video(path, notes, notes.tell, every=3).arrivals(stop, False):
        found.append(notes.record(arrival))
        if len(found) == 2:
            break  # as if it was killed here
    path.rename(tmp_path / f"moved.{suffix}")
    for arrival in Video(tmp_path / f"moved.{suffix}", notes, notes.tell, every=3).arrivals(stop, False):
        found.append(notes.record(arrival))
    assert [number_of(one) for one in found] == [0, 3, 6, 9, 12, 15]
    assert [one.name.partition("#")[2] for one in found] == ["0", "3", "6", "9", "12", "15"]
    assert found[0].pixels.shape == (48, 64, 3)
    assert found[2].name == f"moved.{suffix}#6"


def test_a_video_that_is_none_and_one_that_breaks_off_are_said(tmp_path):
    notes = Notes()
    (tmp_path / "none.mp4").write_text("no video")
    (one,) = Video(tmp_path / "none.mp4", notes, notes.tell).arrivals(threading.Event(), False)
    assert one.error.startswith(str(tmp_path / "none.mp4"))
    notes.record(one)
    assert list(Video(tmp_path / "none.mp4", notes, notes.tell).arrivals(threading.Event(), False)) == []
    write_video(tmp_path / "whole.mkv", 40)
    content = bytearray((tmp_path / "whole.mkv").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 60] = b"\xff" * 60
    (tmp_path / "broken.mkv").write_bytes(content)
    found = list(Video(tmp_path / "broken.mkv", notes, notes.tell).arrivals(threading.Event(), False))
    good = [one for one in found if one.error is None]
    assert 10 <= len(good) <= 40
    assert len(good) == 40 or notes.told or found[-1].error  # no frame is missing without a word


class Stream(http.server.BaseHTTPRequestHandler):
    """A camera as many are: JPEG after JPEG by HTTP, ``frames`` of them, then it hangs up."""

    frames, pause, requests = 10, 0.02, 0

    def do_GET(self):
        type(self).requests += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for index in range(self.frames):
                buffer = io.BytesIO()
                Image.fromarray(picture(index % 20)).save(buffer, "jpeg", quality=95)
                content = buffer.getvalue()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
                self.wfile.write(head.encode() + content + b"\r\n")
                time.sleep(self.pause)
        except OSError:
            pass

    def log_message(self, *_):
        pass


@contextmanager
def camera(**settings):
    handler = type("Handler", (Stream,), settings)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/stream", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_camera_that_hangs_up_is_connected_again(tmp_path):
    notes = Notes()
    with camera(frames=5) as (url, handler):
        source = Camera(url, "cam", notes.tell, pauses=(0.1, 0.2))
        with running(notes, source) as found:
            wait_for(lambda: handler.requests >= 3 and len(found) > 5)
    assert len({one.key for one in found}) == len(found)
    assert [one.time for one in found] == sorted(one.time for one in found)
    assert found[0].key.startswith("camera cam@20")
    assert {event for event, _ in notes.told} >= {"reconnect", "connected"}
    assert "trying again in 0.1 s" in notes.told[0][1]


def test_a_camera_that_is_not_there_yet_is_waited_for_without_its_password(tmp_path):
    notes = Notes()
    with camera() as (url, _):
        pass
    port = int(url.split(":")[2].partition("/")[0])
    source = Camera(f"http://me:secret@127.0.0.1:{port}/stream", "cam", notes.tell, pauses=(0.1,))
    with running(notes, source) as found:
        wait_for(lambda: len(notes.told) >= 2)
        handler = type("Handler", (Stream,), {})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wait_for(lambda: found)
        server.shutdown()
        server.server_close()
    assert "secret" not in str(notes.told)


def test_a_slow_judge_gets_the_newest_frame_and_is_told_what_was_dropped(tmp_path):
    notes, stop, found = Notes(), threading.Event(), []
    with camera(frames=60, pause=0.02) as (url, _):
        source = Camera(url, "cam", notes.tell, pauses=(60.0,))
        for arrival in source.arrivals(stop, False):
            found.append(arrival)
            time.sleep(0.3)
            if len(found) == 4:
                break
    assert source.dropped >= 10
    assert source.taken == 4
    assert notes.told[-1][0] == "dropped"
    assert f"{source.dropped} frames dropped so far, 4 judged" in notes.told[-1][1]
    apart = [(b.time - a.time).total_seconds() for a, b in itertools.pairwise(found)]
    assert all(0.15 < seconds < 2.0 for seconds in apart)


def test_a_single_frame_of_a_camera_and_none(tmp_path):
    notes = Notes()
    with camera() as (url, _):
        (one,) = Camera(url, "cam", notes.tell).arrivals(threading.Event(), True)
        assert one.pixels.shape == (48, 64, 3)
    lost = Camera(url, "cam", notes.tell)
    assert list(lost.arrivals(threading.Event(), True)) == []
    assert lost.is_unreachable
    assert notes.told[-1][0] == "unreachable"
