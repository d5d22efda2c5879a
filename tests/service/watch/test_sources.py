"""What a folder, a video and a camera give: each image once, complete, and by a key that lasts."""

from __future__ import annotations

import http.server
import io
import itertools
import os
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from differnet.errors import ConfigError
from differnet.service.watch import file_events
from differnet.service.watch.folder import Folder, is_image
from differnet.service.watch.sources import Stamp, digest_of, kind_of, without_password
from differnet.service.watch.video import Camera, Video
from support.tiny import good_image, save

av = pytest.importorskip("av")
pytest.importorskip("watchfiles")
LIMIT = 20  # seconds that anything here may take


class Notes:
    """A memory and what was told, of one process after another."""

    def __init__(self):
        self.keys, self.files, self.told = [], {}, []

    def seen(self, key):
        return key in self.keys

    def stamps(self):
        return list(self.files.values())

    def remember(self, stamps, forget=()):
        for path in forget:
            self.files.pop(path, None)
        self.files |= {stamp.path: stamp for stamp in stamps}

    def tell(self, event, text):
        self.told.append((event, text))

    def record(self, arrival):
        assert arrival.key not in self.keys
        self.keys.append(arrival.key)
        if arrival.stamp is not None:
            self.remember([arrival.stamp])
        return arrival

    def folder(self, root, **settings):
        settings = {"settle": 0.2, "patience": 1.0} | settings
        return Folder(root, "line", self, self.tell, **settings)

    def once(self, root, **settings):
        """What a process finds that stops when nothing is left."""
        found = self.folder(root, **settings).arrivals(threading.Event(), True)
        return [self.record(arrival) for arrival in found]


@contextmanager
def running(notes, source):
    """Take what arrives in a thread; give the list that it grows."""
    stop, found, failed = threading.Event(), [], []

    def take():
        try:
            for arrival in source.arrivals(stop, False):
                found.append(notes.record(arrival))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join(LIMIT)
        assert not thread.is_alive()
        if failed:
            raise failed[0]


def wait_for(what):
    end = time.monotonic() + LIMIT
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def png(index):
    buffer = io.BytesIO()
    Image.fromarray(good_image(index)).save(buffer, "png")
    return buffer.getvalue()


def age(path, seconds=100):
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.fixture(autouse=True)
def _leases():
    file_events.ask_for_leases()


def test_what_is_there_is_taken_the_oldest_first_and_once(tmp_path):
    for number, name in enumerate(("b.png", "sub/a.png", "c.jpg")):
        save(tmp_path / name, good_image(number))
        age(tmp_path / name, 100 - number)
    for name in (".hidden.png", "~lock.png", "half.tmp.png", "notes.txt", "x.png.part", ".git/x.png"):
        save_as = tmp_path / name
        save_as.parent.mkdir(exist_ok=True)
        save_as.write_bytes(png(9))
    notes = Notes()
    found = notes.once(tmp_path)
    assert [arrival.name for arrival in found] == ["b.png", "sub/a.png", "c.jpg"]
    assert found[0].key == f"line/b.png#{digest_of(tmp_path / 'b.png', threading.Event())}"
    np.testing.assert_array_equal(found[0].pixels, good_image(0))
    assert found[0].content == (tmp_path / "b.png").read_bytes()
    assert notes.once(tmp_path) == []


def test_stamps_spare_reading_again_but_nothing_rests_on_them(tmp_path, monkeypatch):
    save(tmp_path / "a.png", good_image(0))
    notes = Notes()
    assert len(notes.once(tmp_path)) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "_open", lambda *_: pytest.fail("read again"))
        assert notes.once(tmp_path) == []
    notes.files.clear()
    assert notes.once(tmp_path) == []
    assert notes.files["a.png"].size == (tmp_path / "a.png").stat().st_size


def test_other_bytes_under_the_same_name_are_another_part(tmp_path):
    notes, path = Notes(), tmp_path / "a.png"
    path.write_bytes(png(0))
    first = notes.once(tmp_path)
    path.write_bytes(png(1))
    second = notes.once(tmp_path)
    assert [one.name for one in first + second] == ["a.png", "a.png"]
    assert first[0].digest != second[0].digest
    path.write_bytes(png(1))
    age(path)
    assert notes.once(tmp_path) == []  # its times alone have changed
    path.write_bytes(png(0))
    assert notes.once(tmp_path) == []  # and this was judged under this name


