"""What a folder gives: each image once, complete, and by a key that lasts."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("watchfiles", reason='pip install "differnet[watch]"')


from differnet.service.watch import file_events
from differnet.service.watch.folder import Folder
from differnet.service.watch.sources import digest_of
from support.arrivals import Notes, age, png, running, wait_for
from support.tiny import good_image, save


@pytest.fixture(autouse=True)
def _leases():
    file_events.ask_for_leases()


def test_what_is_there_is_taken_the_oldest_first_and_once(tmp_path):
    for number, name in enumerate(("b.png", "sub/a.png", "c.jpg")):
        save(tmp_path / name, good_image(number))
        age(tmp_path / name, 100 - number)
    for name in (".hidden.png", "~lock.png", "half.tmp.png", "x.png.part", "y.crdownload", ".git/x.png"):
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


def test_images_of_any_name_are_judged_and_what_is_none_is_told_once_for_each_suffix(tmp_path):
    names = ("a.png", "b.jfif", "c", "d.dat", "e.dib")
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(png(number))
        age(tmp_path / name, 100 - number)
    for number in range(5):
        (tmp_path / f"{number}.json").write_text("{}")
    (tmp_path / "README").write_text("text")
    notes = Notes()
    assert [arrival.name for arrival in notes.once(tmp_path)] == list(names)
    assert notes.told == [
        (
            "left out",
            "5 files with the suffix .json are no images and are left out: 0.json, 1.json, 2.json, ...; "
            "others with the suffix .json will not be told of",
        ),
        (
            "left out",
            "1 file without a suffix is no image and is left out: README; others without a suffix will not be told of",
        ),
    ]
    with running(notes, notes.folder(tmp_path)) as found:
        (tmp_path / "late.json").write_text("{}")
        (tmp_path / "late.raw2").write_bytes(b"no")
        (tmp_path / "later").write_bytes(png(8))
        wait_for(lambda: found)
        (tmp_path / "late.raw2").write_bytes(png(9))  # what was none becomes one
        wait_for(lambda: len(found) == 2)
    assert [one.name for one in found] == ["later", "late.raw2"]
    assert not any("late.json" in text for _, text in notes.told)


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
    assert notes.told == [("skipped", "1 image was there before the first start: not judged")]
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
