"""Folders as they are on bad days: names that rotate, rights that change, drives that go, clocks that are wrong."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest

pytest.importorskip("watchfiles", reason='pip install "differnet[watch]"')
pytest.importorskip("sqlalchemy", reason='pip install "differnet[watch]"')

from differnet.errors import ImageError, StoreError
from differnet.service.delivery.notify import Sender
from differnet.service.delivery.outbox import Outbox
from differnet.service.watch import file_events, insist
from differnet.service.watch import folder as folders
from differnet.service.watch.memory import StoreMemory
from support.arrivals import Notes, age, png, running, wait_for
from support.watching import put, watching


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    file_events.ask_for_leases()
    monkeypatch.setattr(insist, "_PAUSES", (0.05,))


def rotate(root, count):
    for number in reversed(range(count)):
        if (root / f"cam{number}.png").exists():
            (root / f"cam{number}.png").rename(root / f"cam{number + 1}.png")


@pytest.mark.parametrize("step", [None, 0, -1], ids=["as they come", "all the same", "the new one first"])
def test_names_that_rotate_are_judged_once_each(tmp_path, step):
    notes = Notes()
    for index in range(5):
        rotate(tmp_path, 4)
        (tmp_path / "cam0.png").write_bytes(png(index))
        if step is not None:
            os.utime(tmp_path / "cam0.png", (10**9 + step * index,) * 2)
        assert [one.name for one in notes.once(tmp_path)] == ["cam0.png"], index
    assert sorted(notes.files) == [f"cam{index}.png" for index in range(5)]
    assert notes.once(tmp_path) == []


def test_a_watch_that_is_killed_at_the_new_file_of_a_name_knows_the_old_one(tmp_path):
    """The new file says that it is older, as it may on a share."""
    notes = Notes()
    (tmp_path / "cam0.png").write_bytes(png(0))
    notes.once(tmp_path)
    rotate(tmp_path, 1)
    (tmp_path / "cam0.png").write_bytes(png(1))
    age(tmp_path / "cam0.png")
    arrivals = notes.folder(tmp_path).arrivals(threading.Event(), True)
    assert notes.record(next(arrivals)).content == png(1)
    arrivals.close()
    assert notes.once(tmp_path) == []


def test_names_that_rotate_under_a_running_watch_are_judged_once_each(tmp_path):
    notes = Notes()
    with running(notes, notes.folder(tmp_path)) as found:
        for index in range(6):
            rotate(tmp_path, 5)
            (tmp_path / ".new").write_bytes(png(index))
            (tmp_path / ".new").rename(tmp_path / "cam0.png")
            wait_for(lambda index=index: len(found) > index)
        time.sleep(0.6)
    assert [one.content for one in found] == [png(index) for index in range(6)]


def test_a_link_and_a_copy_are_files_of_their_own(tmp_path):
    notes = Notes()
    (tmp_path / "a.png").write_bytes(png(0))
    notes.once(tmp_path)
    os.link(tmp_path / "a.png", tmp_path / "b.png")
    shutil.copy2(tmp_path / "a.png", tmp_path / "c.png")
    assert sorted(one.name for one in notes.once(tmp_path)) == ["b.png", "c.png"]


def test_rights_that_change_after_a_new_name_make_no_other_part(tmp_path):
    notes = Notes()
    (tmp_path / "a.png").write_bytes(png(0))
    assert len(notes.once(tmp_path)) == 1
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    assert notes.once(tmp_path) == []
    for change in (lambda path: path.chmod(0o600), lambda path: os.utime(path, (5, 5))):
        change(tmp_path / "b.png")
        assert notes.once(tmp_path) == []


@pytest.mark.parametrize("moved", [False, True])
def test_a_file_that_cannot_be_read_any_more_keeps_its_verdict(tmp_path, monkeypatch, moved):
    notes, path = Notes(), tmp_path / "a.png"
    path.write_bytes(png(0))
    assert len(notes.once(tmp_path)) == 1
    path.chmod(0o400)
    if moved:
        path = path.rename(tmp_path / "b.png")

    def closed(_):
        raise ImageError("permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(folders, "opened", closed)
        assert notes.once(tmp_path) == []
    path.chmod(0o600)
    assert notes.once(tmp_path) == []


def test_a_file_that_could_not_be_read_is_judged_when_it_can(tmp_path, monkeypatch):
    notes, path = Notes(), tmp_path / "a.png"
    path.write_bytes(png(0))

    def closed(_):
        raise ImageError("permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(folders, "opened", closed)
        assert [one.error for one in notes.once(tmp_path)] == ["permission denied"]
        path.chmod(0o400)
        assert notes.once(tmp_path) == []
    path.chmod(0o600)
    assert [one.error for one in notes.once(tmp_path)] == [None]


@contextmanager
def unlisted(monkeypatch, *folders_, times=10**6):
    """Let the listing of folders fail."""
    scandir, left = os.scandir, [times]

    def fails(path="."):
        if str(path) in map(str, folders_) and left[0] > 0:
            left[0] -= 1
            raise OSError(errno.EIO, "Input/output error")
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", fails)
        yield


def moved_after_it_was_judged(root):
    """A file that is known by its stamp alone, and one that stays."""
    notes = Notes()
    (root / "in").mkdir(parents=True)
    (root / "in" / "a.png").write_bytes(png(0))
    (root / "in" / "b.png").write_bytes(png(1))
    assert len(notes.once(root)) == 2
    (root / "done").mkdir()
    (root / "in" / "a.png").rename(root / "done" / "a.png")
    assert notes.once(root) == []
    return notes


@pytest.mark.parametrize("place", ["", "done"])
def test_a_folder_that_cannot_be_listed_for_a_moment_is_not_empty(tmp_path, monkeypatch, place):
    root = tmp_path / "images"
    notes = moved_after_it_was_judged(root)
    folder = notes.folder(root)
    with unlisted(monkeypatch, root / place):
        for _ in range(3):
            folder._scan()
    assert sorted(notes.files) == ["done/a.png", "in/b.png"]
    assert notes.told[-1] == ("unlisted", f"{root / place}: cannot be listed: Input/output error")
    assert notes.once(root) == []


def test_a_drive_that_is_away_and_leaves_an_empty_folder_is_not_emptied(tmp_path):
    root = tmp_path / "images"
    notes = moved_after_it_was_judged(root)
    root.rename(tmp_path / "away")
    root.mkdir()
    folder = notes.folder(root)
    for _ in range(3):
        folder._scan()
    root.rmdir()
    (tmp_path / "away").rename(root)
    assert notes.once(root) == []


def test_only_new_waits_until_it_knows_what_was_there(tmp_path, monkeypatch):
    notes = Notes()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "old.png").write_bytes(png(0))
    with unlisted(monkeypatch, tmp_path / "sub", times=2):
        assert notes.once(tmp_path, only_new=True) == []
    assert [event for event, _ in notes.told] == ["unlisted", "record"] * 2 + ["skipped"]
    (tmp_path / "sub" / "old.png").chmod(0o600)
    (tmp_path / "sub" / "new.png").write_bytes(png(1))
    assert [one.name for one in notes.once(tmp_path, only_new=True)] == ["sub/new.png"]


def test_only_new_does_not_wait_for_what_is_closed_for_ever(tmp_path, monkeypatch):
    notes = Notes()
    (tmp_path / "lost+found").mkdir()
    scandir = os.scandir

    def closed(path="."):
        if str(path).endswith("lost+found"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert notes.once(tmp_path, only_new=True) == []


@pytest.mark.parametrize("late", [3600, -3600], ids=["slow", "fast"])
def test_a_share_with_another_clock_hurries_nobody(tmp_path, monkeypatch, late):
    monkeypatch.setattr(file_events, "_asks", False)
    notes, content, path = Notes(), png(0), tmp_path / "a.png"
    with running(notes, notes.folder(tmp_path, settle=0.4, patience=1.0)) as found:
        for end in (len(content) // 3, 2 * len(content) // 3, len(content)):
            path.write_bytes(content[:end])
            age(path, late)
            time.sleep(0.3)
        wait_for(lambda: found)
        time.sleep(0.3)
    assert [(one.content == content, one.error) for one in found] == [(True, None)]


class Away(Notes):
    """A memory that does not answer each first time."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def maybe(self):
        self.asked += 1
        if self.asked % 2:
            raise StoreError("the database is away")

    def seen(self, key):
        self.maybe()
        return super().seen(key)

    def remember(self, stamps, forget=()):
        self.maybe()
        super().remember(stamps, forget)

    def record(self, arrival):
        self.asked = 1
        return super().record(arrival)


def test_a_memory_that_is_away_is_asked_again(tmp_path):
    notes = Away()
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(png(index))
    assert len(notes.once(tmp_path)) == 3
    (tmp_path / "0.png").rename(tmp_path / "moved.png")
    notes.asked = 0
    assert notes.once(tmp_path) == []
    assert [text for event, text in notes.told if event == "record"][-1].startswith(
        "the database is away; trying"
    )


def test_a_watch_outlives_a_record_that_is_away(inspector, store, images, tmp_path):
    told, stop, rows = [], threading.Event(), []
    put(images, "0.png", 600)
    work, source = watching(inspector, store, images, told=told)
    thread = threading.Thread(target=lambda: rows.extend(work.run(source, stop, False)))
    thread.start()
    with sqlite3.connect(tmp_path / "record.sqlite3", isolation_level=None) as other:
        wait_for(lambda: len(store.list()) == 1)
        for name in ("inspections", "stamps"):
            other.execute(f"ALTER TABLE {name} RENAME TO {name}_away")
        put(images, "1.png", 601)
        (images / "0.png").rename(images / "moved.png")
        wait_for(lambda: [event for event, _ in told].count("record") >= 3)
        for name in ("inspections", "stamps"):
            other.execute(f"ALTER TABLE {name}_away RENAME TO {name}")
    wait_for(lambda: len(store.list()) == 2)
    wait_for(lambda: {stamp.path for stamp in work.memory.stamps()} == {"moved.png", "1.png"})
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert sorted(row.file_name for row in store.list()) == ["0.png", "1.png"]