def test_bytes_changed_behind_the_same_size_and_time_are_found(tmp_path):
    notes, path = Notes(), tmp_path / "a.bmp"
    save(path, good_image(0))
    age(path)
    before = path.stat()
    assert len(notes.once(tmp_path)) == 1
    save(path, good_image(1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert len(notes.once(tmp_path)) == 1


def test_a_file_that_gets_another_name_is_counted_once_and_a_copy_is_another_file(tmp_path):
    notes = Notes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png(0))
    assert len(notes.once(tmp_path)) == 1
    (tmp_path / "done").mkdir()
    (tmp_path / "in" / "a.png").rename(tmp_path / "done" / "a.png")
    assert notes.once(tmp_path) == []
    assert list(notes.files) == ["done/a.png"]
    shutil.copy2(tmp_path / "done" / "a.png", tmp_path / "in" / "b.png")
    assert [one.name for one in notes.once(tmp_path)] == ["in/b.png"]


def test_files_that_are_gone_are_forgotten_and_known_again_by_their_key(tmp_path):
    notes = Notes()
    (tmp_path / "a.png").write_bytes(png(0))
    (tmp_path / "b.png").write_bytes(png(1))
    notes.once(tmp_path)
    (tmp_path / "a.png").unlink()
    folder = notes.folder(tmp_path)
    folder._scan()
    assert sorted(notes.files) == ["a.png", "b.png"]  # it may be on its way
    folder._scan()
    assert sorted(notes.files) == ["b.png"]
    (tmp_path / "a.png").write_bytes(png(0))
    assert notes.once(tmp_path) == []


def test_a_drive_that_is_not_there_makes_nothing_forgotten(tmp_path):
    notes, root = Notes(), tmp_path / "drive"
    root.mkdir()
    (root / "a.png").write_bytes(png(0))
    notes.once(root)
    folder = notes.folder(root)
    root.rename(tmp_path / "away")
    folder._scan()
    folder._scan()
    assert list(notes.files) == ["a.png"]
    assert notes.told[-1][0] == "unlisted"


def test_only_new_leaves_alone_what_was_there_before_the_first_start(tmp_path):
    notes = Notes()
    (tmp_path / "old.png").write_bytes(png(0))
    assert notes.once(tmp_path, only_new=True) == []
    assert notes.told == [("skipped", "1 images were there before the first start: not judged")]
    (tmp_path / "new.png").write_bytes(png(1))  # while nobody watches
    (tmp_path / "old.png").rename(tmp_path / "moved.png")
    assert [one.name for one in notes.once(tmp_path, only_new=True)] == ["new.png"]


def test_new_files_are_found_at_once_also_in_new_folders(tmp_path):
    notes = Notes()
    with running(notes, notes.folder(tmp_path)) as found:
        time.sleep(0.3)
        (tmp_path / "a.png").write_bytes(png(0))
        wait_for(lambda: len(found) == 1)
        (tmp_path / "away").mkdir()
        (tmp_path / "sub" / "deep").mkdir(parents=True)
        (tmp_path / "sub" / "deep" / "b.png").write_bytes(png(1))
        wait_for(lambda: len(found) == 2)
    assert [one.name for one in found] == ["a.png", "sub/deep/b.png"]


@pytest.mark.parametrize("leases", [True, False])
def test_a_file_still_being_written_is_waited_for(tmp_path, monkeypatch, leases):
    monkeypatch.setattr(file_events, "_asks", leases)
    notes, content = Notes(), png(0)
    (tmp_path / "first.png").write_bytes(png(1))
    with running(notes, notes.folder(tmp_path, settle=0.4, patience=5.0)) as found:
        wait_for(lambda: len(found) == 1)
        with (tmp_path / "slow.png").open("wb", buffering=0) as file:
            for start in range(0, len(content), len(content) // 8 + 1):
                file.write(content[start : start + len(content) // 8 + 1])
                time.sleep(0.15)
        wait_for(lambda: len(found) == 2)
    assert [(one.name, one.error) for one in found] == [("first.png", None), ("slow.png", None)]
    assert found[1].content == content


def test_a_writer_who_pauses_for_longer_is_waited_for_too(tmp_path):
    """By the lease where there is one, and since half a picture gets time to become whole."""
    notes, content = Notes(), png(0)
    with running(notes, notes.folder(tmp_path, patience=3.0)) as found:
        path = tmp_path / "slow.png"
        path.write_bytes(content[:500])
        time.sleep(1.0)
        assert found == []
        path.write_bytes(content)
        wait_for(lambda: found)
    assert [(one.name, one.error) for one in found] == [("slow.png", None)]


def test_temporary_names_and_renames_are_counted_once(tmp_path):
    notes = Notes()
    with running(notes, notes.folder(tmp_path)) as found:
        time.sleep(0.2)
        for index in range(20):
            hidden = tmp_path / f".part{index}.png"
            hidden.write_bytes(png(index))
            hidden.replace(tmp_path / f"{index:02}.png")
        wait_for(lambda: len(found) == 20)
        (tmp_path / "00.png").rename(tmp_path / "renamed.png")
        time.sleep(0.8)
    assert sorted(one.name for one in found) == [f"{index:02}.png" for index in range(20)]


def test_what_cannot_be_read_is_an_error_once(tmp_path):
    notes = Notes()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes(png(0)[:500])
    os.mkfifo(tmp_path / "pipe.png")
    found = {one.name: one for one in notes.once(tmp_path)}
    assert {name: one.error.partition(": ")[2][:12] for name, one in found.items()} == {
        "text.png": "not an image",
        "empty.png": "the file is ",
        "cut.png": found["cut.png"].error.partition(": ")[2][:12],
        "pipe.png": "not a regula",
    }
    assert found["empty.png"].content is None
    assert found["cut.png"].pixels is None
    assert notes.once(tmp_path) == []
    (tmp_path / "cut.png").write_bytes(png(0))
    assert [(one.name, one.error) for one in notes.once(tmp_path)] == [("cut.png", None)]


def test_names_of_any_bytes_and_any_length_have_a_key(tmp_path):
    notes = Notes()
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe [red].png"))
    try:
        odd.write_bytes(png(0))
    except OSError:
        pytest.skip("this file system takes no such names")
    long = tmp_path / ("x" * 200) / ("y" * 200) / ("z" * 200)
    long.mkdir(parents=True)
    (long / "a.png").write_bytes(png(1))
    found = notes.once(tmp_path)
    assert sorted(len(one.key) for one in found) == [5 + 18 + 65, 64 + 65]
    assert all(one.key.isprintable() for one in found)
    assert notes.once(tmp_path) == []


def test_loops_of_links_end(tmp_path):
    notes = Notes()
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_bytes(png(0))
    (tmp_path / "real" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert [one.name for one in notes.once(tmp_path)] == ["real/a.png"]


def test_closed_and_open_files_are_told_apart_where_the_system_does(tmp_path):
    path = tmp_path / "a"
    with path.open("wb"):
        state = file_events.is_closed(path)
        if state is None:
            pytest.skip("this file system gives no leases")
        assert state is False
    assert file_events.is_closed(path) is True
    assert file_events.is_closed(tmp_path / "none") is None


def test_names():
    assert is_image("a/b.PNG")
    assert not any(is_image(name) for name in ("a/.b.png", "b.tmp.png", "~b.png", "b", "b.mp4"))
    stamp = Stamp("a", 1, 2, 3, 4, "x")
    assert stamp == Stamp("a", 1, 2, 3, 4, "y")
    assert without_password("https://u:p@h/x?a=b@c") == "https://h/x?a=b@c"
    assert without_password("rtsp://admin:P@ssw0rd@10.0.0.7/stream") == "rtsp://10.0.0.7/stream"


def test_sources_are_told_apart(tmp_path):
    (tmp_path / "a.mp4").touch()
    assert kind_of(str(tmp_path)) == "folder"
    assert kind_of(str(tmp_path / "a.mp4")) == "video"
    assert {kind_of(url) for url in ("rtsp://x/y", "HTTP://x", "/dev/video0")} == {"camera"}
    with pytest.raises(ConfigError, match="no such folder or file"):
        kind_of(str(tmp_path / "none"))


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
    assert list(Camera(url, "cam", notes.tell).arrivals(threading.Event(), True)) == []
    assert notes.told[-1][0] == "unreachable"
