"""Hands-free inspection: every image recorded once, and others told of it at least once, whoever is killed when."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from differnet import DifferNet, DifferNetWarning, Inspector
from differnet.detector import export
from differnet.errors import ConfigError, StoreError
from support import brokers, service_fixture
from support.tiny import good_image, save

pytest.importorskip("sqlalchemy")
pytest.importorskip("watchfiles")
av = pytest.importorskip("av")

from differnet.service.record.store import Store  # noqa: E402
from differnet.service.watch.folder import Folder  # noqa: E402
from differnet.service.watch.loop import Watch, Wishes  # noqa: E402
from differnet.service.watch.memory import StoreMemory  # noqa: E402
from differnet.service.watch.notify import Mqtt, Refused, Sender, Unreachable, Webhook, signature  # noqa: E402
from differnet.service.watch.outbox import Delivery, Outbox  # noqa: E402
from differnet.service.watch.sources import Stamp  # noqa: E402

SETTINGS = service_fixture.SETTINGS | {"sizes": [32]}
KEY = "a key that nobody knows"
LIMIT = 180


@pytest.fixture(scope="module")
def station(good_images, tmp_path_factory):
    place = tmp_path_factory.mktemp("stations") / "stripes"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        detector = DifferNet("default", seed=1, weights="random", **SETTINGS).fit(good_images)
    export.export(detector, place, "onnx", images=[good_image(500)])
    return place


@pytest.fixture
def inspector(station):
    return Inspector(station, threads=1)


@pytest.fixture
def store(tmp_path):
    found = Store.open(f"sqlite:///{tmp_path}/record.sqlite3")
    yield found
    found.close()


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


def put(folder, name, index):
    """Write an image as a careful program does."""
    hidden = folder / f".{name}"
    save(hidden, good_image(index))
    hidden.replace(folder / name)


def command(station, source, tmp_path, *options):
    return [
        *(sys.executable, "-m", "differnet", "--threads", "1", "watch", str(source), "--model", str(station)),
        *("--store", f"sqlite:///{tmp_path}/record.sqlite3", "--json", "--patience", "0.5", *options),
    ]


def run(*arguments, **settings):
    """Run the command to its end; return its exit code and what it said."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=LIMIT, **settings)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def events(lines, name):
    return [line for line in lines if line["event"] == name]


def watching(inspector, store, folder, told=None, wishes=None, outbox=None, **settings):
    memory = StoreMemory(store, "stripes", "line")
    tell = (lambda *what: told.append(what)) if told is not None else (lambda *_: None)
    source = Folder(folder, "line", memory, tell, settle=0.1, patience=0.2, **settings)
    return Watch(inspector, memory, wishes or Wishes(), tell, outbox), source


def once(*arguments, **settings):
    work, source = watching(*arguments, **settings)
    return list(work.run(source, threading.Event(), True))


def wait_for(what):
    end = time.monotonic() + LIMIT
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_folder_is_recorded_once_with_the_verdicts_of_the_inspector(station, inspector, images, tmp_path):
    for index in range(4):
        put(images, f"{index}.png", 600 + index)
    save(images / "sub" / "white.png", np.full((64, 64, 3), 255, np.uint8))
    (images / "broken.png").write_text("no picture")
    options = ("--once", "--keep-images", "flagged", "--maps", "flagged", "--name", "part")
    code, lines, _ = run(station, images, tmp_path, *options)
    assert code == 3
    rows = events(lines, "inspection")
    assert len(rows) == 6
    assert lines[-1]["event"] == "stopped"
    assert (lines[-1]["inspections"], lines[-1]["error"]) == (6, 1)
    for row in rows:
        assert (row["model"], row["source"], row["model_digest"]) == (
            "part",
            "watch",
            inspector.station.digest,
        )
        content = (images / row["file_name"]).read_bytes()
        assert row["image_digest"] == hashlib.sha256(content).hexdigest()
        assert row["source_key"] == f"{images}/{row['file_name']}#{row['image_digest']}"
        if row["verdict"] == "error":
            assert "broken.png" in row["error"]
            continue
        wanted = inspector.predict(images / row["file_name"])
        assert (row["verdict"], row["p_value"]) == (wanted.verdict, wanted.p_value)
        assert row["score"] == pytest.approx(wanted.score, rel=1e-5)
        kept = row["verdict"] != "OK"
        assert (row["image"] is not None, row["heat_map"] is not None) == (kept, kept)
        if kept:
            folder = tmp_path / "record.images"
            assert (folder / row["image"]).read_bytes() == content
            with Image.open(folder / row["heat_map"]) as heat:
                assert (heat.mode, heat.size) == ("RGBA", (64, 64))
    white = next(row for row in rows if row["file_name"] == "sub/white.png")
    assert white["verdict"] == "NG"
    nothing = [{"event": "stopped", "inspections": 0, "undelivered": {}}]
    assert run(station, images, tmp_path, *options)[:2] == (0, nothing)


