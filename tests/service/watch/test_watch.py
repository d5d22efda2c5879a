"""Hands-free inspection: every image of a folder is recorded once, with the verdict of the inspector."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

pytest.importorskip("sqlalchemy", reason='pip install "differnet[watch]"')
pytest.importorskip("watchfiles", reason='pip install "differnet[watch]"')

from PIL import Image

from differnet import DifferNetWarning, Inspector
from differnet.errors import StoreError
from differnet.service.watch.folder import Folder
from differnet.service.watch.loop import Wishes
from differnet.service.watch.memory import StoreMemory
from differnet.service.watch.sources import Stamp
from support.tiny import good_image, save
from support.watching import LIMIT, command, events, once, put, run, watching


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
                assert (heat.mode, heat.size) == ("RGBA", (800, 800))
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
        path = images / f"{index:03}.png"
        save(path, good_image(800 + index) // (1 if index < 60 else 3))
        os.utime(path, ns=(index * 10**9,) * 2)  # long ago and one after the other: none is waited for
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
    monkeypatch.setattr("differnet.service.watch.insist._PAUSES", (0.05,))
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