class Nobody:
    name = "nobody"

    def send(self, _):
        raise ValueError("a destination that fails as nobody thought of")

    def close(self):
        pass


def test_a_sender_outlives_whatever_fails_and_says_what_is_not_known(store, tmp_path, monkeypatch):
    monkeypatch.setattr("differnet.service.delivery.notify._REST", 0.05)
    told = []
    outbox = Outbox(store, StoreMemory(store, "m", "line").watch, ["nobody"])
    sender = Sender(outbox, Nobody(), lambda *what: told.append(what))
    with store.writing() as connection:
        outbox.put(connection, _row())
    sender.start()
    wait_for(lambda: len(told) > 2)
    assert sender.is_alive()
    assert told[0] == ("outbox", "nobody: ValueError: a destination that fails as nobody thought of")
    assert sender.drain(0.1) == 1
    with sqlite3.connect(tmp_path / "record.sqlite3", isolation_level=None) as other:
        other.execute("ALTER TABLE deliveries RENAME TO away")
        assert sender.drain(0.1) == 1
    assert told[-1][1] == "nobody: what is left is not known; the next start sends it"
    sender.finish()


def test_a_clock_that_was_ahead_holds_up_no_message(store, monkeypatch):
    from differnet.service.delivery import outbox as outboxes

    outbox, clock = Outbox(store, "watch", ["somebody"]), outboxes.now
    row = _row()
    monkeypatch.setattr(outboxes, "now", lambda: clock() + timedelta(days=3650))
    with store.writing() as connection:
        outbox.put(connection, row)
    monkeypatch.setattr(outboxes, "now", clock)
    delivery = outbox.next("somebody")
    assert delivery.inspection == row.id
    outbox.failed(delivery, "away", clock() + timedelta(seconds=300))
    assert outbox.next("somebody") is None  # a pause as it is made


def _row():
    from differnet.service.record.inspection import Inspection

    return Inspection(model="m", model_digest="", source="watch", image_digest="", verdict="OK")


def _live(rng, root, made):
    """Let something happen in a folder: a new picture, or another name or other rights for one that is there."""
    files = sorted(root.rglob("*.png"))
    what = rng.choice(["new", "rotate", *["move", "swap", "rights", "folder"] * bool(files)])
    if what == "new":
        (root / "in" / f"{len(made)}.png").write_bytes(made.new())
    elif what == "rotate":
        rotate(root, 40)
        (root / "cam0.png").write_bytes(made.new())
    elif what == "move":
        rng.choice(files).rename(root / rng.choice(["in", "done"]) / f"r{rng.random()}.png")
    elif what == "swap":
        one, other = rng.choice(files), rng.choice(files)
        one.rename(root / ".hidden")
        if one != other:
            other.rename(one)
        (root / ".hidden").rename(other)
    elif what == "rights":
        rng.choice(files).chmod(rng.choice([0o600, 0o640]))
    else:
        (root / "done").rename(root / f"old{rng.random()}")
        (root / "done").mkdir()


class Made(list):
    """The pictures that were made so far."""

    def new(self):
        self.append(png(len(self)))
        return self[-1]


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_to_names_and_rights_each_picture_is_judged_once(tmp_path, seed):
    """By a watch that is started anew again and again, whose memory is away each second time."""
    rng, notes, made, found = random.Random(seed), Away(), Made(), []  # noqa: S311
    for name in ("in", "done"):
        (tmp_path / name).mkdir()
    for _ in range(12):
        for _ in range(rng.randrange(1, 5)):
            _live(rng, tmp_path, made)
        found += notes.once(tmp_path, settle=0.0, patience=0.1)
    assert sorted(one.content for one in found) == sorted(made)
    assert [one.error for one in found] == [None] * len(made)