def test_what_a_person_sees(station, images, tmp_path):
    put(images, "[a].png", 600)
    found = command(station, images, tmp_path, "--once")
    found.remove("--json")
    done = subprocess.run(found, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert line.endswith("[a].png")
    assert " p " in line
    assert "stopped: 1 judged" in done.stderr


def test_row_and_stamp_are_written_together(inspector, store, images):
    put(images, "a.png", 600)
    work, source = watching(inspector, store, images)
    (row,) = work.run(source, threading.Event(), True)
    (stamp,) = work.memory.stamps()
    assert (stamp.path, stamp.digest) == ("a.png", row.image_digest)
    put(images, "b.png", 601)
    work, source = watching(inspector, store, images)

    def fails(*_):
        raise StoreError("no")

    work.outbox = type("Outbox", (), {"put": fails})()
    stop = threading.Event()
    stop.set()
    arrival = next(source.arrivals(threading.Event(), True))
    with pytest.raises(StoreError):
        work.take(arrival, stop)
    assert [one.path for one in work.memory.stamps()] == ["a.png"]
    assert [one.file_name for one in store.list()] == ["a.png"]


def test_stamps_come_back_as_they_were(store):
    memory, other = StoreMemory(store, "m", "line"), StoreMemory(store, "m", "other")
    stamps = [
        Stamp("a/b c%2F.png", 2**40, 10**18, 10**18 + 1, 2**64 - 1, "d" * 64),
        Stamp(os.fsdecode(b"\xff\xfe.png"), 0, -1, 0, 0, ""),
        Stamp("ü" * 2000, 1, 2, 3, 4, ""),
        *(Stamp(f"{index}", 1, 2, 3, index, "") for index in range(500)),
    ]
    memory.remember(stamps)
    other.remember(stamps[:1])
    found = {stamp.path: stamp for stamp in memory.stamps()}
    assert found == {stamp.path: stamp for stamp in stamps}
    assert found["a/b c%2F.png"].digest == "d" * 64
    memory.remember([Stamp("0", 9, 9, 9, 9, "")], [stamps[0].path])
    found = {stamp.path: stamp for stamp in memory.stamps()}
    assert len(found) == len(stamps) - 1
    assert found["0"].size == 9
    assert len(other.stamps()) == 1


def test_two_watches_of_one_folder_record_each_image_once(station, store, images):
    found, failed = [], []

    def one():
        try:
            found.extend(once(Inspector(station, threads=1), store, images))
        except BaseException as error:
            failed.append(error)

    for index in range(30):
        put(images, f"{index:02}.png", 700 + index)
    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert failed == []
    assert sorted(row.file_name for row in found) == [f"{index:02}.png" for index in range(30)]
    assert len(store.list()) == 30


def test_it_judges_by_the_rates_that_were_applied(station, store, images):
    put(images, "a.png", 600)
    (first,) = once(Inspector(station, threads=1), store, images)
    store.set_setting("stripes", 0.5, None, None)
    put(images, "b.png", 601)
    (second,) = once(Inspector(station, threads=1), store, images)
    assert (first.rate, second.rate, second.review_rate) == (0.2, 0.5, None)
    assert second.threshold < first.threshold
    store.set_setting("stripes", None)
    put(images, "c.png", 602)
    (third,) = once(Inspector(station, threads=1), store, images)
    assert third.threshold == first.threshold


def test_drift_is_told_once_stays_in_the_rows_and_outlives_the_process(inspector, store, images):
    told = []
    for index in range(120):
        save(images / f"{index:03}.png", good_image(800 + index) // (1 if index < 60 else 3))
    rows = once(inspector, store, images, told=told)
    alarmed = [row.file_name for row in rows if row.drift]
    assert alarmed == [f"{index:03}.png" for index in range(120 - len(alarmed), 120)]
    assert 20 < len(alarmed) < 60
    assert "pictures are darker" in rows[-1].drift
    assert [event for event, _ in told if event == "drift"] == ["drift"]
    save(images / "again.png", good_image(900))
    (row,) = once(inspector, store, images)
    assert row.drift.startswith("after 121 images: ")


def test_stopping_early_is_not_watched_for_drift_which_is_said(inspector, store, images):
    told = []
    put(images, "a.png", 600)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        (row,) = once(inspector, store, images, told=told, wishes=Wishes(views="auto"))
    assert row.early
    assert row.drift is None
    assert any(event == "drift" and text.startswith("not watched") for event, text in told)


def test_a_record_that_cannot_be_written_to_is_waited_for(inspector, store, images, tmp_path, monkeypatch):
    monkeypatch.setattr("differnet.service.watch.loop._PAUSES", (0.05,))
    told = []
    put(images, "a.png", 600)
    work, _ = watching(inspector, store, images, told=told)
    with sqlite3.connect(tmp_path / "record.sqlite3") as other:
        other.execute("ALTER TABLE inspections RENAME TO away")
        other.commit()
        timer = threading.Timer(
            0.5,
            lambda: sqlite3.connect(tmp_path / "record.sqlite3").execute(
                "ALTER TABLE away RENAME TO inspections"
            ),
        )
        arrival = Folder(images, "line", Forgetful(), print, settle=0.1).arrivals(threading.Event(), True)
        timer.start()
        row = work.take(next(arrival), threading.Event())
    assert row.seq == 1
    assert told[-1][0] == "record"
    assert "trying again" in told[-1][1]


class Forgetful:
    def seen(self, _):
        return False

    def stamps(self):
        return []

    def remember(self, stamps, forget=()):
        pass


def test_one_odd_image_does_not_end_the_watch(inspector, store, images, monkeypatch):
    put(images, "a.png", 600)
    monkeypatch.setattr(inspector, "_tiles", lambda pixels: 1 / 0)
    (row,) = once(inspector, store, images)
    assert (row.verdict, row.score) == ("error", None)
    assert "ZeroDivisionError" in row.error


class Receiver(http.server.BaseHTTPRequestHandler):
    """Notes what was posted and well signed, and answers what it is told to."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        timestamp = self.headers["X-Differnet-Timestamp"]
        wanted = hmac.new(KEY.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        signed = hmac.compare_digest(self.headers["X-Differnet-Signature"], f"sha256={wanted}")
        fresh = abs(time.time() - int(timestamp)) < 30
        document = json.loads(body)
        status = self.answers.pop(0) if self.answers else 204
        self.asked.append((status, document["file_name"]))
        if status == 204 and signed and fresh and self.headers["X-Differnet-Delivery"] == document["id"]:
            self.received.append(document)
        self.send_response(status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def receiver(*answers, port=0):
    handler = type("Handler", (Receiver,), {"answers": list(answers), "received": [], "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_webhook_gets_each_inspection_signed_also_after_failures(station, images, tmp_path):
    for index in range(3):
        put(images, f"{index}.png", 600 + index)
    (tmp_path / "key").write_text(KEY + "\n")
    with receiver(503, 302) as (url, found):
        options = ("--once", "--webhook", url, "--webhook-key", str(tmp_path / "key"))
        code, lines, _ = run(station, images, tmp_path, *options)
    assert code == 0
    assert lines[-1]["undelivered"] == {url: 0}
    rows = {row["id"]: row for row in events(lines, "inspection")}
    assert {one["id"] for one in found.received} == set(rows)
    assert found.received[0] == rows[found.received[0]["id"]]
    assert [status for status, _ in found.asked] == [503, 302, 204, 204, 204]
    assert "answered 503" in events(lines, "delivery")[0]["text"]


def test_what_could_not_be_delivered_is_delivered_after_the_next_start(station, images, tmp_path):
    put(images, "a.png", 600)
    port = brokers.free_port()
    url = f"http://127.0.0.1:{port}/hook"
    environment = os.environ | {"DIFFERNET_WEBHOOK_KEY": KEY}
    process = subprocess.Popen(
        command(station, images, tmp_path, "--webhook", url),
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert {line["event"] for line in lines} == {"inspection", "delivery"}
    process.kill()
    process.wait(LIMIT)
    process.stdout.close()
    with receiver(port=port) as (_, found):
        code, _, _ = run(station, images, tmp_path, "--once", "--webhook", url, env=environment)
    assert code == 0
    assert [one["file_name"] for one in found.received] == ["a.png"]


def outbox_of(inspector, store, images, destination):
    outbox = Outbox(store, StoreMemory(store, "stripes", "line").watch, [destination.name])
    once(inspector, store, images, outbox=outbox)
    return outbox


def test_attempts_are_bounded_kept_and_can_be_made_again(inspector, store, images, monkeypatch):
    monkeypatch.setattr("differnet.service.watch.notify._PAUSE", 0.01)
    told = []
    put(images, "a.png", 600)
    put(images, "b.png", 601)
    with receiver(400, 400, 400) as (url, found):
        hook = Webhook(url, KEY.encode())
        outbox = outbox_of(inspector, store, images, hook)
        sender = Sender(outbox, hook, lambda *what: told.append(what), attempts=2)
        sender.start()
        assert sender.drain(10) == 0
        sender.finish()
        assert outbox.counts(url) == (0, 1)
        assert sorted(found.asked) == sorted([(400, "a.png"), (400, "b.png"), (400, "a.png"), (204, "b.png")])
        assert [text for event, text in told if event == "undelivered" and "after 2 attempts" in text]
        outbox.begin(url, given_up_too=True)
        sender = Sender(outbox, Webhook(url, KEY.encode()), lambda *_: None, attempts=2)
        sender.start()
        assert sender.drain(10) == 0
        sender.finish()
        assert [one["file_name"] for one in found.received] == ["b.png", "a.png"]
    assert outbox.counts(url) == (0, 0)


def test_while_nobody_is_there_the_first_message_alone_is_tried(inspector, store, images, monkeypatch):
    monkeypatch.setattr("differnet.service.watch.notify._PAUSE", 0.02)
    for index in range(4):
        put(images, f"{index}.png", 600 + index)
    with receiver(*[503] * 4) as (url, found):
        hook = Webhook(url, KEY.encode())
        outbox = outbox_of(inspector, store, images, hook)
        sender = Sender(outbox, hook, lambda *_: None)
        sender.start()
        assert sender.drain(10) == 0
        sender.finish()
    assert len({name for _, name in found.asked[:5]}) == 1
    assert len(found.received) == 4


def test_webhooks_refuse_what_would_not_be_safe_or_not_work():
    with pytest.raises(ConfigError, match="http://"):
        Webhook("ftp://host/x", KEY.encode())
    with pytest.raises(ConfigError, match="at least 16"):
        Webhook("https://host/x", b"short")
    hook = Webhook("http://me:secret@127.0.0.1:1/x", KEY.encode())
    with pytest.raises(Unreachable) as error:
        hook.send(Delivery(1, "id", "{}", 0))
    assert "secret" not in f"{error.value}{hook.name}"
    assert hook.name == "http://127.0.0.1:1/x"
    with receiver(301) as (url, found), pytest.raises(Refused, match="301"):
        Webhook(url, KEY.encode()).send(Delivery(1, "id", '{"file_name": "x", "id": "id"}', 0))
    assert len(found.asked) == 1


def test_signatures_are_of_time_and_body():
    found = signature(b"k" * 16, 17, b"{}")
    assert found == hmac.new(b"k" * 16, b"17.{}", hashlib.sha256).hexdigest()
    assert len({found, signature(b"k" * 16, 18, b"{}"), signature(b"k" * 16, 17, b"[]")}) == 3


@pytest.mark.skipif(brokers.missing() is not None, reason=str(brokers.missing()))
def test_a_broker_gets_each_inspection_also_one_that_starts_later(station, images, tmp_path):
    paho = pytest.importorskip("paho.mqtt.client")
    for index in range(3):
        put(images, f"{index}.png", 600 + index)
    port, received = brokers.free_port(), []
    url = f"mqtt://127.0.0.1:{port}/line%201/parts"
    process = subprocess.Popen(
        command(station, images, tmp_path, "--mqtt", url), stdout=subprocess.PIPE, text=True
    )
    try:
        lines = [json.loads(process.stdout.readline()) for _ in range(4)]
        assert len(events(lines, "inspection")) == 3
        assert len(events(lines, "delivery")) == 1
        with brokers.broker(port):
            client = paho.Client(paho.CallbackAPIVersion.VERSION2)
            client.on_message = lambda _client, _data, message: received.append(
                (message.topic, message.payload)
            )
            client.connect("127.0.0.1", port)
            client.subscribe("line 1/#", qos=1)
            client.loop_start()
            wait_for(lambda: len(received) >= 3)
            put(images, "later.png", 610)
            wait_for(lambda: len(received) >= 4)
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT) == 0
            client.disconnect()
            client.loop_stop()
    finally:
        process.kill()
        rest = process.stdout.read()
        process.stdout.close()
        process.wait(LIMIT)
    found = [json.loads(body) for topic, body in received if topic == "line 1/parts"]
    assert {one["file_name"] for one in found} == {"0.png", "1.png", "2.png", "later.png"}
    assert json.loads(rest.splitlines()[-1])["undelivered"] == {url: 0}


def test_mqtt_urls():
    pytest.importorskip("paho.mqtt.client")
    one = Mqtt("mqtts://me@host/a/b", "name", "secret")
    assert (one.name, one._port, one._user, one._password) == ("mqtts://host/a/b", 8883, "me", "secret")
    for url in ("mqtt://host", "mqtt://host/a/#", "mqtt://host/+/a", "http://host/a", "mqtt:///a"):
        with pytest.raises(ConfigError):
            Mqtt(url, "name")
    with pytest.raises(Unreachable):
        Mqtt("mqtt://127.0.0.1:1/a", "name").send(Delivery(1, "id", "{}", 0))


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


@pytest.mark.slow
def test_twenty_kills_lose_nothing_and_record_nothing_twice(station, images, tmp_path):
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
            for _ in range(20):
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
    assert recorded[-1] > 20
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


def test_wrong_options_are_said_at_once(station, images, tmp_path):
    def said(*options, source=images):
        done = subprocess.run(
            command(station, source, tmp_path, *options), capture_output=True, text=True, timeout=LIMIT
        )
        assert done.returncode == 2
        return " ".join(done.stderr.split())

    assert "no such folder or file" in said(source=tmp_path / "none")
    assert "none, flagged or all" in said("--maps", "some")
    assert "at least 16" in said("--webhook", "http://127.0.0.1/x")
    assert "a number from 1, or auto" in said("--views", "many")


def test_missing_packages_are_named(station, images, tmp_path):
    blocked = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from differnet.cli.app import main; sys.argv = {!r}; main()"
    )
    arguments = ["differnet", *command(station, images, tmp_path)[4:]]
    arguments = [one for one in arguments if one not in ("--threads", "1")]
    done = subprocess.run(
        [sys.executable, "-c", blocked.format(arguments)], capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 2
    assert "pip install 'differnet[watch]'" in done.stderr


def test_no_torch_is_loaded(station, images, tmp_path):
    put(images, "a.png", 600)
    code = (
        "import sys; sys.argv = {!r}\nfrom differnet.cli.app import main\n"
        "try: main()\nexcept SystemExit as e: print(e.code, 'torch' in sys.modules)"
    )
    arguments = ["differnet", "watch", *command(station, images, tmp_path, "--once")[6:]]
    done = subprocess.run(
        [sys.executable, "-c", code.format(arguments)], capture_output=True, text=True, timeout=LIMIT
    )
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr
